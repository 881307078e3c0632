"""Resource keys: taken all or none when a run is claimed, free with the commit that ends it or puts it back.

Tables `resource_locks`, `lock_waits` (migration 0019; a trigger on `runs` frees). Who takes keys waits for others who
do so in the same place, behind the locks of the session heads; who has none never comes here. A run holds its keys
as long as its lease. Contract: nodes-autonomy.md §3.3, §3.4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from goclaw.domain.locks import Holding, Key, Wish, arbitrate, conflict, keys_of, score
from goclaw.domain.run import Lane
from goclaw.settings.locks import Locks
from goclaw.stores.run_heads import HEAD_OF
from goclaw.stores.unit import Connection, many, transaction

MOST = 1000  # waiting runs looked at once
SEED = 19  # of the names of places among all advisory locks
LONG = 1800  # seconds after which somebody should look; nodes-autonomy.md §3.4

Place = tuple[str, str]  # tenant and namespace


class WishRow(Struct, frozen=True, kw_only=True):
    run_id: str
    tenant_id: str
    session_key: str
    lane: Lane
    user_id: str
    namespace: str
    resource_keys: list[str]
    keys_inferred: bool
    priority: int
    crash_count: int
    parent_run_id: str | None
    waited: float | None = None  # seconds since it first found its keys taken …
    tries: int = 0  # … and how often it did
    holders: list[str] | None = None

    @property
    def place(self) -> Place:
        return self.tenant_id, self.namespace

    def wish(self, rules: Locks, ancestors: Sequence[str] = ()) -> Wish:
        waited = self.waited or 0.0
        return Wish(
            run_id=self.run_id,
            keys=keys_of(self.resource_keys, guessed=self.keys_inferred),
            score=score(self.priority, waited, self.tries),
            reserved=self.waited is not None and waited >= rules.reserve_after_sec,
            ancestors=tuple(ancestors),
        )


class LockRow(Struct, frozen=True, kw_only=True):
    tenant_id: str
    namespace: str
    resource_key: str
    mode: str
    run_id: str
    inferred: bool
    since: datetime

    @property
    def place(self) -> Place:
        return self.tenant_id, self.namespace

    @property
    def key(self) -> Key:
        return Key(self.resource_key, self.mode == "read", self.inferred)


class Waiter(Struct, frozen=True, kw_only=True):
    run_id: str
    since: datetime


class Lock(Struct, frozen=True, kw_only=True):
    """A key somebody holds, and who waits for it, longest first."""

    key: str
    holder_run_id: str
    since: datetime
    waiters: list[Waiter]


class Standing(Struct, frozen=True, kw_only=True):
    """A run of a session that holds keys, or waits for them."""

    run_id: str
    resource_keys: list[str]
    waits: bool


class LongHeld(Struct, frozen=True):
    run_id: str
    keys: list[str]
    seconds: float


class _WaitRow(Struct, frozen=True, kw_only=True):
    run_id: str
    tenant_id: str
    namespace: str
    resource_keys: list[str]
    keys_inferred: bool
    since: datetime


class _Ancestor(Struct, frozen=True):
    run_id: str
    ancestor: str


WISH = """r.run_id, r.tenant_id, r.session_key, r.lane, r.user_id, r.resource_keys, r.keys_inferred, r.priority,
  r.crash_count, r.parent_run_id, extract(epoch FROM now() - w.since)::float8 AS waited, coalesce(w.tries, 0) AS tries,
  w.holders"""

NEXT = f"""
SELECT {WISH}, coalesce(w.namespace, left(a.workspace, 300), '.') AS namespace
FROM ({HEAD_OF}) AS head JOIN runs r USING (run_id)
LEFT JOIN agents a ON a.tenant_id = r.tenant_id AND a.id = r.agent_id LEFT JOIN lock_waits w USING (run_id)
WHERE head.available_at <= now() AND head.resource_keys <> '{{}}'
ORDER BY r.run_id
"""

PLACES = "unnest(%(tenants)s::uuid[], %(namespaces)s::text[]) AS place(tenant_id, namespace)"

ENTER = f"""
SELECT pg_advisory_xact_lock(hashtextextended(place.tenant_id || ' ' || place.namespace, {SEED})) FROM {PLACES}
"""  # in the order of the arrays

HELD = f"""
SELECT l.tenant_id, l.namespace, l.resource_key, l.mode, l.run_id, l.inferred, l.since
FROM resource_locks l JOIN {PLACES} USING (tenant_id, namespace)
"""  # every one counts; there are at most 20 for each run that works

HELD_ON = f"{HELD} FOR KEY SHARE OF l"  # whoever frees one now is waited for, or waits until we are known to want it

WAITS = f"""
SELECT {WISH}, w.namespace FROM lock_waits w JOIN runs r USING (run_id)
WHERE r.state IN ('QUEUED', 'RETRY_WAIT') AND w.since <= now() - make_interval(secs => %(older)s::float8)
ORDER BY w.since, w.run_id LIMIT {MOST}
"""

ANCESTORS = """
WITH RECURSIVE up AS (
  SELECT run_id, parent_run_id AS ancestor FROM runs WHERE run_id = ANY(%(runs)s::uuid[]) AND parent_run_id IS NOT NULL
  UNION SELECT up.run_id, r.parent_run_id FROM up JOIN runs r ON r.run_id = up.ancestor
    WHERE r.parent_run_id IS NOT NULL
)
SELECT run_id, ancestor FROM up LIMIT 10000
"""

TAKE = """
WITH over AS (
  DELETE FROM lock_waits WHERE run_id = %(run)s::uuid
), mine AS (
  UPDATE runs SET wait_reason = NULL WHERE run_id = %(run)s::uuid AND wait_reason IS NOT NULL
)
INSERT INTO resource_locks (tenant_id, namespace, resource_key, mode, run_id, inferred, inherited)
SELECT %(tenant)s::uuid, %(namespace)s::text, k.name, CASE WHEN k.shared THEN 'read' ELSE 'exclusive' END,
  %(run)s::uuid, %(inferred)s, k.inherited
