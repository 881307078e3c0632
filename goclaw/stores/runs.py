"""Durable runs: accepted, claimed, ended. Tables `runs`, `session_heads`, `run_events` (migration 0006).

A claim locks the session's head first, in a statement of its own: one statement would read its snapshot
before it has the lock (durability.md §5.1). Writes of a running run name its owner and fence.

Locks are taken in one order, or writers would wait for each other: rows that run, their heads by key, rows that
wait. Who leaves RUNNING holds its row when it comes to the head, and nobody holds a head when coming to such a row.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal, cast

import msgspec
from msgspec import Struct, convert, field

from goclaw.domain.budget import Payer
from goclaw.domain.chat import Usage
from goclaw.domain.cluster import shard_of
from goclaw.domain.errors import Err, unavailable
from goclaw.domain.run import KINDS, Lane, RecordKind, RunKind, RunRequest, RunResult, RunState
from goclaw.domain.tokens import estimate
from goclaw.settings.locks import Locks
from goclaw.stores import locks
from goclaw.stores.model_calls import CALLS, ModelCall
from goclaw.stores.reservations import PAID
from goclaw.stores.run_heads import HEAD_OF
from goclaw.stores.run_locks import hold_runs
from goclaw.stores.sessions import GROW, GROWN, MESSAGES, NewMessage, append, growth, withdraw
from goclaw.stores.unit import Connection, Json, many, maybe, one, transaction

LEASE = 30  # seconds; durability.md §5.2
CRASHES = 3  # the third ends the run; durability.md §6.2
LOCKS = Locks()
LOST = unavailable("crashed")  # what the asker of a run hears that crashed too often


class StaleOwner(Exception):
    """The run is no longer ours: another node took it over, or it ended. Nothing was written."""


class Depth(Struct, frozen=True):
    queued: int
    running: int


class Stored(Struct, frozen=True):
    """An accepted turn. `started`: it is ours already, because its session was idle."""

    queued: int
    running: int
    started: bool


class Claimed(Struct, frozen=True, kw_only=True):
    """A run that is ours as long as the lease holds and the fence is the row's."""

    run_id: str
    tenant_id: str
    session_key: str
    agent_id: str | None
    agent_key: str
    user_id: str
    kind: RunKind
    lane: Lane
    attempt: int
    crash_count: int
    fence: int
    lease_owner: str
    stored: str = field(name="request")  # JSON
    created_at: datetime
    age: float  # seconds since it was accepted, by the database's clock
    left: float = 600.0  # seconds until its deadline
    max_attempts: int = 3
    priority: int = 5
    generation: int = 0  # of its session when it was accepted; a reset raises it
    reason_code: str | None = None  # why it is not in its first life
    last_error: str | None = None
    fingerprint: str | None = None  # of that error, and how often in a row
    fingerprint_count: int = 0
    requeued_from: str | None = None
    idempotent: bool = False  # its asker can come back for the answer
    keyed: bool = False  # it holds resource keys as long as it is ours
    first: bool = False  # nothing was said before it, so there is no history to read
    policy_version: str | None = None  # in force when this attempt began; None: no policy was

    @property
    def request(self) -> RunRequest:
        """Read by the run itself: one that cannot be read breaks its own run, not the lane that claims for all."""
        request: RunRequest = msgspec.json.decode(self.stored, type=RunRequest)
        return request


class OpenRun(Struct, frozen=True, kw_only=True):
    run_id: str
    state: RunState
    kind: RunKind
    user_id: str
    stored: dict[str, Any] = field(name="request")
    created_at: datetime

    @property
    def request(self) -> RunRequest:
        return convert(self.stored, RunRequest)


class Original(Struct, frozen=True, kw_only=True):
    """A run that is to be run again."""

    run_id: str
    session_key: str
    agent_key: str
    user_id: str
    state: RunState
    stored: str = field(name="request")

    @property
    def request(self) -> RunRequest:
        request: RunRequest = msgspec.json.decode(self.stored, type=RunRequest)
        return request


class Forsaken(Struct, frozen=True, kw_only=True):
    run_id: str
    tenant_id: str
    session_key: str


class Canceled(Struct, frozen=True, kw_only=True):
    run_id: str
    lane: Lane
    fence: int  # how often it had been claimed


class Stopping(Struct, frozen=True, kw_only=True):
    """A run somebody wants to end: it waited and is over, or it runs and its owner must hear of it."""

    run_id: str
    session_key: str
    lane: Lane
    fence: int
    over: bool


class Renewed(Struct, frozen=True, kw_only=True):
    """A run that is still ours, and whether somebody wants it to end."""

    run_id: str
    lane: Lane
    stopping: bool


class Retried(Struct, frozen=True, kw_only=True):
    """A run that is in the queue again, under its own id or a new one."""

    run_id: str
    session_key: str
    lane: Lane
    new: bool


Standing = Literal["ours", "stopping", "reset", "let go", "gone"]


class Known(Struct, frozen=True, kw_only=True):
    """A run found by its idempotency key. `result` is there once it has ended."""

    run_id: str
    request_hash: str | None
    result: RunResult | None


class Step(Struct, frozen=True, kw_only=True):
    """What a run has done, as it goes on from after a crash (durability.md §8)."""

    step_no: int
    kind: Literal["llm", "tool", "note", "summary"]
    message: msgspec.Raw
    usage: Usage | None = None


class Record(Struct, frozen=True, kw_only=True):
    """Something that reached a run from outside (durability.md §16.1)."""

    seq: int
    kind: RecordKind
    body: msgspec.Raw
    sealed: str | None = None  # the body, sealed, in base64; `body` has only what may be read then
    step_no: int | None = None
    blob: str | None = None  # SHA-256 of a text in `record_blobs`


class Blob(Struct, frozen=True, kw_only=True):
    hash: str
    body: str


class Kept(Struct, frozen=True, kw_only=True):
    """What a run writes beside its state: nothing is written twice, whatever a commit said."""

    steps: tuple[Step, ...] = ()
    records: tuple[Record, ...] = ()
    blobs: tuple[Blob, ...] = ()
    calls: tuple[ModelCall, ...] = ()
    payers: tuple[Payer, ...] = ()  # who has purses that pay for them
    ledger: bool = True  # the run may have steps already: whatever they left open is closed with it

    def params(self) -> dict[str, Any]:
        return {name: Json(getattr(self, name)) for name in ("steps", "records", "blobs", "calls", "payers")}


NOTHING = Kept()


class Fault(Struct, frozen=True, kw_only=True):
    """An error as poison is told by: its fingerprint, and how often it came in a row."""

    fingerprint: str
    alike: int


