"""Durable runs, which the first protocol calls tasks: start one, look at them, stop one, try one again.

Contract: edge-http.md §23, edge-websocket.md §7.16, sessions-lanes-cron.md §9.9.
"""

from __future__ import annotations

import math
import uuid
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar
from urllib.parse import quote

from msgspec import Meta, Struct, field

from goclaw.domain.access import Role
from goclaw.domain.address import lane, session
from goclaw.domain.errors import Rejected, failed_precondition, invalid, not_found
from goclaw.domain.run import RunKind, RunQueued, RunRequest, RunState
from goclaw.domain.run_states import HELD, OPEN
from goclaw.domain.session import Abort, RunLost, SessionKey, Terms
from goclaw.operations import activity
from goclaw.operations.context import Context
from goclaw.operations.operation import Http, Rpc, operation
from goclaw.operations.params import moment
from goclaw.operations.run_rows import Run, RunTrailEvent, event_of, run_of
from goclaw.operations.sessions import session_seen
from goclaw.operations.turns import checked_key, heard, metadata_text, resolve_agent, send
from goclaw.stores import run_retries, run_stops, run_views
from goclaw.stores.run_views import RunRow, Wanted

ASK = 10.0  # seconds a session has for an answer
MOST = 200  # rows of a page
AHEAD = timedelta(days=366)  # how far a run may be put off
STEP = 20  # of a client's priority, −100 … 100, to one of ours; durability.md §11
TRIED_AGAIN: frozenset[RunState] = frozenset({"FAILED", "CANCELED", "DEAD_LETTER"})

Moment = Annotated[datetime, Meta(tz=True)]
Limit = Annotated[int, Meta(ge=1)]
Offset = Annotated[int, Meta(ge=0, le=1_000_000_000)]


class RunPage(Struct, kw_only=True):
    runs: list[Run]
    total: int
    limit: int
    offset: int


class RunTrail(Struct, kw_only=True):
    events: list[RunTrailEvent]
    next_event_id: int


class Retried(Struct, kw_only=True):
    run: Run
    new: bool  # a run of its own, because the old one may not move any more


def wrapped(run: Run) -> dict[str, Any]:
    return {"run": run}


# --- one more -------------------------------------------------------------------------------------


class Created(Struct, kw_only=True):
    run: Run
    replayed: bool  # the key was used before: this is the run of that time


class CreateRun(Struct, kw_only=True):
    content: Annotated[str, Meta(min_length=1)]
    agent_id: str | None = None
    session_key: str | None = None
    priority: Annotated[int, Meta(ge=-100, le=100)] = 0
    max_attempts: Annotated[int, Meta(ge=1, le=10)] = 3
    resource_keys: Annotated[list[Annotated[str, Meta(min_length=1, max_length=200)]], Meta(max_length=20)] = []
    run_at: Moment | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    idempotency_key: Annotated[str, Meta(max_length=200)] = ""


@operation(
    Rpc("runs.create", Role.OPERATOR, reply=lambda created: wrapped(created.run)),
    Rpc("tasks.create", Role.OPERATOR, reply=lambda created: wrapped(created.run)),
)
async def create(ctx: Context, ask: CreateRun) -> Created:
    """Have an agent work on something, now or at `run_at`. Answers when it is stored, not when it has run."""
    key = checked_key(ask.session_key) if ask.session_key else None
    agent = await resolve_agent(ctx, ask.agent_id or (key.agent_key if key else None))
    if key is not None and key.agent_key != agent.key:
        raise Rejected(invalid("session_key", f"it belongs to agent {key.agent_key}"))
    if key is not None:
        await session_seen(ctx, str(key))
    run_at = _later(ctx, ask.run_at)
    metadata = metadata_text(ask.metadata)
    text, truncated = await heard(ctx, ask.content)
    run_id = ctx.new_id()
    accepted = await send(
        ctx,
        run_id=run_id,
        agent=agent,
        key=key or _own_session(ctx, agent.key),
        kind="task",
        request=RunRequest(message=text, truncated=truncated, metadata=metadata),
        fresh=key is None,
        idempotency_key=ask.idempotency_key,
        terms=Terms(
            priority=base_priority(ask.priority),
            max_attempts=ask.max_attempts,
            run_at=run_at,
            resource_keys=tuple(ask.resource_keys),
        ),
    )
    run = run_of(ctx, await run_seen(ctx, accepted.run_id))
    return Created(run=run, replayed=accepted.run_id != run_id)