FROM unnest(%(names)s::text[], %(shared)s::bool[], %(inherited)s::bool[]) AS k(name, shared, inherited) ORDER BY k.name
"""

WAIT = """
WITH run AS (
  UPDATE runs SET wait_reason = 'resource_lock', available_at = now() + make_interval(secs => %(retry)s::float8),
    updated_at = now()
  WHERE run_id = %(run)s::uuid RETURNING run_id, tenant_id, session_key, attempt, fence, resource_keys
), note AS (
  INSERT INTO lock_waits AS w (run_id, tenant_id, namespace, tries, holders)
  SELECT run_id, tenant_id, %(namespace)s::text, 1, %(holders)s::uuid[] FROM run
  ON CONFLICT (run_id) DO UPDATE SET tries = w.tries + 1, holders = excluded.holders
), head AS (
  UPDATE session_heads h SET next_seq = h.next_seq + 1 FROM run
  WHERE h.tenant_id = run.tenant_id AND h.session_key = run.session_key AND %(changed)s
  RETURNING h.next_seq - 1 AS seq
)
INSERT INTO run_events (run_id, tenant_id, session_key, session_seq, type, attempt, fence, payload)
SELECT run_id, tenant_id, session_key, head.seq, 'task.waiting', attempt, fence,
  jsonb_build_object('keys', resource_keys, 'holders', %(holders)s::uuid[]) FROM run, head
