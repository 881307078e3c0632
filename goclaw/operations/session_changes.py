"""Changing conversations: rename, reset, delete, compact, truncate, take along.

Contract: edge-websocket.md §7.4, edge-http.md §8, sessions-lanes-cron.md §2.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from goclaw.domain.access import Role
from goclaw.domain.address import session
from goclaw.domain.errors import Rejected, invalid, not_found
from goclaw.domain.queue_policy import QueueMode
from goclaw.domain.session_change import (
    Compacted,
    CompactSession,
    DeleteSession,
    PatchSession,
    ResetSession,
    TruncateSession,
)
from goclaw.operations.context import Context
from goclaw.operations.operation import Cli, Http, Rpc, operation
from goclaw.operations.sessions import Session, row_for_socket, session_of, session_seen
from goclaw.operations.turns import checked_key
from goclaw.runtime.message import Message
from goclaw.stores import session_changes

R = TypeVar("R")
ASK = 10.0  # seconds a session has for an answer
SUMMARY = 400.0  # seconds a summary may take: three tries of 120 (agent-loop.md §13.3)
BULK = 100  # keys at once
PAGE = 1_000  # rows of an export
PAGE_BYTES = 512 * 1024  # of their texts, as in a page of history
METADATA_BYTES = 16 * 1024

Text = Annotated[str, Meta(max_length=500)]


class ChangedSession(Struct, kw_only=True):
    ok: bool = True
    key: str
    session: Session


def for_socket(changed: ChangedSession) -> dict[str, Any]:
    return {"ok": True, "key": changed.key, "session": row_for_socket(changed.session)}


class ChangeSession(Struct, kw_only=True):
    """What is absent stays, null clears."""

    ALIASES: ClassVar = {"session_key": "key"}

    key: str
    label: Text | UnsetType | None = UNSET
    model: Annotated[str, Meta(max_length=200)] | UnsetType | None = UNSET
    metadata: dict[str, Any] | UnsetType | None = UNSET
    queue_mode: QueueMode | UnsetType | None = UNSET


class SessionName(Struct, kw_only=True):
    ALIASES: ClassVar = {"session_key": "key"}

    key: str


class Done(Struct, kw_only=True):
    ok: bool = True
    status: str


def ok(_done: Any) -> dict[str, bool]:
    return {"ok": True}


def status(done: Done) -> dict[str, str]:
    return {"status": done.status}


@operation(
    Rpc("sessions.patch", Role.OPERATOR, reply=for_socket),
    Http("PATCH /v1/sessions/{key}", Role.OPERATOR, reply=lambda changed: changed.session),
    Cli("sessions patch"),
)
async def patch(ctx: Context, ask: ChangeSession) -> ChangedSession:
    """Rename a conversation, choose its model, its queue mode, its metadata."""
    change = {name: getattr(ask, name) for name in ("label", "model", "metadata", "queue_mode")}
    given = {name: value for name, value in change.items() if value is not UNSET}
    if ask.metadata and len(msgspec.json.encode(ask.metadata)) > METADATA_BYTES:
        raise Rejected(invalid("metadata", f"at most {METADATA_BYTES} bytes"))
    message = PatchSession(
        user_id=ctx.user_id, as_admin=ctx.caller.is_admin, change=msgspec.Raw(msgspec.json.encode(given))
    )
    await ask_session(ctx, ask.key, message)
    return ChangedSession(key=ask.key, session=await _row(ctx, ask.key))


@operation(
    Rpc("sessions.reset", Role.OPERATOR, reply=ok),
    Http("POST /v1/sessions/{key}/reset", Role.OPERATOR, reply=status),
    Cli("sessions reset"),
)
async def reset(ctx: Context, ask: SessionName) -> Done:
    """Begin a conversation anew: its history is archived, what works and waits is cancelled."""
    message = ResetSession(user_id=ctx.user_id, as_admin=ctx.caller.is_admin, received_at=ctx.received_at)
    await ask_session(ctx, ask.key, message)
    return Done(status="reset")


@operation(
    Rpc("sessions.delete", Role.OPERATOR, reply=ok),
    Http("DELETE /v1/sessions/{key}", Role.OPERATOR, reply=status),
    Cli("sessions delete"),
)
async def delete(ctx: Context, ask: SessionName) -> Done:
    """Delete a conversation and all it ever held. What works and waits is cancelled first."""
    await ask_session(ctx, ask.key, DeleteSession(user_id=ctx.user_id, as_admin=ctx.caller.is_admin))
    return Done(status="deleted")


class SessionNames(Struct, kw_only=True):
    keys: Annotated[list[str], Meta(min_length=1, max_length=BULK)]


class Deleted(Struct, kw_only=True):
    ok: bool = True
    count: int


@operation(Rpc("sessions.delete-bulk", Role.OPERATOR))
async def delete_bulk(ctx: Context, ask: SessionNames) -> Deleted:
    """Delete several conversations of the web chat. If one of them is not yours, none is deleted."""
    keys = list(dict.fromkeys(ask.keys))
    for key in keys:
        if checked_key(key).kind != "ws":
            raise Rejected(invalid("keys", f"only sessions of the web chat: {key[:200]}"))
        await _seen(ctx, key)
    for key in keys:
        await ask_session(ctx, key, DeleteSession(user_id=ctx.user_id, as_admin=ctx.caller.is_admin))
    return Deleted(count=len(keys))


class Shorten(Struct, kw_only=True):
    ALIASES: ClassVar = {"session_key": "key", "keep": "keep_last"}

    key: str
    keep_last: Annotated[int, Meta(ge=1, le=1_000)] = 4


class Shortened(Struct, kw_only=True):
    ok: bool = True
    before: int
    after: int
    skipped: bool


@operation(
    Rpc("sessions.compact", Role.OPERATOR),
    Http("POST /v1/sessions/{key}/compact", Role.OPERATOR),
    Cli("sessions compact"),
)
async def compact(ctx: Context, ask: Shorten) -> Shortened:
    """Put a summary in the place of older messages. Skipped below six messages."""
    message = CompactSession(user_id=ctx.user_id, as_admin=ctx.caller.is_admin, keep=ask.keep_last)
    return _shortened(await ask_session(ctx, ask.key, message, within=SUMMARY))


@operation(
    Rpc("sessions.truncate", Role.OPERATOR),
    Http("POST /v1/sessions/{key}/truncate", Role.OPERATOR),
    Cli("sessions truncate"),
)
async def truncate(ctx: Context, ask: Shorten) -> Shortened:
    """Archive all but the last messages, without a summary."""
    message = TruncateSession(user_id=ctx.user_id, as_admin=ctx.caller.is_admin, keep=ask.keep_last)
    return _shortened(await ask_session(ctx, ask.key, message))


class Export(Struct, kw_only=True):
    ALIASES: ClassVar = {"session_key": "key"}

    key: str
    after: Annotated[int, Meta(ge=0, description="seq of the last row of the page before")] = 0
    limit: Annotated[int, Meta(ge=1)] = PAGE


class JournalRow(Struct, kw_only=True):
    """A row of the journal as stored: a message, or a marker of a change (data-model.md §8)."""

    id: str
    seq: int
    role: str
    content: str
    payload: dict[str, Any]
    run_id: str | None
    generation: int
    hidden: bool
    archived_at: datetime | None
    created_at: datetime


class Exported(Struct, kw_only=True):
    session: Session
    summary: str
    messages: list[JournalRow]
    next_after: int | None


@operation(
    Rpc("sessions.export", Role.VIEWER), Http("GET /v1/sessions/{key}/export", Role.VIEWER), Cli("sessions export")
)
async def export(ctx: Context, ask: Export) -> Exported:
    """The whole journal of a conversation, archive included, in pages; `next_after` leads to the next one."""
    await _seen(ctx, ask.key)
    limit = min(ask.limit, PAGE)
    tenant = ctx.caller.tenant_id
    rows = await ctx.db(session_changes.export, tenant=tenant, key=ask.key, after=ask.after, limit=limit)
    page: list[JournalRow] = []
    room = PAGE_BYTES
    for row in rows:
        shown = JournalRow(**{name: getattr(row, name) for name in JournalRow.__struct_fields__})
        room -= len(msgspec.json.encode(shown))
        if room < 0 and page:
            break
        page.append(shown)
    more = len(page) < len(rows) or len(rows) == limit
    return Exported(
        session=await _row(ctx, ask.key),
        summary=await ctx.db(session_changes.summary, tenant=tenant, key=ask.key),
        messages=page,
        next_after=page[-1].seq if more and page else None,
    )


async def ask_session(ctx: Context, key: str, message: Message[R], within: float = ASK) -> R:
    return await ctx.ask(session(ctx.caller.tenant_id, str(checked_key(key))), message, within=within)


async def _seen(ctx: Context, key: str) -> None:
    if await session_seen(ctx, key) is None:
        raise Rejected(not_found("session", key))


async def _row(ctx: Context, key: str) -> Session:
    row = await ctx.db(session_changes.row, tenant=ctx.caller.tenant_id, key=key)
    if row is None:
        raise Rejected(not_found("session", key))
    return session_of(row)


def _shortened(done: Compacted) -> Shortened:
    return Shortened(before=done.before, after=done.after, skipped=done.skipped)