def _later(ctx: Context, run_at: datetime | None) -> datetime | None:
    """When the run may start; None for at once. The database knows fewer zones and years than a client does."""
    if run_at is None or run_at <= ctx.now():
        return None
    if run_at > ctx.now() + AHEAD:
        raise Rejected(invalid("run_at", f"more than {AHEAD.days} days ahead"))
    return run_at.astimezone(UTC)


def base_priority(asked: int) -> int:
    """Our 0–10 for a client's −100…100 (durability.md §11)."""
    return max(0, min(10, 5 + math.trunc(asked / STEP)))


def _own_session(ctx: Context, agent_key: str) -> SessionKey:
    """A session for this task alone."""
    run8 = ctx.new_id().replace("-", "")[-8:]
    return SessionKey(agent_key, f"http:direct:{quote(ctx.user_id, safe='@~')[:200]}-{run8}")


# --- looking --------------------------------------------------------------------------------------


class ListRuns(Struct, kw_only=True):
    """`from` counts, `to` does not. `user_id` is for admins; others see their own."""

    ALIASES: ClassVar = {"since": "from", "until": "to"}

    state: RunState | None = None
    kind: RunKind | None = None
    agent_id: str | None = None
    session_key: str | None = None
    user_id: str | None = None
    since: Moment | None = field(name="from", default=None)
    until: Moment | None = field(name="to", default=None)
    limit: Limit = 50
    offset: Offset = 0


@operation(
    Rpc("runs.list", Role.VIEWER),
    Rpc("tasks.list", Role.VIEWER),
    Http("GET /v1/runs", Role.VIEWER),
)
async def list_runs(ctx: Context, ask: ListRuns) -> RunPage:
    """List runs of all kinds, newest first. Who is no admin sees their own."""
    wanted = Wanted(
        tenant=ctx.caller.tenant_id,
        user=ask.user_id if ctx.caller.is_admin else ctx.user_id,
        state=ask.state,
        kind=ask.kind,
        agent=ask.agent_id,
        session=ask.session_key,
        since=moment("from", ask.since),
        until=moment("to", ask.until),
    )
    limit = min(ask.limit, MOST)
    rows = await ctx.db(run_views.page, wanted, limit=limit, offset=ask.offset)
    last = len(rows) < limit and (rows or ask.offset == 0)  # then their number is known
    total = ask.offset + len(rows) if last else await ctx.db(run_views.total, wanted)
    return RunPage(runs=[run_of(ctx, row) for row in rows], total=total, limit=limit, offset=ask.offset)


class GetRun(Struct, kw_only=True):
    ALIASES: ClassVar = {"task_id": "run_id", "id": "run_id"}

    run_id: str


@operation(
    Rpc("runs.get", Role.VIEWER, reply=wrapped),
    Rpc("tasks.get", Role.VIEWER, reply=wrapped),
    Http("GET /v1/runs/{run_id}", Role.VIEWER),
)
async def get(ctx: Context, ask: GetRun) -> Run:
    """Show a run, with its result once it has one."""
    return run_of(ctx, await run_seen(ctx, ask.run_id))


class ListEvents(GetRun, kw_only=True):
    from_event_id: Annotated[int, Meta(ge=0, le=2**62)] = 0
    limit: Limit = 200


def trail_for_socket(trail: RunTrail) -> dict[str, Any]:
    return {"events": trail.events, "nextEventId": trail.next_event_id}


@operation(
    Rpc("runs.events", Role.VIEWER, reply=trail_for_socket),
    Rpc("tasks.events", Role.VIEWER, reply=trail_for_socket),
    Http("GET /v1/runs/{run_id}/events", Role.VIEWER),
)
async def list_events(ctx: Context, ask: ListEvents) -> RunTrail:
    """Read what befell a run, oldest first, from `from_event_id` on; 0 begins with the oldest that is kept."""
    row = await run_seen(ctx, ask.run_id)
    tenant, run_id = ctx.caller.tenant_id, row.run_id
    if ask.from_event_id:
        oldest = await ctx.db(run_views.events, tenant=tenant, run_id=run_id, limit=1)
        if not oldest or (oldest[0].state_from is not None and ask.from_event_id < oldest[0].event_id):
            raise Rejected(failed_precondition("replay_gap", run_id=row.run_id))
    rows = await ctx.db(
        run_views.events, tenant=tenant, run_id=run_id, after=ask.from_event_id - 1, limit=min(ask.limit, MOST)
    )
    return RunTrail(
        events=[event_of(event) for event in rows],
        next_event_id=rows[-1].event_id + 1 if rows else ask.from_event_id,
    )


