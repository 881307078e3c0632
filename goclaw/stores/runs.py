"""Durable runs as they stand. Tables `runs`, `session_heads`, `run_events` (migration 0006).

How they move is told in `run_acceptance`, `run_claims`, `run_ends`, `run_recovery`, `run_stops` and `run_retries`.
Writes of a running run name its owner and fence.

Locks are taken in one order, or writers would wait for each other: rows that run, their heads by key, rows that
wait. Who leaves RUNNING holds its row when it comes to the head, and nobody holds a head when coming to such a row.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, Literal, cast

import msgspec
from msgspec import Struct, convert, field

from goclaw.domain.run import Lane, RunKind, RunRequest, RunResult, RunState
from goclaw.domain.tokens import estimate
from goclaw.stores.sessions import NewMessage
from goclaw.stores.unit import Connection, many, maybe, transaction


class StaleOwner(Exception):
    """The run is no longer ours: another node took it over, or it ended. Nothing was written."""


class Depth(Struct, frozen=True):
    queued: int
    running: int


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


Standing = Literal["ours", "stopping", "reset", "let go", "gone"]


class Known(Struct, frozen=True, kw_only=True):
    """A run found by its idempotency key. `result` is there once it has ended."""

    run_id: str
    request_hash: str | None
    result: RunResult | None


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

LOCK_HEAD = "SELECT 1 FROM session_heads WHERE tenant_id = %(tenant)s AND session_key = %(key)s FOR UPDATE"

OPEN = """
SELECT run_id, state, kind, user_id, request, created_at FROM runs
WHERE tenant_id = %(tenant)s AND session_key = %(key)s AND state IN ('QUEUED', 'CLAIMED', 'RUNNING', 'RETRY_WAIT')
ORDER BY run_id LIMIT 1000
"""


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