class Waiting(Struct, frozen=True, kw_only=True):
    tenant_id: str
    session_key: str
    lane: Lane


def user_said(run: Claimed, request: RunRequest) -> NewMessage:
    """What the user said, as a row of the history: the same in every attempt."""
    return NewMessage(
        id=str(uuid.uuid5(uuid.UUID(run.run_id), "user")),
        role="user",
        content=request.message,
        payload={
            "sender": {"id": request.sender or run.user_id},
            **({"announce": True} if run.kind == "announce" else {}),
        },
        token_estimate=estimate(request.message),
    )


def asked(run: Claimed) -> list[NewMessage]:
    """The history of a run that ends without a word; nothing if its request cannot be read, or nobody said it."""
    try:
        request = run.request
    except msgspec.MsgspecError:
        return []
    return [] if request.replay is not None else [user_said(run, request)]


CLAIMED = """run_id, tenant_id, session_key, agent_id, agent_key, user_id, kind, lane, attempt, crash_count,
  fence, lease_owner, request::text AS request, created_at, extract(epoch FROM now() - created_at)::float8 AS age,
  coalesce(extract(epoch FROM deadline - now()), 600)::float8 AS left, max_attempts, priority, generation, reason_code,
  last_error, fingerprint, fingerprint_count, requeued_from, ingress_key IS NOT NULL AS idempotent,
  resource_keys <> '{}' AS keyed, policy_version"""

STARTS = "%(node)s::uuid IS NOT NULL AND h.queued = 0 AND h.running < h.max_concurrent"

ACCEPT = f"""
WITH head AS (
  INSERT INTO session_heads AS h
    (tenant_id, session_key, shard, lane, max_concurrent, queued, running, head_at, next_seq)
  SELECT %(tenant)s::uuid, %(key)s::text, %(shard)s::int, %(lane)s::text, %(max_concurrent)s::int,
    1 - start.now, start.now, CASE WHEN start.now = 0 THEN now() END, 2 + 2 * start.now
  FROM (SELECT (%(node)s::uuid IS NOT NULL)::int AS now) AS start
  ON CONFLICT (tenant_id, session_key) DO UPDATE SET
    queued = h.queued + CASE WHEN {STARTS} THEN 0 ELSE 1 END,
    running = h.running + CASE WHEN {STARTS} THEN 1 ELSE 0 END,
    head_at = CASE WHEN {STARTS} THEN NULL ELSE least(h.head_at, now()) END,
    next_seq = h.next_seq + CASE WHEN {STARTS} THEN 3 ELSE 1 END, updated_at = now()
  RETURNING queued, running, queued = 0 AS started, next_seq - CASE WHEN queued = 0 THEN 3 ELSE 1 END AS seq
), session AS (
  INSERT INTO sessions (id, tenant_id, session_key, agent_id, agent_key, user_id, kind, channel, label)
  SELECT %(session_id)s::uuid, %(tenant)s::uuid, %(key)s::text, %(agent_id)s::uuid, %(agent_key)s::text, %(user)s::text,
    %(session_kind)s::text, %(channel)s::text, %(label)s::text FROM head
  ON CONFLICT (tenant_id, session_key) DO UPDATE SET last_active_at = now(), updated_at = now()
  RETURNING generation
), run AS (
  INSERT INTO runs (run_id, tenant_id, session_key, shard, agent_id, agent_key, user_id, kind, lane, max_attempts,
    priority, generation, request, request_hash, ingress_key, deadline, state, attempt, fence, lease_owner,
    lease_expires_at, claimed_at, started_at, policy_version)
  SELECT %(run_id)s::uuid, %(tenant)s::uuid, %(key)s::text, %(shard)s::int, %(agent_id)s::uuid,
    %(agent_key)s::text, %(user)s::text, %(kind)s::text, %(lane)s::text, %(max_attempts)s::int,
    %(priority)s::int, session.generation,
    %(request)s::jsonb, %(request_hash)s::text, %(ingress_key)s::text,
    now() + make_interval(secs => %(timeout)s::float8), CASE WHEN head.started THEN 'RUNNING' ELSE 'QUEUED' END,
    head.started::int, head.started::int, CASE WHEN head.started THEN %(node)s::uuid END,
    CASE WHEN head.started THEN clock_timestamp() + make_interval(secs => %(lease)s::float8) END,
    CASE WHEN head.started THEN now() END, CASE WHEN head.started THEN now() END,
    CASE WHEN head.started THEN %(policy)s::text END
  FROM session, head
), event AS (
  INSERT INTO run_events (run_id, tenant_id, session_key, session_seq, type, state_from, state_to, attempt, fence,
    node_id)
  SELECT %(run_id)s::uuid, %(tenant)s::uuid, %(key)s::text, head.seq + step.place, step.type, step.before, step.after,
    step.counts, step.counts, CASE WHEN step.counts = 1 THEN %(node)s::uuid END
  FROM head, (VALUES (0, 'task.enqueued', NULL, 'QUEUED', 0), (1, 'task.claimed', 'QUEUED', 'CLAIMED', 1),
    (2, 'task.running', 'CLAIMED', 'RUNNING', 1)) AS step(place, type, before, after, counts)
  WHERE step.place = 0 OR head.started ORDER BY step.place
)
SELECT queued, running, started FROM head
"""  # the head is locked by its upsert, so an idle session can be started in the same statement

ANNOUNCES = """LATERAL (
  SELECT count(*) FILTER (WHERE state IN ('CLAIMED', 'RUNNING')) AS working,
    count(*) FILTER (WHERE state IN ('QUEUED', 'RETRY_WAIT')) AS waiting,
    count(*) FILTER (WHERE state IN ('QUEUED', 'RETRY_WAIT') AND available_at <= now()) AS due
  FROM runs WHERE tenant_id = h.tenant_id AND session_key = h.session_key AND kind = 'announce'
    AND state IN ('QUEUED', 'RETRY_WAIT', 'CLAIMED', 'RUNNING')
) AS a"""  # results have a slot of their own beside those of the head `h`; sessions-lanes-cron.md §3.5

HAS_SLOT = "(CASE WHEN w.announce THEN a.working = 0 ELSE h.running - a.working < h.max_concurrent END)"

CLAIMABLE = "(h.running - a.working < h.max_concurrent AND h.queued > a.waiting OR a.working = 0 AND a.due > 0)"

