"""What the files of a workspace declare, best matches first. Contract: tools.md §10."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta, Struct

from goclaw.tools.fs.maps import Map, Mapped, Maps
from goclaw.tools.fs.refusals import reading
from goclaw.tools.tool import Effect, ToolContext, tool

IN_PATH, IN_SYMBOL = 5, 3  # points; tools.md §10


class RepoMap(Struct):
    query: Annotated[str, Meta(max_length=200, description="part of a path or of a name")] | None = None
    max_results: Annotated[int, Meta(ge=1, le=200)] = 20
    refresh: Annotated[bool, Meta(description="look again; else as it was up to 10 minutes ago")] = False


@tool(group="fs", effect=Effect.PURE, parallel=True)
async def repo_map(ctx: ToolContext, ask: RepoMap, maps: Maps) -> str:
    """Show what the source files of the workspace declare: path, language, size and symbols, best matches first."""
    with reading("workspace"):
        found = await ctx.thread(lambda: maps.of(ctx.workspace, ctx.now().timestamp(), refresh=ask.refresh))
    best = ranked(found, ask.query or "")
    lines = [_line(one) for one in best[: ask.max_results]]
    built = datetime.fromtimestamp(found.built, UTC)
    cut = "" if found.whole else f"; there are more than {len(found.files)}"
    head = f"# built {built:%Y-%m-%d %H:%M:%S} UTC; {len(best)} of {len(found.files)} files{cut}"
    more = [f"… {len(best) - len(lines)} more"] if len(best) > len(lines) else []
    return "\n".join([head, *lines, *more])


def ranked(found: Map, query: str) -> list[Mapped]:
    """Files that match, best first, those of equal points by path; all of them without a query."""
    wanted = query.strip().casefold()
    if not wanted:
        return sorted(found.files, key=lambda one: one.path.encode())
    scored = [(_points(one, wanted), one) for one in found.files]
    best = [(points, one) for points, one in scored if points]
    return [one for _, one in sorted(best, key=lambda row: (-row[0], row[1].path.encode()))]


def _points(one: Mapped, wanted: str) -> int:
    symbols = sum(wanted in symbol.casefold() for symbol in one.symbols)
    return IN_PATH * (wanted in one.path.casefold()) + IN_SYMBOL * symbols


def _line(one: Mapped) -> str:
    return f"{one.path} [{one.language}, {one.size} bytes] {', '.join(one.symbols)}".rstrip()
