"""What calls under way hold of purses, and what they really took. Table `budget_reservations` (migration 0025).

A reservation remembers the window of each purse it is held in. When a purse begins its next window what is held stays
behind: to close it then changes nothing in the new one (G8).

Locks are taken in one order: a run's head, reservations, purses by scope and id. Contract: providers.md §18.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from msgspec import Struct

from goclaw.domain.budget import Held, Payer, Scope, Short, Wanted
from goclaw.domain.ids import new_id
from goclaw.stores.budgets import LISTED, PAYERS, PAYING, RANK, SINCE, locked
from goclaw.stores.unit import Connection, Json, many, one, transaction

GRACE = 60  # seconds beyond the deadline of a call; providers.md §18 G2
REAPED = 500  # reservations in one transaction

BEGINS = f"due.since IS NULL AND {SINCE} > p.window_start"  # nothing held is settled: the next window may begin


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
    spent = CASE WHEN {BEGINS} THEN 0 ELSE p.spent END
      + CASE WHEN p.unit = 'usd' THEN due.spent ELSE due.spent_tokens END,
    reserved = CASE WHEN {BEGINS} THEN 0 ELSE p.reserved END
      - CASE WHEN p.unit = 'usd' THEN due.held ELSE due.held_tokens END,
    granted = CASE WHEN {BEGINS} THEN 0 ELSE p.granted END,
    warned_at = CASE WHEN {BEGINS} THEN NULL ELSE p.warned_at END,
    reached_at = CASE WHEN {BEGINS} THEN NULL ELSE p.reached_at END,
    window_start = CASE WHEN due.since IS NULL THEN {SINCE} ELSE p.window_start END,
    updated_at = now()
  FROM locked, due
  WHERE p.id = locked.id AND due.purse = p.id AND (due.since IS NULL OR due.since = p.window_start)
)"""


COUNTED = f"""
    SELECT p.id AS purse, paid.spent, paid.spent_tokens
    FROM paid, mine, {PAYERS} JOIN budget_purses p USING (scope, key)
    WHERE cardinality(paid.reservations) = 0 AND p.tenant_id = mine.tenant_id"""

PAID = f"""
paid AS (
  SELECT c.reservations, c.status, c.spent, c.spent_tokens
  FROM call, head, jsonb_to_recordset(%(calls)s::jsonb) AS c(number int, reservations uuid[], status text,
    spent numeric, spent_tokens bigint)
  WHERE c.number = call.number
), closed AS (
  UPDATE budget_reservations r SET state = CASE WHEN paid.status = 'completed' THEN 'SETTLED' ELSE 'LOST' END,
    settled = CASE WHEN r.id = paid.reservations[1] THEN paid.spent ELSE 0 END, closed_at = now()
  FROM paid, mine WHERE r.id = ANY(paid.reservations) AND r.run_id = mine.run_id AND r.state = 'HELD'
  RETURNING r.purse_ids, r.windows, r.amount, r.tokens, r.settled AS spent,
    CASE WHEN r.id = paid.reservations[1] THEN paid.spent_tokens ELSE 0 END AS spent_tokens
), {freed("closed", COUNTED)}"""
# `mine` is the run, `head` its session's, both held; `call` the numbers of calls that were not there before, so that
# a commit that is tried again books nothing twice


OF_RUN = """
INSERT INTO budget_purses (id, tenant_id, scope, key, unit, window_kind, window_start, limit_amount)
VALUES (%(id)s, %(tenant)s, 'run', %(key)s, %(unit)s, 'total', now(), %(limit)s)
ON CONFLICT (tenant_id, scope, key, unit, window_kind) DO NOTHING
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
    purses = await locked(db, where, {**tenant, "payers": Json(wanted.payers)})
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

OF_PAYERS = f"""
    SELECT p.id AS purse, %(spent)s::numeric AS spent, %(used)s::bigint AS spent_tokens
    FROM {PAYERS} JOIN budget_purses p USING (scope, key) WHERE p.tenant_id = %(tenant)s"""

COUNT = f"""
WITH closed AS (
  SELECT purse_ids, windows, amount, tokens, 0::numeric AS spent, 0::bigint AS spent_tokens
  FROM budget_reservations WHERE false
), {freed("closed", OF_PAYERS)}
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


class ByScope(Struct, frozen=True):
    scope: Scope
    usd: Decimal


@transaction(readonly=True)
async def held_by_scope(db: Connection) -> list[ByScope]:
    """USD that calls under way hold, by the scopes of the purses they hold it in; of all tenants."""
    query = """
    SELECT p.scope, sum(r.amount) AS usd FROM budget_reservations r JOIN budget_purses p ON p.id = ANY(r.purse_ids)
    WHERE r.state = 'HELD' AND p.unit = 'usd' GROUP BY p.scope
    """
    return await many(ByScope, db.execute(query))


@transaction(readonly=True)
async def overshot(db: Connection, ids: Sequence[str]) -> list[ByScope]:
    """USD that these reservations took beyond what they held, by scope."""
    query = """
    SELECT p.scope, sum(r.settled - r.amount) AS usd
    FROM budget_reservations r JOIN budget_purses p ON p.id = ANY(r.purse_ids)
    WHERE r.id = ANY(%(ids)s::uuid[]) AND r.state <> 'HELD' AND p.unit = 'usd' GROUP BY p.scope
    """
    return await many(ByScope, db.execute(query, {"ids": list(ids)}))


class Reservation(Struct, frozen=True, kw_only=True):
    run_id: str
    step: int
    amount: Decimal
    tokens: int
    since: datetime


@transaction(readonly=True)
async def held(db: Connection, *, tenant: str, purses: Sequence[str]) -> list[Reservation]:
    """What calls under way hold of these purses, oldest first."""
    query = f"""
    SELECT run_id, step_no AS step, amount, tokens, created_at AS since FROM budget_reservations
    WHERE tenant_id = %(tenant)s AND state = 'HELD' AND purse_ids && %(purses)s::uuid[]
    ORDER BY created_at, id LIMIT {LISTED}
    """
    return await many(Reservation, db.execute(query, {"tenant": tenant, "purses": list(purses)}))