LOCK_WAITING = f"""
SELECT h.tenant_id, h.session_key, h.lane
FROM session_heads h
JOIN unnest(%(tenants)s::uuid[], %(keys)s::text[]) AS wanted(tenant_id, session_key) USING (tenant_id, session_key)
CROSS JOIN {ANNOUNCES}
WHERE h.lane = %(lane)s AND h.queued > 0 AND h.head_at <= now() AND {CLAIMABLE}
ORDER BY h.tenant_id, h.session_key LIMIT %(limit)s
FOR UPDATE OF h SKIP LOCKED
"""

CLAIM = f"""
WITH head_of AS ({HEAD_OF}), picked AS (
  SELECT DISTINCT ON (w.tenant_id, w.session_key) w.run_id, w.state
  FROM head_of w JOIN session_heads h USING (tenant_id, session_key) CROSS JOIN {ANNOUNCES}
  WHERE w.available_at <= now() AND (w.resource_keys = '{{}}' OR w.run_id = ANY(%(holding)s::uuid[])) AND {HAS_SLOT}
  ORDER BY w.tenant_id, w.session_key, w.announce DESC
), claimed AS (
  UPDATE runs SET state = 'RUNNING', attempt = attempt + 1, fence = fence + 1, lease_owner = %(node)s::uuid,
    lease_expires_at = clock_timestamp() + make_interval(secs => %(lease)s::float8), claimed_at = now(),
    started_at = coalesce(started_at, now()), policy_version = %(policy)s::text, updated_at = now()
  WHERE run_id IN (SELECT run_id FROM picked) AND state IN ('QUEUED', 'RETRY_WAIT')
  RETURNING {CLAIMED}
), head AS (
  UPDATE session_heads h SET queued = h.queued - 1, running = h.running + 1,
    next_seq = h.next_seq + CASE WHEN p.state = 'RETRY_WAIT' THEN 3 ELSE 2 END,
    head_at = CASE WHEN h.queued > 1 THEN now() END, updated_at = now()
  FROM claimed c JOIN picked p USING (run_id) WHERE h.tenant_id = c.tenant_id AND h.session_key = c.session_key
  RETURNING h.tenant_id, h.session_key, h.next_seq
), event AS (
  INSERT INTO run_events (run_id, tenant_id, session_key, session_seq, type, state_from, state_to, attempt, fence,
    node_id)
  SELECT c.run_id, c.tenant_id, c.session_key, head.next_seq - 2 + step.place, step.type, step.before, step.after,
    c.attempt, c.fence, %(node)s::uuid
  FROM claimed c JOIN picked p USING (run_id) JOIN head USING (tenant_id, session_key),
    (VALUES (-1, 'task.requeued', 'RETRY_WAIT', 'QUEUED'), (0, 'task.claimed', 'QUEUED', 'CLAIMED'),
      (1, 'task.running', 'CLAIMED', 'RUNNING')) AS step(place, type, before, after)
  WHERE step.place >= 0 OR p.state = 'RETRY_WAIT' ORDER BY c.run_id, step.place
)
SELECT * FROM claimed ORDER BY run_id
"""  # CLAIMED and RUNNING in one commit: a slot is held before the claim, so nothing happens in between

REHEAD = f"""
UPDATE session_heads h SET head_at = coalesce((
  SELECT min(w.at) FROM (
    SELECT r.kind = 'announce' AS announce, coalesce((array_agg(r.available_at ORDER BY r.run_id)
      FILTER (WHERE r.available_at <= now() OR r.state = 'RETRY_WAIT' OR r.wait_reason = 'resource_lock'))[1],
      min(r.available_at)) AS at
    FROM runs r
    WHERE r.tenant_id = h.tenant_id AND r.session_key = h.session_key AND r.state IN ('QUEUED', 'RETRY_WAIT')
    GROUP BY r.kind = 'announce'
  ) AS w CROSS JOIN {ANNOUNCES} WHERE {HAS_SLOT}
), h.head_at)
FROM unnest(%(tenants)s::uuid[], %(keys)s::text[]) AS locked(tenant_id, session_key)
WHERE h.tenant_id = locked.tenant_id AND h.session_key = locked.session_key
"""  # of heads whose oldest run is not due yet

LOCK_HEAD = "SELECT 1 FROM session_heads WHERE tenant_id = %(tenant)s AND session_key = %(key)s FOR UPDATE"

STEPS = """
  INSERT INTO run_steps (run_id, step_no, tenant_id, kind, message, usage, fence)
  SELECT mine.run_id, s.step_no, mine.tenant_id, s.kind, s.message, s.usage, mine.fence
  FROM mine, jsonb_to_recordset(%(steps)s::jsonb) AS s(step_no int, kind text, message jsonb, usage jsonb)
  ORDER BY s.step_no ON CONFLICT DO NOTHING
"""  # `mine` is the run, held; a step that is there already was stored by us, whatever its commit said

RECORDS = """
  INSERT INTO run_records (run_id, seq, tenant_id, kind, step_no, body, body_enc, blob, fence)
  SELECT mine.run_id, r.seq, mine.tenant_id, r.kind, r.step_no, r.body, decode(r.sealed, 'base64'), r.blob, mine.fence
  FROM mine, jsonb_to_recordset(%(records)s::jsonb)
    AS r(seq int, kind text, step_no int, body jsonb, sealed text, blob text)
  ON CONFLICT DO NOTHING
"""

BLOBS = """
  INSERT INTO record_blobs (hash, body)
  SELECT b.hash, b.body FROM mine, jsonb_to_recordset(%(blobs)s::jsonb) AS b(hash text, body text)
  ON CONFLICT (hash) DO UPDATE SET at = now()
"""

