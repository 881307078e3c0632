"""Purses, and what calls under way hold of them. Tables `budget_purses`, `budget_reservations` (migration 0025).

A reservation remembers the window of each purse it is held in. When a purse begins its next window what is held stays
behind: to close it then changes nothing in the new one (G8). Windows are days, weeks and months in UTC.

Locks are taken in one order: a run's head, reservations, purses by scope and id. Contract: providers.md §18.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from msgspec import Struct

from goclaw.domain.budget import SCOPES, Held, Mode, Payer, Purse, Scope, Short, Unit, Wanted, Window
from goclaw.domain.ids import new_id
from goclaw.stores.unit import Connection, Json, many, one, transaction

GRACE = 60  # seconds beyond the deadline of a call; providers.md §18 G2
LISTED = 1000
REAPED = 500  # reservations in one transaction
BY_AGENT = "agents.budget_monthly_cents"  # who made a purse that follows an agent's own limit

RANK = f"array_position(ARRAY{list(SCOPES)}::text[], p.scope::text), p.id"

SINCE = """CASE WHEN p.window_kind = 'total' THEN p.window_start
  ELSE greatest(p.window_start, date_trunc(p.window_kind, clock_timestamp(), 'UTC')) END"""  # of the window now

ROW = """p.id, p.tenant_id, p.scope, p.key, p.unit, p.window_kind AS window, w.since, p.mode, p.limit_amount AS limit,
  CASE WHEN w.since = p.window_start THEN p.spent ELSE 0 END AS spent,
  CASE WHEN w.since = p.window_start THEN p.reserved ELSE 0 END AS reserved,
  CASE WHEN w.since = p.window_start THEN p.granted ELSE 0 END AS granted,
  CASE WHEN p.window_kind <> 'total' THEN w.since + ('1 ' || p.window_kind)::interval END AS resets_at, p.updated_at"""

SELECT = f"SELECT {ROW} FROM budget_purses p CROSS JOIN LATERAL (SELECT {SINCE} AS since) AS w"

PAYERS = "jsonb_to_recordset(%(payers)s::jsonb) AS payer(scope text, key text)"
PAYING = f"SELECT FROM {PAYERS} WHERE payer.scope = p.scope AND payer.key = p.key"


def freed(closed: str, unheld: str = "") -> str:
    """Common table expressions that give back what rows of `closed` hold, and book what was really spent.

    `unheld`: a SELECT of purse, usd and tokens for what was spent without a reservation, which begins a new window
    where the old one is over.
    """
    return f"""
