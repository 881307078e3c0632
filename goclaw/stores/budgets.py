"""Purses: what may be spent, by whom and in which time. Table `budget_purses` (migration 0025).

Windows are days, weeks and months in UTC. What calls take of purses is in `reservations.py`.
Contract: providers.md §18.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from msgspec import Struct

from goclaw.domain.budget import SCOPES, Mode, Payer, Purse, Scope, Unit, Window
from goclaw.domain.ids import new_id
from goclaw.stores.unit import Connection, Json, many, one, transaction

LISTED = 1000
BY_AGENT = "agents.budget_monthly_cents"  # who made a purse that follows an agent's own limit

RANK = f"array_position(ARRAY{list(SCOPES)}::text[], p.scope::text), p.id"

# of the window now; a clock that is set back begins none anew
SINCE = """CASE WHEN p.window_kind = 'total' THEN p.window_start
  ELSE greatest(p.window_start, date_trunc(p.window_kind, now(), 'UTC')) END"""

ROW = """p.id, p.tenant_id, p.scope, p.key, p.unit, p.window_kind AS window, w.since, p.mode, p.limit_amount AS limit,
  CASE WHEN w.since = p.window_start THEN p.spent ELSE 0 END AS spent,
  CASE WHEN w.since = p.window_start THEN p.reserved ELSE 0 END AS reserved,
  CASE WHEN w.since = p.window_start THEN p.granted ELSE 0 END AS granted,
  CASE WHEN p.window_kind <> 'total' THEN w.since + ('1 ' || p.window_kind)::interval END AS resets_at, p.updated_at"""

SELECT = f"SELECT {ROW} FROM budget_purses p CROSS JOIN LATERAL (SELECT {SINCE} AS since) AS w"

PAYERS = "jsonb_to_recordset(%(payers)s::jsonb) AS payer(scope text, key text)"
PAYING = f"SELECT FROM {PAYERS} WHERE payer.scope = p.scope AND payer.key = p.key"

ROLL = f"""
UPDATE budget_purses p SET window_start = {SINCE}, spent = 0, reserved = 0, granted = 0, warned_at = NULL,
  reached_at = NULL
WHERE p.id = ANY(%(ids)s::uuid[]) AND {SINCE} > p.window_start
"""


class Limit(Struct, frozen=True, kw_only=True):
    """Whose purse is there, without its figures."""

    tenant_id: str
    scope: Scope
    key: str
    unit: Unit
    mode: Mode
    limited: bool


PUT = """
INSERT INTO budget_purses AS p (id, tenant_id, scope, key, unit, window_kind, window_start, limit_amount, mode,
  created_by)
VALUES (%(id)s, %(tenant)s, %(scope)s, %(key)s, %(unit)s, %(window)s::text,
  CASE WHEN %(window)s::text = 'total' THEN now() ELSE date_trunc(%(window)s::text, now(), 'UTC') END, %(limit)s,
  %(mode)s, %(by)s)
ON CONFLICT (tenant_id, scope, key, unit, window_kind) DO UPDATE SET limit_amount = excluded.limit_amount,
  mode = excluded.mode, created_by = excluded.created_by, version = p.version + 1, updated_at = now(),
  warned_at = NULL, reached_at = NULL
"""

OF_AGENTS = f"""
INSERT INTO budget_purses AS p (id, tenant_id, scope, key, window_start, limit_amount, mode, created_by)
SELECT gen_random_uuid(), a.tenant_id, 'agent', a.agent_key, date_trunc('month', now(), 'UTC'),
  a.budget_monthly_cents / 100.0, 'soft', '{BY_AGENT}'
FROM agents a WHERE a.budget_monthly_cents > 0 AND a.deleted_at IS NULL
ON CONFLICT (tenant_id, scope, key, unit, window_kind) DO UPDATE SET limit_amount = excluded.limit_amount
WHERE p.created_by = '{BY_AGENT}' AND p.limit_amount IS DISTINCT FROM excluded.limit_amount
"""

NO_LONGER = f"""
DELETE FROM budget_purses p WHERE p.created_by = '{BY_AGENT}' AND p.reserved = 0 AND NOT EXISTS (
  SELECT FROM agents a WHERE a.tenant_id = p.tenant_id AND a.agent_key = p.key AND a.budget_monthly_cents > 0
    AND a.deleted_at IS NULL)
"""  # what calls hold is given back first: the next look removes it

MATCHING = """p.tenant_id = %(tenant)s AND p.scope = coalesce(%(scope)s::text, nullif(p.scope, 'run'))
  AND (%(key)s::text IS NULL OR p.key = %(key)s) AND (%(unit)s::text IS NULL OR p.unit = %(unit)s)
  AND (%(window)s::text IS NULL OR p.window_kind = %(window)s)"""


@transaction
async def limits(db: Connection) -> list[Limit]:
    """Every purse but those of runs, of all tenants. An agent's own monthly limit is a soft purse, and goes with it."""
    query = """
    SELECT tenant_id, scope, key, unit, mode, limit_amount IS NOT NULL AS limited FROM budget_purses
    WHERE scope <> 'run' ORDER BY tenant_id, scope, key LIMIT 1000000
    """
    await db.execute(OF_AGENTS)
    await db.execute(NO_LONGER)
    return await many(Limit, db.execute(query))


@transaction(retry_safe=True)
async def put(
    db: Connection,
    *,
    tenant: str,
    scope: Scope,
    key: str,
    unit: Unit,
    window: Window,
    limit: Decimal | None,
    mode: Mode,
    by: str,
) -> Purse:
    """Make a purse or change its limit; what it has spent and what is held stays. Notices come anew."""
    named = {"tenant": tenant, "scope": scope, "key": key, "unit": unit, "window": window}
    await db.execute(PUT, {**named, "id": new_id(), "limit": limit, "mode": mode, "by": by})
    return await one(Purse, db.execute(f"{SELECT} WHERE {MATCHING}", named))


