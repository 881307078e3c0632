"""Files below one directory, and nothing else: every step is opened relative to the one before.

No check-then-use: the path and the links in it are walked here, with O_NOFOLLOW and from the root's own
descriptor, so that whatever is swapped between two steps still lies below the root. Contract: security.md §7.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path

from goclaw.security.walk import Denied, IsDirectory, PathRefused, Root, Walk, ident, is_hidden, split

__all__ = ["IsDirectory", "PathRefused", "Root", "Workspace", "is_hidden"]

CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
APPEND = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Workspace:
    """A directory an agent may see. Paths are relative to it; an absolute one must lie below it.

    `root` is absolute and free of links. No name on the way to a file may match `denied` at its beginning, and
    nothing at or below one of the absolute paths `barred` is reached, whatever it is called (tools.md §9.3).

    Its methods raise `PathRefused`, FileNotFoundError, NotADirectoryError, or OSError where that is not permitted.
    """

    def __init__(self, root: Path, denied: re.Pattern[str] | None = None, *, barred: Sequence[Path] = ()) -> None:
        self.root = root
        self.denied = denied
        self.barred = tuple(place.resolve() for place in barred)
        self._more: Callable[[], Sequence[Root]] = tuple

    def beside(self, more: Callable[[], Sequence[Root]]) -> Workspace:
        """The same, and other directories by their absolute paths. Asked at every step, so that one that is taken away
        is out of reach at once.
        """
        other = copy(self)
        other._more = more
        return other

    @property
    def _roots(self) -> tuple[Root, ...]:
        more = self._more()
        allowed = (other for other in more if not any(other.path.is_relative_to(place) for place in self.barred))
        return (Root(self.root), *sorted(allowed, key=lambda other: -len(str(other.path))))

    @contextmanager
    def open(self, path: str, *, directory: bool = False) -> Iterator[int]:
        """A descriptor for reading. `..` and links are fine as long as they stay inside."""
        with self._walk(path) as walk:
            while (step := walk.next()) is not None:
                walk.enter(step, os.O_DIRECTORY if walk.steps or directory else 0)
            _check(os.fstat(walk.here), path, directory=directory)
            yield walk.here

    def write(self, path: str, data: bytes) -> None:
        """Put `data` where `path` leads, whole or not at all. Missing directories are made, links are followed."""
        with self._to_file(path) as (directory, name):
            _replace(directory, name, path, data)

    def append(self, path: str, data: bytes) -> None:
        """Add `data` to the end of the file where `path` leads, or make it."""
        with self._to_file(path) as (directory, name):
            if _mode(directory, name, path) is None:
                return _replace(directory, name, path, data)
            file = os.open(name, APPEND, dir_fd=directory)
            try:
                _check(os.fstat(file), path, directory=False)
                _append(file, data)
            finally:
                os.close(file)

    def mkdir(self, path: str) -> None:
        """Make a directory and those above it; one that is there is fine."""
        with self._walk(path, writing=True) as walk:
            while (step := walk.next()) is not None:
                walk.enter(step, os.O_DIRECTORY, make=True)

    def delete(self, path: str) -> None:
        """Remove a file, a link (not where it leads) or an empty directory."""
        with self._walk(path, writing=True) as walk:
            name = walk.last()
            try:
                os.unlink(name, dir_fd=walk.here)
            except IsADirectoryError:
                os.rmdir(name, dir_fd=walk.here)

    def move(self, path: str, to: str) -> None:
        """Give a file, a link or a directory another name. A file that has it is replaced."""
        with self._walk(path, writing=True) as source, self._walk(to, writing=True) as target:
            name, new = source.last(), target.last(make=True)
            found = os.stat(name, dir_fd=source.here, follow_symlinks=False)
            if (found.st_dev, found.st_ino) in self._denied().above:
                raise PathRefused(f"{path} holds what is not for tools, and stays where it is")
            os.rename(name, new, src_dir_fd=source.here, dst_dir_fd=target.here)

    def relative(self, path: str) -> str | None:
        """`path` from the workspace's root in its plainest form, "" for the root itself; links are not looked at.

        None if that leads out of it. Raises PathRefused for what is no path at all.
        """
        roots = self._roots
        root, steps = split(roots, path)
        plain: list[str] = []
        for step in steps:
            if step == ".." and not plain:
                return None
            plain = plain[:-1] if step == ".." else [*plain, step]
        return "/".join(plain) if root is roots[0] else None

    def shows(self, directory: int) -> Callable[[os.DirEntry[str]], bool]:
        """Whether tools may see an entry of an open directory."""
        denied, here = self._denied(), ident(directory)
        return lambda entry: not denied.holds(here, entry.name, entry.inode())

    def _denied(self) -> Denied:
        return Denied.at(self.barred, self.denied)

    def _walk(self, path: str, *, writing: bool = False) -> Walk:
        return Walk(self._roots, self._denied, path, writing=writing)

    @contextmanager
    def _to_file(self, path: str) -> Iterator[tuple[int, str]]:
        """The directory of a file that is to be written, made if it is missing, and its name there."""
        with self._walk(path, writing=True) as walk:
            while True:
                name = walk.last(make=True)
                if not walk.follow(name):
                    break
            yield walk.here, name


def _check(found: os.stat_result, path: str, *, directory: bool) -> None:
    if directory:
        return  # O_DIRECTORY saw to it, and the root is one
    if stat.S_ISDIR(found.st_mode):
        raise IsDirectory(f"{path} is a directory")
    if not stat.S_ISREG(found.st_mode):
        raise PathRefused(f"{path} is not a file")
    if found.st_nlink > 1:
        raise PathRefused(f"{path} has a second name (a hard link), which may lie outside of the workspace")


def _mode(directory: int, name: str, path: str) -> int | None:
    """The mode of a file that may be written, None if there is none. Raises PathRefused."""
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
    _check(found, path, directory=False)
    return stat.S_IMODE(found.st_mode)


def _replace(directory: int, name: str, path: str, data: bytes) -> None:
    """Write beside and rename, so that a reader sees the old content or the new one. A file keeps its mode."""
    mode = _mode(directory, name, path)
    fresh = f".{secrets.token_hex(8)}.new"
    file = os.open(fresh, CREATE, 0o600, dir_fd=directory)
    try:
        with open(file, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fchmod(file, 0o644 if mode is None else mode)
            os.fsync(file)
        os.rename(fresh, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        os.unlink(fresh, dir_fd=directory)
        raise
    os.fsync(directory)  # the name is on the disk before anybody is told


def _append(file: int, data: bytes) -> None:
    """All of it or nothing, unless the process dies between two writes of a full buffer."""
    size = os.fstat(file).st_size
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[os.write(file, rest) :]
        os.fsync(file)
    except OSError:
        os.ftruncate(file, size)
        raise