share AS (
  SELECT u.purse, u.since, c.amount AS held, c.tokens AS held_tokens, c.spent, c.spent_tokens
  FROM {closed} c, unnest(c.purse_ids, c.windows) AS u(purse, since)
  {f"UNION ALL SELECT f.purse, NULL, 0, 0, f.spent, f.spent_tokens FROM ({unheld}) AS f" if unheld else ""}
), latest AS (
  SELECT *, max(since) OVER (PARTITION BY purse) AS newest FROM share
), due AS (
  SELECT purse, newest AS since, sum(held) AS held, sum(held_tokens) AS held_tokens, sum(spent) AS spent,
    sum(spent_tokens) AS spent_tokens
  FROM latest WHERE since IS NULL OR since = newest GROUP BY purse, newest
), locked AS (
  SELECT p.id FROM budget_purses p WHERE p.id IN (SELECT purse FROM due) ORDER BY {RANK} FOR UPDATE
), purse AS (
  UPDATE budget_purses p SET
    spent = CASE WHEN due.since IS NULL AND {SINCE} > p.window_start THEN 0 ELSE p.spent END
      + CASE WHEN p.unit = 'usd' THEN due.spent ELSE due.spent_tokens END,
    reserved = CASE WHEN due.since IS NULL AND {SINCE} > p.window_start THEN 0 ELSE p.reserved END
      - CASE WHEN p.unit = 'usd' THEN due.held ELSE due.held_tokens END,
    granted = CASE WHEN due.since IS NULL AND {SINCE} > p.window_start THEN 0 ELSE p.granted END,
    warned_at = CASE WHEN due.since IS NULL AND {SINCE} > p.window_start THEN NULL ELSE p.warned_at END,
    reached_at = CASE WHEN due.since IS NULL AND {SINCE} > p.window_start THEN NULL ELSE p.reached_at END,
    window_start = CASE WHEN due.since IS NULL THEN {SINCE} ELSE p.window_start END,
    updated_at = now()
  FROM locked, due
  WHERE p.id = locked.id AND due.purse = p.id AND (due.since IS NULL OR due.since = p.window_start)
)"""


PAID = f"""
paid AS (
  SELECT c.reservation, c.status, c.spent, c.spent_tokens
  FROM call, head, jsonb_to_recordset(%(calls)s::jsonb) AS c(number int, reservation uuid, status text, spent numeric,
    spent_tokens bigint)
  WHERE c.number = call.number
), closed AS (
  UPDATE budget_reservations r SET state = CASE WHEN paid.status = 'completed' THEN 'SETTLED' ELSE 'LOST' END,
    settled = paid.spent, closed_at = now()
  FROM paid, mine WHERE r.id = paid.reservation AND r.run_id = mine.run_id AND r.state = 'HELD'
  RETURNING r.purse_ids, r.windows, r.amount, r.tokens, paid.spent, paid.spent_tokens
), {
    freed(
        "closed",
        f'''
    SELECT p.id AS purse, paid.spent, paid.spent_tokens
    FROM paid, mine, {PAYERS} JOIN budget_purses p USING (scope, key)
    WHERE paid.reservation IS NULL AND p.tenant_id = mine.tenant_id''',
    )
}"""
# `mine` is the run, `head` its session's, both held; `call` the numbers of calls that were not there before, so that
# a commit that is tried again books nothing twice


# --- by operators -------------------------------------------------------------------------------------


class Limit(Struct, frozen=True, kw_only=True):
    """Whose purse is there, without its figures."""

    tenant_id: str
    scope: Scope
    key: str
    unit: Unit
    mode: Mode
    limited: bool


class Reservation(Struct, frozen=True, kw_only=True):
    run_id: str
    step: int
    amount: Decimal
    tokens: int
    since: datetime


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

MATCHING = """p.tenant_id = %(tenant)s AND p.scope = coalesce(%(scope)s::text, nullif(p.scope, 'run'))
  AND (%(key)s::text IS NULL OR p.key = %(key)s) AND (%(unit)s::text IS NULL OR p.unit = %(unit)s)
  AND (%(window)s::text IS NULL OR p.window_kind = %(window)s)"""


@transaction
async def limits(db: Connection) -> list[Limit]:
    """Every purse but those of runs, of all tenants. An agent's own monthly limit is a soft purse of it."""
    query = """
    SELECT tenant_id, scope, key, unit, mode, limit_amount IS NOT NULL AS limited FROM budget_purses
    WHERE scope <> 'run' ORDER BY tenant_id, scope, key LIMIT 1000000
    """
    await db.execute(OF_AGENTS)
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


@transaction(readonly=True)
async def reservations(db: Connection, *, tenant: str, purses: Sequence[str]) -> list[Reservation]:
    """What calls under way hold of these purses, oldest first."""
    query = f"""
    SELECT run_id, step_no AS step, amount, tokens, created_at AS since FROM budget_reservations
    WHERE tenant_id = %(tenant)s AND state = 'HELD' AND purse_ids && %(purses)s::uuid[]
    ORDER BY created_at, id LIMIT {LISTED}
    """
    return await many(Reservation, db.execute(query, {"tenant": tenant, "purses": list(purses)}))


@transaction
async def grant(db: Connection, *, tenant: str, id: str, amount: Decimal) -> Purse | None:
    """More for the window that holds now. None if the purse is gone."""
    held = await _locked(db, "p.tenant_id = %(tenant)s AND p.id = %(id)s", {"tenant": tenant, "id": id})
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
    held = await _locked(db, "p.tenant_id = %(tenant)s AND p.id = ANY(%(ids)s::uuid[])", named)
    if busy := [purse for purse in held if purse.reserved > 0]:
        return busy
    await db.execute("DELETE FROM budget_purses WHERE tenant_id = %(tenant)s AND id = ANY(%(ids)s::uuid[])", named)
    return []