@transaction(readonly=True)
async def find(
    db: Connection,
    *,
    tenant: str,
    scope: Scope | None = None,
    key: str | None = None,
    unit: Unit | None = None,
    window: Window | None = None,
    own: Sequence[Payer] | None = None,
) -> list[Purse]:
    """Purses in order of scope and key, 1,000 at most; with `own`, only of these payers; of runs only by scope."""
    ours = f"AND EXISTS ({PAYING})" if own is not None else ""
    query = f"""
    {SELECT} WHERE {MATCHING} {ours}
    ORDER BY array_position(ARRAY{list(SCOPES)}::text[], p.scope::text), p.key, p.unit, p.window_kind LIMIT {LISTED}
    """
    named = {"tenant": tenant, "scope": scope, "key": key, "unit": unit, "window": window}
    return await many(Purse, db.execute(query, {**named, "payers": Json(own or ())}))


@transaction
async def grant(db: Connection, *, tenant: str, id: str, amount: Decimal) -> Purse | None:
    """More for the window that holds now. None if the purse is gone."""
    held = await locked(db, "p.tenant_id = %(tenant)s AND p.id = %(id)s", {"tenant": tenant, "id": id})
    if not held:
        return None
    query = """
    UPDATE budget_purses SET granted = granted + %(amount)s, reached_at = NULL, warned_at = NULL, updated_at = now()
    WHERE id = %(id)s
    """
    await db.execute(query, {"id": id, "amount": amount})
    return await one(Purse, db.execute(f"{SELECT} WHERE p.id = %(id)s", {"id": id}))


@transaction
async def delete(db: Connection, *, tenant: str, ids: Sequence[str]) -> list[Purse]:
    """Remove purses, all or none. Those of which something is held, so that nothing was removed."""
    named = {"tenant": tenant, "ids": list(ids)}
    held = await locked(db, "p.tenant_id = %(tenant)s AND p.id = ANY(%(ids)s::uuid[])", named)
    if busy := [purse for purse in held if purse.reserved > 0]:
        return busy
    await db.execute("DELETE FROM budget_purses WHERE tenant_id = %(tenant)s AND id = ANY(%(ids)s::uuid[])", named)
    return []


class Notice(Struct, frozen=True, kw_only=True):
    """A purse passed a mark for the first time in its window."""

    purse_id: str
    tenant_id: str
    reached: bool  # all of it; else the share at which its owner is warned
    owner: str | None  # user id; None: the tenant's admins


NOTICES = f"""
WITH due AS (
  SELECT p.id FROM budget_purses p CROSS JOIN LATERAL (SELECT {SINCE} AS since) AS w
  WHERE p.scope <> 'run' AND p.tenant_id = %(tenant)s AND p.limit_amount IS NOT NULL AND w.since = p.window_start
    AND EXISTS ({PAYING})
    AND (p.reached_at IS NULL AND p.spent >= p.limit_amount + p.granted
      OR p.warned_at IS NULL AND p.spent >= (p.limit_amount + p.granted) * %(share)s::numeric)
  ORDER BY {RANK} FOR UPDATE OF p
)
UPDATE budget_purses p SET warned_at = coalesce(p.warned_at, now()),
  reached_at = CASE WHEN p.spent >= p.limit_amount + p.granted THEN now() ELSE p.reached_at END
FROM due WHERE p.id = due.id
RETURNING p.id AS purse_id, p.tenant_id, p.reached_at IS NOT NULL AS reached, CASE p.scope WHEN 'user' THEN p.key
  WHEN 'agent' THEN (SELECT a.owner_id FROM agents a
    WHERE a.tenant_id = p.tenant_id AND a.agent_key = p.key AND a.deleted_at IS NULL) END AS owner
"""


@transaction
async def notices(db: Connection, *, tenant: str, payers: Sequence[Payer], share: float) -> list[tuple[Notice, Purse]]:
    """Purses of these payers that are nearly or wholly spent, each told once in its window."""
    found = await many(
        Notice, db.execute(NOTICES, {"tenant": tenant, "payers": Json(payers), "share": Decimal(str(share))})
    )
    rows = {}
    if found:
        ids = [notice.purse_id for notice in found]
        rows = {
            p.id: p for p in await many(Purse, db.execute(f"{SELECT} WHERE p.id = ANY(%(ids)s::uuid[])", {"ids": ids}))
        }
    return [(notice, rows[notice.purse_id]) for notice in found]


@transaction(readonly=True)
async def drained(db: Connection, *, tenant: str, payers: Sequence[Payer]) -> bool:
    """Whether a purse of these payers has nothing left, so that no run of theirs need begin."""
    where = f"p.tenant_id = %(tenant)s AND EXISTS ({PAYING})"
    purses = await many(Purse, db.execute(f"{SELECT} WHERE {where}", {"tenant": tenant, "payers": Json(payers)}))
    return any(purse.over for purse in purses)


class Stale(Purse, frozen=True, kw_only=True):
    """A purse as it will be when it has begun the window that holds now."""

    stale: bool


async def locked(db: Connection, where: str, params: dict[str, Any]) -> Sequence[Purse]:
    """Purses, held, in the window that holds now."""
    query = SELECT.replace("SELECT", "SELECT w.since > p.window_start AS stale,", 1)
    purses = await many(Stale, db.execute(f"{query} WHERE {where} ORDER BY {RANK} FOR UPDATE OF p", params))
    if ids := [purse.id for purse in purses if purse.stale]:
        await db.execute(ROLL, {"ids": ids})
    return purses
