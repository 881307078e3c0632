"""The emergency stop of this process: in memory and in one file. Contract: security.md §13.

A file that cannot be read stops everything here, until somebody releases it here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec
from msgspec.structs import replace

from goclaw.domain.estop import Change, plain
from goclaw.domain.estop import Levels as Levels
from goclaw.domain.estop import Stopped as Stopped
from goclaw.settings.onboard import write_private

SAYS = "stopped by the operator"
LARGEST = 64 * 1024  # bytes of the file


def read(path: Path) -> Stopped:
    """What a file says; nothing is stopped without one. A bad one is put beside, and everything is stopped."""
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        return Stopped()
    except OSError as error:
        return Stopped(all=True, reason=f"{path} cannot be read: {error.strerror}")
    try:
        return msgspec.json.decode(raw, type=Stopped)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        everything = Stopped(all=True, reason=f"{path.name} was no state of the stop; it is kept as {path.name}.bad")
        try:
            os.replace(path, path.with_name(path.name + ".bad"))
            write(path, everything)
        except OSError:
            pass  # the next start finds it bad again
        return everything


def glance(path: Path) -> Stopped | None:
    """What the file says, if that can be read; it is left as it is. Nothing is stopped without one."""
    try:
        return msgspec.json.decode(path.read_bytes()[: LARGEST + 1], type=Stopped)
    except (FileNotFoundError, NotADirectoryError):
        return Stopped()
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def write(path: Path, state: Stopped) -> None:
    """The whole state or nothing. Raises OSError."""
    write_private(path, msgspec.json.format(msgspec.json.encode(state).decode(), indent=2) + "\n")


class Brake:
    """The stop in force. Every answer comes from memory.

    `held` says why everything is stopped here whatever others say: nobody knows what they said.
    """

    def __init__(self, path: Path | None = None, on_change: Callable[[Stopped], None] = lambda _: None) -> None:
        self.path = path
        self.state = read(path) if path is not None else Stopped()
        self.held = self.state.reason if self.state.all and not self.state.at else ""
        self._on_change = on_change
        on_change(self.state)

    def become(self, state: Stopped) -> None:
        """At once in memory, then in the file. Raises OSError: it then lasts until the next start only."""
        if self.held:
            state = replace(state, all=True, by="", at="", reason=self.held)
        self.state = state
        self._on_change(state)
        if self.path is not None:
            write(self.path, state)

    def change(self, change: Change) -> None:
        """As `become`, of what an operator wants. Who releases everything here knows what he does."""
        if not change.engage and change.levels.all:
            self.held = ""
        self.become(self.state.after(change))

    def tool(self, name: str) -> str:
        """Why not, or empty."""
        stopped = self.state.all or any(fnmatchcase(name, glob) for glob in self.state.tools)
        return SAYS if stopped else ""

    def network(self) -> str:
        return SAYS if self.state.all or self.state.network else ""

    def host(self, host: str) -> str:
        """`host` in ASCII; a suffix stops its sub-domains too."""
        name = "." + plain(host)
        return SAYS if self.network() or any(name.endswith("." + suffix) for suffix in self.state.domains) else ""