LEAVE = """
WITH mine AS (
  UPDATE runs r SET state = %(to)s::text, result = %(result)s::jsonb, reason_code = %(reason)s::text,
    last_error = coalesce(%(error)s::text, r.last_error), attempt = r.attempt + %(attempts)s,
    crash_count = r.crash_count + %(crashes)s,
    fingerprint = coalesce(%(fingerprint)s::text, r.fingerprint),
    fingerprint_count = CASE WHEN %(fingerprint)s::text IS NULL THEN r.fingerprint_count ELSE %(alike)s::int END,
    lease_owner = NULL, lease_expires_at = NULL, updated_at = now(),
    available_at = CASE WHEN %(delay)s::float8 > 0 THEN now() + make_interval(secs => %(delay)s::float8)
      ELSE r.available_at END, finished_at = CASE WHEN %(requeued)s = 0 THEN now() END
  WHERE r.run_id = %(run)s AND r.tenant_id = %(tenant)s AND r.lease_owner = %(owner)s::uuid AND r.fence = %(fence)s
    AND r.state IN ('CLAIMED', 'RUNNING')
    AND (%(to)s::text NOT IN ('SUCCEEDED', 'RETRY_WAIT') OR %(crashes)s > 0 OR (r.cancel_requested IS NULL AND EXISTS (
      SELECT 1 FROM sessions s
      WHERE s.tenant_id = r.tenant_id AND s.session_key = r.session_key AND s.generation = r.generation)))
  RETURNING r.run_id, r.tenant_id, r.session_key, r.attempt, r.fence, r.generation, r.available_at, r.agent_id,
    r.user_id, r.kind
), head AS (
  UPDATE session_heads h SET running = h.running - 1, queued = h.queued + %(requeued)s, next_seq = h.next_seq + 1,
    head_at = CASE
      WHEN %(requeued)s = 0 THEN CASE WHEN h.queued > 0 THEN now() END
      WHEN %(delay)s::float8 > 0 AND EXISTS (
        SELECT 1 FROM runs o WHERE o.tenant_id = mine.tenant_id AND o.session_key = mine.session_key
          AND o.state IN ('QUEUED', 'RETRY_WAIT') AND (o.run_id < mine.run_id OR 'announce' IN (o.kind, mine.kind)))
        THEN least(h.head_at, mine.available_at)
      ELSE mine.available_at END,
    updated_at = now()
  FROM mine WHERE h.tenant_id = mine.tenant_id AND h.session_key = mine.session_key
  RETURNING h.queued, h.running, h.next_seq - 1 AS seq
), event AS (
  INSERT INTO run_events (run_id, tenant_id, session_key, session_seq, type, state_from, state_to, attempt, fence,
    node_id, reason_code)
  SELECT mine.run_id, mine.tenant_id, mine.session_key, head.seq, %(event)s, 'RUNNING', %(to)s::text, mine.attempt,
    mine.fence, %(owner)s::uuid, %(reason)s::text FROM mine, head
)"""

PARTS = {
    "history": f"""session AS (
  {GROW} FROM mine
  WHERE s.tenant_id = mine.tenant_id AND s.session_key = mine.session_key AND s.generation = mine.generation
  RETURNING {GROWN}
), message AS (
  {MESSAGES}
)""",
    "steps": f"step AS ({STEPS})",
    "records": f"record AS ({RECORDS})",
    "blobs": f"blob AS ({BLOBS})",
    "calls": f"call AS ({CALLS})",
    "payers": PAID,
    "ledger": """effect AS (
  UPDATE tool_effects SET status = 'UNKNOWN', finished_at = now()
  FROM mine WHERE tool_effects.run_id = mine.run_id AND status = 'STARTED' AND %(requeued)s = 0
), checkpoint AS (
  UPDATE loop_checkpoints SET status = lower(%(to)s::text), updated_at = now()
  FROM mine WHERE loop_checkpoints.run_id = mine.run_id
)""",
}


@lru_cache(maxsize=32)
def leaving(*parts: str) -> str:
    """One statement: the head changes only with the run, and the run only if it is still ours. No part for nothing."""
    return ",\n".join([LEAVE, *(PARTS[part] for part in parts)]) + "\nSELECT queued, running FROM head"


CANCEL_WAITING = """
WITH waiting AS (
  SELECT run_id, state FROM runs
  WHERE tenant_id = %(tenant)s::uuid AND session_key = %(key)s::text AND state IN ('QUEUED', 'RETRY_WAIT')
    AND (%(runs)s::uuid[] IS NULL OR run_id = ANY(%(runs)s::uuid[]))
  FOR UPDATE
), gone AS (
  UPDATE runs r SET state = 'CANCELED', reason_code = %(reason)s::text, finished_at = now(), updated_at = now(),
    result = jsonb_build_object('run_id', r.run_id, 'session_key', r.session_key, 'cancelled', true,
      'finish_reason', 'cancelled', 'error', %(error)s::jsonb)
  FROM waiting WHERE r.run_id = waiting.run_id
  RETURNING r.run_id, r.lane, r.attempt, r.fence, waiting.state AS was
), head AS (
  UPDATE session_heads SET queued = queued - (SELECT count(*) FROM gone),
    next_seq = next_seq + (SELECT count(*) FROM gone),
    head_at = CASE WHEN queued > (SELECT count(*) FROM gone) THEN now() END, updated_at = now()
  WHERE tenant_id = %(tenant)s::uuid AND session_key = %(key)s::text
  RETURNING next_seq
), event AS (
  INSERT INTO run_events (run_id, tenant_id, session_key, session_seq, type, state_from, state_to, attempt, fence,
    reason_code)
  SELECT run_id, %(tenant)s::uuid, %(key)s::text, head.next_seq - row_number() OVER (ORDER BY run_id DESC),
    'task.canceled', was, 'CANCELED', attempt, fence, %(reason)s::text FROM gone, head ORDER BY run_id
)
SELECT run_id, lane, fence FROM gone ORDER BY run_id
"""

ASK_TO_STOP = """
WITH asked AS (
  UPDATE runs SET cancel_requested = %(why)s::jsonb, updated_at = now()
  WHERE tenant_id = %(tenant)s::uuid AND run_id = ANY(%(runs)s::uuid[]) AND state IN ('CLAIMED', 'RUNNING')
    AND cancel_requested IS NULL
  RETURNING run_id, tenant_id, session_key, lane, attempt, fence
), head AS (
  UPDATE session_heads h SET next_seq = h.next_seq + a.count
  FROM (SELECT tenant_id, session_key, count(*) FROM asked GROUP BY 1, 2) AS a
  WHERE h.tenant_id = a.tenant_id AND h.session_key = a.session_key
  RETURNING h.tenant_id, h.session_key, h.next_seq
), event AS (
  INSERT INTO run_events (run_id, tenant_id, session_key, session_seq, type, attempt, fence, actor, payload)
  SELECT a.run_id, a.tenant_id, a.session_key,
    head.next_seq - row_number() OVER (PARTITION BY a.session_key ORDER BY a.run_id DESC), 'task.cancel_requested',
    a.attempt, a.fence, %(by)s::text, %(why)s::jsonb
  FROM asked a JOIN head USING (tenant_id, session_key) ORDER BY a.run_id
)
SELECT 1
"""

STOPPING = """
SELECT run_id, session_key, lane, fence, false AS over FROM runs
WHERE tenant_id = %(tenant)s::uuid AND run_id = ANY(%(runs)s::uuid[]) AND state IN ('CLAIMED', 'RUNNING')
ORDER BY run_id
"""

WAIT_OF = """
SELECT DISTINCT session_key FROM runs
WHERE tenant_id = %(tenant)s::uuid AND run_id = ANY(%(runs)s::uuid[]) AND state IN ('QUEUED', 'RETRY_WAIT')
ORDER BY session_key
"""

