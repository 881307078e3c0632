"""Conversations: list them, look into one. Contract: edge-websocket.md §7.4, edge-http.md §8, wire-compat.md E2, E3."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import asdict

from goclaw.domain.access import Role
from goclaw.domain.errors import Rejected, not_found
from goclaw.domain.media import references
from goclaw.domain.run import SentFile
from goclaw.operations.context import Context
from goclaw.operations.operation import Cli, Http, Rpc, operation
from goclaw.operations.turns import checked_key
from goclaw.security.receipts import unreceipted
from goclaw.stores import runs, session_changes, sessions
from goclaw.stores.runs import OpenRun
from goclaw.stores.sessions import ListedSession, MessageRow, SessionRow, Wanted

WHOLE = 1_000  # rows of a list nobody pages; edge-websocket.md §7.4
MOST = 200  # rows of a page
PAGE_BYTES = 512 * 1024  # of its messages; client libraries take frames of 1 MiB unless told otherwise
CALL = ("id", "name", "arguments")  # what clients see of a call; wire-compat.md E3


class Message(Struct, omit_defaults=True, kw_only=True):
    """E-Message (wire-compat.md E3): `content` is always text."""

    id: str
    role: str
    content: str
    created_at: datetime
    thinking: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None
    tool_name: str | None = None
    is_error: bool | None = None
    cancelled: bool | None = None
    run_id: str | None = None
    media_refs: list[dict[str, Any]] | None = None
    pending: bool | None = None  # said, and not answered yet


class Session(Struct, kw_only=True):
    """E-Session of the HTTP surface."""

    key: str
    session_key: str
    agent_id: str | None
    agent_key: str
    user_id: str
    channel: str | None
    label: str | None
    model: str | None
    provider: str | None
    message_count: int
    input_tokens: int
    output_tokens: int
    compaction_count: int
    is_running: bool
    queued: int
    spawned_by: str | None
    spawn_depth: int
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class SessionPage(Struct, kw_only=True):
    sessions: list[Session]
    total: int
    limit: int
    offset: int


class ListSessions(Struct, kw_only=True):
    agent_id: str | None = None
    channel: str | None = None
    user_id: str | None = None
    search: Annotated[str, Meta(max_length=200)] | None = None
    limit: Annotated[int, Meta(ge=1)] | None = None
    offset: Annotated[int, Meta(ge=0, le=1_000_000_000)] | None = None


def row_for_socket(row: Session) -> dict[str, Any]:
    """SessionRow of the socket is camelCase, with `userID` as deployed clients read it."""
    return {
        "key": row.key,
        "messageCount": row.message_count,
        "created": row.created_at,
        "updated": row.updated_at,
        "label": row.label,
        "model": row.model,
        "provider": row.provider,
        "channel": row.channel,
        "userID": row.user_id,
        "userId": row.user_id,
        "metadata": row.metadata,
        "inputTokens": row.input_tokens,
        "outputTokens": row.output_tokens,
        "compactionCount": row.compaction_count,
        "agentName": row.agent_key,
        "isRunning": row.is_running,
        "queued": row.queued,
    }


def rows_for_socket(page: SessionPage) -> dict[str, Any]:
    rows = [row_for_socket(row) for row in page.sessions]
    return {"sessions": rows, "total": page.total, "limit": page.limit, "offset": page.offset}


@operation(
    Rpc("sessions.list", Role.VIEWER, reply=rows_for_socket),
    Http("GET /v1/sessions", Role.VIEWER),
    Cli("sessions list"),
)
async def list_sessions(ctx: Context, ask: ListSessions) -> SessionPage:
    """List conversations, last touched first. Without limit and offset up to 1,000 of them."""
    paged = ask.limit is not None or ask.offset is not None
    limit = min(ask.limit or 20, MOST) if paged else WHOLE
    offset = ask.offset or 0
    wanted = Wanted(
        tenant=ctx.caller.tenant_id,
        user=ask.user_id if ctx.caller.is_admin else ctx.user_id,
        agent=ask.agent_id,
        channel=ask.channel,
        search=ask.search,
    )
    rows = await ctx.db(sessions.page, wanted, limit=limit, offset=offset)
    total = rows[0].total if rows else 0
    if offset and not rows:
        total = await ctx.db(sessions.total, wanted)  # no row past the end carries it
    return SessionPage(sessions=[session_of(row) for row in rows], total=total, limit=limit, offset=offset)


class GetSession(Struct, kw_only=True):
    ALIASES: ClassVar = {"session_key": "key"}

    key: str
    limit: Annotated[int, Meta(ge=1)] = 200


class Preview(Struct, kw_only=True):
    session: Session
    messages: list[Message]
    summary: str


def preview_for_socket(preview: Preview) -> dict[str, Any]:
    return {"key": preview.session.key, "messages": preview.messages, "summary": preview.summary}


def preview_for_http(preview: Preview) -> dict[str, Any]:
    """E-Session with its messages."""
    return {**asdict(preview.session), "messages": preview.messages, "summary": preview.summary}


@operation(
    Rpc("sessions.preview", Role.VIEWER, reply=preview_for_socket),
    Http("GET /v1/sessions/{key}", Role.VIEWER, reply=preview_for_http),
    Http("POST /v1/sessions/{key}/preview", Role.VIEWER, reply=preview_for_http),
    Cli("sessions preview"),
)
async def preview(ctx: Context, ask: GetSession) -> Preview:
    """Look into a conversation: its newest messages."""
    await session_seen(ctx, ask.key)
    row = await ctx.db(session_changes.row, tenant=ctx.caller.tenant_id, key=ask.key)
    if row is None:
        raise Rejected(not_found("session", ask.key))
    messages, _ = await page_of_history(ctx, ask.key, limit=min(ask.limit, MOST), before=None, tools=True)
    return Preview(session=session_of(row), messages=messages, summary=row.summary or "")


async def session_seen(ctx: Context, key: str) -> SessionRow | None:
    """The session, None if nobody has spoken in it. Somebody else's is refused as not found (README R15)."""
    checked_key(key)
    row = await ctx.db(sessions.find, tenant=ctx.caller.tenant_id, key=key)
    if row is not None and not ctx.caller.is_admin and row.user_id != ctx.user_id:
        raise Rejected(not_found("session", key))
    return row


