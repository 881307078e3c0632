"""List a directory of the workspace. Contract: tools.md §10."""

from __future__ import annotations

from itertools import repeat
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from goclaw.tools.context_files import ContextFiles
from goclaw.tools.fs.refusals import reading
from goclaw.tools.fs.tree import LOOKED_AT, UNFIT, below
from goclaw.tools.tool import Effect, ToolContext, tool

DEEPEST = 10  # tools.md §10

Line = tuple[tuple[tuple[bool, bytes], ...], str]  # where it stands, and what it says


class ListFiles(Struct):
    path: Annotated[str, Meta(min_length=1, max_length=4096, description="relative to the workspace")] | None = None
    recursive: bool = False
    max_depth: Annotated[int, Meta(ge=1, le=10)] | UnsetType = UNSET
    limit: Annotated[int, Meta(ge=1, le=5000)] = 1000
    show_hidden: bool = False


@tool(group="fs", effect=Effect.PURE, parallel=True)
async def list_files(ctx: ToolContext, ask: ListFiles, texts: ContextFiles) -> str:
    """List a directory of the workspace: one line per entry, directories first."""
    path = ask.path or "."
    with reading(f"directory {path}"):
        at = ctx.workspace.relative(path)
        kept = await texts.listed(ctx, at) if at is not None else ()
        try:
            found = await ctx.thread(_on_disk, ctx, path, ask)
        except (FileNotFoundError, NotADirectoryError):
            if not kept:
                raise
            found = []
    prefix = len(at) + 1 if at else 0
    found += [line for path, size in kept for line in _lines_of(path[prefix:], size, ask)]
    lines = [line for _, line in sorted(dict(found).items())]  # of a text and a file with one name, the text
    shown = lines[: ask.limit]
    if len(lines) > ask.limit:
        shown.append(f"… {len(lines) - ask.limit} more")
    return "\n".join(shown) or "(empty)"


def _depth(ask: ListFiles) -> int:
    return (ask.max_depth or DEEPEST) if ask.recursive else 1


def _on_disk(ctx: ToolContext, path: str, ask: ListFiles) -> list[Line]:
    lines: list[Line] = []
    depth = _depth(ask)
    with ctx.workspace.open(path, directory=True) as directory:
        for found in below(ctx.workspace, directory, repeat(None, LOOKED_AT), depth=depth, hidden=ask.show_hidden):
            try:
                size = 0 if found.is_dir else found.entry.stat(follow_symlinks=False).st_size
            except OSError:  # it is gone
                continue
            lines.append(_line(found.path, size, is_dir=found.is_dir))
    return lines


def _lines_of(path: str, size: int, ask: ListFiles) -> list[Line]:
    """A text that is no file, and the directories it seems to lie in, as deep as is asked for."""
    steps = path.split("/")
    if not ask.show_hidden and any(step.startswith(".") for step in steps):
        return []
    depth = _depth(ask)
    above = [_line("/".join(steps[:end]), 0, is_dir=True) for end in range(1, min(len(steps), depth + 1))]
    return above if len(steps) > depth else [*above, _line(path, size, is_dir=False)]


def _line(path: str, size: int, *, is_dir: bool) -> Line:
    path = UNFIT.sub("\ufffd", path)
    *above, name = (step.encode() for step in path.split("/"))
    place = (*((False, step) for step in above), (not is_dir, name))
    return place, f"[DIR] {path}/" if is_dir else f"[FILE] {path} ({size})"
