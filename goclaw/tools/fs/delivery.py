"""Files of the workspace that go out with the answer. Blocking: for threads."""

from __future__ import annotations

import os

from goclaw.domain.run import RunKind
from goclaw.tools.ledger import Media, kind_of
from goclaw.tools.tool import ToolContext, ToolFailed

LARGEST = 50 * 1024 * 1024  # bytes, for channels that do not say; tools.md §10


HEARD: frozenset[RunKind] = frozenset({"chat", "channel", "http", "wake", "task"})  # whose asker gets the files


def reaches(ctx: ToolContext) -> bool:
    """Whether files of this run come to anybody: its channel, or who reads its end."""
    return bool(ctx.asker.channel) or ctx.run_kind in HEARD


def deliverable(ctx: ToolContext, path: str, caption: str = "") -> tuple[Media, ...]:
    """The file as it goes out with the answer; nothing if the run has sent it. Raises as `checked`."""
    media = checked(ctx, path, caption)
    if media.path in ctx.delivered:
        return ()
    ctx.delivered.add(media.path)
    return (media,)


def checked(ctx: ToolContext, path: str, caption: str = "") -> Media:
    """A file that may be sent. Raises ToolFailed, PathRefused, OSError."""
    with ctx.workspace.open(path) as file:
        if os.fstat(file).st_size > LARGEST:
            raise ToolFailed("too_large", f"{path} is larger than 50 MiB and cannot be sent")
    name = ctx.workspace.relative(path)
    if not name:
        raise ToolFailed("denied_path", f"only files of the workspace can be sent; copy {path} there first")
    return Media(path=name, mime=kind_of(name), caption=caption)
