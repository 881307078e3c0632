"""Breaking the gateway on purpose, and reading what it cost. Contract: supervision.md §21, edge-http.md §26.1."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from goclaw.domain.access import MASTER_TENANT, SYSTEM_USER, Role
from goclaw.domain.address import CHAOS
from goclaw.domain.chaos import GetReport, Plan, PlanState, Report, Started, StartPlan, StopPlan
from goclaw.domain.errors import Rejected, forbidden, invalid, not_found, unavailable
from goclaw.operations.activity import record, recorded
from goclaw.operations.context import Context
from goclaw.operations.gateway import Nothing, database_answers
from goclaw.operations.operation import Cli, Http, Rpc, operation
from goclaw.runtime.faults import RuntimeFault
from goclaw.stores import chaos
from goclaw.stores.chaos import PlanRow

ASK = 20.0  # seconds; the end of a plan takes its sessions away


class StartChaos(Plan, frozen=True, kw_only=True):
    confirm: str
    force: bool = False


class StartedChaos(Struct, kw_only=True):
    id: str
    seed: int
    ends_at: datetime


class ListedPlan(Struct, kw_only=True):
    id: str
    name: str
    state: PlanState
    started_at: datetime
    ends_at: datetime
    verdict: str | UnsetType = UNSET


class PlanList(Struct, kw_only=True):
    plans: list[ListedPlan]


class GetChaos(Struct, kw_only=True):
    id: str


class StopChaos(Struct, kw_only=True):
    id: str = ""


class ShownPlan(Struct, kw_only=True):
    """A plan as it was asked for, and its report; None for one that died with its process or runs on another node."""

    id: str
    name: str
    state: PlanState
    reason: str | None
    started_by: str
    started_at: datetime
    ends_at: datetime
    plan: dict[str, Any]
    report: Report | None


def started_for_socket(started: StartedChaos) -> dict[str, Any]:
    return {"id": started.id, "seed": started.seed, "endsAt": started.ends_at}


@operation(
    Rpc("chaos.start", Role.ADMIN, reply=started_for_socket),
    Http("POST /v1/chaos/plans", Role.ADMIN, status=201),
)
@recorded
async def start(ctx: Context, ask: StartChaos) -> StartedChaos:
    """Break things on purpose, by a plan. `confirm` is the name of this node."""
    house = ctx.house
    consent = house.settings.chaos
    if ctx.caller.tenant_id != MASTER_TENANT:
        raise Rejected(forbidden("tenant"))
    if not consent.enabled or (house.production and not (consent.allow_production and ask.force)):
        raise Rejected(forbidden("chaos_disabled"))
    if ask.confirm != house.node_name:
        raise Rejected(invalid("confirm", f"this node is called {house.node_name}"))
    if house.draining:
        raise Rejected(unavailable("shutting_down"))
    if not await database_answers(house):
        raise Rejected(unavailable("unhealthy"))
    plan = Plan(**{name: getattr(ask, name) for name in Plan.__struct_fields__})
    started: Started = await ctx.ask(CHAOS, StartPlan(plan=plan, by=_who(ctx)), within=ASK)
    await record(ctx, "chaos.started", "chaos_plan", started.id, name=plan.name, seed=started.seed)
    return StartedChaos(id=started.id, seed=started.seed, ends_at=started.ends_at)


@operation(Rpc("chaos.list", Role.OPERATOR), Http("GET /v1/chaos/plans", Role.OPERATOR), Cli("chaos list"))
async def list_plans(ctx: Context, ask: Nothing) -> PlanList:
    """List chaos plans, newest first."""
    _master(ctx)
    return PlanList(plans=[_listed(row) for row in await ctx.db(chaos.page)])


@operation(Rpc("chaos.get", Role.OPERATOR), Http("GET /v1/chaos/plans/{id}", Role.OPERATOR), Cli("chaos show"))
async def get_plan(ctx: Context, ask: GetChaos) -> ShownPlan:
    """Show a chaos plan and what it cost, live while it runs."""
    _master(ctx)
    row = await _row(ctx, ask.id)
    report = _report(row)
    if row.state == "running":
        try:
            report = await ctx.ask(CHAOS, GetReport(id=row.id), within=ASK)
        except (Rejected, RuntimeFault):  # it has just ended, or runs on another node
            row = await _row(ctx, ask.id)
            report = _report(row)
    return ShownPlan(
        id=row.id,
        name=row.name,
        state=row.state,
        reason=row.reason,
        started_by=row.started_by,
        started_at=row.started_at,
        ends_at=_ends(row),
        plan=row.plan,
        report=report,
    )


@operation(Rpc("chaos.stop", Role.ADMIN), Http("DELETE /v1/chaos/plans/{id}", Role.ADMIN))
@recorded
async def stop(ctx: Context, ask: StopChaos) -> Report:
    """End a chaos plan at once and say what it cost. Without an id: the one that runs."""
    _master(ctx)
    if ask.id:
        row = await _row(ctx, ask.id)
        if row.state != "running" and (report := _report(row)) is not None:
            return report
    ended: Report = await ctx.ask(CHAOS, StopPlan(id=ask.id), within=ASK)
    await record(ctx, "chaos.stopped", "chaos_plan", ended.id)
    return ended


def _who(ctx: Context) -> str:
    return ctx.caller.user_id or SYSTEM_USER


def _master(ctx: Context) -> None:
    """Plans concern the whole node, so other tenants see none of them."""
    if ctx.caller.tenant_id != MASTER_TENANT:
        raise Rejected(forbidden("tenant"))


async def _row(ctx: Context, id: str) -> PlanRow:
    row = await ctx.db(chaos.get, id=id) if _is_id(id) else None
    if row is None:
        raise Rejected(not_found("chaos_plan", id[:100]))
    return row


def _report(row: PlanRow) -> Report | None:
    return None if row.report is None else msgspec.convert(row.report, Report)


def _is_id(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def _listed(row: PlanRow) -> ListedPlan:
    verdict = (row.report or {}).get("verdict") or UNSET
    return ListedPlan(
        id=row.id, name=row.name, state=row.state, started_at=row.started_at, ends_at=_ends(row), verdict=verdict
    )


def _ends(row: PlanRow) -> datetime:
    """When it ended, or will."""
    planned = sum(row.plan[part] for part in ("before_sec", "duration_sec", "after_sec"))
    return row.ended_at or row.started_at + timedelta(seconds=planned)
