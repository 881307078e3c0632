"""Files of the workspace that go out with the answer. Blocking: for threads."""

from __future__ import annotations

import mimetypes
import os

from goclaw.tools.ledger import Media
from goclaw.tools.tool import ToolContext, ToolFailed

LARGEST = 50 * 1024 * 1024  # bytes, for channels that do not say; tools.md §10


def deliverable(ctx: ToolContext, path: str, caption: str = "") -> tuple[Media, ...]:
    """The file as it is to be sent; nothing if the run has sent it. Raises ToolFailed, PathRefused, OSError."""
    with ctx.workspace.open(path) as file:
        if os.fstat(file).st_size > LARGEST:
            raise ToolFailed("too_large", f"{path} is larger than 50 MiB and cannot be sent")
    name = ctx.workspace.relative(path) or path
    if name in ctx.delivered:
        return ()
    ctx.delivered.add(name)
    return (Media(path=name, mime=mimetypes.guess_type(name)[0] or "application/octet-stream", caption=caption),)
