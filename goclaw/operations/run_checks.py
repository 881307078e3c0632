"""Looking into a run and judging it: its steps and effects, whether its trail holds, dead letters put away.

Contract: durability.md §6.5, §15; sessions-lanes-cron.md §9.2, §9.7.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, TypeVar

from msgspec import Meta, Struct, convert, to_builtins

from goclaw.domain.access import Role
from goclaw.domain.errors import Rejected, failed_precondition
from goclaw.domain.run import RunState
from goclaw.domain.run_states import flaws
from goclaw.operations import activity
from goclaw.operations.context import Context
from goclaw.operations.operation import Cli, Http, Rpc, operation
from goclaw.operations.run_rows import Run, RunTrailEvent, event_of, run_of
from goclaw.operations.runs import MOST, GetRun, Limit, run_seen
from goclaw.security.known import Forms
from goclaw.security.scrub import scrubbed
from goclaw.stores import run_heads, run_views
from goclaw.stores.run_heads import HeadRepair
from goclaw.stores.run_views import Child, EffectRow, LinkRow, StepRow

S = TypeVar("S", bound=Struct)
TEXT = 4000  # characters of a text inside a step or an effect that is shown
TRAIL = 10_000  # events of a run that are checked or exported …
WORK = 2_000  # … and steps, and effects


class Step(Struct, kw_only=True):
    step_no: int
    kind: str
    message: Any
    usage: dict[str, Any] | None
    created_at: datetime


class Effect(Struct, kw_only=True):
    """What a tool call did to the world. `status` UNKNOWN: the process died before it could be told."""

    step_no: int
    call_index: int
    tool: str
    effect_class: str
    status: str
    result: Any
    external_id: str | None
    idempotency_key: str
    started_at: datetime
    finished_at: datetime | None


class Work(Struct, kw_only=True):
    steps: list[Step]
    effects: list[Effect]
    children: list[Child]
    request: dict[str, Any] | None
    next_step_no: int | None  # None: these were the last


class ReadWork(GetRun, kw_only=True):
    from_step: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    limit: Limit = 50


@operation(Rpc("runs.work", Role.VIEWER), Http("GET /v1/runs/{run_id}/work", Role.VIEWER))
async def work(ctx: Context, ask: ReadWork) -> Work:
    """Read what a run did: its steps from `from_step` on, the effects of its tools, the runs it started."""
    row = await run_seen(ctx, ask.run_id)
    tenant, run_id = ctx.caller.tenant_id, row.run_id
    limit = min(ask.limit, MOST)
    steps = await ctx.db(run_views.steps, tenant=tenant, run_id=run_id, first=ask.from_step, limit=limit + 1)
    return Work(
        steps=[_step(step) for step in steps[:limit]],
        effects=[
            _effect(effect) for effect in await ctx.db(run_views.effects, tenant=tenant, run_id=run_id, limit=MOST)
        ],
        children=await ctx.db(run_views.children, tenant=tenant, run_id=run_id, limit=MOST),
        request=shown(row.request),
        next_step_no=steps[limit].step_no if len(steps) > limit else None,
    )


# --- does the trail hold? -------------------------------------------------------------------------


class Verdict(Struct, kw_only=True):
    run_id: str
    ok: bool
    state: RunState
    events: int
    hashed: int  # how many of them hang in the chain; older ones never did
    whole: bool  # retention took nothing from the beginning
    cut: bool = False  # there is more than is checked: only the first events were
    problems: list[str]


@operation(Rpc("runs.verify", Role.VIEWER), Http("GET /v1/runs/{run_id}/verify", Role.VIEWER))
async def verify(ctx: Context, ask: GetRun) -> Verdict:
    """Check a run's trail: its hash chain, that every step was legal, and that its session's order has no hole."""
    row = await run_seen(ctx, ask.run_id)
    tenant = ctx.caller.tenant_id
    links = await ctx.db(run_views.chain, tenant=tenant, run_id=row.run_id, limit=TRAIL + 1)
    cut, links = len(links) > TRAIL, links[:TRAIL]
    state = links[-1].run_state if links else row.state
    reached = next((link.state_to for link in reversed(links) if link.state_to), state) if cut else state
    whole = not links or links[0].state_from is None
    problems = [*_broken(links, whole=whole), *flaws(links, reached, whole=whole)]
    if links:
        first, last = links[0].session_seq, links[-1].session_seq
        order = await ctx.db(run_views.gaps, tenant=tenant, key=row.session_key, first=first, last=last)
        if order.there != order.wanted:
            problems.append(f"the session's order has {order.wanted - order.there} holes while the run lived")
    return Verdict(
        run_id=row.run_id,
        ok=not problems,
        state=state,
        events=len(links),
        hashed=sum(link.hashed for link in links),
        whole=whole,
        cut=cut,
        problems=problems,
    )


def _broken(links: list[LinkRow], *, whole: bool) -> list[str]:
    """Where the chain does not hold. It may begin late, but has no end before the last event."""
    found = []
    chained = False
    for number, link in enumerate(links, 1):
        told = f"event {number} ({link.type})"
        if chained and not link.hashed:
            found.append(f"{told} has no hash")
        if link.hashed and not link.sound:
            found.append(f"{told} was changed after it was written")
        if link.hashed and not link.linked and (whole or number > 1):
            found.append(f"{told} does not follow the one before")
        chained = chained or link.hashed
    return found


class Repair(Struct, kw_only=True):
    dry_run: bool = False  # only look


class Repaired(Struct, kw_only=True):
    heads: list[HeadRepair]
    mended: int


@operation(Rpc("runs.repair", Role.ADMIN), Http("POST /v1/runs/repair", Role.ADMIN), Cli("queue repair"))
async def repair(ctx: Context, ask: Repair) -> Repaired:
    """Count again what session heads say of their runs, and mend those that are wrong; there should be none."""
    look = run_heads.wrong if ask.dry_run else run_heads.mend
    heads = await ctx.db(look, tenant=ctx.caller.tenant_id)
    if heads and not ask.dry_run:
        await activity.record(ctx, "queue.repaired", "queue", "heads", heads=len(heads))
    return Repaired(heads=heads, mended=0 if ask.dry_run else len(heads))


# --- dead letters ---------------------------------------------------------------------------------


class Export(Struct, kw_only=True):
    """A run with all that is known of it, scrubbed."""

    exported_at: datetime
    run: Run
    request: dict[str, Any] | None
    events: list[RunTrailEvent]
    steps: list[Step]
    effects: list[Effect]


@operation(Http("GET /v1/runs/{run_id}/export", Role.OPERATOR))
async def export(ctx: Context, ask: GetRun) -> Export:
    """Get a run with its events, steps and effects in one document."""
    row = await run_seen(ctx, ask.run_id)
    tenant, run_id = ctx.caller.tenant_id, row.run_id
    known = ctx.house.known.forms
    return Export(
        exported_at=ctx.now(),
        run=_scrubbed(run_of(ctx, row), known),
        request=scrubbed(row.request, known),
        events=[
            _scrubbed(event_of(event), known)
            for event in await ctx.db(run_views.events, tenant=tenant, run_id=run_id, limit=TRAIL)
        ],
        steps=[
            _scrubbed(_step(step, whole=True), known)
            for step in await ctx.db(run_views.steps, tenant=tenant, run_id=run_id, limit=WORK)
        ],
        effects=[
            _scrubbed(_effect(effect, whole=True), known)
            for effect in await ctx.db(run_views.effects, tenant=tenant, run_id=run_id, limit=WORK)
        ],
    )


@operation(Rpc("runs.purge", Role.ADMIN), Http("POST /v1/runs/{run_id}/purge", Role.ADMIN))
async def purge(ctx: Context, ask: GetRun) -> dict[str, Any]:
    """Put a dead letter away for good. Export it first: nobody finds it any more, and retention deletes it."""
    row = await run_seen(ctx, ask.run_id)
    if not await ctx.db(run_views.discard, tenant=ctx.caller.tenant_id, run_id=row.run_id):
        raise Rejected(failed_precondition("not_a_dead_letter", state=row.state))
    await activity.record(ctx, "run.purged", "run", row.run_id, reason=row.reason_code)
    return {"ok": True, "run_id": row.run_id}


# --- rows as clients see them ---------------------------------------------------------------------


def _scrubbed(row: S, known: Forms) -> S:
    """Without the secrets in its texts."""
    return convert(scrubbed(to_builtins(row), known), type(row))


def shown(value: Any, *, whole: bool = False) -> Any:
    """Scrubbed, and unless it is wanted whole with long texts cut."""
    return scrubbed(value) if whole else _cut(scrubbed(value))


def _cut(value: Any) -> Any:
    match value:
        case str() if len(value) > TEXT:
            return f"{value[:TEXT]}… [{len(value) - TEXT:,} more]"
        case dict():
            return {name: _cut(inner) for name, inner in value.items()}
        case list():
            return [_cut(inner) for inner in value]
    return value


def _step(row: StepRow, *, whole: bool = False) -> Step:
    message = shown(row.message, whole=whole)
    return Step(step_no=row.step_no, kind=row.kind, message=message, usage=row.usage, created_at=row.at)


def _effect(row: EffectRow, *, whole: bool = False) -> Effect:
    return Effect(
        step_no=row.step_no,
        call_index=row.call_index,
        tool=row.tool,
        effect_class=row.effect_class,
        status=row.status,
        result=shown(row.result, whole=whole),
        external_id=row.external_id,
        idempotency_key=row.idempotency_key,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )
