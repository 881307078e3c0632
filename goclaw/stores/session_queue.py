"""What a session does to its queue besides accepting: stop, merge, pass over, throttle, count.

Tables `runs`, `session_heads`, `run_events`, `sessions`. The head is locked first, as everywhere (durability.md §5.1).
A text that became part of another run is a row of its own, CANCELED with reason MERGED, so that it is in the trail
and its idempotency key is taken.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

from goclaw.domain.run import KINDS, Lane, RunKind, RunRequest, RunState
from goclaw.domain.session import Terms
from goclaw.stores import ingress, run_acceptance, run_intake, run_stops
from goclaw.stores.ingress import First
from goclaw.stores.run_acceptance import Stored
from goclaw.stores.run_locks import hold_session
from goclaw.stores.run_stops import Canceled
from goclaw.stores.runs import LOCK_HEAD
from goclaw.stores.unit import Connection, Json, many, maybe, one, transaction

LONGEST = 100_000  # characters of a turn that was merged from several; a longer one is not merged
OPEN_SESSIONS = 1000  # of one user and agent, stopped in one go
STOP_REASONS = Literal["CANCELED", "INTERRUPTED", "LANE_CLEARED"]


class Stopped(Struct, frozen=True):
    """`drained` waited and are CANCELED; `running` work and are told, durably, to stop."""

    drained: tuple[Canceled, ...] = ()
    running: tuple[str, ...] = ()


class Aside(Struct, frozen=True, kw_only=True):
    """A turn that gets no run of its own: it is part of another, or came too late."""

    run_id: str
    user: str
    kind: RunKind
    request: RunRequest
    request_hash: str
    ingress_key: str | None = None


class Place(Struct, frozen=True, kw_only=True):
    """The session an aside belongs to."""

    tenant: str
    key: str
    lane: Lane
    agent_id: str
    agent_key: str


class InjectedText(Struct, frozen=True, kw_only=True):
    message_id: str
    text: str
    sender: str
    created_at: datetime


class RunFacts(Struct, frozen=True, kw_only=True):
    """What somebody who asks for the status of a run is told."""

    run_id: str
    state: RunState
    attempt: int
    seconds: float  # since it was accepted, until it ended
    event: str  # the last of its trail
    ended: bool


class KeyUsed(Exception):
    """A turn came before, with the same idempotency key: nothing of it is stored now."""

    def __init__(self, first: First) -> None:
        super().__init__(first.run_id)
        self.first = first


WAITING = """
SELECT run_id FROM runs WHERE tenant_id = %(tenant)s::uuid AND session_key = %(key)s
  AND state IN ('QUEUED', 'RETRY_WAIT') AND run_id <> ALL(%(keep)s::uuid[]) ORDER BY run_id LIMIT 1000
"""

RUNNING = """
SELECT run_id FROM runs WHERE tenant_id = %(tenant)s::uuid AND session_key = %(key)s
  AND state IN ('CLAIMED', 'RUNNING') AND run_id <> ALL(%(keep)s::uuid[]) ORDER BY run_id LIMIT 1000
"""

OPEN = """
SELECT 1 FROM runs WHERE tenant_id = %(tenant)s::uuid AND session_key = %(key)s AND run_id = %(into)s::uuid
  AND state IN ('QUEUED', 'CLAIMED', 'RUNNING', 'RETRY_WAIT')
