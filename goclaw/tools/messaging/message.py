"""A message to a chat, which may be another than the run's. Contract: tools.md §10."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import structlog
from msgspec import Meta, Struct

from goclaw.domain.session import KeyKind, parse_key
from goclaw.tools.methods import Methods
from goclaw.tools.tool import Effect, ToolContext, ToolFailed, tool

FREE: frozenset[KeyKind] = frozenset({"cron", "heartbeat", "subagent", "team", "delegate"})  # nobody reads along there
MEDIA = "MEDIA:"

log = structlog.get_logger()


class Message(Struct):
    action: Literal["send", "edit", "react", "delete"]
    channel: Annotated[str, Meta(max_length=100, description="that of this chat if absent")] | None = None
    target: Annotated[str, Meta(max_length=255, description="a chat there; this one if absent")] | None = None
    message: Annotated[str, Meta(max_length=32_000)] | None = None
    message_id: Annotated[str, Meta(max_length=100)] | None = None
    emoji: Annotated[str, Meta(max_length=16)] | None = None
    forward: Annotated[bool, Meta(description="yes, to another chat than this one")] = False
    forward_reason: Annotated[str, Meta(max_length=500, description="why; shown in this chat")] | None = None


@tool(group="messaging", effect=Effect.KEYED)
async def message(ctx: ToolContext, ask: Message, methods: Methods) -> str:
    """Send a message to another chat. What you answer here is delivered here by itself, so do not send that.

    Out of a conversation with people, another chat needs `forward` and a `forward_reason`, which they are shown.
    """
    channel, target = ask.channel or ctx.asker.channel, ask.target or ("" if ask.channel else ctx.asker.chat_id)
    if ask.action != "send":
        raise ToolFailed("unsupported", f"no channel here can {ask.action} messages; send another one")
    text = (ask.message or "").strip()
    if not text:
        raise ToolFailed("invalid_args", "message is missing: what shall be sent?")
    own = {("", ""), (ctx.asker.channel, ""), (ctx.asker.channel, ctx.asker.chat_id)}
    if (channel, target) in own or channel in ("ws", "http", "cli"):
        raise ToolFailed("conflict", "this is your own chat; your reply is delivered automatically")
    if not target:
        raise ToolFailed("invalid_args", f"target is missing: which chat of {channel}?")
    if text.startswith(MEDIA):
        raise ToolFailed("unsupported", "no channel here takes files")
    reason = " ".join((ask.forward_reason or "").split())
    crossing = _watched(ctx)
    if crossing and not (ask.forward and reason):
        raise ToolFailed(
            "denied_policy",
            f"{channel}:{target} is another chat than this one; set forward=true and a forward_reason, which is "
            "shown here",
        )
    await methods.call(ctx.asker, "send", {"channel": channel, "to": target, "message": text}, key=ctx.key)
    if crossing:
        await _notice(ctx, methods, f"[A message was sent to {channel}:{target}. Reason: {reason}]")
        asker = {"agent": ctx.asker.agent_key, "user": ctx.asker.user_id, "session": ctx.asker.session_key}
        log.warning("message.cross_target_forward", channel=channel, target=target, reason=reason, **asker)
    return msgspec.json.encode({"status": "sent", "channel": channel, "target": target}).decode()


def _watched(ctx: ToolContext) -> bool:
    """People talk here, and must know what leaves. A session nobody can name is one of them."""
    try:
        return parse_key(ctx.asker.session_key).kind not in FREE
    except ValueError:
        return True


async def _notice(ctx: ToolContext, methods: Methods, text: str) -> None:
    """Where the request came from: its chat, or the conversation itself where there is no platform."""
    if ctx.asker.channel:
        chat = {"channel": ctx.asker.channel, "to": ctx.asker.chat_id, "message": text}
        await methods.call(ctx.asker, "send", chat, key=f"{ctx.key}:notice")
    else:
        params = {"sessionKey": ctx.asker.session_key, "message": text, "role": "system", "label": "forward"}
        await methods.call(ctx.asker, "chat.inject", params, key=f"{ctx.key}:notice")
