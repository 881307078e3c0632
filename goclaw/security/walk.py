"""The way to a file, step by step from a directory held open. Contract: security.md §7.1, steps 1–5.

openat2 with RESOLVE_BENEATH would walk in one call, but it refuses absolute links that stay inside and shows no
directory between, which denied places are recognised by; the walk in Python costs less than reading the file.
"""

from __future__ import annotations

import errno
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

HIDDEN = ".goclaw"  # the gateway's own files in a workspace; tools.md §9.3
PATH = 4096  # bytes; §7.1 with the next two
NAME = 255  # bytes
LINKS = 40
DEPTH = 64  # directories held open on the way to one file; our decision
OUTSIDE = "that is outside of the workspace; use a path relative to it"
UNFIT = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")
STEP = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK

Ident = tuple[int, int]  # device and inode


class PathRefused(Exception):
    """The path leaves the workspace or is not for tools. The text is for the model."""


class IsDirectory(PathRefused):
    """A file is wanted, and there is a directory."""


@dataclass(frozen=True)
class Root:
    """A directory where paths may lead: absolute and free of links."""

    path: Path
    writable: bool = True

    def below(self, path: str) -> str | None:
        """The rest of an absolute path that lies here, else None."""
        root = str(self.path).rstrip("/") + "/"
        return path[len(root) :] if f"{path}/".startswith(root) else None


@dataclass(frozen=True)
class Denied:
    """What tools must not see: names anywhere, and places however they are reached."""

    names: re.Pattern[str] | None = None  # matched at the beginning
    idents: frozenset[Ident] = frozenset()
    places: frozenset[tuple[Ident, str]] = frozenset()  # a directory and a name in it that may not exist yet
    above: frozenset[Ident] = field(default=frozenset())  # directories that hold a denied place, however deep

    @classmethod
    def at(cls, places: Iterable[Path], names: re.Pattern[str] | None = None) -> Denied:
        """As the places lie at this moment."""
        idents, named, above = set(), set(), set()
        for place in places:
            for parent in place.parents:
                if (found := _ident(parent)) is not None:
                    above.add(found)
                    if parent == place.parent:
                        named.add((found, place.name))
            if (found := _ident(place)) is not None:
                idents.add(found)
        return cls(names, frozenset(idents), frozenset(named), frozenset(above))

    def name(self, name: str) -> str:
        """Why `name` is denied wherever it is; empty if it is not."""
        if is_hidden(name):
            return f"{HIDDEN} is not for tools"
        return f"{name} is not for agents" if self.names is not None and self.names.match(name) else ""

    def holds(self, directory: Ident, name: str, inode: int) -> bool:
        """Whether an entry of a directory is not to be shown."""
        return bool(self.name(name)) or (directory[0], inode) in self.idents or (directory, name) in self.places


def is_hidden(name: str) -> bool:
    """Whether tools must not see `name`, in any spelling a file system may take for it."""
    return name.casefold() == HIDDEN


def ident(descriptor: int) -> Ident:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino


def split(roots: Sequence[Root], path: str) -> tuple[Root, list[str]]:
    """The root where `path` begins, the first of them for a relative one, and the names on the way."""
    if UNFIT.search(path) or path.startswith("~"):
        raise PathRefused("a path holds no control character and no backslash, and does not begin with ~")
    root, rest = roots[0], path
    if path.startswith("/"):
        found = next((root for root in roots if root.below(path) is not None), None)
        if found is None:
            raise PathRefused(OUTSIDE)
        root, rest = found, found.below(path) or ""
    steps = [step for step in rest.split("/") if step not in ("", ".")]
    if len(path.encode()) > PATH or any(len(step.encode()) > NAME for step in steps):
        raise PathRefused(f"a path has at most {PATH} bytes, a name in it {NAME}")
    return root, steps


class Walk:
    """The way to a path: directories held open from the root to where we are, and the names still to go."""

    def __init__(self, roots: Sequence[Root], look: Callable[[], Denied], path: str, *, writing: bool = False) -> None:
        self._root, steps = split(roots, path)
        if writing and not self._root.writable:
            raise PathRefused(f"{path} may be read and not changed")
        self.steps = deque(steps)
        self._look = look
        self._denied = look()
        self._path = path
        self._walked = [os.open(self._root.path, STEP | os.O_DIRECTORY)]
        self._links = 0

    def __enter__(self) -> Walk:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._walked:
            os.close(descriptor)

    @property
    def here(self) -> int:
        return self._walked[-1]

    def next(self) -> str | None:
        """The next name below where we are; None at the end. Raises PathRefused."""
        while self.steps:
            step = self.steps.popleft()
            if step == "..":
                if len(self._walked) == 1:
                    raise PathRefused(OUTSIDE)
                os.close(self._walked.pop())
                continue
            if self._denied.places and (ident(self.here), step) in self._denied.places:
                raise self._not_for_tools()
            self._judge(step, len(self._walked))
            return step
        return None

    def _judge(self, step: str, depth: int) -> None:
        if refused := self._denied.name(step):
            raise PathRefused(refused)
        if depth > DEPTH:
            raise PathRefused(f"{self._path} is more than {DEPTH} directories deep")

    def _foresee(self) -> None:
        """Below a directory that is missing there are no links: what is refused there is refused before it is made."""
        for more, step in enumerate(self.steps, 1):
            self._judge(step, len(self._walked) + more)

    def enter(self, step: str, only: int, *, make: bool = False) -> None:
        """Open `step`, or go where it leads if it is a link. Raises PathRefused, OSError."""
        try:
            self._walked.append(os.open(step, STEP | only, dir_fd=self.here))
        except FileNotFoundError:
            if not make or ".." in self.steps:
                raise
            self._foresee()
            with suppress(FileExistsError):  # somebody else was faster
                os.mkdir(step, 0o755, dir_fd=self.here)
            self._denied = self._look()  # a denied place may lie there
            self._walked.append(os.open(step, STEP | only, dir_fd=self.here))
        except OSError as error:
            if not self.follow(step):
                raise _refusal(error, self._path) from None
            return
        if self._denied.idents and ident(self.here) in self._denied.idents:
            raise self._not_for_tools()

    def follow(self, step: str) -> bool:
        """Go where `step` leads if it is a link. Raises PathRefused."""
        target = _link(self.here, step)
        if target is None:
            return False
        self._links += 1
        if self._links > LINKS:
            raise PathRefused(f"{self._path} goes through too many links")
        _, steps = split([self._root], target)
        if target.startswith("/"):
            while len(self._walked) > 1:
                os.close(self._walked.pop())
        self.steps.extendleft(reversed(steps))
        return True

    def last(self, *, make: bool = False) -> str:
        """Go to the directory of the last name, and return the name: whatever it is, it is not followed.

        Raises PathRefused, OSError.
        """
        while (step := self.next()) is not None:
            if not self.steps:
                found = _stat(self.here, step)
                if found is not None and (found.st_dev, found.st_ino) in self._denied.idents:
                    raise self._not_for_tools()
                return step
            self.enter(step, os.O_DIRECTORY, make=make)
        raise IsDirectory(f"{self._path} is a directory")

    def _not_for_tools(self) -> PathRefused:
        return PathRefused(f"{self._path} is not for tools")


def _ident(place: Path) -> Ident | None:
    try:
        found = place.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _stat(directory: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _refusal(error: OSError, path: str) -> Exception:
    """Sockets, and devices without a driver, cannot even be opened."""
    return PathRefused(f"{path} is not a file") if error.errno == errno.ENXIO else error


def _link(directory: int, name: str) -> str | None:
    """Where a link points, None if it is no link."""
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError:
        return None
