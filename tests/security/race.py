"""The race of security.md §7.2: a directory and a link to the outside change places while a path is walked."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from goclaw.security.paths import PathRefused, Workspace

PATHS = ("d/f", "d/inner/../f", "swap")
Way = Literal["write", "append", "mkdir", "move"]
WAYS: tuple[Way, ...] = ("write", "append", "mkdir", "move")
PATIENCE = 50  # times as many tries as asked for, until both sides of the race have been seen
SWAPPER = """
import ctypes, sys
names = [name.encode() for name in sys.argv[1:]]
swap = ctypes.CDLL(None).renameat2  # RENAME_EXCHANGE: both names in one step
while swap(-100, names[0], -100, names[1], 2) == 0:
    pass
"""


def read(place: Path, path: str, *, opens: int) -> dict[str, int]:
    """How often `path` led where, in at least `opens` tries."""
    outcomes = {"inside": 0, "refused": 0, "outside": 0}
    with _swapping(place) as workspace:
        while (tried := sum(outcomes.values())) < opens * PATIENCE and (tried < opens or not _both(outcomes)):
            try:
                with workspace.open(path) as descriptor:
                    outcomes[os.read(descriptor, 100).decode()] += 1
            except (PathRefused, OSError):
                outcomes["refused"] += 1
    assert _both(outcomes), outcomes
    return outcomes


def written(place: Path, how: Way, *, times: int) -> list[str]:
    """What lies outside after `times` attempts to change something below the directory that is swapped."""
    done = 0
    with _swapping(place) as workspace:
        for number in range(times * PATIENCE):
            if number >= times and 0 < done < number:
                break
            with suppress(PathRefused, OSError):
                _change(workspace, how, number)
                done += 1
    assert done, "nothing was ever written"
    return sorted(set(os.listdir(place / "out")) - {"f", "inner"})


def _change(workspace: Workspace, how: Way, number: int) -> None:
    match how:
        case "write":
            workspace.write(f"d/f{number}", b"")
        case "append":
            workspace.append(f"d/new{number}/f", b"x")
        case "mkdir":
            workspace.mkdir(f"d/d{number}")
        case "move":
            (workspace.root / "a").touch()
            workspace.move("a", f"d/a{number}")


def _both(outcomes: dict[str, int]) -> bool:
    return outcomes["inside"] > 0 and outcomes["refused"] > 0


@contextmanager
def _swapping(place: Path) -> Iterator[Workspace]:
    root, out = place / "ws", place / "out"
    for directory, text in ((root / "d", "inside"), (out, "outside")):
        (directory / "inner").mkdir(parents=True)
        (directory / "f").write_text(text)
    (root / "l").symlink_to("../out")
    (root / "swap").symlink_to("d/f")
    swapper = subprocess.Popen([sys.executable, "-c", SWAPPER, root / "d", root / "l"])
    try:
        yield Workspace(root)
    finally:
        swapper.kill()
        swapper.wait()
