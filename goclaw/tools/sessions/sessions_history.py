"""What was said in one of an agent's conversations. Contract: tools.md §10."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from goclaw.tools.methods import Methods
from goclaw.tools.sessions.own import PAGE, PAGES, missing, own_key
from goclaw.tools.tool import Answer, Effect, Source, ToolContext, ToolFailed, tool

NOW = "9999-01-01T00:00:00Z"  # behind everything that was said
Place = Annotated[int, Meta(ge=1, description="n of a message")]


class SessionsHistory(Struct):
    key: Annotated[str, Meta(max_length=512)]
    limit: Annotated[int, Meta(ge=1, le=200)] = 20
    before: Place | None = None
    after: Place | None = None
    around: Place | None = None
    role: Literal["user", "assistant", "tool", "system"] | None = None
    include_tools: bool = False


@tool(group="sessions", effect=Effect.PURE)
async def sessions_history(ctx: ToolContext, ask: SessionsHistory, methods: Methods) -> Answer:
    """Read one of your conversations, oldest message first: the newest, or those before, after or around one."""
    key = str(own_key(ctx, ask.key))
    if sum(place is not None for place in (ask.before, ask.after, ask.around)) > 1:
        raise ToolFailed("invalid_args", "only one of before, after and around")
    older = await _back(ctx, ask, key, methods)
    if ask.after is not None:
        shown = [message for message in older if message["n"] > ask.after][: ask.limit]
    elif ask.around is not None:
        place = sum(message["n"] < ask.around for message in older)
        first = max(0, min(place - ask.limit // 2, len(older) - ask.limit))
        shown = older[first : first + ask.limit]
    else:
        shown = older[-ask.limit :]
    return Answer(text=msgspec.json.encode(shown).decode(), source=Source("transcript", key))


async def _back(ctx: ToolContext, ask: SessionsHistory, key: str, methods: Methods) -> list[dict[str, Any]]:
    """As many messages as it takes, oldest first. Read from the end, because that is what is asked for most."""
    found: list[dict[str, Any]] = []
    before = ask.before
    until = ask.after if ask.after is not None else ask.around
    for _ in range(PAGES):
        params = {"key": key, "at": NOW, "limit": PAGE, **({} if before is None else {"before": before})}
        said = await methods.call(ctx.asker, "sessions.at", params)
        if not said.get("last_seq", said.get("lastSeq")):
            raise missing(key)
        messages = said["messages"]
        found = [_shown(each) for each in messages if _wanted(ask, each)] + found
        reached = min((each["seq"] for each in messages), default=0)
        margin = sum(message["n"] < until for message in found) if until is not None else len(found)
        enough = reached <= until if ask.after is not None and until is not None else margin >= ask.limit
        before = said.get("before")
        if enough or not messages or before is None:
            return found
    if ask.after is not None or ask.around is not None:
        raise ToolFailed("too_large", f"more than {PAGE * PAGES} messages came after that; use before, from the end")
    return found


def _wanted(ask: SessionsHistory, message: dict[str, Any]) -> bool:
    if ask.role is not None:
        return bool(message["role"] == ask.role)
    return ask.include_tools or (message["role"] != "tool" and bool(message["content"]))


def _shown(message: dict[str, Any]) -> dict[str, Any]:
    more = {"tool": message["tool_name"]} if message.get("tool_name") else {}
    return {
        "n": message["seq"],
        "role": message["role"],
        "content": message["content"],
        "at": message["created_at"],
        **more,
    }
