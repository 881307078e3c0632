"""Maps of workspaces, kept for ten minutes outside of them. Blocking: for threads. Contract: tools.md §10."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from itertools import repeat
from pathlib import Path

import msgspec
from msgspec import Struct

from goclaw.security.paths import Workspace
from goclaw.tools.fs.symbols import language_of, symbols_of
from goclaw.tools.fs.tree import LOOKED_AT, Found, below

FRESH = 600.0  # seconds; tools.md §10 with the next three
LARGEST = 512 * 1024  # bytes of a file
MOST = 20_000  # files
WITHOUT = frozenset({".git", "node_modules", "vendor", ".goclaw"})
KEPT = 200  # maps, the newest
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Mapped(Struct, frozen=True, array_like=True):
    path: str
    language: str
    size: int  # bytes
    symbols: list[str]


class Map(Struct, frozen=True):
    built: float  # epoch seconds
    whole: bool  # there are no more files than these
    files: list[Mapped]


class Maps:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def of(self, workspace: Workspace, now: float, *, refresh: bool = False) -> Map:
        """As it was at most ten minutes ago. Raises OSError where the workspace cannot be read."""
        kept = self._directory / f"{hashlib.sha256(str(workspace.root).encode()).hexdigest()}.json"
        if not refresh:
            with contextlib.suppress(OSError, msgspec.DecodeError):
                found = msgspec.json.decode(kept.read_bytes(), type=Map)
                if 0 <= now - found.built < FRESH:
                    return found
        made = drawn(workspace, now)
        with contextlib.suppress(OSError):  # it is drawn again next time
            self._keep(kept, msgspec.json.encode(made))
        return made

    def _keep(self, place: Path, data: bytes) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = place.with_suffix(f".{secrets.token_hex(4)}.new")
        fresh.touch(0o600)
        fresh.write_bytes(data)
        fresh.rename(place)
        others = sorted(self._directory.iterdir(), key=lambda one: one.stat().st_mtime, reverse=True)
        for old in others[KEPT:]:
            old.unlink(missing_ok=True)


def drawn(workspace: Workspace, now: float) -> Map:
    files: list[Mapped] = []
    with workspace.open(".", directory=True) as directory:
        for found in below(workspace, directory, repeat(None, LOOKED_AT), hidden=True, without=WITHOUT):
            if found.is_dir or found.entry.is_symlink() or not (language := language_of(found.path)):
                continue
            if len(files) == MOST:
                return Map(now, False, files)
            if (data := _read(found)) is not None:
                text = data.decode("utf-8", "replace")
                files.append(Mapped(found.path, language, len(data), symbols_of(language, text)))
    return Map(now, True, files)


def _read(found: Found) -> bytes | None:
    """Nothing of what is gone, large, binary, or has a second name."""
    try:
        file = os.open(found.entry.name, FILE, dir_fd=found.directory)
    except OSError:
        return None
    with open(file, "rb") as stream:
        stat = os.fstat(file)
        if stat.st_size > LARGEST or stat.st_nlink > 1:
            return None
        data = stream.read(LARGEST)
    return None if b"\0" in data[:8192] else data
