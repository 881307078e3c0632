"""Files below one directory, and nothing else: every step is opened relative to the one before.

No check-then-use: the path and the links in it are walked here, with O_NOFOLLOW and from the root's own
descriptor, so that whatever is swapped between two steps still lies below the root. Contract: security.md §7.
"""

from __future__ import annotations

import errno
import os
import re
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

    `root` is absolute and free of links.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def open(self, path: str, *, directory: bool = False) -> Iterator[int]:
        """A descriptor for reading. `..` and links are fine as long as they stay inside.

        Raises `PathRefused`, FileNotFoundError, NotADirectoryError, or OSError where reading is not permitted.
        """
        steps = deque(self._steps(path))
        walked = [os.open(self.root, STEP | os.O_DIRECTORY)]  # from the root to where we are
        links = 0
        try:
            while steps:
                step = steps.popleft()
                if step == "..":
                    if len(walked) == 1:
                        raise PathRefused(OUTSIDE)
                    os.close(walked.pop())
                    continue
                if is_hidden(step):
                    raise PathRefused(f"{HIDDEN} is not for tools")
                if len(walked) > DEPTH:
                    raise PathRefused(f"{path} is more than {DEPTH} directories deep")
                only = os.O_DIRECTORY if steps or directory else 0
                try:
                    walked.append(os.open(step, STEP | only, dir_fd=walked[-1]))
                except OSError as error:
                    target = _link(walked[-1], step)
                    if target is None:
                        raise _refusal(error, path) from None
                    links += 1
                    if links > LINKS:
                        raise PathRefused(f"{path} goes through too many links") from None
                    if target.startswith("/"):
                        while len(walked) > 1:
                            os.close(walked.pop())
                    steps.extendleft(reversed(self._steps(target)))
            _check(os.fstat(walked[-1]), path, directory=directory)
            yield walked[-1]
        finally:
            for descriptor in walked:
                os.close(descriptor)

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
