"""Conversations as they were: look at any moment of one, and go on from there in a new one.

Contract: observability.md §21, edge-websocket.md §7.16, edge-http.md §8.
"""

from __future__ import annotations

import hashlib
import uuid
from datetime import datetime
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta, Struct, field

from goclaw.domain.access import Role
from goclaw.domain.address import session
from goclaw.domain.errors import Rejected, already_exists, failed_precondition, invalid, not_found
from goclaw.domain.run import RunState
from goclaw.domain.session import RunLost, SessionKey, key_of
from goclaw.domain.session_past import PATCHED, Past, fold
from goclaw.operations.context import Context
from goclaw.operations.operation import Http, Rpc, operation
from goclaw.operations.params import moment
from goclaw.operations.sessions import Message, Session, fitting, message_of, row_for_socket, session_of, session_seen
from goclaw.operations.turns import checked_key, fresh_key, resolve_agent
from goclaw.stores import session_changes, session_past
from goclaw.stores.session_past import Journal, Pruned, Scene, Shown, TooLong
from goclaw.stores.sessions import MessageRow

MOST = 200  # messages of a page
Seq = Annotated[int, Meta(ge=0, le=2**62)]


class PastMessage(Message, omit_defaults=True, kw_only=True):
    seq: int


class Counts(Struct, kw_only=True):
    messages: int
    input_tokens: int
    output_tokens: int
    compactions: int


class RunThen(Struct, kw_only=True):
    run_id: str
    state_then: RunState
    state_now: RunState


class Prompt(Struct, omit_defaults=True, kw_only=True):
    """What the model was shown, as SHA-256 in hexadecimal, and how many tokens it counted."""

    system_hash: str
    tools_hash: str
    tokens: int | None = None


class SessionPast(Struct, omit_defaults=True, kw_only=True):
    """A conversation behind the row `seq`, the same on all surfaces. `added` and what follows compare it with another
    moment: the messages only that one has, those it has not, and [then, other] of what was patched in between.
    """

    key: str
    seq: int
    at: datetime
    last_seq: int = field(name="lastSeq")
    agent_key: str = field(name="agentKey")
    generation: int
    label: str | None
    model: str | None
    provider: str | None
    summary: str
    messages: list[PastMessage]
    total: int
    before: int | None = None  # where the page of older messages ends
    next_marker: int | None = None
    counts: Counts
    runs: list[RunThen]
    queue: list[str]
    prompt: Prompt | None = None
    gap: int | None = None
    added: list[int] | None = None
    removed: list[int] | None = None
    summary_changed: bool | None = None
    patched: dict[str, list[str | None]] | None = None


class LookBack(Struct, kw_only=True):
    """Exactly one of `seq`, `run_id` and `at` names the moment; `against` another one to compare with."""

    ALIASES: ClassVar = {"session_key": "key", "task_id": "run_id"}

    key: str
    seq: Seq | None = None
    run_id: str | None = None
    at: Annotated[datetime, Meta(tz=True)] | None = None
    limit: Annotated[int, Meta(ge=1, le=MOST)] = 50
    before: Annotated[int, Meta(ge=1, le=2**62)] | None = None
    against: Seq | None = None


@operation(Rpc("sessions.at", Role.VIEWER), Http("GET /v1/sessions/{key}/at", Role.VIEWER))
async def at(ctx: Context, ask: LookBack) -> SessionPast:
    """Look at a conversation as it was: behind any row of its journal, when a run read it, or at a time."""
    checked_key(ask.key)
    if sum(given is not None for given in (ask.seq, ask.run_id, ask.at)) != 1:
        raise Rejected(invalid("seq", "exactly one of seq, run_id and at"))
    of = await _journal(ctx, ask)
    past = _fold(of, _moment(of, ask), "seq")
    other = None if ask.against is None else _fold(of, ask.against, "against")
    scene = await ctx.db(
        session_past.scene,
        tenant=ctx.caller.tenant_id,
        key=ask.key,
        of=of,
        past=past,
        limit=ask.limit + 1,
        before=ask.before,
        against=other,
    )
    if past.seq and scene.at is None:
        raise Rejected(failed_precondition("replay_gap", seq=past.seq))
    shown = _shown(ask, of, past, scene)
    if other is not None:
        shown.added, shown.removed = scene.added, scene.removed
        shown.summary_changed = past.summarised_at != other.summarised_at
        changes = {name: [getattr(past, name), getattr(other, name)] for name in PATCHED}
        shown.patched = {name: pair for name, pair in changes.items() if pair[0] != pair[1]}
    return shown


async def _journal(ctx: Context, ask: LookBack) -> Journal:
    try:
        run_id = None if ask.run_id is None else str(uuid.UUID(ask.run_id))
    except ValueError:
        raise Rejected(not_found("run", str(ask.run_id)[:100])) from None
    tenant = ctx.caller.tenant_id
    of = await ctx.db(
        session_past.journal, tenant=tenant, key=ask.key, seq=ask.seq, run_id=run_id, at=moment("at", ask.at)
    )
    if of is None or not (ctx.caller.is_admin or of.user_id == ctx.user_id):
        raise Rejected(not_found("session", ask.key))
    return of