# --- by calls -----------------------------------------------------------------------------------------

OF_RUN = """
INSERT INTO budget_purses (id, tenant_id, scope, key, unit, window_kind, window_start, limit_amount)
VALUES (%(id)s, %(tenant)s, 'run', %(key)s, %(unit)s, 'total', now(), %(limit)s)
ON CONFLICT (tenant_id, scope, key, unit, window_kind) DO NOTHING
"""

ROLL = f"""
UPDATE budget_purses p SET window_start = {SINCE}, spent = 0, reserved = 0, granted = 0, warned_at = NULL,
  reached_at = NULL
WHERE p.id = ANY(%(ids)s::uuid[]) AND {SINCE} > p.window_start
"""

HOLD = """
WITH purse AS (
  UPDATE budget_purses p SET updated_at = now(),
    reserved = reserved + CASE WHEN p.unit = 'usd' THEN %(amount)s::numeric ELSE %(tokens)s::bigint END
  WHERE p.id = ANY(%(ids)s::uuid[])
  RETURNING p.id, p.window_start
)
INSERT INTO budget_reservations (id, tenant_id, run_id, fence, step_no, attempt, purse_ids, windows, amount, tokens,
  input_amount, input_tokens, provider, model, sent_at, expires_at)
SELECT %(id)s, %(tenant)s, %(run)s::uuid, %(fence)s, %(step)s::int, (
    SELECT coalesce(max(attempt) + 1, 0) FROM budget_reservations
    WHERE run_id = %(run)s::uuid AND step_no = %(step)s::int),
  array_agg(purse.id), array_agg(purse.window_start), %(amount)s, %(tokens)s, %(input_amount)s, %(input_tokens)s,
  left(%(provider)s, 50), left(%(model)s, 200), clock_timestamp(),
  clock_timestamp() + make_interval(secs => %(within)s::float8)
FROM purse
"""  # it goes out next: whoever dies in between counts as having sent it


@transaction
async def reserve(db: Connection, wanted: Wanted) -> Held | Short:
    """Hold the price of a call in every purse it touches, or in none (G2), perhaps for a shorter answer (G3)."""
    quote = wanted.quote
    tenant = {"tenant": wanted.tenant_id}
    for unit, limit in (("usd", wanted.run_usd), ("tokens", wanted.run_tokens)):
        if limit is not None:
            key = next(payer.key for payer in wanted.payers if payer.scope == "run")
            await db.execute(OF_RUN, {**tenant, "id": new_id(), "key": key, "unit": unit, "limit": limit})
    where = f"p.tenant_id = %(tenant)s AND EXISTS ({PAYING})"
    purses = await _locked(db, where, {**tenant, "payers": Json(wanted.payers)})
    if not purses:
        return Held(max_tokens=quote.max_tokens)
    if wanted.fresh and (over := next((one for one in purses if one.mode == "soft" and one.over), None)):
        return Short(purse=over, needed=Decimal(0), wait=False)
    tightest = min(purses, key=quote.fits)
    output = min(quote.max_tokens, quote.fits(tightest))
    least = min(quote.least, quote.max_tokens)
    if output < least:
        wait = all(quote.fits(purse, alone=True) >= least for purse in purses)
        needed = quote.amount(quote.max_tokens)
        if tightest.unit == "tokens":
            needed = Decimal(quote.input_tokens + quote.max_tokens)
        return Short(purse=tightest, needed=needed, wait=wait)
    held = Held(id=wanted.id, max_tokens=output, price=quote.price, input_tokens=quote.input_tokens)
    await db.execute(
        HOLD,
        {
            "id": wanted.id,
            "tenant": wanted.tenant_id,
            "run": wanted.run_id,
            "fence": wanted.fence,
            "step": wanted.step,
            "ids": [purse.id for purse in purses],
            "amount": quote.amount(output),
            "tokens": quote.input_tokens + output,
            "input_amount": quote.amount(0),
            "input_tokens": quote.input_tokens,
            "provider": quote.provider,
            "model": quote.model,
            "within": wanted.within + GRACE,
        },
    )
    return held


