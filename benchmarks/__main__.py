"""Every benchmark, one after the other, each within a time bound: `python -m benchmarks [name …]`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

WITHIN = 300.0  # seconds each; the slowest needs about 60
NAMES = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))


def main() -> int:
    wanted = sys.argv[1:] or NAMES
    if unknown := sorted(set(wanted) - set(NAMES)):
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    failed = []
    for name in wanted:
        print(f"\n== {name}\n", flush=True)
        try:
            code = subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], timeout=WITHIN).returncode
        except subprocess.TimeoutExpired:
            print(f"{name} took longer than {WITHIN:g} s", file=sys.stderr)
            code = 1
        if code:
            failed.append(name)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