"""

CUT_OFF = """
UPDATE sessions SET stale_before = greatest(stale_before, %(cutoff)s::timestamptz)
WHERE tenant_id = %(tenant)s::uuid AND session_key = %(key)s
"""

ASIDE = """
WITH head AS (
  UPDATE session_heads SET next_seq = next_seq + 2, updated_at = now()
  WHERE tenant_id = %(tenant)s::uuid AND session_key = %(key)s::text
  RETURNING next_seq - 2 AS seq, shard
), run AS (
  INSERT INTO runs (run_id, tenant_id, session_key, shard, agent_id, agent_key, user_id, kind, lane, max_attempts,
    generation, request, request_hash, ingress_key, state, reason_code, merged_into, result, finished_at)
  SELECT %(run_id)s::uuid, %(tenant)s::uuid, %(key)s::text, head.shard, %(agent_id)s::uuid, %(agent_key)s::text,
    %(user)s::text, %(kind)s::text, %(lane)s::text, %(max_attempts)s::int, s.generation, %(request)s::jsonb,
    %(request_hash)s::text, %(ingress_key)s::text, 'CANCELED', %(reason)s::text, %(into)s::uuid,
    jsonb_build_object('run_id', %(run_id)s::text, 'session_key', %(key)s::text, 'cancelled', true,
      'finish_reason', 'cancelled', 'injected', %(injected)s::bool), now()
  FROM head, sessions s WHERE s.tenant_id = %(tenant)s::uuid AND s.session_key = %(key)s::text
  RETURNING run_id
), event AS (
  INSERT INTO run_events (run_id, tenant_id, session_key, session_seq, type, state_from, state_to, reason_code,
    payload)
  SELECT run.run_id, %(tenant)s::uuid, %(key)s::text, head.seq + step.place, step.type, step.before, step.after,
    CASE WHEN step.place = 1 THEN %(reason)s::text END,
    CASE WHEN step.place = 1 THEN %(payload)s::jsonb ELSE '{}'::jsonb END
  FROM run, head, (VALUES (0, 'task.enqueued', NULL, 'QUEUED'), (1, 'task.canceled', 'QUEUED', 'CANCELED'))
    AS step(place, type, before, after)
)
SELECT run_id FROM run
"""  # enqueued and canceled in one commit, so the trail holds legal steps only

JOIN = """
WITH target AS (
  UPDATE runs SET request = %(request)s::jsonb
      || jsonb_build_object('message', (request->>'message') || E'\\n' || %(text)s::text), updated_at = now()
  WHERE tenant_id = %(tenant)s::uuid AND session_key = %(key)s::text AND run_id = %(into)s::uuid AND state = 'QUEUED'
    AND length(request->>'message') + length(%(text)s::text) < %(longest)s
  RETURNING run_id, attempt, fence
), head AS (
  UPDATE session_heads SET next_seq = next_seq + 1
  WHERE tenant_id = %(tenant)s::uuid AND session_key = %(key)s::text AND EXISTS (SELECT 1 FROM target)
  RETURNING next_seq - 1 AS seq
)
INSERT INTO run_events (run_id, tenant_id, session_key, session_seq, type, attempt, fence, payload)
SELECT t.run_id, %(tenant)s::uuid, %(key)s::text, head.seq, 'task.merged', t.attempt, t.fence,
  jsonb_build_object('run', %(run_id)s::text) FROM target t, head
RETURNING run_id
"""

MERGED_TEXTS = """
SELECT coalesce(m.ingress_key, m.run_id::text) AS message_id, m.request->>'message' AS text,
  coalesce(m.request->>'sender', m.user_id) AS sender, m.created_at
FROM runs r JOIN runs m ON m.tenant_id = r.tenant_id AND m.session_key = r.session_key AND m.merged_into = r.run_id
WHERE r.tenant_id = %(tenant)s AND r.run_id = %(run)s AND m.created_at >= r.created_at
  AND m.state = 'CANCELED' AND m.result->'injected' = 'true'::jsonb
ORDER BY m.run_id LIMIT 1000
"""

TOKENS = """
SELECT coalesce(sum(CASE WHEN m.token_estimate > 0 THEN m.token_estimate ELSE octet_length(m.content) / 4 END), 0)
FROM sessions s JOIN session_messages m ON m.session_id = s.id AND m.generation = s.generation
WHERE s.tenant_id = %(tenant)s::uuid AND s.session_key = %(key)s AND m.archived_at IS NULL AND NOT m.hidden
"""

THROTTLE = f"""
WITH wanted AS (SELECT CASE WHEN ({TOKENS}) > %(most)s THEN 1 ELSE %(slots)s::int END AS slots)
UPDATE session_heads h SET max_concurrent = wanted.slots, updated_at = now() FROM wanted
WHERE h.tenant_id = %(tenant)s::uuid AND h.session_key = %(key)s AND h.max_concurrent <> wanted.slots
RETURNING h.max_concurrent
"""

FACTS = """
SELECT r.run_id, r.state, r.attempt, r.finished_at IS NOT NULL AS ended,
  extract(epoch FROM coalesce(r.finished_at, now()) - r.created_at)::float8 AS seconds,
  (SELECT e.type FROM run_events e WHERE e.run_id = r.run_id ORDER BY e.event_id DESC LIMIT 1) AS event
