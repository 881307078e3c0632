"""Readers under coverage-guided garbage, for as long as one has patience: `make fuzz`, FUZZ_SECONDS=60 by default.

    python -m tests.fuzz.long_readers [options of libFuzzer]

The first byte of an input chooses the wire, the second where the rest is cut. Good streams and the corpus of
`garbage.py` are where it starts; what breaks a reader is left in the working directory as `crash-…`.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["goclaw.providers"]):
    from tests.fuzz.garbage import bodies
    from tests.fuzz.reading import check, comparable, cut, read
    from tests.fuzz.tongues import TONGUES

LONGEST = 4096  # bytes of an input


def try_out(data: bytes) -> None:
    if len(data) < 2:
        return
    tongue, body = TONGUES[data[0] % len(TONGUES)], data[2:]
    outcome = read(tongue, [body])
    check(tongue, outcome)
    step = 1 + data[1]
    assert comparable(read(tongue, cut(body, range(step, len(body), step)))) == comparable(outcome)


def plant(directory: Path) -> None:
    """The inputs to start from."""
    for number, tongue in enumerate(TONGUES):
        seeds = [*tongue.good(), *(body for _, body in bodies(tongue))]
        for place, body in enumerate(seeds):
            if len(body) <= LONGEST:
                (directory / f"{tongue.name}-{place}").write_bytes(bytes([number, 7]) + body)


def main() -> None:
    with tempfile.TemporaryDirectory() as corpus:
        plant(Path(corpus))
        seconds = os.environ.get("FUZZ_SECONDS", "60")
        limits = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", "-rss_limit_mb=1024", "-timeout=5"]
        atheris.Setup([sys.argv[0], *limits, *sys.argv[1:], corpus], try_out)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
