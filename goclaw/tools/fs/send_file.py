"""Send a file of the workspace to the chat. Contract: tools.md §10; delivered as security.md §12.2 has it."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from goclaw.tools.fs.delivery import deliverable, reaches
from goclaw.tools.fs.refusals import reading
from goclaw.tools.tool import Answer, Effect, ToolContext, ToolFailed, tool


class SendFile(Struct):
    path: Annotated[str, Meta(min_length=1, max_length=4096, description="relative to the workspace")]
    caption: Annotated[str, Meta(max_length=1024)] | None = None


@tool(group="fs", effect=Effect.PURE)  # it goes out with the answer, and once
async def send_file(ctx: ToolContext, ask: SendFile) -> Answer:
    """Send a file of the workspace to the chat, with the answer."""
    if not reaches(ctx):
        raise ToolFailed("unavailable", "nobody hears the end of this run; name the file in a message instead")
    with reading(ask.path):
        media = await ctx.thread(deliverable, ctx, ask.path, ask.caption or "")
    if not media:
        return _said({"status": "already_delivered"})
    said = {"status": "sent", "media": media[0].path.rpartition("/")[2]}
    return msgspec.structs.replace(_said(said), media=media)


def _said(status: dict[str, str]) -> Answer:
    return Answer(text=msgspec.json.encode(status).decode(), data=status)
