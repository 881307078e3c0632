from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "runtime.md"


def test_the_example_of_the_page_does_what_the_page_says() -> None:
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None

    ran = subprocess.run(
        [sys.executable, "-c", found[1]], capture_output=True, text=True, timeout=60, cwd=PAGE.parents[1]
    )

    assert ran.returncode == 0, ran.stderr
    assert [line for line in ran.stdout.splitlines() if "actor.crashed" not in line and line[:1] in "0c3"] == [
        "0.25",
        "crashed: /calculator",
        "3.0",
    ]


def test_the_page_names_files_that_exist() -> None:
    runtime = PAGE.parents[1] / "goclaw" / "runtime"

    assert all((runtime / name).exists() for name in re.findall(r"`(\w+\.py)`", PAGE.read_text()))