BURY = """
WITH dead AS (
  UPDATE runs SET state = 'DEAD_LETTER', reason_code = %(reason)s::text, updated_at = now()
  WHERE run_id = %(run)s AND tenant_id = %(tenant)s AND state = 'FAILED'
  RETURNING run_id, tenant_id, session_key, attempt, fence, reason_code
), head AS (
  UPDATE session_heads h SET next_seq = h.next_seq + 1
  FROM dead d WHERE h.tenant_id = d.tenant_id AND h.session_key = d.session_key RETURNING h.next_seq - 1 AS seq
)
INSERT INTO run_events (run_id, tenant_id, session_key, session_seq, type, state_from, state_to, attempt, fence,
  reason_code)
SELECT d.run_id, d.tenant_id, d.session_key, head.seq, 'task.dead_letter', 'FAILED', 'DEAD_LETTER', d.attempt, d.fence,
  d.reason_code FROM dead d, head
"""

OPEN = """
SELECT run_id, state, kind, user_id, request, created_at FROM runs
WHERE tenant_id = %(tenant)s AND session_key = %(key)s AND state IN ('QUEUED', 'CLAIMED', 'RUNNING', 'RETRY_WAIT')
ORDER BY run_id LIMIT 1000
"""

RENEW = """
UPDATE runs SET lease_expires_at = clock_timestamp() + make_interval(secs => %(lease)s::float8)
WHERE lease_owner = %(node)s AND state IN ('CLAIMED', 'RUNNING')
RETURNING run_id, lane, cancel_requested IS NOT NULL AS stopping
"""

TRY_AGAIN = """
WITH counted AS (
  SELECT r.generation, least(coalesce((r.result->'usage'->>'prompt_tokens')::int, 0), kept.input) AS input,
    least(coalesce((r.result->'usage'->>'completion_tokens')::int, 0), kept.output) AS output
  FROM runs r, (SELECT coalesce(sum((usage->>'prompt_tokens')::int), 0)::int AS input,
      coalesce(sum((usage->>'completion_tokens')::int), 0)::int AS output
    FROM run_steps WHERE run_id = %(run)s::uuid AND NOT %(forget)s) AS kept
  WHERE r.run_id = %(run)s::uuid
), again AS (
  UPDATE runs SET state = 'RETRY_WAIT', reason_code = 'RETRY_OPERATOR', attempt = 0, crash_count = 0,
    fingerprint = NULL, fingerprint_count = 0, result = NULL, cancel_requested = NULL, finished_at = NULL,
    available_at = now(), updated_at = now(), deadline = now() + make_interval(secs => %(timeout)s::float8),
    generation = s.generation, log = runs.log + %(forget)s::int
  FROM sessions s
  WHERE run_id = %(run)s::uuid AND runs.tenant_id = %(tenant)s::uuid AND state = 'FAILED'
    AND s.tenant_id = runs.tenant_id AND s.session_key = runs.session_key
  RETURNING run_id, runs.tenant_id, runs.session_key, lane, fence
), head AS (
  UPDATE session_heads h SET queued = h.queued + 1, head_at = now(), next_seq = h.next_seq + 1, updated_at = now()
  FROM again a WHERE h.tenant_id = a.tenant_id AND h.session_key = a.session_key RETURNING h.next_seq - 1 AS seq
), event AS (
  INSERT INTO run_events (run_id, tenant_id, session_key, session_seq, type, state_from, state_to, fence, actor,
    reason_code)
  SELECT run_id, tenant_id, session_key, head.seq, 'task.requeued_by_operator', 'FAILED', 'RETRY_WAIT', fence,
    %(by)s::text, 'RETRY_OPERATOR' FROM again, head
), message AS (
  UPDATE session_messages m SET id = gen_random_uuid(), archived_at = coalesce(m.archived_at, now())
  FROM again WHERE m.run_id = again.run_id
), session AS (
  UPDATE sessions s SET input_tokens = s.input_tokens - c.input, output_tokens = s.output_tokens - c.output
  FROM again a, counted c
  WHERE s.tenant_id = a.tenant_id AND s.session_key = a.session_key AND s.generation = c.generation
)
SELECT run_id, session_key, lane, false AS new FROM again
"""  # what was asked is said again by the new life, under its own id, and the tokens of its steps are counted again

ANEW = """
WITH old AS (
  SELECT r.*, s.generation AS current FROM runs r JOIN sessions s USING (tenant_id, session_key)
  WHERE r.run_id = %(run)s::uuid AND r.tenant_id = %(tenant)s::uuid AND r.state IN ('CANCELED', 'DEAD_LETTER')
), head AS (
  UPDATE session_heads h SET queued = h.queued + 1, head_at = least(h.head_at, now()), next_seq = h.next_seq + 1,
    updated_at = now()
  FROM old o WHERE h.tenant_id = o.tenant_id AND h.session_key = o.session_key RETURNING h.next_seq - 1 AS seq
), run AS (
  INSERT INTO runs (run_id, tenant_id, session_key, shard, agent_id, agent_key, user_id, sender_id, kind, lane,
    priority, max_attempts, generation, request, request_hash, resource_keys, keys_inferred, requeued_from, deadline)
  SELECT %(new)s::uuid, o.tenant_id, o.session_key, o.shard, o.agent_id, o.agent_key, o.user_id, o.sender_id, o.kind,
    o.lane, o.priority, o.max_attempts, o.current, o.request, o.request_hash, o.resource_keys, o.keys_inferred,
    o.run_id, now() + make_interval(secs => %(timeout)s::float8)
  FROM old o, head
  RETURNING run_id, tenant_id, session_key, lane
), step AS (
  INSERT INTO run_steps (run_id, step_no, tenant_id, kind, message, usage)
  SELECT run.run_id, s.step_no, s.tenant_id, s.kind, s.message,
    CASE WHEN coalesce((old.result->'usage'->>'prompt_tokens')::int, 0) = 0 THEN s.usage END  -- else it was counted
  FROM run, old, run_steps s WHERE s.run_id = %(run)s::uuid AND NOT %(forget)s
), effect AS (
  INSERT INTO tool_effects (idempotency_key, run_id, tenant_id, step_no, call_index, tool, effect_class, request_hash,
    status, result, result_hash, external_id, started_at, finished_at, adopts)
  SELECT concat_ws(':', run.run_id, e.step_no, e.call_index), run.run_id, e.tenant_id, e.step_no, e.call_index, e.tool,
    e.effect_class, e.request_hash, e.status, e.result, e.result_hash, e.external_id, e.started_at, e.finished_at,
    coalesce(e.adopts, e.idempotency_key)
  FROM run, old, tool_effects e WHERE e.run_id = old.run_id AND e.log = old.log AND NOT %(forget)s
), event AS (
  INSERT INTO run_events (run_id, tenant_id, session_key, session_seq, type, state_to, actor, reason_code, payload)
  SELECT run.run_id, run.tenant_id, run.session_key, head.seq, 'task.enqueued', 'QUEUED', %(by)s::text,
    'RETRY_OPERATOR', jsonb_build_object('requeued_from', %(run)s::text) FROM run, head
), message AS (
  UPDATE session_messages m SET archived_at = now() FROM run WHERE m.run_id = %(run)s::uuid AND m.archived_at IS NULL
)
SELECT run_id, session_key, lane, true AS new FROM run
"""  # what was said is said again by the new run

