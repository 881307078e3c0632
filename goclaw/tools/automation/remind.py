"""A reminder: one message at one time. Contract: tools.md §10."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta, Struct

from goclaw.domain.errors import Rejected
from goclaw.tools.methods import Methods
from goclaw.tools.tool import Effect, ToolContext, ToolFailed, tool

SPAN = re.compile(r"(?:in\s+)?(\d{1,6})\s*(s|m|h|d|w)[a-z]*", re.IGNORECASE)
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}  # seconds
SHAPES = "10m, 1h, 2d, or 2026-02-12 10:00"


class Remind(Struct):
    message: Annotated[str, Meta(min_length=1, max_length=2000)]
    time_expr: Annotated[str, Meta(max_length=64, description=SHAPES)]
    channel: Annotated[str, Meta(max_length=100, description="this chat if absent")] | None = None
    chat_id: Annotated[str, Meta(max_length=255)] | None = None


@tool(group="automation", effect=Effect.KEYED, not_in=("cron", "subagent"))
async def remind(ctx: ToolContext, ask: Remind, methods: Methods) -> str:
    """Remind this chat of something, once: after some time (10m, 1h, 2d) or at a time (2026-02-12 10:00)."""
    at = _moment(ctx, ask.time_expr.strip())
    if at <= ctx.now():
        raise ToolFailed("invalid_args", f"time_expr: {ask.time_expr} is over; now is {_here(ctx, ctx.now())}")
    chat: dict[str, Any] = {}
    channel, to = ask.channel or ctx.asker.channel, ask.chat_id or ("" if ask.channel else ctx.asker.chat_id)
    if channel and not to:
        raise ToolFailed("invalid_args", f"chat_id is missing: which chat of {channel}?")
    if channel:
        chat = {"deliver": True, "channel": channel, "to": to}
    job = {
        "name": f"reminder-{int(at.timestamp())}",
        "schedule": {"kind": "at", "atMs": int(at.timestamp() * 1000)},
        "message": f"Remind the user of this now, in his language: {ask.message}".replace("\t", " "),
        "stateless": False,
        "deleteAfterRun": True,
        **chat,
    }
    said = await _made(ctx, job, methods)
    return msgspec.json.encode({"jobId": said["job"]["id"], "at": _here(ctx, at)}).decode()


async def _made(ctx: ToolContext, job: dict[str, Any], methods: Methods) -> dict[str, Any]:
    name = job["name"]
    for number in range(2, 100):
        try:
            return await methods.call(ctx.asker, "cron.create", job, key=ctx.key)
        except Rejected as refusal:
            if refusal.err.code != "ALREADY_EXISTS":
                raise
        job["name"] = f"{name}-{number}"
    raise ToolFailed("conflict", "there are too many reminders at that time; choose another")


def _moment(ctx: ToolContext, text: str) -> datetime:
    if span := SPAN.fullmatch(text):
        return ctx.now() + timedelta(seconds=int(span[1]) * UNITS[span[2][0].lower()])
    try:
        given = datetime.fromisoformat(text)
        return (given if given.tzinfo else given.replace(tzinfo=_zone(ctx))).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ToolFailed("invalid_args", f"time_expr: {text!r} is not like {SHAPES}") from None


def _zone(ctx: ToolContext) -> Any:
    try:
        return ZoneInfo(ctx.timezone) if ctx.timezone else datetime.now().astimezone().tzinfo
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def _here(ctx: ToolContext, at: datetime) -> str:
    return at.astimezone(_zone(ctx)).isoformat(timespec="seconds")