async def run_seen(ctx: Context, run_id: str) -> RunRow:
    """The run. Somebody else's is refused as not found, unless an admin asks (README R15)."""
    try:
        known = str(uuid.UUID(run_id))
    except ValueError:
        raise Rejected(not_found("run", run_id[:100])) from None
    row = await ctx.db(run_views.find, tenant=ctx.caller.tenant_id, run_id=known)
    if row is None or not (ctx.caller.is_admin or row.user_id == ctx.user_id):
        raise Rejected(not_found("run", known))
    return row


# --- acting ---------------------------------------------------------------------------------------


class CancelRun(GetRun, kw_only=True):
    reason: Annotated[str, Meta(max_length=200)] = "user"


@operation(
    Rpc("runs.cancel", Role.OPERATOR, reply=wrapped),
    Rpc("tasks.cancel", Role.OPERATOR, reply=wrapped),
    Http("POST /v1/runs/{run_id}/cancel", Role.OPERATOR),
)
async def cancel(ctx: Context, ask: CancelRun) -> Run:
    """Stop a run: at once if it waits, else where it next can be stopped. The wish is stored before the answer."""
    row = await run_seen(ctx, ask.run_id)
    if row.state not in OPEN:
        raise Rejected(failed_precondition("terminal", state=row.state))
    if row.state in HELD:
        await _request_cancel(ctx, row, ask.reason)
    stop = Abort(user_id=ctx.user_id, as_admin=True, run_id=row.run_id)  # whose it is was looked at above
    await ctx.ask(session(ctx.caller.tenant_id, row.session_key), stop, within=ASK)
    row = await run_seen(ctx, row.run_id)
    if row.state in HELD and row.cancel_requested is None:  # claimed meanwhile
        await _request_cancel(ctx, row, ask.reason)
        row = await run_seen(ctx, row.run_id)
    await activity.record(ctx, "run.cancelled", "run", row.run_id, reason=ask.reason)
    return run_of(ctx, row)


async def _request_cancel(ctx: Context, row: RunRow, reason: str) -> None:
    tenant, who = ctx.caller.tenant_id, activity.by(ctx)
    await ctx.db(run_stops.request_cancel, tenant=tenant, run_ids=[row.run_id], by=who, reason=reason)


class RetryRun(GetRun, kw_only=True):
    fresh: bool = False  # forget its steps; what its tools did is never forgotten


@operation(
    Rpc("runs.retry", Role.OPERATOR, reply=lambda retried: wrapped(retried.run)),
    Rpc("tasks.retry", Role.OPERATOR, reply=lambda retried: wrapped(retried.run)),
)
async def retry(ctx: Context, ask: RetryRun) -> Retried:
    """Try a run again that failed, was cancelled or is a dead letter; the last two as a new run."""
    row = await run_seen(ctx, ask.run_id)
    if row.state not in TRIED_AGAIN:
        raise Rejected(failed_precondition("state", state=row.state))
    if not row.request:
        raise Rejected(failed_precondition("no_request"))  # retention emptied it
    tenant = ctx.caller.tenant_id
    if row.state != "FAILED" and await ctx.db(run_views.tried_again, tenant=tenant, run_id=row.run_id):
        raise Rejected(failed_precondition("retried"))
    again = await ctx.db(
        run_retries.try_again,
        tenant=tenant,
        run_id=row.run_id,
        new_id=ctx.new_id(),
        kind=row.kind,
        by=activity.by(ctx),
        timeout=ctx.house.settings.agents.defaults.run_timeout_sec,
        fresh=ask.fresh,
    )
    if again is None:  # somebody else was faster
        raise Rejected(failed_precondition("state", state=(await run_seen(ctx, row.run_id)).state))
    ctx.system.tell(session(tenant, row.session_key), RunLost())  # what is open there is read again
    ctx.system.tell(lane(row.lane), RunQueued(tenant_id=tenant, session_key=row.session_key))
    await activity.record(ctx, "run.retried", "run", row.run_id, run=again.run_id, fresh=ask.fresh)
    return Retried(run=run_of(ctx, await run_seen(ctx, again.run_id)), new=again.new)
