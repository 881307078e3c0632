"""Checks the checkers: five bugs are planted, one at a time, into a copy of the runtime (reliability.md §3, §5).

A rule that stays green with its bug in place proves nothing. What is printed (`pytest -rP`) says which rule found
the bug, after how many examples and seconds.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
STATISTICS = re.compile(r"generate phase \(([\d.]+) seconds\):.*?- (\d+) passing", re.DOTALL)


class Bug(NamedTuple):
    name: str
    file: str
    right: str
    wrong: str
    rule: str  # the test that must find it


BUGS = (
    Bug(
        "the limit is off by one",
        "family.py",
        "for member in counted) < limit.restarts:",
        "for member in counted) <= limit.restarts:",
        "test_invariants_limits.py::test_restarts_happen_when_and_as_often_as_the_contract_says",
    ),
    Bug(
        "rest_for_one takes the wrong neighbours",
        "family.py",
        "return everybody[everybody.index(cell) :]",
        "return everybody[: everybody.index(cell) + 1]",
        "test_invariants.py::test_whatever_crashes_the_children_are_back_in_the_end_and_in_order",
    ),
    Bug(
        "an answer is never released",
        "serve.py",
        "if not envelope.reply.answer(result):",
        "if envelope.reply.over:",
        "test_invariants.py::test_messages_keep_their_order_and_none_disappears",
    ),
    Bug(
        "a crash is swallowed",
        "serve.py",
        "crashed)\n    raise error\n",
        "crashed)\n    return OUTAGE\n",
        "test_invariants.py::test_whatever_crashes_the_children_are_back_in_the_end_and_in_order",
    ),
    Bug(
        "the edge of the window is on the wrong side",
        "family.py",
        "for at in member.past.times if at > since]",
        "for at in member.past.times if at >= since]",
        "test_invariants_limits.py::test_restarts_happen_when_and_as_often_as_the_contract_says",
    ),
)


@pytest.mark.parametrize("bug", BUGS, ids=[bug.name for bug in BUGS])
def test_a_planted_bug_is_found(bug: Bug, tmp_path: Path) -> None:
    plant(bug, tmp_path)

    red = rule(bug.rule, tmp_path)

    found = STATISTICS.search(red.stdout)
    assert red.returncode == 1, red.stdout + red.stderr
    assert found is not None, red.stdout + red.stderr
    assert "AssertionError" in red.stdout
    print(f"{bug.name}: found by {bug.rule} after {int(found[2]) + 1} examples, {found[1]} s")  # noqa: T201 - a report


def plant(bug: Bug, into: Path) -> None:
    """Copy the runtime with the bug. Fails if the text it changes is not there exactly once."""
    copy(into)
    path = into / "goclaw/runtime" / bug.file
    text = path.read_text()
    assert text.count(bug.right) == 1, f"{bug.file} has changed: plant {bug.name!r} somewhere else"
    path.write_text(text.replace(bug.right, bug.wrong))


def copy(into: Path) -> None:
    """The runtime and its tests alone: the copy shadows the installed package."""
    for room in ("goclaw/runtime", "tests/runtime"):
        shutil.copytree(ROOT / room, into / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "goclaw/__init__.py", into / "goclaw")
    shutil.copy(ROOT / "pyproject.toml", into)


def rule(name: str, where: Path) -> subprocess.CompletedProcess[str]:
    """Put one rule to the test there. The first red example ends it; nothing is shrunk or remembered."""
    options = ("--hypothesis-profile", "mutants", "--hypothesis-show-statistics", "-p", "no:cacheprovider")
    return subprocess.run(
        (sys.executable, "-m", "pytest", "-q", *options, f"tests/runtime/{name}"),
        cwd=where,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
