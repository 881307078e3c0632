"""What lies below a directory of the workspace, in the order tools show it. Blocking: for threads."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import trio

from goclaw.security.paths import Workspace

LOOKED_AT = 100_000  # entries of all directories together, hidden ones too; what lies beyond is not seen
DEEPEST = 64
UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # in names: would forge lines or break encoding
STEP = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Found:
    path: str  # from where we began, fit to be shown
    entry: os.DirEntry[str]
    is_dir: bool  # and not a link to one
    directory: int  # open as long as this is looked at


def below(
    workspace: Workspace,
    directory: int,
    looks: Iterator[None],
    *,
    depth: int = DEEPEST,
    hidden: bool = False,
    without: Collection[str] = (),
    prefix: str = "",
) -> Iterator[Found]:
    """Directories first, then names in byte order, each directory before what is in it; denied places are left out.

    Every look at an entry takes one of `looks`, and so does the end of each directory. What vanishes or closes
    itself while we look is skipped; links are shown and not followed.
    """
    shows = workspace.shows(directory)
    with os.scandir(directory) as scan:
        found = [
            entry
            for _, entry in zip(looks, scan, strict=False)
            if shows(entry) and entry.name not in without and (hidden or not entry.name.startswith("."))
        ]
    found.sort(key=lambda entry: (not entry.is_dir(follow_symlinks=False), os.fsencode(entry.name)))
    for entry in found:
        trio.from_thread.check_cancelled()
        path, is_dir = prefix + UNFIT.sub("\ufffd", entry.name), entry.is_dir(follow_symlinks=False)
        yield Found(path, entry, is_dir, directory)
        if not is_dir or depth <= 1:
            continue
        try:
            inner = os.open(entry.name, STEP, dir_fd=directory)
        except OSError:
            continue
        try:
            yield from below(
                workspace, inner, looks, depth=depth - 1, hidden=hidden, without=without, prefix=f"{path}/"
            )
        finally:
            os.close(inner)
