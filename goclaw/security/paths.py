"""Files below one directory, and nothing else: every step is opened relative to the one before.

No check-then-use: the path and the links in it are walked here, with O_NOFOLLOW and from the root's own
descriptor, so that whatever is swapped between two steps still lies below the root. Contract: security.md §7.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HIDDEN = ".goclaw"  # the gateway's own files in a workspace; tools.md §9.3
PATH = 4096  # bytes; §7.1 with the next two
NAME = 255  # bytes
LINKS = 40
DEPTH = 64  # directories held open on the way to one file; our decision
OUTSIDE = "that is outside of the workspace; use a path relative to it"
UNFIT = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")
STEP = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class PathRefused(Exception):
    """The path leaves the workspace or is not for tools. The text is for the model."""


class Workspace:
    """A directory an agent may see. Paths are relative to it; an absolute one must lie below it.

    `root` is absolute and free of links. No name on the way to a file may match `denied` at its beginning.
    """

    def __init__(self, root: Path, denied: re.Pattern[str] | None = None) -> None:
        self.root = root
        self.denied = denied

    @contextmanager
    def open(self, path: str, *, directory: bool = False) -> Iterator[int]:
        """A descriptor for reading. `..` and links are fine as long as they stay inside.

        Raises `PathRefused`, FileNotFoundError, NotADirectoryError, or OSError where reading is not permitted.
        """
        with _Walk(self, path) as walk:
            while (step := walk.next()) is not None:
                walk.enter(step, os.O_DIRECTORY if walk.steps or directory else 0)
            _check(os.fstat(walk.here), path, directory=directory)
            yield walk.here

    def write(self, path: str, data: bytes) -> None:
        """Put `data` where `path` leads, whole or not at all. Missing directories are made, links are followed.

        Raises `PathRefused`, NotADirectoryError, or OSError where writing is not permitted.
        """
        with _Walk(self, path) as walk:
            while (step := walk.next()) is not None:
                if walk.steps:
                    walk.enter(step, os.O_DIRECTORY, make=True)
                elif not walk.follow(step):
                    _replace(walk.here, step, path, data)
                    return
            raise PathRefused(f"{path} is a directory")

    def _steps(self, path: str) -> list[str]:
        """The names on the way to `path`, from the root if it is absolute."""
        if UNFIT.search(path) or path.startswith("~"):
            raise PathRefused("a path holds no control character and no backslash, and does not begin with ~")
        if path.startswith("/"):
            root = f"{self.root}/"
            if not f"{path}/".startswith(root):
                raise PathRefused(OUTSIDE)
            path = path[len(root) :]
        steps = [step for step in path.split("/") if step not in ("", ".")]
        if len(path.encode()) > PATH or any(len(step.encode()) > NAME for step in steps):
            raise PathRefused(f"a path has at most {PATH} bytes, a name in it {NAME}")
        return steps


class _Walk:
    """The way to a path: directories held open from the root to where we are, and the names still to go."""

    def __init__(self, workspace: Workspace, path: str) -> None:
        self.steps = deque(workspace._steps(path))
        self._workspace = workspace
        self._path = path
        self._walked = [os.open(workspace.root, STEP | os.O_DIRECTORY)]
        self._links = 0

    def __enter__(self) -> _Walk:
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
            if is_hidden(step):
                raise PathRefused(f"{HIDDEN} is not for tools")
            if self._workspace.denied is not None and self._workspace.denied.match(step):
                raise PathRefused(f"{step} is not for agents")
            if len(self._walked) > DEPTH:
                raise PathRefused(f"{self._path} is more than {DEPTH} directories deep")
            return step
        return None

    def enter(self, step: str, only: int, *, make: bool = False) -> None:
        """Open `step`, or go where it leads if it is a link."""
        try:
            self._walked.append(os.open(step, STEP | only, dir_fd=self.here))
        except FileNotFoundError:
            if not make:
                raise
            os.mkdir(step, 0o755, dir_fd=self.here)
            self._walked.append(os.open(step, STEP | only, dir_fd=self.here))
        except OSError as error:
            if not self.follow(step):
                raise _refusal(error, self._path) from None

    def follow(self, step: str) -> bool:
        """Go where `step` leads if it is a link. Raises PathRefused."""
        target = _link(self.here, step)
        if target is None:
            return False
        self._links += 1
        if self._links > LINKS:
            raise PathRefused(f"{self._path} goes through too many links")
        if target.startswith("/"):
            while len(self._walked) > 1:
                os.close(self._walked.pop())
        self.steps.extendleft(reversed(self._workspace._steps(target)))
        return True


def is_hidden(name: str) -> bool:
    """Whether tools must not see `name`, in any spelling a file system may take for it."""
    return name.casefold() == HIDDEN


def _refusal(error: OSError, path: str) -> Exception:
    """Sockets, and devices without a driver, cannot even be opened."""
    return PathRefused(f"{path} is not a file") if error.errno == errno.ENXIO else error


def _link(directory: int, name: str) -> str | None:
    """Where a link points, None if it is no link."""
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError:
        return None


def _check(found: os.stat_result, path: str, *, directory: bool) -> None:
    if directory:
        return  # O_DIRECTORY saw to it, and the root is one
    if stat.S_ISDIR(found.st_mode):
        raise PathRefused(f"{path} is a directory")
    if not stat.S_ISREG(found.st_mode):
        raise PathRefused(f"{path} is not a file")
    if found.st_nlink > 1:
        raise PathRefused(f"{path} has a second name (a hard link), which may lie outside of the workspace")


def _replace(directory: int, name: str, path: str, data: bytes) -> None:
    """Write beside and rename, so that a reader sees the old content or the new one. A file keeps its mode."""
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        _check(found, path, directory=False)
        mode = stat.S_IMODE(found.st_mode)
    except FileNotFoundError:
        mode = 0o644
    fresh = f".{secrets.token_hex(8)}.new"
    file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory)
    try:
        with open(file, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fchmod(file, mode)
            os.fsync(file)
        os.rename(fresh, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        os.unlink(fresh, dir_fd=directory)
        raise
