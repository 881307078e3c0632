"""Talking to an agent: send, history, abort, inject. Contract: edge-websocket.md §7.2."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from msgspec import Meta, Struct, field
from msgspec.structs import replace

from goclaw.domain.access import Role
from goclaw.domain.address import session
from goclaw.domain.errors import Rejected, required
from goclaw.domain.media import shown
from goclaw.domain.queue_policy import QueueMode
from goclaw.domain.run import RunRequest, RunResult
from goclaw.domain.session import Abort, Accepted, GetActivity, Inject, key_of
from goclaw.domain.usage import on_socket
from goclaw.operations.addressing import Aim, aimed, current
from goclaw.operations.chat_answers import answered_in_chat
from goclaw.operations.command_reply import CommandReply
from goclaw.operations.commands import run_command
from goclaw.operations.context import Context
from goclaw.operations.feed import listening
from goclaw.operations.operation import Rpc, operation
from goclaw.operations.sessions import Message, page_of_history, session_seen
from goclaw.operations.turns import checked_key, fresh_key, heard, resolve_agent, send
from goclaw.runtime.message import Message as RuntimeMessage
from goclaw.stores import runs, session_queue

R = TypeVar("R")
ASK = 10.0  # seconds a session has for an answer
STOP = "/stop"  # the oldest run; never shown to a model (edge-websocket.md §7.2.1)
STOP_ALL = "/stopall"


class SendChat(Struct, kw_only=True):
    ALIASES: ClassVar = {"session_id": "session_key"}

    message: Annotated[str, Meta(min_length=1)]
    agent_id: str | None = None
    session_key: str | None = None
    stream: bool = False
    queue_mode: QueueMode | Literal["inject"] | None = None
    run_async: bool = field(default=False, name="async")
    debounce_ms: Annotated[int, Meta(ge=0, le=10_000)] = 0
    idempotency_key: Annotated[str, Meta(max_length=200)] = ""
    max_cost_usd: Annotated[float, Meta(ge=0, le=1_000_000)] | None = None


class SentChat(Struct, rename="camel", omit_defaults=True, kw_only=True):
    run_id: str
    session_key: str
    content: str | None = None
    usage: dict[str, Any] | None = None
    media: list[Any] | None = None
    finish_reason: str | None = None
    cancelled: bool = False
    offline: bool = False
    status: str | None = None
    queued: int | None = None
    merged: bool = False
    into_run_id: str | None = None
    injected: bool = False


class AbortedChat(Struct, rename="camel", kw_only=True):
    ok: bool = True
    aborted: bool
    count: int
    run_ids: list[str]
    drained: int
    cancelled: bool


@operation(Rpc("chat.send", Role.OPERATOR))
async def send_chat(ctx: Context, ask: SendChat) -> SentChat | AbortedChat | CommandReply:
    """Say something to an agent. Answers when the run has ended, or at once with `async`."""
    if ask.message.lstrip().startswith("/") and (done := await _command(ctx, ask)) is not None:
        return done
    if ask.session_key and (done := await answered_in_chat(ctx, ask.message, checked_key(ask.session_key))) is not None:
        return done
    run_id = ctx.new_id()
    with listening(ctx.system, run_id, only_result=True) as feed:
        async with ctx.in_order(ask.session_key):
            aim = await aimed(ctx, ask.message, checked_key(ask.session_key) if ask.session_key else None, ask.agent_id)
            if isinstance(aim, CommandReply):
                return aim
            accepted = None if ask.debounce_ms else await _accept(ctx, ask, run_id, aim)
        if accepted is None:  # others of this session may not wait behind a window, they may belong into it
            accepted = await _accept(ctx, ask, run_id, aim)
        if accepted.injected:
            return SentChat(run_id=accepted.run_id, session_key=accepted.session_key, injected=True)
        into = {"merged": True, "into_run_id": accepted.run_id} if accepted.merged else {}
        if ask.run_async:
            sent = SentChat(
                run_id=accepted.run_id,
                session_key=accepted.session_key,
                status="accepted",
                queued=accepted.position,
            )
        elif accepted.run_id != run_id:
            sent = answer(ctx, await _first_time(ctx, accepted.run_id))
        else:
            sent = answer(ctx, await feed.result())
        return replace(sent, **into)


async def _command(ctx: Context, ask: SendChat) -> AbortedChat | CommandReply | None:
    """Control words overtake everything and are never shown to a model."""
    word = ask.message.strip().lower()
    if word in (STOP, STOP_ALL):
        if not ask.session_key:
            return _aborted((), 0)  # a conversation that has not begun
        return await _abort(ctx, await _current(ctx, ask.session_key), oldest=word == STOP, drain=word == STOP_ALL)
    return await run_command(ctx, ask.message, await _current(ctx, ask.session_key)) if ask.session_key else None


async def _current(ctx: Context, key: str) -> str:
    return str(await current(ctx, checked_key(key)))


async def _accept(ctx: Context, ask: SendChat, run_id: str, aim: Aim) -> Accepted:
    text, truncated = await heard(ctx, aim.text)
    agent, fresh = aim.agent, not ask.session_key
    return await send(
        ctx,
        run_id=run_id,
        agent=agent,
        key=aim.key or fresh_key(ctx, lambda: key_of(agent.key, "ws", "direct", str(uuid.uuid4()))),
        kind="chat",
        request=RunRequest(
            message=text,
            stream=ask.stream,
            truncated=truncated,
            mentioned=aim.named,
            max_cost_usd=None if ask.max_cost_usd is None else Decimal(str(ask.max_cost_usd)),
        ),
        fresh=fresh,
        idempotency_key=ask.idempotency_key,
        mode=ask.queue_mode,
        debounce_ms=ask.debounce_ms,
    )


async def _first_time(ctx: Context, run_id: str) -> RunResult:
    """The outcome of a turn that was sent before, waiting for it if it has none yet."""
    with listening(ctx.system, run_id, only_result=True) as feed:
        ended = await ctx.db(runs.result, tenant=ctx.caller.tenant_id, run_id=run_id)
        return ended if ended is not None else await feed.result()


def answer(ctx: Context, result: RunResult) -> SentChat:
    """The reply to chat.send. Raises `Rejected` when the run failed."""
    if result.error is not None:
        raise Rejected(result.error)
    return SentChat(
        run_id=result.run_id,
        session_key=result.session_key,
        content=result.content,
        usage=on_socket(result.usage, cost=result.cost_usd),
        media=shown(result.media, ctx.house.links, ctx.now().timestamp()),
        finish_reason=result.finish_reason,
        cancelled=result.cancelled,
        offline=result.offline,
    )


class AbortChat(Struct, kw_only=True):
    ALIASES: ClassVar = {"session_id": "session_key"}

    session_key: str | None = None
    run_id: str | None = None
    agent_id: str | None = None
    oldest: bool = False
    drain: bool = False


@operation(Rpc("chat.abort", Role.OPERATOR))
async def abort(ctx: Context, ask: AbortChat) -> AbortedChat:
    """Stop runs of a session. Nothing to stop is fine, and so is stopping twice."""
    key = ask.session_key
    if ask.run_id is not None:
        found = await ctx.db(runs.session_of, tenant=ctx.caller.tenant_id, run_id=ask.run_id)
        if found is None or key not in (None, found):
            return _aborted((), 0)
        key = found
    if key is None and ask.agent_id is not None:
        return await _abort_all(ctx, ask)
    if key is None:
        raise Rejected(required("session_key"))
    return await _abort(ctx, key, run_id=ask.run_id or "", oldest=ask.oldest, drain=ask.drain)


async def _abort_all(ctx: Context, ask: AbortChat) -> AbortedChat:
    """The caller's runs of one agent, in whichever sessions they are."""
    agent = await resolve_agent(ctx, ask.agent_id)
    sessions = await ctx.db(
        session_queue.busy_sessions, tenant=ctx.caller.tenant_id, user=ctx.user_id, agent_key=agent.key
    )
    stopped: list[str] = []
    drained = 0
    for key in sessions:
        done = await _abort(ctx, key, oldest=ask.oldest, drain=ask.drain)
        stopped += done.run_ids
        drained += done.drained
    return _aborted(tuple(stopped), drained)


