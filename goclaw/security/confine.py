"""What commands of agents run as: which command line, which environment. Contract: tools.md §12.1, security.md §14."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

DUMPABLE = 4  # of prctl
KEEPER = Path(__file__).with_name("keeper.py")
GRACE = 3.0  # seconds between TERM and KILL; tools.md §2
KEPT = re.compile(r"PATH|HOME|LANG|LC_\w+|TZ|TERM|USER|SHELL|TMPDIR")  # of the gateway's own variables
PATH = "/usr/local/bin:/usr/bin:/bin"  # where the gateway has none


def confined(command: str, place: int, grace: float = GRACE) -> list[str]:
    """The command line that runs `command` below a keeper, in the directory that is open as `place`.

    `place` must be handed over to it.
    """
    return [sys.executable, "-I", "-S", str(KEEPER), str(os.getpid()), str(place), str(grace), command]


def environment(given: Mapping[str, str], home: Path | None = None, also: Iterable[Path] = ()) -> dict[str, str]:
    """The part of `given` a command may see: a list of names, so that no key of anybody is in it.

    `home` replaces HOME; programs in the directories `also` are found first.
    """
    kept = {name: value for name, value in given.items() if KEPT.fullmatch(name)}
    kept["PATH"] = ":".join([*map(str, also), kept.get("PATH", PATH)])
    return kept if home is None else {**kept, "HOME": str(home)}


def exit_code(code: int | None) -> int | None:
    """As shells say it: 128 + n for signal n, also of a keeper that was hit before its command began."""
    return 128 - code if code is not None and code < 0 else code


def unreadable() -> None:
    """From now on no other process of our user reads our memory or environment: what runs for agents is one of them."""
    if ctypes.CDLL(None, use_errno=True).prctl(DUMPABLE, 0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
