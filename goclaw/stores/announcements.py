"""Results on their way back to the session that asked for them. Table `announcements` (migration 0016).

HELD by the commit that ended a child; READY as part of a batch, whose run has its id already; INJECTED when that run,
or the run that works there, has it. A batch is handed over under its run's id as often as need be, and taken once.
Contract: orchestration.md §5.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct, field

from goclaw.domain.run import RunRequest
from goclaw.domain.subagent import TOLD
from goclaw.stores.unit import Connection, many, maybe, transaction

BATCHES = 50  # in one look


class Due(Struct, frozen=True, kw_only=True):
    tenant_id: str
    session_key: str
    run_id: str | None = None  # of a batch that is READY


class Item(Struct, frozen=True, kw_only=True):
    label: str
    status: str
    elapsed_ms: int
    input_tokens: int
    output_tokens: int
    content: str
    error: str | None


class Sibling(Struct, frozen=True, kw_only=True):
    label: str
    status: str


class Origin(Struct, frozen=True, kw_only=True):
    """The run that asked for them, or the last of those."""

    agent_id: str
    agent_key: str
    user_id: str
    stored: str = field(name="request")
    working: bool

    @property
    def request(self) -> RunRequest:
        request: RunRequest = msgspec.json.decode(self.stored, type=RunRequest)
        return request


class Batch(Struct, frozen=True, kw_only=True):
    items: list[Item]
    roster: list[Sibling]
    origin: Origin | None  # None: its session is gone, or began anew


DUE = """
SELECT tenant_id, origin_session_key AS session_key, NULL::uuid AS run_id FROM announcements WHERE state = 'HELD'
GROUP BY tenant_id, origin_session_key
HAVING max(created_at) <= now() - make_interval(secs => %(debounce)s::float8) OR count(*) >= %(cap)s
  OR min(created_at) <= now() - make_interval(secs => %(hold)s::float8)
UNION ALL
SELECT DISTINCT tenant_id, origin_session_key, injected_run_id FROM announcements WHERE state = 'READY'
LIMIT %(limit)s
"""

TAKE = """
UPDATE announcements SET state = 'READY', injected_run_id = %(run)s, updated_at = now()
WHERE announce_id IN (
  SELECT announce_id FROM announcements
  WHERE tenant_id = %(tenant)s AND origin_session_key = %(key)s AND state = 'HELD'
  ORDER BY created_at, announce_id LIMIT %(cap)s FOR UPDATE SKIP LOCKED)
RETURNING announce_id
"""

ITEMS = """
SELECT t.label, t.status, (extract(epoch FROM t.completed_at - t.created_at) * 1000)::bigint AS elapsed_ms,
  t.input_tokens, t.output_tokens, left(coalesce(t.result, ''), %(most)s) AS content, t.error
FROM announcements a JOIN subagent_tasks t ON t.id::text = a.item->>'task'
WHERE a.tenant_id = %(tenant)s AND a.injected_run_id = %(run)s AND t.completed_at IS NOT NULL
ORDER BY t.completed_at, t.id
"""

ROSTER = """
SELECT label, status FROM subagent_tasks t
WHERE t.tenant_id = %(tenant)s AND t.session_key = %(key)s
  AND (t.status = 'running' OR t.completed_at > now() - interval '1 hour')
ORDER BY t.created_at, t.id LIMIT 50
"""

ORIGIN = """
SELECT p.agent_id, p.agent_key, p.user_id, p.request::text AS request,
  p.state IN ('CLAIMED', 'RUNNING') AND p.cancel_requested IS NULL AS working
FROM announcements a JOIN subagent_tasks t ON t.id::text = a.item->>'task'
JOIN sessions s ON s.tenant_id = t.tenant_id AND s.session_key = t.session_key AND s.generation = t.session_generation
JOIN runs p ON p.run_id = t.parent_run_id
WHERE a.tenant_id = %(tenant)s AND a.injected_run_id = %(run)s
ORDER BY working DESC, t.created_at DESC LIMIT 1
"""


@transaction(readonly=True)
async def due(db: Connection, *, debounce: float, cap: int, hold: float) -> list[Due]:
    """Sessions whose results have waited long enough, and batches that were not handed over yet.

    `debounce`: seconds since the last of them; `hold`: seconds since the first.
    """
    params = {"debounce": debounce, "cap": cap, "hold": hold, "limit": BATCHES}
    return await many(Due, db.execute(DUE, params))


@transaction(single=True)
async def take(db: Connection, *, tenant: str, key: str, run_id: str, cap: int) -> int:
    """Make a batch of what is held. How many are in it; 0 if somebody else was faster."""
    return len(await many(str, db.execute(TAKE, {"tenant": tenant, "key": key, "run": run_id, "cap": cap})))


@transaction(readonly=True)
async def batch(db: Connection, *, tenant: str, key: str, run_id: str) -> Batch:
    named: dict[str, Any] = {"tenant": tenant, "key": key, "run": run_id, "most": TOLD}
    return Batch(
        items=await many(Item, db.execute(ITEMS, named)),
        roster=await many(Sibling, db.execute(ROSTER, named)),
        origin=await maybe(Origin, db.execute(ORIGIN, named)),
    )


@transaction(retry_safe=True, single=True)
async def injected(db: Connection, *, tenant: str, run_id: str) -> None:
    """The batch was handed over, or nobody is there any more to hand it to."""
    query = """
    UPDATE announcements SET state = 'INJECTED', updated_at = now()
    WHERE tenant_id = %(tenant)s AND injected_run_id = %(run)s AND state = 'READY'
    """
    await db.execute(query, {"tenant": tenant, "run": run_id})
