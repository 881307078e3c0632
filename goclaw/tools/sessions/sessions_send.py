"""Saying something in another of an agent's conversations. Contract: tools.md §10."""

from __future__ import annotations

from typing import Annotated

import msgspec
import trio
from msgspec import Meta, Struct

from goclaw.tools.methods import Methods
from goclaw.tools.sessions.own import own_key, row_of
from goclaw.tools.tool import Answer, Effect, Source, ToolContext, ToolFailed, tool

LONGEST = 600  # seconds


class SessionsSend(Struct):
    key: Annotated[str, Meta(max_length=512)]
    message: Annotated[str, Meta(min_length=1, max_length=32_000)]
    wait: Annotated[bool, Meta(description="for the reply")] = False
    timeout: Annotated[int, Meta(ge=1, le=LONGEST, description="seconds to wait")] = 120


@tool(group="sessions", effect=Effect.KEYED, timeout=LONGEST + 10)
async def sessions_send(ctx: ToolContext, ask: SessionsSend, methods: Methods) -> Answer:
    """Say something in another of your conversations, where you will answer it. With `wait` the reply comes back."""
    key = str(own_key(ctx, ask.key))
    if key == ctx.asker.session_key:
        raise ToolFailed("conflict", "this is the session you are in; just answer")
    await row_of(ctx, key, methods)
    text = f"[from your session {ctx.asker.session_key}]\n{ask.message}"  # nor is it one of the words people steer with
    params = {"sessionKey": key, "message": text, "async": not ask.wait, "idempotencyKey": ctx.key}
    try:
        with trio.fail_after(ask.timeout):
            said = await methods.call(ctx.asker, "chat.send", params, key=ctx.key)
    except trio.TooSlowError:
        told = f"no reply within {ask.timeout} s; it is stored and goes on, sessions_history will show it"
        raise ToolFailed("timeout", told) from None
    if not ask.wait or said.get("content") is None:
        return Answer(text=msgspec.json.encode({"status": "queued"}).decode())
    return Answer(text=said["content"], source=Source("transcript", key))
