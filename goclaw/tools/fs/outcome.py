"""What became of a change to a file whose end nobody saw: its content is the old one, the new one, or another."""

from __future__ import annotations

import hashlib
import os

from goclaw.tools.tool import Settled, ToolContext, ToolFailed

WHOLE = 10 * 1024 * 1024  # bytes; what is larger is known by its size and time
GONE = "-"


def content(ctx: ToolContext, path: str) -> bytes | None:
    """What a file holds, None if there is none. Raises ToolFailed `too_large` beyond 10 MiB, PathRefused, OSError."""
    try:
        with ctx.workspace.open(path) as file, open(file, "rb", closefd=False) as stream:
            data = stream.read(WHOLE + 1)
    except FileNotFoundError:
        return None
    if len(data) > WHOLE:
        raise ToolFailed("too_large", f"{path} is larger than 10 MiB")
    return data


def mark(data: bytes | None) -> str:
    return GONE if data is None else hashlib.sha256(data).hexdigest()


def mark_at(ctx: ToolContext, path: str) -> str:
    """The mark of what a file holds now; of a large one, its size and time."""
    try:
        return mark(content(ctx, path))
    except ToolFailed:
        with ctx.workspace.open(path) as file:
            found = os.fstat(file)
            return f"{found.st_size}.{found.st_mtime_ns}"


def settled(before: str, now: str, text: str) -> Settled:
    """`before` holds the marks of the old content and of the new one."""
    old, _, new = before.partition(" ")
    if now == new:
        return Settled(done=True, text=text)
    return Settled(done=False if now == old else None)
