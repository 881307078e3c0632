"""A topic of its own in a group that has them. Contract: tools.md §10."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from goclaw.tools.messaging.platforms import Platforms
from goclaw.tools.tool import Effect, ToolContext, tool


class CreateForumTopic(Struct):
    name: Annotated[str, Meta(min_length=1, max_length=128)]
    chat_id: Annotated[str, Meta(max_length=100, description="a group of this channel; this one if absent")] | None = (
        None
    )
    icon_color: Annotated[int, Meta(description="RGB as a number, one the platform knows")] | None = None


@tool(group="messaging", effect=Effect.UNSAFE, ability="topics")
async def create_forum_topic(ctx: ToolContext, ask: CreateForumTopic, platforms: Platforms) -> str:
    """Open a new topic in a group with topics, and return its id."""
    chat = ask.chat_id or ctx.asker.chat_id
    id = await platforms.open_topic(ctx.asker, ctx.asker.channel, chat, " ".join(ask.name.split()), ask.icon_color)
    return msgspec.json.encode({"topic_id": id}).decode()
