"""A message to a chat, which may be another than the run's. Contract: tools.md §10."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import structlog
from msgspec import Meta, Struct
from msgspec.structs import replace

from goclaw.domain.delivery import Parcel
from goclaw.domain.session import KeyKind, parse_key
from goclaw.tools.fs.delivery import checked, deliverable
from goclaw.tools.fs.refusals import reading
from goclaw.tools.ledger import Media
from goclaw.tools.messaging.platforms import Platforms
from goclaw.tools.methods import Methods
from goclaw.tools.tool import Answer, Effect, ToolContext, ToolFailed, tool

FREE: frozenset[KeyKind] = frozenset({"cron", "heartbeat", "subagent", "team", "delegate"})  # nobody reads along there
HERE = ("ws", "http", "cli")  # channels whose chat is the run's own
MEDIA = "MEDIA:"
DONE = {"send": "sent", "edit": "edited", "react": "reacted", "delete": "deleted"}

log = structlog.get_logger()


class Message(Struct):
    action: Literal["send", "edit", "react", "delete"]
    channel: Annotated[str, Meta(max_length=100, description="that of this chat if absent")] | None = None
    target: Annotated[str, Meta(max_length=255, description="a chat there; this one if absent")] | None = None
    message: Annotated[str, Meta(max_length=32_000, description="a line MEDIA:<path> sends a file")] | None = None
    message_id: Annotated[str, Meta(max_length=100, description="which one to edit, react to or delete")] | None = None
    emoji: Annotated[str, Meta(max_length=16)] | None = None
    forward: Annotated[bool, Meta(description="yes, to another chat than this one")] = False
    forward_reason: Annotated[str, Meta(max_length=500, description="why; shown in this chat")] | None = None


class Where(Struct, frozen=True):
    channel: str
    target: str
    own: bool  # the chat the run answers


@tool(group="messaging", effect=Effect.KEYED)
async def message(ctx: ToolContext, ask: Message, methods: Methods, platforms: Platforms) -> str | Answer:
    """Send a message to another chat, or edit, delete or react to one. What you answer here is delivered here by
    itself, so do not send that.

    Out of a conversation with people, another chat needs `forward` and a `forward_reason`, which they are shown.
    """
    to = _where(ctx, ask)
    _complete(ask)
    if ask.message:
        ask = replace(ask, message=await platforms.outgoing(ctx.asker, ask.message))
        _complete(ask)  # of what is left
    lines = (ask.message or "").splitlines()
    files = [line.strip().removeprefix(MEDIA).strip() for line in lines if line.strip().startswith(MEDIA)]
    text = "\n".join(line for line in lines if not line.strip().startswith(MEDIA)).strip()
    if to.own and ask.action == "send":
        return await _attached(ctx, to, text, files)
    if not to.target and not to.own:
        raise ToolFailed("invalid_args", f"target is missing: which chat of {to.channel}?")
    crossing = not to.own and _watched(ctx)
    reason = await platforms.outgoing(ctx.asker, " ".join((ask.forward_reason or "").split()))
    if crossing and not (ask.forward and reason):
        raise ToolFailed(
            "denied_policy",
            f"{to.channel}:{to.target} is another chat than this one; set forward=true and a forward_reason, which is "
            "shown here",
        )
    said = {"status": DONE[ask.action], "channel": to.channel, "target": to.target}
    if id := await _act(ctx, ask, to, text, files, methods, platforms):
        said["message_id"] = id
    if crossing:
        word = "to" if ask.action == "send" else "in"
        done = f"A message was {said['status']} {word} {to.channel}:{to.target}"
        await _notice(ctx, methods, f"[{done}. Reason: {reason}]")
        asker = {"agent": ctx.asker.agent_key, "user": ctx.asker.user_id, "session": ctx.asker.session_key}
        where = {"action": ask.action, "channel": to.channel, "target": to.target}
        log.warning("message.cross_target_forward", reason=reason, **where, **asker)
    return msgspec.json.encode(said).decode()


def _where(ctx: ToolContext, ask: Message) -> Where:
    channel, target = ask.channel or ctx.asker.channel, ask.target or ("" if ask.channel else ctx.asker.chat_id)
    here = {("", ""), (ctx.asker.channel, ""), (ctx.asker.channel, ctx.asker.chat_id)}
    own = (channel, target) in here or channel in HERE
    return Where(channel, ctx.asker.chat_id if own else target, own)


def _complete(ask: Message) -> None:
    """That an action has what it needs."""
    missing = {
        "send": [("message", ask.message)],
        "edit": [("message_id", ask.message_id), ("message", ask.message)],
        "react": [("message_id", ask.message_id), ("emoji", ask.emoji)],
        "delete": [("message_id", ask.message_id)],
    }[ask.action]
    for name, value in missing:
        if not (value or "").strip():
            raise ToolFailed("invalid_args", f"{name} is missing, and {ask.action} needs it")


async def _attached(ctx: ToolContext, to: Where, text: str, files: list[str]) -> Answer:
    """Files for the run's own chat go out with its answer, each once."""
    if text or not files:
        raise ToolFailed("conflict", "this is your own chat; your reply is delivered automatically")
    media: list[Media] = []
    for path in files:
        with reading(path):
            media += await ctx.thread(deliverable, ctx, path)
    if not media:
        raise ToolFailed("conflict", "this was delivered already, and is not sent again")
    said = {"status": "sent", "channel": to.channel, "target": to.target}
    return Answer(text=msgspec.json.encode(said).decode(), media=tuple(media))


async def _act(
    ctx: ToolContext, ask: Message, to: Where, text: str, files: list[str], methods: Methods, platforms: Platforms
) -> str:
    """Do it; the id of a message that is new."""
    chat = (ctx.asker, to.channel, to.target)
    id = ask.message_id or ""
    match ask.action:
        case "edit":
            await platforms.edit(*chat, id, ask.message or "")
        case "react":
            await platforms.react(*chat, id, (ask.emoji or "").strip())
        case "delete":
            await platforms.delete(*chat, id)
        case _ if files:
            return await platforms.send_files(*chat, text, await _parcels(ctx, files), key=ctx.key)
        case _:
            params = {"channel": to.channel, "to": to.target, "message": text}
            return str((await methods.call(ctx.asker, "send", params, key=ctx.key)).get("messageId", ""))
    return ""


async def _parcels(ctx: ToolContext, files: list[str]) -> list[Parcel]:
    """As they are now; whoever sends them looks again."""
    parcels = []
    for path in files:
        with reading(path):
            media = await ctx.thread(checked, ctx, path)
        root = str(ctx.workspace.root)
        parcels.append(Parcel(workspace=root, path=media.path, content_type=media.mime))
    return parcels


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