FROM runs r
WHERE r.tenant_id = %(tenant)s AND r.session_key = %(key)s AND (%(run)s::uuid IS NULL OR r.run_id = %(run)s::uuid)
ORDER BY r.created_at DESC, r.run_id DESC LIMIT 1
"""


@transaction
async def stop(
    db: Connection,
    *,
    tenant: str,
    key: str,
    by: str,
    reason: str,
    code: STOP_REASONS = "CANCELED",
    only: str | None = None,
    oldest: bool = False,
    drain: bool = False,
    keep: Sequence[str] = (),
    cutoff: datetime | None = None,
) -> Stopped:
    """Stop what works here, or the `oldest` of it, or the one run `only`; with `drain` what waits is CANCELED.

    What arrived before `cutoff` and is still on its way is stale from now on. A run that works ends when it sees
    the flag; its answer cannot be stored any more.
    """
    await hold_session(db, tenant=tenant, key=key)
    here = {"tenant": tenant, "key": key, "keep": list(keep)}
    waiting = await many(str, db.execute(WAITING, here)) if drain or only else []
    running = await many(str, db.execute(RUNNING, here))
    if only:
        waiting, running = [id for id in waiting if id == only], [id for id in running if id == only]
    if oldest:
        running = running[:1]
    drained: list[Canceled] = []
    if waiting:
        drained = await run_stops.cancel_waiting(db, tenant=tenant, key=key, reason=code, runs=waiting)
    if running:
        await run_stops.request_cancel(db, tenant=tenant, run_ids=running, by=by, reason=reason)
    if cutoff is not None:
        await db.execute(CUT_OFF, {"tenant": tenant, "key": key, "cutoff": cutoff})
    return Stopped(tuple(drained), tuple(running))


@transaction
async def accept_interrupting(
    db: Connection, /, *, by: str, asides: Sequence[Aside] = (), **turn: Any
) -> tuple[Stored | First, Stopped]:
    """Accept a turn and stop everything else of its session, in one commit (sessions-lanes-cron.md §3.2)."""
    here: dict[str, Any] = {"tenant": turn["tenant"], "key": turn["key"]}
    await hold_session(db, **here)
    stored = await accept_merged(db, asides=asides, **turn)
    if isinstance(stored, First):
        return stored, Stopped()
    stopped = await stop(db, **here, by=by, reason="interrupt", code="INTERRUPTED", drain=True, keep=[turn["run_id"]])
    return Stored(1, len(stopped.running), stored.started), stopped


@transaction
async def accept_merged(
    db: Connection, /, *, asides: Sequence[Aside], node: str | None = None, terms: Terms | None = None, **turn: Any
) -> Stored | First:
    """Accept a turn that was made of several; the earlier ones are rows MERGED into it."""
    stored: Stored | First
    if turn.get("ingress_key"):
        stored = await ingress.accept(db, node=node, terms=terms, **turn)
    elif terms is not None:
        stored = await run_intake.accept(db, run_acceptance.accept, node=node, terms=terms, **turn)
    else:
        stored = await run_acceptance.accept(db, node=node, **turn)
    if isinstance(stored, First):
        return stored
    place = Place(**{name: turn[name] for name in ("tenant", "key", "lane", "agent_id", "agent_key")})
    await _put_all(db, place, asides, into=turn["run_id"])
    return stored


@transaction
async def join_waiting(db: Connection, *, place: Place, aside: Aside, into: str) -> bool:
    """Add a turn to one that waits (mode `followup`). False if that one does not wait any more, or got too long.

    The texts are joined by a line break, the newer options win. Raises `KeyUsed`.
    """
    await db.execute(LOCK_HEAD, {"tenant": place.tenant, "key": place.key})
    params = {
        "tenant": place.tenant,
        "key": place.key,
        "into": into,
        "run_id": aside.run_id,
        "request": aside.request,
        "text": aside.request.message,
        "longest": LONGEST,
    }
    if await maybe(str, db.execute(JOIN, params)) is None:
        return False
    await _put(db, place, aside, "MERGED", into=into, how="followup")
    return True


@transaction
async def keep_injected(db: Connection, *, place: Place, aside: Aside, into: str, asides: Sequence[Aside] = ()) -> bool:
    """A text that the run `into` has taken. Its next life finds it with `merged_texts`; `asides` are in it.

    False if that run is over. Raises `KeyUsed`.
    """
    here: dict[str, Any] = {"tenant": place.tenant, "key": place.key}
    await hold_session(db, **here)
    if await maybe(int, db.execute(OPEN, {**here, "into": into})) is None:
        return False
    await _put_all(db, place, asides, into=into)
    await _put(db, place, aside, "MERGED", into=into, how="inject")
    return True


@transaction
async def pass_over(db: Connection, *, place: Place, aside: Aside) -> None:
    """A turn that was sent before somebody stopped everything, and arrived after it (§3.6). Raises `KeyUsed`."""
    await _put(db, place, aside, "MESSAGE_STALE")


@transaction(readonly=True)
async def merged_into(db: Connection, *, tenant: str, run_id: str) -> str | None:
    """The run that a merged turn became part of; None for a run of its own."""
    query = "SELECT merged_into FROM runs WHERE tenant_id = %(tenant)s AND run_id = %(run)s AND merged_into IS NOT NULL"
    return await maybe(str, db.execute(query, {"tenant": tenant, "run": run_id}))


@transaction(readonly=True)
async def run_facts(db: Connection, *, tenant: str, key: str, run_id: str | None) -> RunFacts | None:
    """A run of this session, the latest without an id."""
    try:
        wanted = str(uuid.UUID(run_id)) if run_id else None
    except ValueError:
        return None
    return await maybe(RunFacts, db.execute(FACTS, {"tenant": tenant, "key": key, "run": wanted}))


@transaction(readonly=True)
async def merged_texts(db: Connection, *, tenant: str, run_id: str) -> list[InjectedText]:
    """The texts that were injected into a run, oldest first."""
    return await many(InjectedText, db.execute(MERGED_TEXTS, {"tenant": tenant, "run": run_id}))


@transaction(retry_safe=True, single=True)
async def throttle(db: Connection, *, tenant: str, key: str, slots: int, most: int) -> int | None:
    """How many runs may work here at once: 1 while the history has more than `most` tokens, else `slots`.

    The new number, None if it stays as it is.
    """
    params = {"tenant": tenant, "key": key, "slots": slots, "most": most}
    return await maybe(int, db.execute(THROTTLE, params))


@transaction(readonly=True)
async def busy_sessions(db: Connection, *, tenant: str, user: str, agent_key: str) -> list[str]:
    """Sessions in which runs of this user with this agent work or wait."""
    query = """
    SELECT DISTINCT session_key FROM runs
    WHERE tenant_id = %(tenant)s AND user_id = %(user)s AND agent_key = %(agent)s
      AND state IN ('QUEUED', 'CLAIMED', 'RUNNING', 'RETRY_WAIT')
    ORDER BY session_key LIMIT %(limit)s
    """
    params = {"tenant": tenant, "user": user, "agent": agent_key, "limit": OPEN_SESSIONS}
    return await many(str, db.execute(query, params))


async def _put_all(db: Connection, place: Place, asides: Sequence[Aside], *, into: str) -> None:
    for aside in asides:
        with suppress(KeyUsed):  # whoever was told of it first keeps it
            await _put(db, place, aside, "MERGED", into=into, how="debounce")


async def _put(
    db: Connection, place: Place, aside: Aside, reason: str, *, into: str | None = None, how: str = ""
) -> None:
    if aside.ingress_key:
        name = {"tenant": place.tenant, "key": aside.ingress_key, "run_id": aside.run_id}
        if not await ingress.take(db, **name, request_hash=aside.request_hash):
            raise KeyUsed(await ingress.first(db, tenant=place.tenant, key=aside.ingress_key))
    params = {
        "tenant": place.tenant,
        "key": place.key,
        "lane": place.lane,
        "agent_id": place.agent_id,
        "agent_key": place.agent_key,
        "run_id": aside.run_id,
        "user": aside.user,
        "kind": aside.kind,
        "max_attempts": KINDS[aside.kind].attempts,
        "request": aside.request,
        "request_hash": aside.request_hash,
        "ingress_key": aside.ingress_key,
        "reason": reason,
        "into": into,
        "injected": how == "inject",
        "payload": Json({"into": into, "how": how} if into else {}),
    }
    await one(str, db.execute(ASIDE, params))