async def page_of_history(
    ctx: Context, key: str, *, limit: int, before: str | None, tools: bool
) -> tuple[list[Message], bool]:
    """The newest messages, oldest of them first, then what was said and waits for an answer; and if there is more.

    There are fewer than `limit` when they are longer than `PAGE_BYTES` together.
    """
    tenant = ctx.caller.tenant_id
    open_runs = [] if before else await ctx.db(runs.open_runs, tenant=tenant, key=key)  # first: one may end meanwhile
    rows = await ctx.db(sessions.history, tenant=tenant, key=key, limit=limit + 1, before=before)
    answered = {row.run_id for row in rows}
    has_more = len(rows) > limit
    linked = partial(references, links=ctx.house.links, now=ctx.now().timestamp())
    messages = [message_of(row, linked) for row in rows[-limit:] if tools or row.role != "tool"]
    fit = fitting(messages)
    has_more, messages = has_more or fit < len(messages), messages[len(messages) - fit :]
    pending = [_pending(run) for run in open_runs if run.run_id not in answered]
    return messages + pending, has_more


def _pending(run: OpenRun) -> Message:
    return Message(
        id=run.run_id,
        role="user",
        content=run.request.message,
        created_at=run.created_at,
        run_id=run.run_id,
        pending=True,
    )


def fitting(messages: Sequence[Message]) -> int:
    """How many of the newest fit into a page; the newest always does, or nobody could read past it."""
    size = 0
    for count, message in enumerate(reversed(messages)):
        size += len(msgspec.json.encode(message))
        if size > PAGE_BYTES and count > 0:
            return count
    return len(messages)


def _no_links(_files: Sequence[SentFile]) -> list[dict[str, Any]]:
    return []


def message_of(row: MessageRow, linked: Callable[[Sequence[SentFile]], list[dict[str, Any]]] = _no_links) -> Message:
    payload = row.payload
    files = msgspec.convert(payload.get("media", ()), tuple[SentFile, ...]) if row.role == "assistant" else ()
    return Message(
        id=row.id,
        role=row.role,
        content=unreceipted(row.content) if row.role == "tool" else row.content,
        created_at=row.created_at,
        thinking=payload.get("thinking"),
        tool_calls=[{name: call[name] for name in CALL} for call in payload.get("tool_calls", ())] or None,
        tool_call_id=payload.get("tool_call_id"),
        tool_name=payload.get("name"),
        is_error=payload.get("is_error"),
        cancelled=payload.get("cancelled"),
        media_refs=linked(files) or None,
        run_id=row.run_id,
    )


def session_of(row: ListedSession) -> Session:
    return Session(
        key=row.session_key,
        session_key=row.session_key,
        agent_id=row.agent_id,
        agent_key=row.agent_key,
        user_id=row.user_id,
        channel=row.channel,
        label=row.label,
        model=row.model,
        provider=row.provider,
        message_count=row.message_count,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        compaction_count=row.compaction_count,
        is_running=row.running > 0,
        queued=row.queued,
        spawned_by=row.spawned_by,
        spawn_depth=row.spawn_depth,
        metadata=row.metadata,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
