"""Budgets: what models may cost, for whom and in which time. Contract: providers.md §18."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from goclaw.domain.access import Role, valid_user_id
from goclaw.domain.address import BUDGETS
from goclaw.domain.budget import (
    CACHE,
    WHOLE,
    BudgetEvent,
    LimitsChanged,
    Mode,
    Payer,
    Purse,
    Scope,
    ShownPurse,
    Unit,
    Window,
    shown,
)
from goclaw.domain.cluster import MARKS, Marked
from goclaw.domain.errors import Rejected, failed_precondition, invalid, not_found, required
from goclaw.domain.events import of_admins, of_user
from goclaw.domain.price import PLACES
from goclaw.operations.activity import by, record, recorded
from goclaw.operations.context import Context
from goclaw.operations.operation import Cli, Http, Rpc, operation
from goclaw.operations.turns import resolve_agent
from goclaw.runtime.faults import RuntimeFault
from goclaw.stores import budgets, reservations

READ = 10.0  # seconds the owner of the budgets has to read what changed
Amount = Annotated[float, Meta(ge=0, le=1e15)]
Key = Annotated[str, Meta(min_length=1, max_length=255)]


class ListBudgets(Struct, kw_only=True):
    scope: Scope | None = None
    key: Key | None = None


class PurseList(Struct, kw_only=True):
    purses: list[ShownPurse]


class Which(Struct, kw_only=True):
    """A user id, an agent's key, a run's id; for the tenant's own purses `-`."""

    scope: Scope
    key: Key


class Holding(Struct, kw_only=True):
    """What a call under way may cost."""

    run_id: str
    step: int
    amount: float  # USD
    tokens: int
    since: datetime


class PursesHeld(Struct, kw_only=True):
    purses: list[ShownPurse]
    reservations: list[Holding]


class SetBudget(Which, kw_only=True):
    """A `limit` of null only counts. A hard limit binds every call, a soft one new runs."""

    unit: Unit = "usd"
    window: Window = "month"
    limit: Amount | UnsetType | None = UNSET
    mode: Mode = "hard"


class OneOf(Which, kw_only=True):
    unit: Unit | None = None
    window: Window | None = None


class GrantBudget(OneOf, kw_only=True):
    """`unit` and `window` say which purse, where the key has several."""

    amount: Annotated[float, Meta(gt=0, le=1e15)]
    reason: Annotated[str, Meta(min_length=1, max_length=500)]


class Deleted(Struct, kw_only=True):
    deleted: bool = True


def ok(_deleted: Deleted) -> dict[str, Any]:
    return {"ok": True}


@operation(Rpc("budgets.list", Role.VIEWER), Http("GET /v1/budgets", Role.VIEWER), Cli("budget list"))
async def list_budgets(ctx: Context, ask: ListBudgets) -> PurseList:
    """List purses with what is spent and left: all for admins, your own for others. Those of runs if asked for."""
    own = None if ctx.caller.is_admin else [Payer("user", ctx.user_id)]
    found = await ctx.db(budgets.find, tenant=ctx.caller.tenant_id, scope=ask.scope, key=ask.key, own=own)
    return PurseList(purses=[shown(purse) for purse in found])


@operation(Rpc("budgets.get", Role.VIEWER), Http("GET /v1/budgets/{scope}/{key}", Role.VIEWER), Cli("budget show"))
async def get(ctx: Context, ask: Which) -> PursesHeld:
    """Show the purses of one key and what calls under way hold of them."""
    found = await _purses(ctx, ask)
    held = await ctx.db(reservations.held, tenant=ctx.caller.tenant_id, purses=[purse.id for purse in found])
    return PursesHeld(
        purses=[shown(purse) for purse in found],
        reservations=[
            Holding(run_id=row.run_id, step=row.step, amount=float(row.amount), tokens=row.tokens, since=row.since)
            for row in held
        ],
    )


