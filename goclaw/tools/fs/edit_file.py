"""Replace a piece of a text. Contract: tools.md §9.2, §10."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from goclaw.tools.context_files import ContextFiles
from goclaw.tools.fs.difference import difference
from goclaw.tools.fs.outcome import WHOLE, content, mark, mark_at, settled
from goclaw.tools.fs.refusals import reading, writing
from goclaw.tools.tool import Answer, Effect, Settled, ToolContext, ToolFailed, tool

SNIFF = 8192  # bytes looked at for NULs


class EditFile(Struct):
    path: Annotated[str, Meta(min_length=1, max_length=4096, description="relative to the workspace")]
    old_string: Annotated[str, Meta(min_length=1, description="exactly as it stands in the file")]
    new_string: str
    replace_all: bool = False


async def _before(ctx: ToolContext, ask: EditFile, texts: ContextFiles) -> str:
    old = await _content(ctx, ask, texts)
    new, _ = await ctx.thread(_edited, ask, old)
    return f"{mark(old)} {mark(new)}"


async def _settle(ctx: ToolContext, ask: EditFile, before: str, texts: ContextFiles) -> Settled:
    name = ctx.workspace.relative(ask.path)
    kept = await texts.read(ctx, name) if name is not None else None
    now = mark(kept.text.encode()) if kept is not None else await ctx.thread(mark_at, ctx, ask.path)
    return settled(before, now, f"Edited {ask.path}")


@tool(group="fs", effect=Effect.LOCAL, before=_before, settle=_settle)
async def edit_file(ctx: ToolContext, ask: EditFile, texts: ContextFiles) -> Answer:
    """Replace a piece of a text file of the workspace by another."""
    old = await _content(ctx, ask, texts)
    new, many = await ctx.thread(_edited, ask, old)
    with writing(ask.path):
        name = ctx.workspace.relative(ask.path)
        stored = await texts.write(ctx, name, new.decode("utf-8", "replace")) if name is not None else None
        if stored is None:
            await texts.permit(ctx, ask.path if name is None else name)
            await ctx.thread(ctx.workspace.write, ask.path, new)
    said = f"Edited {ask.path} ({many} replacement{'s' if many > 1 else ''})"
    shown = await ctx.thread(difference, ask.path, old, _bytes(ask.old_string), _bytes(ask.new_string))
    return Answer(text=f"{said}\n{shown}", silent=True)


async def _content(ctx: ToolContext, ask: EditFile, texts: ContextFiles) -> bytes:
    with reading(ask.path):
        name = ctx.workspace.relative(ask.path)
        kept = await texts.read(ctx, name) if name is not None else None
        if kept is not None:
            return kept.text.encode() if kept.exists else b""
        data = await ctx.thread(content, ctx, ask.path)
        if data is None:
            raise FileNotFoundError
    if b"\0" in data[:SNIFF]:
        raise ToolFailed("unsupported", f"{ask.path} is a binary file")
    return data


def _edited(ask: EditFile, data: bytes) -> tuple[bytes, int]:
    """The new content, and how often something was replaced. Raises ToolFailed."""
    old, new = _bytes(ask.old_string), _bytes(ask.new_string)
    if old == new:
        raise ToolFailed("invalid_args", "old_string and new_string are the same")
    many = data.count(old)
    if many == 0:
        raise ToolFailed("not_found", f"old_string not found in {ask.path}; read it again, blanks and all")
    if many > 1 and not ask.replace_all:
        raise ToolFailed("conflict", f"found {many} times: use replace_all or a longer match")
    if len(data) + many * (len(new) - len(old)) > WHOLE:
        raise ToolFailed("too_large", f"{ask.path} would be larger than 10 MiB")
    return data.replace(old, new), many


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")