def _moment(of: Journal, ask: LookBack) -> int:
    if of.seq is not None:
        return of.seq
    if of.run_state is not None:
        raise Rejected(failed_precondition("not_started", state=of.run_state))
    if of.run_spoke:
        raise Rejected(failed_precondition("replay_gap", run_id=ask.run_id))
    raise Rejected(not_found("run", ask.run_id or ""))


def _fold(of: Journal, seq: int, field: str) -> Past:
    if seq > of.last_seq:
        raise Rejected(invalid(field, f"0 to {of.last_seq}"))
    if seq < of.pruned_before:
        raise Rejected(failed_precondition("replay_gap", seq=seq, gap=of.pruned_before))
    return fold(of.markers, seq, of)


def _shown(ask: LookBack, of: Journal, past: Past, scene: Scene) -> SessionPast:
    messages = [_message(row, past) for row in scene.messages[-ask.limit :]]
    messages = messages[len(messages) - fitting(messages) :]
    older = len(messages) < len(scene.messages)
    return SessionPast(
        key=ask.key,
        seq=past.seq,
        at=scene.at or of.created_at,
        last_seq=of.last_seq,
        agent_key=past.agent_key,
        generation=past.generation,
        label=past.label,
        model=past.model,
        provider=past.provider,
        summary=scene.summary or "",
        messages=messages,
        total=scene.total,
        before=messages[0].seq if older and messages else None,
        next_marker=past.next_marker,
        counts=Counts(
            messages=scene.total,
            input_tokens=scene.input_tokens,
            output_tokens=scene.output_tokens,
            compactions=past.compactions,
        ),
        runs=[RunThen(run_id=r.run_id, state_then=r.state_then, state_now=r.state_now) for r in scene.runs],
        queue=[run.run_id for run in scene.runs if run.state_then in ("QUEUED", "RETRY_WAIT")],
        prompt=_prompt(scene.prompt) if scene.prompt else None,
        gap=scene.gap,
    )


def _message(row: MessageRow, past: Past) -> PastMessage:
    message = message_of(row)
    if row.run_id in past.cancelled:
        message.cancelled = True
    return PastMessage(seq=row.seq, **{name: getattr(message, name) for name in Message.__struct_fields__})


def _prompt(shown: Shown) -> Prompt:
    shared = msgspec.json.decode(shown.shared)
    tools = msgspec.json.encode(shared["tools"], order="sorted")
    return Prompt(system_hash=_sha256(shared["system"].encode()), tools_hash=_sha256(tools), tokens=shown.tokens)


def _sha256(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


# --- going on from there --------------------------------------------------------------------------


class Fork(Struct, kw_only=True):
    ALIASES: ClassVar = {"session_key": "key"}

    key: str
    seq: Seq
    new_key: str | None = None


class ForkedSession(Struct, kw_only=True):
    key: str
    session: Session


def fork_for_socket(forked: ForkedSession) -> dict[str, Any]:
    return {"key": forked.key, "session": row_for_socket(forked.session)}


@operation(
    Rpc("sessions.fork", Role.OPERATOR, reply=fork_for_socket),
    Http("POST /v1/sessions/{key}/fork", Role.OPERATOR, status=201, reply=lambda forked: forked.session),
)
async def fork(ctx: Context, ask: Fork) -> ForkedSession:
    """Begin a new conversation with what another one was behind a row of its journal. That one stays as it is."""
    checked_key(ask.key)
    past = _fold(await _journal(ctx, LookBack(key=ask.key, seq=ask.seq)), ask.seq, "seq")
    agent = await resolve_agent(ctx, past.agent_key)
    key = await _new_key(ctx, ask, agent.key)
    tenant = ctx.caller.tenant_id
    try:
        forked = await ctx.db(
            session_past.fork,
            tenant=tenant,
            key=ask.key,
            seq=ask.seq,
            id=ctx.new_id(),
            new_key=str(key),
            kind=key.kind,
            channel=key.channel,
            user=ctx.user_id,
        )
    except TooLong:
        raise Rejected(failed_precondition("too_long", most=session_past.LONGEST)) from None
    except Pruned:
        raise Rejected(failed_precondition("replay_gap", seq=ask.seq)) from None
    if forked is None:  # somebody was faster
        raise Rejected(already_exists("session", str(key)))
    ctx.system.tell(session(tenant, str(key)), RunLost())  # whoever knew it as nobody's reads again
    row = await ctx.db(session_changes.row, tenant=tenant, key=str(key))
    if row is None:
        raise Rejected(not_found("session", str(key)))
    return ForkedSession(key=str(key), session=session_of(row))


async def _new_key(ctx: Context, ask: Fork, agent_key: str) -> SessionKey:
    if ask.new_key is None:
        return fresh_key(ctx, lambda: key_of(agent_key, "ws", "direct", str(uuid.uuid4())))
    key = checked_key(ask.new_key)
    if key.agent_key != agent_key:
        raise Rejected(invalid("new_key", f"it must be one of agent {agent_key}"))
    if await session_seen(ctx, ask.new_key) is not None:
        raise Rejected(already_exists("session", ask.new_key))
    return key
