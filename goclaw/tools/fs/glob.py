"""Find files of the workspace by name. Contract: tools.md §10."""

from __future__ import annotations

import heapq
from itertools import repeat
from typing import Annotated

from msgspec import Meta, Struct

from goclaw.tools.fs.patterns import matcher
from goclaw.tools.fs.refusals import reading
from goclaw.tools.fs.tree import LOOKED_AT, below
from goclaw.tools.tool import Effect, ToolContext, ToolFailed, tool


class Glob(Struct):
    pattern: Annotated[str, Meta(min_length=1, max_length=500, description="such as **/*.{py,md}; relative to path")]
    path: Annotated[str, Meta(min_length=1, max_length=4096, description="a directory of the workspace")] = "."
    limit: Annotated[int, Meta(ge=1, le=5000)] = 500


@tool(group="fs", effect=Effect.PURE, parallel=True)
async def glob(ctx: ToolContext, ask: Glob) -> str:
    """Find files and directories whose path matches a pattern, the newest first."""
    with reading(f"directory {ask.path}"):
        found = await ctx.thread(_found, ctx, ask)
    newest = [path for _, path in heapq.nsmallest(ask.limit, found)]
    more = [f"… {len(found) - len(newest)} more"] if len(found) > len(newest) else []
    return "\n".join([*newest, *more]) or f"nothing matches {ask.pattern}"


def _found(ctx: ToolContext, ask: Glob) -> list[tuple[int, str]]:
    """Age and path of everything that matches."""
    try:
        matches = matcher(ask.pattern)
    except ValueError as error:
        raise ToolFailed("invalid_args", str(error)) from None
    found = []
    with ctx.workspace.open(ask.path, directory=True) as directory:
        for each in below(ctx.workspace, directory, repeat(None, LOOKED_AT), hidden=True):
            if matches(each.path):
                try:
                    found.append((-each.entry.stat(follow_symlinks=False).st_mtime_ns, each.path))
                except OSError:  # it is gone
                    continue
    return found
