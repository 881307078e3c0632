"""Write a file of the workspace, or one of the agent's texts. Contract: tools.md §9.2, §10."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from goclaw.tools.context_files import ContextFiles, Kept
from goclaw.tools.fs.delivery import deliverable, reaches
from goclaw.tools.fs.outcome import content, mark, mark_at, settled
from goclaw.tools.fs.refusals import writing
from goclaw.tools.tool import Answer, Effect, Settled, ToolContext, ToolFailed, tool

LARGEST = 5 * 1024 * 1024  # bytes; tools.md §10 with the next
BEFORE = 4_000  # characters of a text that is replaced


class WriteFile(Struct):
    path: Annotated[str, Meta(min_length=1, max_length=4096, description="relative to the workspace")]
    content: Annotated[str, Meta(max_length=LARGEST)]
    append: Annotated[bool, Meta(description="add to the end instead of replacing")] = False
    deliver: Annotated[bool, Meta(description="also send the file to the chat")] = False


async def _before(ctx: ToolContext, ask: WriteFile, texts: ContextFiles) -> str:
    data = _data(ask)
    with writing(ask.path):
        kept = await _kept(ctx, ask, texts)
        if kept is not None:
            old = kept.text.encode() if kept.exists else None
            return f"{mark(old)} {mark((old or b'') + data if ask.append else data)}"
        return await ctx.thread(_marks, ctx, ask, data)


def _marks(ctx: ToolContext, ask: WriteFile, data: bytes) -> str:
    if not ask.append:
        return f"{mark_at(ctx, ask.path)} {mark(data)}"
    try:
        old = content(ctx, ask.path)
    except ToolFailed:  # too large to know what it will be
        return f"{mark_at(ctx, ask.path)} "
    return f"{mark(old)} {mark((old or b'') + data)}"


async def _settle(ctx: ToolContext, ask: WriteFile, before: str, texts: ContextFiles) -> Settled:
    kept = await _kept(ctx, ask, texts)
    if kept is not None:
        now = mark(kept.text.encode() if kept.exists else None)
    else:
        now = await ctx.thread(mark_at, ctx, ask.path)
    return settled(before, now, _wrote(ask, _data(ask)))


@tool(group="fs", effect=Effect.LOCAL, before=_before, settle=_settle)
async def write_file(ctx: ToolContext, ask: WriteFile, texts: ContextFiles) -> Answer:
    """Write a text file of the workspace, or add to it; missing directories are made."""
    data = _data(ask)
    with writing(ask.path):
        name = ctx.workspace.relative(ask.path)
        kept = await _kept(ctx, ask, texts) if ask.append else None
        text = f"{kept.text}{ask.content}" if kept is not None and kept.exists else ask.content
        stored = await texts.write(ctx, name, text) if name is not None else None
        if stored is not None:
            return Answer(text=_wrote(ask, data) + _replaced(stored.before))
        await texts.permit(ctx, ask.path if name is None else name)
        await ctx.thread(ctx.workspace.append if ask.append else ctx.workspace.write, ask.path, data)
        if not ask.deliver:
            return Answer(text=_wrote(ask, data))
        if not reaches(ctx):
            return Answer(text=f"{_wrote(ask, data)}\nIt was not delivered: nobody hears the end of this run.")
        return Answer(text=_wrote(ask, data), media=await ctx.thread(deliverable, ctx, ask.path))


def _data(ask: WriteFile) -> bytes:
    data = ask.content.encode("utf-8", "replace")
    if len(data) > LARGEST:
        raise ToolFailed("too_large", "a file is written with at most 5 MiB; write the rest with append")
    return data


async def _kept(ctx: ToolContext, ask: WriteFile, texts: ContextFiles) -> Kept | None:
    name = ctx.workspace.relative(ask.path)
    try:
        return await texts.read(ctx, name) if name is not None else None
    except ToolFailed as failure:
        if failure.code != "not_found":
            raise
        return Kept("", exists=False)


def _wrote(ask: WriteFile, data: bytes) -> str:
    return f"Wrote {len(data)} bytes to {ask.path}"


def _replaced(before: str) -> str:
    if not before:
        return ""
    cut = before if len(before) <= BEFORE else f"{before[:BEFORE]}…"
    return f"\nWarning: it held another text, which is replaced. It was:\n{cut}"