"""

LOCK_HEADS = """
SELECT 1 FROM session_heads h
JOIN unnest(%(tenants)s::uuid[], %(keys)s::text[]) AS wanted(tenant_id, session_key) USING (tenant_id, session_key)
ORDER BY h.tenant_id, h.session_key FOR UPDATE OF h
"""

WAKE = """
WITH due AS (
  UPDATE runs SET available_at = now(), updated_at = now()
  WHERE run_id = ANY(%(runs)s::uuid[]) AND state IN ('QUEUED', 'RETRY_WAIT') AND wait_reason = 'resource_lock'
  RETURNING run_id, tenant_id, session_key
), head AS (
  UPDATE session_heads h SET head_at = least(h.head_at, now()) FROM due
  WHERE h.tenant_id = due.tenant_id AND h.session_key = due.session_key
)
SELECT run_id FROM due
"""


async def take(db: Connection, heads: Mapping[str, Sequence[str]], rules: Locks) -> list[str]:
    """In a claim that holds these heads: the runs whose turn it is and whose keys are theirs from now on.

    Others that want keys wait, and the trail says for whom.
    """
    wishes = await many(WishRow, db.execute(NEXT, heads))
    if not wishes:
        return []
    places = _places(wishes)
    await db.execute(ENTER, places)
    held = await many(LockRow, db.execute(HELD_ON, places))
    ours = {row.run_id for row in wishes}
    late = await many(WishRow, db.execute(WAITS, {"older": rules.reserve_after_sec}))
    rivals = _decide(
        [*wishes, *(row for row in late if row.run_id not in ours)], held, await _ancestors(db, wishes), rules
    )
    taken = []
    for row in wishes:
        if rivals[row.run_id]:
            await _wait(db, row, rivals[row.run_id], rules)
        else:
            await _take(db, row, held)
            taken.append(row.run_id)
    return taken


@transaction(retry_safe=True)
async def wake(db: Connection, *, rules: Locks) -> list[WishRow]:
    """Runs that wait for keys they can have now are due. Which those are; they still have to be claimed."""
    waiting = await many(WishRow, db.execute(WAITS, {"older": 0.0}))
    if not waiting:
        return []
    held = await many(LockRow, db.execute(HELD, _places(waiting)))
    rivals = _decide(waiting, held, await _ancestors(db, waiting), rules)
    free = [row for row in waiting if not rivals[row.run_id]]
    if not free:
        return []
    heads = {"tenants": [row.tenant_id for row in free], "keys": [row.session_key for row in free]}
    await db.execute(LOCK_HEADS, heads)
    due = set(await many(str, db.execute(WAKE, {"runs": [row.run_id for row in free]})))
    return [row for row in free if row.run_id in due]


@transaction(readonly=True)
async def listed(db: Connection, *, tenant: str, limit: int = MOST) -> list[Lock]:
    """What is held in a tenant, longest first, and who waits for it."""
    query = """
    SELECT tenant_id, namespace, resource_key, mode, run_id, inferred, since FROM resource_locks
    WHERE tenant_id = %(tenant)s ORDER BY since, resource_key LIMIT %(limit)s
    """
    held = await many(LockRow, db.execute(query, {"tenant": tenant, "limit": limit}))
    query = """
    SELECT w.run_id, w.tenant_id, w.namespace, r.resource_keys, r.keys_inferred, w.since
    FROM lock_waits w JOIN runs r USING (run_id)
    WHERE w.tenant_id = %(tenant)s AND r.state IN ('QUEUED', 'RETRY_WAIT') ORDER BY w.since, w.run_id LIMIT %(limit)s
    """
    waiting = [
        (row, keys_of(row.resource_keys, guessed=row.keys_inferred))
        for row in await many(_WaitRow, db.execute(query, {"tenant": tenant, "limit": limit}))
    ]
    return [
        Lock(
            key=str(lock.key),
            holder_run_id=lock.run_id,
            since=lock.since,
            waiters=[
                Waiter(run_id=row.run_id, since=row.since)
                for row, keys in waiting
                if row.namespace == lock.namespace and any(conflict(key, lock.key) for key in keys)
            ],
        )
        for lock in held
    ]


@transaction(readonly=True)
async def of_session(db: Connection, *, tenant: str, key: str) -> list[Standing]:
    """Runs of a session that hold keys or wait for them, oldest first."""
    query = """
    SELECT r.run_id, r.resource_keys, w.run_id IS NOT NULL AS waits
    FROM runs r LEFT JOIN lock_waits w USING (run_id)
    WHERE r.tenant_id = %(tenant)s AND r.session_key = %(key)s AND r.resource_keys <> '{}'
      AND (r.state IN ('CLAIMED', 'RUNNING') OR (r.state IN ('QUEUED', 'RETRY_WAIT') AND w.run_id IS NOT NULL))
    ORDER BY r.run_id LIMIT 100
    """
    return await many(Standing, db.execute(query, {"tenant": tenant, "key": key}))


@transaction(readonly=True)
async def long_held(db: Connection) -> list[LongHeld]:
    """Runs that have held keys for half an hour. Nobody takes them away."""
    query = """
    SELECT run_id, array_agg(resource_key ORDER BY resource_key) AS keys,
      extract(epoch FROM now() - min(since))::float8 AS seconds
    FROM resource_locks WHERE since < now() - make_interval(secs => %(long)s) GROUP BY run_id ORDER BY run_id LIMIT 100
    """
    return await many(LongHeld, db.execute(query, {"long": LONG}))


def _places(wishes: Sequence[WishRow]) -> dict[str, list[str]]:
    """Where they want keys, in the one order in which places are entered."""
    places = sorted({row.place for row in wishes})
    return {"tenants": [tenant for tenant, _ in places], "namespaces": [namespace for _, namespace in places]}


async def _ancestors(db: Connection, wishes: Sequence[WishRow]) -> dict[str, list[str]]:
    children = [row.run_id for row in wishes if row.parent_run_id is not None]
    above: dict[str, list[str]] = {}
    if children:
        for one in await many(_Ancestor, db.execute(ANCESTORS, {"runs": children})):
            above.setdefault(one.run_id, []).append(one.ancestor)
    return above


def _decide(
    wishes: Sequence[WishRow], held: Sequence[LockRow], above: Mapping[str, Sequence[str]], rules: Locks
) -> dict[str, tuple[str, ...]]:
    """Who is in the way of whom; places do not touch each other."""
    rivals: dict[str, tuple[str, ...]] = {}
    for place in {row.place for row in wishes}:
        here = [row.wish(rules, above.get(row.run_id, ())) for row in wishes if row.place == place]
        rivals |= arbitrate(here, [Holding(lock.run_id, lock.key) for lock in held if lock.place == place])
    return rivals


async def _take(db: Connection, row: WishRow, held: Sequence[LockRow]) -> None:
    keys = keys_of(row.resource_keys, guessed=row.keys_inferred)
    there = {
        (lock.resource_key, lock.inferred) for lock in held if lock.place == row.place and lock.mode == "exclusive"
    }
    params: dict[str, Any] = {
        "run": row.run_id,
        "tenant": row.tenant_id,
        "namespace": row.namespace,
        "inferred": row.keys_inferred,
        "names": [key.name for key in keys],
        "shared": [key.shared for key in keys],
        "inherited": [(key.name, key.guessed) in there for key in keys],  # nobody but an ancestor can have it
    }
    await db.execute(TAKE, params)


async def _wait(db: Connection, row: WishRow, holders: Sequence[str], rules: Locks) -> None:
    params = {
        "run": row.run_id,
        "namespace": row.namespace,
        "holders": list(holders),
        "changed": row.holders is None or set(row.holders) != set(holders),
        "retry": rules.retry_sec,
    }
    await db.execute(WAIT, params)