ORPHANS = f"""
SELECT {CLAIMED}
FROM runs
WHERE state IN ('CLAIMED', 'RUNNING') AND lease_owner <> %(node)s
  AND (%(alone)s OR lease_expires_at < clock_timestamp())
ORDER BY run_id LIMIT 50
"""

OWNED = f"""
SELECT {CLAIMED}
FROM runs
WHERE state IN ('CLAIMED', 'RUNNING') AND lease_owner = %(node)s AND lane = %(lane)s
  AND claimed_at <= now() - make_interval(secs => %(older)s::float8)
ORDER BY run_id LIMIT 10000
"""


@transaction(single=True)
async def accept(
    db: Connection,
    *,
    run_id: str,
    session_id: str,
    tenant: str,
    key: str,
    session_kind: str,
    channel: str,
    label: str,
    max_concurrent: int,
    agent_id: str,
    agent_key: str,
    user: str,
    kind: RunKind,
    lane: Lane,
    timeout: float,
    request: RunRequest,
    request_hash: str,
    ingress_key: str | None = None,
    priority: int | None = None,
    node: str | None = None,
    policy: str | None = None,
) -> Stored:
    """Store a turn: its session if it is new, its run, its place in the queue (T1). All or nothing.

    `label` names a new session; one that exists keeps its own. `priority` is 0–10, of the kind unless told. With
    `node`, which must hold a slot for it, the run of an idle session is claimed and started in the same commit
    (T2, T4), under the `policy` of that version.
    """
    params = {
        "run_id": run_id,
        "session_id": session_id,
        "tenant": tenant,
        "key": key,
        "shard": shard_of(tenant, key),
        "session_kind": session_kind,
        "channel": channel,
        "label": label,
        "max_concurrent": max_concurrent,
        "agent_id": agent_id,
        "agent_key": agent_key,
        "user": user,
        "kind": kind,
        "lane": lane,
        "max_attempts": KINDS[kind].attempts,
        "priority": KINDS[kind].priority if priority is None else priority,
        "timeout": timeout,
        "request": request,
        "request_hash": request_hash,
        "ingress_key": ingress_key,
        "node": node,
        "policy": policy,
        "lease": LEASE,
    }
    return await one(Stored, db.execute(ACCEPT, params))


@transaction
async def accept_with_history(
    db: Connection, /, *, tenant: str, key: str, earlier: Sequence[NewMessage], **turn: Any
) -> Stored:
    """As `accept`, in a fresh session that begins with what the caller brought along."""
    stored = await accept(db, tenant=tenant, key=key, **turn)
    await append(db, tenant=tenant, key=key, messages=earlier)
    return stored


@transaction
async def claim(
    db: Connection,
    *,
    node: str,
    lane: str,
    sessions: Sequence[tuple[str, str]],
    limit: int,
    rules: Locks = LOCKS,
    policy: str | None = None,
) -> list[Claimed]:
    """The oldest waiting run of each of these sessions, at most `limit`, now ours (T2, T3, T4)."""
    wanted = {"tenants": [tenant for tenant, _ in sessions], "keys": [key for _, key in sessions]}
    locked = await many(Waiting, db.execute(LOCK_WAITING, {**wanted, "lane": lane, "limit": limit}))
    if not locked:
        return []
    heads = _named(locked)
    params = {"node": node, "lease": LEASE, "policy": policy}
    claimed = await many(Claimed, db.execute(CLAIM, {**heads, **params, "holding": []}))
    rest = _unclaimed(locked, claimed)  # their oldest wants keys, or waits for its next try: not due, and in front
    if rest and (holding := await locks.take(db, _named(rest), rules)):
        claimed += await many(Claimed, db.execute(CLAIM, {**_named(rest), **params, "holding": holding}))
        rest = _unclaimed(locked, claimed)
    if rest:
        await db.execute(REHEAD, _named(rest))
    return claimed


@transaction(single=True)
async def succeed(
    db: Connection, run: Claimed, *, result: RunResult, messages: Sequence[NewMessage], kept: Kept = NOTHING
) -> Depth:
    """The answer, its messages and its counters, in one commit (T5).

    Raises `StaleOwner`, also when somebody asked it to stop or reset its session: see `standing`.
    """
    return await _leave(db, run, "SUCCEEDED", "task.succeeded", result=result, messages=messages, kept=kept)


@transaction
async def fail(
    db: Connection,
    run: Claimed,
    *,
    result: RunResult,
    reason: str,
    error: str,
    messages: Sequence[NewMessage],
    kept: Kept = NOTHING,
    dead: str | None = None,
    fault: Fault | None = None,
) -> Depth:
    """The run ends without an answer (T7). What the user said stays in the history. Raises `StaleOwner`.

    `dead`: the reason why nobody may try again, and so a dead letter (T8), in the same commit.
    """
    depth = await _leave(
        db,
        run,
        "FAILED",
        "task.failed",
        result=result,
        reason=reason,
        error=error,
        messages=messages,
        kept=kept,
        fault=fault,
    )
    if dead is not None:
        await db.execute(BURY, {"run": run.run_id, "tenant": run.tenant_id, "reason": dead})
    return depth


@transaction(single=True)
async def retry(
    db: Connection, run: Claimed, *, reason: str, error: str, fault: Fault, delay: float, kept: Kept = NOTHING
) -> Depth:
    """It failed in a way that may pass: again in `delay` seconds (T6). Raises `StaleOwner`."""
    return await _leave(
        db, run, "RETRY_WAIT", "task.retry_wait", reason=reason, error=error, fault=fault, delay=delay, kept=kept
    )


@transaction(single=True)
async def cancel(
    db: Connection,
    run: Claimed,
    *,
    result: RunResult,
    reason: str,
    messages: Sequence[NewMessage],
    kept: Kept = NOTHING,
) -> Depth:
    """Somebody stopped it (T13). The partial text is kept, unless its session was reset. Raises `StaleOwner`."""
    return await _leave(
        db, run, "CANCELED", "task.canceled", result=result, reason=reason, messages=messages, kept=kept
    )


