"""Find files of the workspace by name. Contract: tools.md §10."""

from __future__ import annotations

import heapq
import re
from itertools import repeat
from typing import Annotated

from msgspec import Meta, Struct

from goclaw.tools.fs.patterns import matcher
from goclaw.tools.fs.refusals import reading
from goclaw.tools.fs.tree import LOOKED_AT, below
from goclaw.tools.tool import Effect, ToolContext, ToolFailed, tool

NAMES_HIDDEN = re.compile(r"(^|[/{,])\.")  # a name in the pattern begins with a dot


class Glob(Struct):
    pattern: Annotated[str, Meta(min_length=1, max_length=500, description="such as **/*.{py,md}; relative to path")]
    path: Annotated[str, Meta(min_length=1, max_length=4096, description="a directory of the workspace")] | None = None
    limit: Annotated[int, Meta(ge=1, le=5000)] = 500


@tool(group="fs", effect=Effect.PURE, parallel=True)
async def glob(ctx: ToolContext, ask: Glob) -> str:
    """Find files whose path matches a pattern, the newest first."""
    path = ask.path or "."
    with reading(f"directory {path}"):
        found = await ctx.thread(_found, ctx, path, ask.pattern)
    newest = [name for _, name in heapq.nsmallest(ask.limit, found)]
    more = [f"… {len(found) - len(newest)} more"] if len(found) > len(newest) else []
    return "\n".join([*newest, *more]) or f"nothing matches {ask.pattern}"


def _found(ctx: ToolContext, path: str, pattern: str) -> list[tuple[int, str]]:
    """Age and path of every file that matches."""
    try:
        matches = matcher(pattern)
    except ValueError as error:
        raise ToolFailed("invalid_args", str(error)) from None
    found = []
    with ctx.workspace.open(path, directory=True) as directory:
        hidden = bool(NAMES_HIDDEN.search(pattern))
        for each in below(ctx.workspace, directory, repeat(None, LOOKED_AT), hidden=hidden):
            if not each.is_dir and matches(each.path):
                try:
                    found.append((-each.entry.stat(follow_symlinks=False).st_mtime_ns, each.path))
                except OSError:  # it is gone
                    continue
    return found
