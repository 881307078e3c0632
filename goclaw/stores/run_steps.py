"""What a run has done so far: its steps, the ledger of its effects, its counters. Contract: durability.md §7.2, §8.

Tables `run_steps`, `tool_effects`, `loop_checkpoints`, `run_records` (migrations 0006, 0016, 0021). Every write names
the run's owner and fence and holds the run's row, so nobody can take it over in the middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct

from goclaw.domain.chat import Usage
from goclaw.domain.run import RecordKind
from goclaw.stores.model_calls import CALLS
from goclaw.stores.reservations import PAID
from goclaw.stores.run_kept import BLOBS, NOTHING, RECORDS, STEPS, Kept, Step
from goclaw.stores.runs import Claimed, StaleOwner
from goclaw.stores.unit import Connection, Json, many, maybe, one, transaction

EffectStatus = Literal["STARTED", "SUCCEEDED", "FAILED", "UNKNOWN"]


class NewEffect(Struct, frozen=True, kw_only=True):
    """A call with an effect that is about to be made."""

    key: str  # run:step:call
    step_no: int
    call_index: int
    tool: str
    effect_class: str
    request_hash: str
    note: str = ""  # what its tool wants to know about the time before
    log: int = 0  # of steps; a try that forgets them begins the next
    adopts: str | None = None  # the key of the call of an earlier log that this one stands for


class Outcome(Struct, frozen=True, kw_only=True):
    """How such a call ended."""

    key: str
    status: EffectStatus
    result: msgspec.Raw


class Effect(Struct, frozen=True, kw_only=True):
    """A call as the ledger knows it. `key` is what its target knows it by; `former`: it is of an earlier log, and no
    call of this one stands for it yet, or knows how it ended."""

    key: str
    former: bool
    tool: str
    effect_class: str
    request_hash: str
    status: EffectStatus
    note: str
    started_at: datetime
    stored: str | None  # the result, JSON


class Counters(Struct, frozen=True, kw_only=True):
    """How far a run is. The limits are those of a loop (agent-loop.md §15.2)."""

    iteration: int
    current_step: int  # of the loop; else of the log
    tokens_used: int
    max_steps: int | None = None
    max_tokens: int | None = None
    max_duration_ms: int | None = None


KEEP = f"""
WITH mine AS (
  SELECT run_id, tenant_id, session_key, attempt, fence, agent_id, user_id, kind FROM runs
  WHERE run_id = %(run)s AND tenant_id = %(tenant)s AND lease_owner = %(owner)s::uuid AND fence = %(fence)s
    AND state = 'RUNNING'
  FOR SHARE
), step AS (
  {STEPS} RETURNING step_no, kind
), record AS (
  {RECORDS}
), blob AS (
  {BLOBS}
), call AS (
  {CALLS}
), started AS (
  INSERT INTO tool_effects AS known (idempotency_key, run_id, tenant_id, step_no, call_index, tool, effect_class,
    request_hash, status, external_id, fence, log, adopts)
  SELECT e.key, mine.run_id, mine.tenant_id, e.step_no, e.call_index, e.tool, e.effect_class, e.request_hash,
    'STARTED', e.note, mine.fence, e.log, e.adopts
  FROM mine, jsonb_to_recordset(%(effects)s::jsonb) AS e(key text, step_no int, call_index int, tool text,
    effect_class text, request_hash text, note text, log int, adopts text)
  ON CONFLICT (idempotency_key) DO UPDATE SET fence = excluded.fence WHERE known.status = 'STARTED'
  RETURNING idempotency_key, tool, effect_class
), ended AS (
  UPDATE tool_effects t SET status = o.status, result = o.result, finished_at = now(),
    result_hash = encode(sha256(convert_to(o.result::text, 'UTF8')), 'hex')
  FROM mine, jsonb_to_recordset(%(outcomes)s::jsonb) AS o(key text, status text, result jsonb)
  WHERE t.idempotency_key = o.key AND t.run_id = mine.run_id
    AND (t.status = 'STARTED' OR t.status = 'UNKNOWN' AND t.result IS NULL)
  RETURNING t.idempotency_key, t.status
), checkpoint AS (
  INSERT INTO loop_checkpoints (run_id, tenant_id, iteration, current_step, max_steps, tokens_used, max_tokens,
    max_duration_ms, started_at, fence)
  SELECT mine.run_id, mine.tenant_id, %(iteration)s::int, %(step)s::int, %(max_steps)s::int, %(tokens)s::bigint,
    %(max_tokens)s::bigint, %(max_duration_ms)s::bigint, now(), mine.fence FROM mine
  ON CONFLICT (run_id) DO UPDATE SET iteration = excluded.iteration, current_step = excluded.current_step,
    tokens_used = excluded.tokens_used, fence = excluded.fence, status = 'running', updated_at = now()
), news AS (
  SELECT 'step.committed' AS type, jsonb_build_object('step', step_no, 'kind', kind) AS payload, step_no AS place
  FROM step
  UNION ALL
  SELECT 'effect.started', jsonb_build_object('key', idempotency_key, 'tool', tool, 'class', effect_class), 1000000
  FROM started
  UNION ALL
  SELECT 'effect.' || lower(status), jsonb_build_object('key', idempotency_key), -1 FROM ended
), head AS (
  UPDATE session_heads h SET next_seq = h.next_seq + (SELECT count(*) FROM news)
  FROM mine WHERE h.tenant_id = mine.tenant_id AND h.session_key = mine.session_key
  RETURNING h.next_seq - (SELECT count(*) FROM news) AS first
), event AS (
  INSERT INTO run_events (run_id, tenant_id, session_key, session_seq, type, attempt, fence, node_id, payload)
  SELECT mine.run_id, mine.tenant_id, mine.session_key, head.first + row_number() OVER (ORDER BY news.place) - 1,
    news.type, mine.attempt, mine.fence, %(owner)s::uuid, news.payload
  FROM mine, head, news ORDER BY news.place
)"""
KEPT = "\nSELECT count(*) FROM mine"
KEPT_PAID = f",\n{PAID}{KEPT}"

OF_RUN = """
SELECT step_no, kind, message::text AS message, usage FROM run_steps WHERE run_id = %(run)s AND tenant_id = %(tenant)s
ORDER BY step_no LIMIT 10000
"""

EFFECT = """
WITH RECURSIVE up AS (
  SELECT run_id, requeued_from, 1 AS age FROM runs WHERE run_id = %(run)s AND tenant_id = %(tenant)s
  UNION ALL
  SELECT r.run_id, r.requeued_from, up.age + 1 FROM runs r JOIN up ON r.run_id = up.requeued_from
  WHERE r.tenant_id = %(tenant)s AND up.age < 100
), family AS (
  (SELECT run_id FROM up ORDER BY age DESC LIMIT 1)
  UNION
  SELECT r.run_id FROM runs r JOIN family f ON r.requeued_from = f.run_id WHERE r.tenant_id = %(tenant)s
), own AS (
  SELECT coalesce(o.adopts, o.idempotency_key) AS key, o.result IS NULL AND o.adopts IS NOT NULL AS former, o.tool,
    o.effect_class, o.request_hash, o.status, coalesce(o.external_id, '') AS note, coalesce(f.started_at, o.started_at)
    AS started_at, coalesce(o.result, CASE WHEN f.status = 'SUCCEEDED' THEN f.result END)::text AS stored
  FROM tool_effects o LEFT JOIN tool_effects f ON f.idempotency_key = o.adopts
  WHERE o.idempotency_key = %(key)s AND o.tenant_id = %(tenant)s
), former AS (
  SELECT f.idempotency_key AS key, true AS former, f.tool, f.effect_class, f.request_hash, f.status,
    coalesce(f.external_id, '') AS note, f.started_at,
    CASE WHEN f.status = 'SUCCEEDED' THEN f.result END::text AS stored
  FROM family JOIN tool_effects f USING (run_id)
  WHERE f.request_hash = %(hash)s AND f.adopts IS NULL AND f.status <> 'FAILED'
    AND (f.run_id <> %(run)s OR f.log <> %(log)s)
    AND NOT EXISTS (
      SELECT FROM tool_effects m WHERE m.run_id = %(run)s AND m.log = %(log)s AND m.adopts = f.idempotency_key)
    AND NOT EXISTS (SELECT FROM own)
  ORDER BY f.status = 'SUCCEEDED' DESC, f.started_at, f.step_no, f.call_index LIMIT 1
)
SELECT * FROM own UNION ALL SELECT * FROM former
"""  # the family: all runs that are tries of the same turn


@transaction(retry_safe=True, single=True)
async def keep(
    db: Connection,
    run: Claimed,
    counters: Counters,
    *,
    kept: Kept = NOTHING,
    effects: Sequence[NewEffect] = (),
    outcomes: Sequence[Outcome] = (),
) -> None:
    """Store what a run did, and what it is about to do. Doing it twice is the same as once. Raises `StaleOwner`."""
    params: dict[str, Any] = {
        "run": run.run_id,
        "tenant": run.tenant_id,
        "owner": run.lease_owner,
        "fence": run.fence,
        "effects": Json(list(effects)),
        "outcomes": Json(list(outcomes)),
        "iteration": counters.iteration,
        "step": counters.current_step,
        "tokens": counters.tokens_used,
        "max_steps": counters.max_steps,
        "max_tokens": counters.max_tokens,
        "max_duration_ms": counters.max_duration_ms,
        **kept.params(),
    }
    last = KEPT_PAID if kept.calls and kept.payers else KEPT
    if await one(int, db.execute(KEEP + last, params)) == 0:
        raise StaleOwner(run.run_id)


@transaction(retry_safe=True)
async def say_status(db: Connection, run: Claimed, *, status: str) -> None:
    """What a loop says it is at. Raises `StaleOwner`."""
    query = """
    WITH mine AS (
      SELECT run_id FROM runs WHERE run_id = %(run)s AND tenant_id = %(tenant)s AND lease_owner = %(owner)s::uuid
        AND fence = %(fence)s AND state = 'RUNNING' FOR SHARE
    )
    UPDATE loop_checkpoints c SET status_text = %(status)s, updated_at = now() FROM mine
    WHERE c.run_id = mine.run_id RETURNING c.iteration
    """
    names = {"run": run.run_id, "tenant": run.tenant_id, "owner": run.lease_owner, "fence": run.fence}
    if await maybe(int, db.execute(query, {**names, "status": status})) is None:
        raise StaleOwner(run.run_id)


@transaction(readonly=True)
async def of_run(db: Connection, *, tenant: str, run_id: str) -> list[Step]:
    """Everything a run has done, in order."""
    rows = await many(StepRow, db.execute(OF_RUN, {"tenant": tenant, "run": run_id}))
    return [
        Step(step_no=row.step_no, kind=row.kind, message=msgspec.Raw(row.message.encode()), usage=row.usage)
        for row in rows
    ]


@transaction(readonly=True)
async def recorded(db: Connection, *, tenant: str, run_id: str) -> tuple[int, str]:
    """The number of the next record of a run, and the hash of its message log up to the last one."""
    query = """
    SELECT seq + 1 AS next, coalesce(body->>'log', '') AS log FROM run_records
    WHERE run_id = %(run)s AND tenant_id = %(tenant)s ORDER BY seq DESC LIMIT 1
    """
    last = await maybe(LastRecord, db.execute(query, {"run": run_id, "tenant": tenant}))
    return (0, "") if last is None else (last.next, last.log)


@transaction(readonly=True)
async def log_of(db: Connection, *, tenant: str, run_id: str) -> int:
    """How often the steps of a run were forgotten."""
    query = "SELECT log FROM runs WHERE run_id = %(run)s AND tenant_id = %(tenant)s"
    return await one(int, db.execute(query, {"run": run_id, "tenant": tenant}))


@transaction(readonly=True)
async def effect(db: Connection, *, tenant: str, run_id: str, log: int, key: str, request_hash: str) -> Effect | None:
    """The call under this key as the ledger knows it; else an equal one of an earlier log of this run, or of a run
    that is a try of the same turn, which no call of this log stands for. One that failed did nothing."""
    params = {"tenant": tenant, "run": run_id, "log": log, "key": key, "hash": request_hash}
    return await maybe(Effect, db.execute(EFFECT, params))


RECORDED = """
SELECT seq, kind, step_no AS step, body::text AS body, body_enc AS sealed, blob FROM run_records
WHERE run_id = %(run)s AND tenant_id = %(tenant)s ORDER BY seq LIMIT 20000
"""


class RecordRow(Struct, frozen=True, kw_only=True):
    seq: int
    kind: RecordKind
    step: int | None
    body: str  # JSON; of a sealed one only the hash of the log
    sealed: bytes | None
    blob: str | None


@transaction(readonly=True)
async def records(db: Connection, *, tenant: str, run_id: str) -> list[RecordRow]:
    """What reached a run, in order."""
    return await many(RecordRow, db.execute(RECORDED, {"run": run_id, "tenant": tenant}))


@transaction(readonly=True)
async def blob(db: Connection, *, digest: str) -> str | None:
    return await maybe(str, db.execute("SELECT body FROM record_blobs WHERE hash = %(hash)s", {"hash": digest}))


@transaction
async def pin(db: Connection, *, tenant: str, run_id: str, pinned: bool) -> int:
    """Keep a run's record beyond its time, or let it go. How many rows it has."""
    query = """
    WITH changed AS (
      UPDATE run_records SET pinned = %(pinned)s WHERE run_id = %(run)s AND tenant_id = %(tenant)s RETURNING 1)
    SELECT count(*) FROM changed
    """
    return await one(int, db.execute(query, {"run": run_id, "tenant": tenant, "pinned": pinned}))


class LastRecord(Struct, frozen=True, kw_only=True):
    next: int
    log: str


class StepRow(Struct, frozen=True, kw_only=True):
    step_no: int
    kind: Literal["llm", "tool", "note", "summary"]
    message: str
    usage: Usage | None