@transaction
async def put_back(db: Connection, run: Claimed, *, reason: str, kept: Kept = NOTHING) -> Depth:
    """Give the run up so that somebody else takes it, not counted as an attempt (T9). Raises `StaleOwner`.

    Nobody takes a run over whose asker goes with us.
    """
    depth = await _leave(db, run, "QUEUED", "task.released", reason=reason, attempts=-1, kept=kept)
    if await _given_up(db, run):
        return Depth(depth.queued - 1, depth.running)
    return depth


Cause = Literal["crash", "lease", "restart"]
Recovered = Literal["requeued", "cancelled", "dead"]
AFTER: dict[Cause, tuple[RunState, str, str]] = {  # how a run goes on: its state, the event, the reason
    "crash": ("RETRY_WAIT", "task.retry_wait", "RETRY_ACTOR_CRASH"),
    "lease": ("QUEUED", "task.lease_expired_requeued", "LEASE_EXPIRED"),
    "restart": ("QUEUED", "task.recovered", "NODE_RESTARTED"),
}


@transaction
async def recover(db: Connection, run: Claimed, cause: Cause = "lease", *, delay: float = 0.0) -> Recovered:
    """What becomes of a run whose actor crashed (T6) or whose owner died (T10) or starts anew (T11): again, unless
    its asker is gone, somebody wanted it to stop or it crashed too often.

    `delay`: seconds until then. Raises `StaleOwner` if somebody else was faster.
    """
    if run.crash_count + 1 >= CRASHES:
        result = RunResult(run_id=run.run_id, session_key=run.session_key, error=LOST)
        await _leave(
            db,
            run,
            "FAILED",
            "task.failed",
            result=result,
            reason=AFTER[cause][2],
            attempts=-1,
            crashes=1,
            messages=asked(run),
        )
        await db.execute(BURY, {"run": run.run_id, "tenant": run.tenant_id, "reason": "DEAD_LETTER_CRASH_LOOP"})
        return "dead"
    to, event, reason = AFTER[cause]
    await _leave(db, run, to, event, reason=reason, attempts=-1, crashes=1, delay=delay)
    return "cancelled" if await _given_up(db, run) else "requeued"


@transaction
async def request_cancel(
    db: Connection, *, tenant: str, run_ids: Sequence[str], by: str, reason: str
) -> list[Stopping]:
    """Have runs ended (T12, T13), oldest first: who waits is over with this commit, who runs may not succeed any more.

    Runs that are over already are not in the answer. Asking twice changes nothing.
    """
    named = {"tenant": tenant, "runs": list(run_ids)}
    asking = {**named, "by": by, "why": {"by": by, "reason": reason}}
    over = []
    await hold_runs(db, tenant=tenant, run_ids=run_ids)
    await db.execute(ASK_TO_STOP, asking)
    for key in await many(str, db.execute(WAIT_OF, named)):
        for gone in await _cancel_waiting(db, tenant, key, "CANCELED", list(run_ids)):
            over.append(Stopping(run_id=gone.run_id, session_key=key, lane=gone.lane, fence=gone.fence, over=True))
    running = await many(Stopping, db.execute(STOPPING, named))
    return sorted([*running, *over], key=lambda one: one.run_id)


@transaction
async def try_again(
    db: Connection,
    *,
    tenant: str,
    run_id: str,
    new_id: str,
    kind: RunKind,
    by: str,
    timeout: float = 600.0,
    fresh: bool = False,
) -> Retried | None:
    """An operator wants it tried again (T15): a failed run as itself, with all its counters new; one that was
    cancelled or buried as a new run, `new_id`, that remembers where it comes from.

    `timeout`: seconds it has, unless its kind says otherwise. `fresh` forgets the steps, never the ledger of effects.
    None if the run is in no state for that.
    """
    named = {
        "tenant": tenant,
        "run": run_id,
        "by": by,
        "timeout": KINDS[kind].timeout or timeout,
        "new": new_id,
    }
    query = """
    SELECT EXISTS (SELECT FROM run_steps s WHERE s.run_id = r.run_id AND s.step_no = 0) FROM runs r
    WHERE r.tenant_id = %(tenant)s AND r.run_id = %(run)s
    """  # retention may have taken the steps, and the ledger knows its places by them
    logged = await maybe(bool, db.execute(query, named))
    if logged is None:
        return None
    named["forget"] = fresh or not logged
    again = await maybe(Retried, db.execute(TRY_AGAIN, named))
    same = again is not None
    if again is None:
        again = await maybe(Retried, db.execute(ANEW, named))
    if again is None:
        return None
    await withdraw(db, tenant=tenant, key=again.session_key)
    if same and named["forget"]:
        await db.execute("DELETE FROM run_steps WHERE run_id = %(run)s", named)
    if same and fresh:
        for table in ("loop_checkpoints", "run_records"):
            await db.execute(f"DELETE FROM {table} WHERE run_id = %(run)s", named)
    return again


@transaction
async def cancel_waiting(
    db: Connection, *, tenant: str, key: str, reason: str, runs: Sequence[str] | None = None, error: Err | None = None
) -> list[Canceled]:
    """Take waiting runs out of the queue (T12): these, or all. Who was taken, oldest first.

    `error` is what their askers hear; without it they hear that they were cancelled.
    """
    await db.execute(LOCK_HEAD, {"tenant": tenant, "key": key})
    return await _cancel_waiting(db, tenant, key, reason, runs, error)


@transaction(readonly=True)
async def open_runs(db: Connection, *, tenant: str, key: str) -> list[OpenRun]:
    """Runs of a session that have not ended, oldest first."""
    return await many(OpenRun, db.execute(OPEN, {"tenant": tenant, "key": key}))


@transaction(readonly=True)
async def known(db: Connection, *, tenant: str, ingress_key: str) -> Known | None:
    """The run a key was used for."""
    query = """
    SELECT run_id, request_hash, result FROM runs WHERE tenant_id = %(tenant)s AND ingress_key = %(key)s
    """
    return await maybe(Known, db.execute(query, {"tenant": tenant, "key": ingress_key}))


@transaction(readonly=True)
async def result(db: Connection, *, tenant: str, run_id: str) -> RunResult | None:
    """How a run ended; None while it has not."""
    query = "SELECT run_id, request_hash, result FROM runs WHERE tenant_id = %(tenant)s AND run_id = %(run)s"
    found = await maybe(Known, db.execute(query, {"tenant": tenant, "run": run_id}))
    return None if found is None else found.result