CLOSE = f"""
WITH closed AS (
  UPDATE budget_reservations r SET state = %(state)s, settled = %(spent)s::numeric, closed_at = now()
  WHERE r.id = %(id)s AND r.tenant_id = %(tenant)s AND r.state = 'HELD'
  RETURNING r.purse_ids, r.windows, r.amount, r.tokens, %(spent)s::numeric AS spent, %(used)s::bigint AS spent_tokens
), {freed("closed")}
SELECT count(*) FROM closed
"""

COUNT = f"""
WITH closed AS (
  SELECT purse_ids, windows, amount, tokens, 0::numeric AS spent, 0::bigint AS spent_tokens
  FROM budget_reservations WHERE false
), {
    freed(
        "closed",
        f'''
    SELECT p.id AS purse, %(spent)s::numeric AS spent, %(used)s::bigint AS spent_tokens
    FROM {PAYERS} JOIN budget_purses p USING (scope, key) WHERE p.tenant_id = %(tenant)s''',
    )
}
SELECT 1
"""


@transaction(retry_safe=True, single=True)
async def release(db: Connection, *, tenant: str, id: str) -> None:
    """The call took nothing (G6)."""
    await db.execute(CLOSE, {"id": id, "tenant": tenant, "state": "RELEASED", "spent": Decimal(0), "used": 0})


@transaction(retry_safe=True, single=True)
async def settle(db: Connection, *, tenant: str, id: str, spent: Decimal, tokens: int) -> None:
    """What a call took that belongs to no run; those of runs are settled with their steps."""
    await db.execute(CLOSE, {"id": id, "tenant": tenant, "state": "SETTLED", "spent": spent, "used": tokens})


@transaction(single=True)
async def count(db: Connection, *, tenant: str, payers: Sequence[Payer], spent: Decimal, tokens: int) -> None:
    """What a call took that belongs to no run and held nothing."""
    await db.execute(COUNT, {"tenant": tenant, "payers": Json(payers), "spent": spent, "used": tokens})


REAP = f"""
WITH dead AS (
  SELECT h.id FROM budget_reservations h
  WHERE h.state = 'HELD' AND (h.expires_at < now() OR (h.fence > 0 AND NOT EXISTS (
    SELECT FROM runs o WHERE o.run_id = h.run_id AND o.fence = h.fence AND o.lease_owner IS NOT NULL
      AND o.lease_expires_at > clock_timestamp())))
  ORDER BY h.id LIMIT {REAPED} FOR UPDATE SKIP LOCKED
), closed AS (
  UPDATE budget_reservations r SET state = 'LOST', settled = r.input_amount, closed_at = now()
  FROM dead WHERE r.id = dead.id AND r.state = 'HELD'
  RETURNING r.purse_ids, r.windows, r.amount, r.tokens, r.input_amount AS spent, r.input_tokens AS spent_tokens
), {freed("closed")}
SELECT count(*) FROM closed
"""


@transaction(retry_safe=True, single=True)
async def reap(db: Connection) -> int:
    """Close what nobody will: of calls that took too long, and of runs that died (G7). How many, 500 at most.

    Their prompts are booked, as estimated: they went out.
    """
    return await one(int, db.execute(REAP, {}))


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


async def _locked(db: Connection, where: str, params: dict[str, Any]) -> Sequence[Purse]:
    """Purses, held, in the window that holds now."""
    query = SELECT.replace("SELECT", "SELECT w.since > p.window_start AS stale,", 1)
    purses = await many(Stale, db.execute(f"{query} WHERE {where} ORDER BY {RANK} FOR UPDATE OF p", params))
    if ids := [purse.id for purse in purses if purse.stale]:
        await db.execute(ROLL, {"ids": ids})
    return purses
