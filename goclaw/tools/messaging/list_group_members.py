"""Who is in a group. Contract: tools.md §10."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from goclaw.tools.messaging.platforms import Platforms
from goclaw.tools.tool import Answer, Effect, Source, ToolContext, tool


class ListGroupMembers(Struct):
    chat_id: Annotated[str, Meta(max_length=100, description="a group of this channel; this one if absent")] | None = (
        None
    )
    limit: Annotated[int, Meta(ge=1, le=500)] = 100


@tool(group="messaging", effect=Effect.PURE, ability="members")
async def list_group_members(ctx: ToolContext, ask: ListGroupMembers, platforms: Platforms) -> Answer:
    """List the members of a group: id and name of each."""
    chat = ask.chat_id or ctx.asker.chat_id
    found = await platforms.members(ctx.asker, ctx.asker.channel, chat, ask.limit)
    text = msgspec.json.encode(found).decode()
    return Answer(text=text, data=found, source=Source("chat group", chat))  # people choose their names
