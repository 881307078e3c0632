"""The emergency stop: what an operator stopped, in memory and in one file. Contract: security.md §13.

A file that cannot be read stops everything.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from goclaw.settings.onboard import write_private

SAYS = "stopped by the operator"
LARGEST = 64 * 1024  # bytes of the file

Name = Annotated[str, Meta(min_length=1, max_length=255)]
Names = Annotated[tuple[Name, ...], Meta(max_length=100)]


class Levels(Struct, frozen=True, kw_only=True):
    """What is meant: tools by globs, domains by suffixes."""

    all: bool = False
    network: bool = False
    tools: Names = ()
    domains: Names = ()

    def __bool__(self) -> bool:
        return self.all or self.network or bool(self.tools or self.domains)


class Stopped(Levels, frozen=True, kw_only=True):
    """The state of the stop; levels add up."""

    by: str = ""
    at: str = ""  # ISO
    reason: str = ""

    def engaged(self, levels: Levels, *, by: str, at: str, reason: str) -> Stopped:
        return Stopped(
            all=self.all or levels.all,
            network=self.network or levels.network,
            tools=tuple(sorted({*self.tools, *levels.tools})),
            domains=tuple(sorted({*self.domains, *map(_plain, levels.domains)})),
            by=by,
            at=at,
            reason=reason,
        )

    def released(self, levels: Levels, *, by: str, at: str, reason: str) -> Stopped:
        """Without what is named; a glob or suffix by its own text, all of them by `*`."""
        domains = {_plain(domain) for domain in levels.domains}
        return Stopped(
            all=self.all and not levels.all,
            network=self.network and not levels.network,
            tools=() if "*" in levels.tools else tuple(one for one in self.tools if one not in levels.tools),
            domains=() if "*" in domains else tuple(one for one in self.domains if one not in domains),
            by=by,
            at=at,
            reason=reason,
        )


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


def write(path: Path, state: Stopped) -> None:
    """The whole state or nothing. Raises OSError."""
    write_private(path, msgspec.json.format(msgspec.json.encode(state).decode(), indent=2) + "\n")


class Brake:
    """The stop in force. Every answer comes from memory."""

    def __init__(self, path: Path | None = None, on_change: Callable[[Stopped], None] = lambda _: None) -> None:
        self.path = path
        self.state = read(path) if path is not None else Stopped()
        self._on_change = on_change
        on_change(self.state)

    def become(self, state: Stopped) -> None:
        """At once in memory, then in the file. Raises OSError: it then lasts until the next start only."""
        self.state = state
        self._on_change(state)
        if self.path is not None:
            write(self.path, state)

    def tool(self, name: str) -> str:
        """Why not, or empty."""
        stopped = self.state.all or any(fnmatchcase(name, glob) for glob in self.state.tools)
        return SAYS if stopped else ""

    def network(self) -> str:
        return SAYS if self.state.all or self.state.network else ""

    def host(self, host: str) -> str:
        """`host` in ASCII; a suffix stops its sub-domains too."""
        name = "." + _plain(host)
        return SAYS if self.network() or any(name.endswith("." + suffix) for suffix in self.state.domains) else ""


def _plain(domain: str) -> str:
    return domain.strip().casefold().strip(".")