@transaction(readonly=True)
async def original(db: Connection, *, tenant: str, run_id: str) -> Original | None:
    query = """
    SELECT run_id, session_key, agent_key, user_id, state, request::text AS request FROM runs
    WHERE tenant_id = %(tenant)s AND run_id = %(run)s
    """
    return await maybe(Original, db.execute(query, {"tenant": tenant, "run": run_id}))


@transaction(readonly=True)
async def standing(db: Connection, run: Claimed) -> Standing:
    """How a run stands with us: ours; ours and wanted to stop; ours, of a session that was reset; ended or given back
    under our fence; or gone.
    """
    query = """
    SELECT CASE WHEN r.lease_owner IS NULL THEN 'let go' WHEN r.cancel_requested IS NOT NULL THEN 'stopping'
      WHEN s.generation IS DISTINCT FROM r.generation THEN 'reset' ELSE 'ours' END
    FROM runs r LEFT JOIN sessions s USING (tenant_id, session_key)
    WHERE r.run_id = %(run)s AND r.tenant_id = %(tenant)s AND r.fence = %(fence)s
      AND (r.lease_owner IS NULL OR r.lease_owner = %(owner)s AND r.state IN ('CLAIMED', 'RUNNING'))
    """
    params = {"run": run.run_id, "tenant": run.tenant_id, "owner": run.lease_owner, "fence": run.fence}
    return cast("Standing", await maybe(str, db.execute(query, params)) or "gone")


@transaction(readonly=True)
async def session_of(db: Connection, *, tenant: str, run_id: str) -> str | None:
    """Which session a run belongs to; None for an id nobody gave out."""
    try:
        run_id = str(uuid.UUID(run_id))
    except ValueError:
        return None
    query = "SELECT session_key FROM runs WHERE tenant_id = %(tenant)s AND run_id = %(run)s"
    return await maybe(str, db.execute(query, {"tenant": tenant, "run": run_id}))


@transaction(readonly=True)
async def orphans(db: Connection, *, node: str, alone: bool) -> list[Claimed]:
    """Runs whose owner is dead: its lease is over, or nobody else can be alive (`alone`)."""
    return await many(Claimed, db.execute(ORPHANS, {"node": node, "alone": alone}))


@transaction(readonly=True)
async def forsaken(db: Connection, *, node: str) -> list[Forsaken]:
    """Runs that wait for a slot although their asker held a line that a dead process took with it.

    They are older than `node`, the id of the process that asks: ids are in the order of their making.
    """
    query = """
    SELECT run_id, tenant_id, session_key FROM runs
    WHERE state = 'QUEUED' AND kind = 'http' AND ingress_key IS NULL AND run_id < %(node)s::uuid
    ORDER BY run_id LIMIT 1000
    """
    return await many(Forsaken, db.execute(query, {"node": node}))


@transaction(readonly=True)
async def owned(db: Connection, *, node: str, lane: str, older: float = 0.0) -> list[Claimed]:
    """What this node runs in a lane, claimed at least `older` seconds ago."""
    return await many(Claimed, db.execute(OWNED, {"node": node, "lane": lane, "older": older}))


@transaction(retry_safe=True)
async def renew(db: Connection, *, node: str) -> list[Renewed]:
    """Prolong the leases of everything this node runs; which runs those are."""
    return await many(Renewed, db.execute(RENEW, {"node": node, "lease": LEASE}))


def _named(heads: Sequence[Waiting]) -> dict[str, list[str]]:
    return {"tenants": [head.tenant_id for head in heads], "keys": [head.session_key for head in heads]}


def _unclaimed(heads: Sequence[Waiting], claimed: Sequence[Claimed]) -> list[Waiting]:
    got = {(run.tenant_id, run.session_key) for run in claimed}
    return [head for head in heads if (head.tenant_id, head.session_key) not in got]


async def _leave(
    db: Connection,
    run: Claimed,
    to: RunState,
    event: str,
    *,
    result: RunResult | None = None,
    reason: str | None = None,
    error: str | None = None,
    attempts: int = 0,
    crashes: int = 0,
    fault: Fault | None = None,
    delay: float = 0.0,
    messages: Sequence[NewMessage] = (),
    kept: Kept = NOTHING,
) -> Depth:
    """Move a run of ours out of RUNNING: its head, its event, the turn's messages and tokens, in one statement."""
    parts = {
        "history": messages,
        "steps": kept.steps,
        "records": kept.records,
        "blobs": kept.blobs,
        "calls": kept.calls,
        "payers": kept.calls and kept.payers,
        "ledger": kept.ledger,
    }
    statement = leaving(*(name for name, wanted in parts.items() if wanted))
    params = {
        "run": run.run_id,
        "tenant": run.tenant_id,
        "owner": run.lease_owner,
        "fence": run.fence,
        "to": to,
        "event": event,
        "result": None if result is None else Json(result),
        "reason": reason,
        "error": None if error is None else error[:2000],
        "attempts": attempts,
        "crashes": crashes,
        "requeued": 1 if to in ("QUEUED", "RETRY_WAIT") else 0,
        "fingerprint": None if fault is None else fault.fingerprint,
        "alike": 0 if fault is None else fault.alike,
        "delay": delay,
        **kept.params(),
        **growth(messages, run.run_id, result.usage if result is not None else Usage()),
    }
    depth = await maybe(Depth, db.execute(statement, params))
    if depth is None:
        raise StaleOwner(run.run_id)
    return depth


async def _given_up(db: Connection, run: Claimed) -> bool:
    """End a requeued run that nobody wants any more: its asker held the line of a process that ends, its kind is not
    resumed (sessions-lanes-cron.md §9.4), or somebody asked it to stop. True if so.
    """
    query = "SELECT cancel_requested IS NOT NULL FROM runs WHERE run_id = %(run)s"
    if await one(bool, db.execute(query, {"run": run.run_id})):
        reason = "CANCELED"
    elif not KINDS[run.kind].recovers and not (run.kind == "http" and run.idempotent):
        reason = "CLIENT_GONE" if run.kind == "http" else "CANCELED"
    else:
        return False
    await _cancel_waiting(db, run.tenant_id, run.session_key, reason, [run.run_id])
    return True


async def _cancel_waiting(
    db: Connection, tenant: str, key: str, reason: str, runs: Sequence[str] | None, error: Err | None = None
) -> list[Canceled]:
    params = {
        "tenant": tenant,
        "key": key,
        "reason": reason,
        "runs": None if runs is None else list(runs),
        "error": None if error is None else Json(error),
    }
    return await many(Canceled, db.execute(CANCEL_WAITING, params))