async def _abort(ctx: Context, key: str, *, run_id: str = "", oldest: bool = False, drain: bool = False) -> AbortedChat:
    user, admin = ctx.user_id, ctx.caller.is_admin
    message = Abort(
        user_id=user, as_admin=admin, run_id=run_id, oldest=oldest, drain=drain, received_at=ctx.received_at
    )
    stopped = await _ask_session(ctx, key, message)
    return _aborted(stopped.run_ids, stopped.drained)


def _aborted(run_ids: tuple[str, ...], drained: int) -> AbortedChat:
    count = len(run_ids)
    return AbortedChat(aborted=count > 0, count=count, run_ids=list(run_ids), drained=drained, cancelled=count > 0)


class InjectChat(Struct, kw_only=True):
    ALIASES: ClassVar = {"session_id": "session_key", "content": "message", "text": "message"}

    session_key: str
    message: Annotated[str, Meta(min_length=1)]
    label: str = ""
    role: Literal["assistant", "system"] = "assistant"


class InjectedChat(Struct, rename="camel", kw_only=True):
    ok: bool = True
    message_id: str


@operation(Rpc("chat.inject", Role.OPERATOR))
async def inject(ctx: Context, ask: InjectChat) -> InjectedChat:
    """Put a text into a conversation without a run."""
    text, _ = await heard(ctx, ask.message)
    message = Inject(user_id=ctx.user_id, as_admin=ctx.caller.is_admin, role=ask.role, text=text, label=ask.label)
    return InjectedChat(message_id=(await _ask_session(ctx, ask.session_key, message)).message_id)