@operation(Rpc("budgets.set", Role.ADMIN), Http("PUT /v1/budgets/{scope}/{key}", Role.ADMIN), Cli("budget set"))
@recorded
async def put(ctx: Context, ask: SetBudget) -> ShownPurse:
    """Limit what a tenant, a user or an agent may spend; what is spent already stays."""
    if ask.limit is UNSET:
        raise Rejected(required("limit"))
    key = await _checked_key(ctx, ask)
    purse = await ctx.db(
        budgets.put,
        tenant=ctx.caller.tenant_id,
        scope=ask.scope,
        key=key,
        unit=ask.unit,
        window=ask.window,
        limit=None if ask.limit is None else _decimal(ask.limit),
        mode=ask.mode,
        by=by(ctx),
    )
    details = {"unit": ask.unit, "window": ask.window, "limit": ask.limit, "mode": ask.mode}
    await record(ctx, "budget.set", "budget", f"{ask.scope}/{key}", **details)
    await _changed(ctx, purse)
    return shown(purse)


@operation(
    Rpc("budgets.grant", Role.ADMIN), Http("POST /v1/budgets/{scope}/{key}/grant", Role.ADMIN), Cli("budget grant")
)
@recorded
async def grant(ctx: Context, ask: GrantBudget) -> ShownPurse:
    """Give a purse more for the time that runs."""
    found = await _purses(ctx, ask, unit=ask.unit, window=ask.window)
    if len(found) > 1:
        raise Rejected(invalid("unit", "there are several purses: say unit and window"))
    purse = await ctx.db(budgets.grant, tenant=ctx.caller.tenant_id, id=found[0].id, amount=_decimal(ask.amount))
    if purse is None:
        raise Rejected(not_found("budget", f"{ask.scope}/{ask.key}"))
    await record(ctx, "budget.grant", "budget", f"{ask.scope}/{ask.key}", amount=ask.amount, reason=ask.reason)
    await _changed(ctx, purse)
    return shown(purse)


@operation(
    Rpc("budgets.delete", Role.ADMIN, reply=ok),
    Http("DELETE /v1/budgets/{scope}/{key}", Role.ADMIN),
    Cli("budget delete"),
)
@recorded
async def delete(ctx: Context, ask: OneOf) -> Deleted:
    """Remove the purses of a key, or the one of that unit and window. Refused while calls hold something of them."""
    found = await _purses(ctx, ask, unit=ask.unit, window=ask.window)
    busy = await ctx.db(budgets.delete, tenant=ctx.caller.tenant_id, ids=[purse.id for purse in found])
    if busy:
        raise Rejected(failed_precondition("reserved", reserved=float(busy[0].reserved), unit=busy[0].unit))
    await record(ctx, "budget.delete", "budget", f"{ask.scope}/{ask.key}")
    for purse in found:
        await _changed(ctx, purse)
    return Deleted()


async def _purses(ctx: Context, ask: Which, **more: Any) -> list[Purse]:
    """Those the caller may see; not_found without any."""
    found: list[Purse] = []
    if ctx.caller.is_admin or (ask.scope, ask.key) == ("user", ctx.user_id):
        found = await ctx.db(budgets.find, tenant=ctx.caller.tenant_id, scope=ask.scope, key=ask.key, **more)
    if not found:
        raise Rejected(not_found("budget", f"{ask.scope}/{ask.key}"))
    return found


async def _checked_key(ctx: Context, ask: Which) -> str:
    """Whom a purse may be made for."""
    match ask.scope:
        case "tenant" if ask.key != WHOLE:
            raise Rejected(invalid("key", f"the tenant's own purses have the key {WHOLE}"))
        case "user" if not valid_user_id(ask.key):
            raise Rejected(invalid("key", "not a user id"))
        case "agent":
            return (await resolve_agent(ctx, ask.key)).key
        case "run":
            raise Rejected(invalid("scope", "purses of runs come from budgets.run_usd, run_tokens or max_cost_usd"))
    return ask.key


async def _changed(ctx: Context, purse: Purse) -> None:
    """From now on it holds on this node, and a moment later on the others. The rows know already."""
    ctx.system.publish(MARKS, Marked(kind="cache", topic=CACHE))
    event = BudgetEvent(type="budget.changed", body=msgspec.Raw(msgspec.json.encode(shown(purse))))
    ctx.system.publish(of_admins(purse.tenant_id), event)
    if purse.scope == "user":
        ctx.system.publish(of_user(purse.tenant_id, purse.key), event)
    try:
        await ctx.ask(BUDGETS, LimitsChanged(), within=READ)
    except RuntimeFault:
        return  # it starts again, and reads them when it does


def _decimal(amount: float) -> Decimal:
    return Decimal(str(amount)).quantize(PLACES)