class GetHistory(Struct, kw_only=True):
    ALIASES: ClassVar = {"session_id": "session_key"}

    session_key: str
    limit: Annotated[int, Meta(ge=1)] = 200
    before_id: str | None = None
    include_tools: bool = True


class History(Struct, rename="camel", kw_only=True):
    session_key: str
    messages: list[Message]
    summary: str
    has_more: bool


@operation(Rpc("chat.history", Role.VIEWER))
async def history(ctx: Context, ask: GetHistory) -> History:
    """What was said in a session, oldest first. A session nobody has spoken in is empty, not an error."""
    row = await session_seen(ctx, ask.session_key)
    messages, has_more = await page_of_history(
        ctx, ask.session_key, limit=min(ask.limit, 200), before=ask.before_id, tools=ask.include_tools
    )
    return History(
        session_key=ask.session_key, messages=messages, summary=row.summary or "" if row else "", has_more=has_more
    )


class GetStatus(Struct, kw_only=True):
    ALIASES: ClassVar = {"session_id": "session_key"}

    session_key: str


class ChatStatus(Struct, rename="camel", omit_defaults=True, kw_only=True):
    is_running: bool
    running: bool
    run_id: str | None = None
    run_ids: list[str]
    queued: int
    last_run_seq: int  # of `run_id`, where `chat.resume` goes on; 0 if it has said nothing in this process


@operation(Rpc("chat.session.status", Role.VIEWER))
async def status(ctx: Context, ask: GetStatus) -> ChatStatus:
    """What runs and waits in a session."""
    await session_seen(ctx, ask.session_key)
    activity = await _ask_session(ctx, ask.session_key, GetActivity())
    ids = [*activity.running, *activity.waiting]
    return ChatStatus(
        is_running=bool(ids),
        running=bool(ids),
        run_id=ids[0] if ids else None,
        run_ids=ids,
        queued=len(activity.waiting),
        last_run_seq=ctx.house.replays.last(ids[0]) if ids else 0,
    )


async def _ask_session(ctx: Context, key: str, message: RuntimeMessage[R]) -> R:
    return await ctx.ask(session(ctx.caller.tenant_id, str(checked_key(key))), message, within=ASK)
