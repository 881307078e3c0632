"""Approvals that were asked for, and rules that save asking. Tables `exec_approvals`, `exec_allow_rules`.

Migrations 0030, 0040. A row is there before anybody is asked, and whoever changes it from `pending` has answered: the
first of all nodes. Times are the database's, whichever node says yes. Contract: tools.md §12.3, durability.md K17.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from msgspec.structs import asdict

from goclaw.domain.approval import Pending, Rule, Wish
from goclaw.stores.unit import Connection, Json, many, maybe, one, transaction

Status = Literal["pending", "allow_once", "allow_always", "deny", "timeout", "orphaned"]


class Standing(Pending, frozen=True, kw_only=True):
    """An approval and what became of it."""

    status: Status
    reason: str
    by: str
    left: float  # seconds until it is too late; negative when it is
    fresh: bool = False  # asked for just now


EPOCH = "(extract(epoch FROM {}) * 1000)::bigint AS {}"

ROW = f"""a.id AS row, a.name AS id, a.code, a.tenant_id, a.user_id, coalesce(a.agent_id::text, '') AS agent_id,
  a.agent_key, a.session_key, coalesce(a.run_id::text, '') AS run_id, a.tool_name AS tool,
  coalesce(a.command, '') AS command, a.detail::text AS detail, a.rule, a.exact, a.node_id,
  {EPOCH.format("a.created_at", "created_at")}, {EPOCH.format("a.expires_at", "expires_at")},
  a.status, coalesce(a.reason, '') AS reason, coalesce(a.resolved_by, '') AS by,
  extract(epoch FROM a.expires_at - now())::float8 AS left"""

OPEN = "a.status = 'pending' AND a.expires_at > now()"

OVER = """EXISTS (SELECT FROM runs r WHERE r.run_id = a.run_id
  AND r.state IN ('SUCCEEDED', 'FAILED', 'CANCELED', 'DEAD_LETTER'))"""

CROWD = f"""
SELECT count(*) FILTER (WHERE a.agent_id IS NOT DISTINCT FROM %(agent_id)s::uuid AND a.tenant_id = %(tenant)s)
  < %(of_agent)s AND count(*) < %(of_all)s
FROM exec_approvals a WHERE {OPEN} AND (a.call_key IS NULL OR a.call_key IS DISTINCT FROM %(call)s::text)
"""

CODE = """SELECT code FROM unnest(%(codes)s::text[]) AS wanted (code)
  WHERE NOT EXISTS (SELECT FROM exec_approvals b WHERE b.code = wanted.code AND b.status = 'pending') LIMIT 1"""

REQUEST = f"""
INSERT INTO exec_approvals AS a (id, tenant_id, node_name, node_id, code, kind, run_id, session_key, agent_id,
  agent_key, user_id, tool_name, command, detail, rule, exact, call_key, expires_at)
VALUES (%(id)s, %(tenant)s, %(node)s, %(node_id)s, ({CODE}), %(kind)s, %(run_id)s, %(session_key)s, %(agent_id)s,
  %(agent_key)s, %(user_id)s, %(tool)s, %(command)s, %(detail)s, %(rule)s, %(exact)s, %(call)s,
  now() + make_interval(secs => %(within)s))
ON CONFLICT (call_key) DO UPDATE SET node_id = EXCLUDED.node_id, node_name = EXCLUDED.node_name
RETURNING {ROW}, a.id = %(id)s AS fresh
"""

RESOLVE = f"""
UPDATE exec_approvals a SET status = %(status)s, resolved_by = %(by)s, resolved_at = now(), reason = %(reason)s
WHERE a.id = %(id)s AND a.tenant_id = %(tenant)s AND {OPEN} AND NOT {OVER}
RETURNING {ROW}
"""

EXPIRE = f"""
UPDATE exec_approvals a SET status = 'timeout', resolved_at = now() WHERE a.id = %(id)s AND a.status = 'pending'
RETURNING {ROW}
"""

WITHDRAW = f"""
UPDATE exec_approvals a SET status = 'deny', resolved_at = now(), reason = 'the run has ended', call_key = NULL
WHERE a.id = %(id)s AND a.status = 'pending'
RETURNING {ROW}
"""

ORPHANS = f"""
UPDATE exec_approvals a SET status = 'orphaned', resolved_at = now()
WHERE a.status = 'pending' AND a.call_key IS NULL AND a.node_name = %(node)s
RETURNING {ROW}
"""

SWEEP = f"""
UPDATE exec_approvals a SET status = CASE WHEN {OVER} THEN 'deny' ELSE 'timeout' END, resolved_at = now(),
  reason = CASE WHEN {OVER} THEN 'the run has ended' END
WHERE a.status = 'pending' AND (a.expires_at < now() - make_interval(secs => %(margin)s) OR {OVER})
RETURNING {ROW}
"""

PENDING = f"""
SELECT {ROW} FROM exec_approvals a
WHERE a.tenant_id = %(tenant)s AND {OPEN} AND (a.user_id = %(user)s::text OR %(user)s::text IS NULL)
ORDER BY a.created_at, a.id LIMIT 1000
"""

FIND = f"SELECT {ROW} FROM exec_approvals a WHERE a.tenant_id = %(tenant)s AND a.name = %(name)s AND {OPEN}"

CODED = f"""
SELECT {ROW} FROM exec_approvals a
WHERE a.tenant_id = %(tenant)s AND a.code = %(code)s AND a.created_at > now() - interval '1 day'
  AND a.status IN ('pending', 'allow_once', 'allow_always', 'deny', 'timeout', 'orphaned')
ORDER BY a.created_at DESC, a.id DESC LIMIT 1
"""  # every status: the index begins with it

ALL = f"SELECT {ROW} FROM exec_approvals a WHERE {OPEN} ORDER BY a.created_at, a.id LIMIT 1000"

STANDING = f"SELECT {ROW} FROM exec_approvals a WHERE a.id = ANY(%(ids)s::uuid[]) ORDER BY a.id LIMIT 1000"

RULE = f"""id, tenant_id, agent_id, pattern, match_kind, created_by,
  {EPOCH.format("created_at", "created_at")}, node_id IS NULL AS kept"""

KEEP = """
INSERT INTO exec_allow_rules (id, tenant_id, agent_id, pattern, match_kind, created_by, node_id)
VALUES (%(id)s, %(tenant_id)s, %(agent_id)s, %(pattern)s, %(match_kind)s, %(created_by)s, %(node_id)s)
ON CONFLICT DO NOTHING
"""

RULES = f"""
SELECT {RULE} FROM exec_allow_rules WHERE tenant_id = %(tenant)s ORDER BY created_at DESC, id DESC LIMIT 1000
"""

MATCHING = f"""
SELECT {RULE} FROM exec_allow_rules
WHERE tenant_id = %(tenant)s AND agent_id = %(agent)s AND (node_id IS NULL OR node_id = %(node_id)s)
ORDER BY created_at DESC, id DESC LIMIT 10000
"""

DROP = "DELETE FROM exec_allow_rules WHERE id = %(id)s AND tenant_id = %(tenant)s RETURNING id"

FORGET = """
DELETE FROM exec_allow_rules r WHERE r.node_id <> %(node_id)s
  AND NOT EXISTS (SELECT FROM cluster_nodes n WHERE n.node_id = r.node_id AND n.stopped_at IS NULL)
"""


@transaction(retry_safe=True)
async def request(
    db: Connection,
    wish: Wish,
    *,
    id: str,
    node_id: str,
    node: str,
    codes: Sequence[str],
    command: str,
    detail: dict[str, Any],
    rule: str,
    within: float,
    of_agent: int,
    of_all: int,
) -> Standing | None:
    """The approval of a call: a new one, or what became of the one an earlier life of its run asked for.

    Whoever waits for it waits in `node_id` from now on. It is typed as the first of `codes` that no other has. None:
    too many wait already.
    """
    row = {
        "id": id,
        "tenant": wish.tenant_id,
        "node": node,
        "node_id": node_id,
        "codes": list(codes),
        "kind": wish.kind,
        "run_id": wish.run_id or None,
        "session_key": wish.session_key,
        "agent_id": wish.agent_id or None,
        "agent_key": wish.agent_key,
        "user_id": wish.user_id,
        "tool": wish.tool,
        "command": command,
        "detail": Json(detail),
        "rule": rule,
        "exact": wish.exact,
        "call": wish.call,
        "within": within,
    }
    crowd = {"tenant": wish.tenant_id, "agent_id": row["agent_id"], "call": wish.call}
    room = await many(bool, db.execute(CROWD, {**crowd, "of_agent": of_agent, "of_all": of_all}))
    if not all(room):
        return None
    return await one(Standing, db.execute(REQUEST, row))


@transaction
async def resolve(
    db: Connection, *, id: str, tenant: str, status: Status, by: str, reason: str, rule: Rule | None = None
) -> Standing | None:
    """Answer one, and keep the rule that came of it. None: somebody was first, it is too late, or its run is over."""
    answer = {"id": id, "tenant": tenant, "status": status, "by": by or None, "reason": reason}
    done = await maybe(Standing, db.execute(RESOLVE, answer))
    if done is None:
        return None
    if rule is not None:
        node_id = None if rule.kept else done.node_id
        kept = {name: value for name, value in asdict(rule).items() if name in KEEP}
        await db.execute(KEEP, {**kept, "node_id": node_id})
    return done


@transaction(single=True)
async def expire(db: Connection, *, id: str) -> Standing | None:
    """Nobody answered in time. None: somebody did."""
    return await maybe(Standing, db.execute(EXPIRE, {"id": id}))


@transaction(single=True)
async def withdraw(db: Connection, *, id: str) -> Standing | None:
    """Whoever wanted to know does not any more; should he come back, he asks anew."""
    return await maybe(Standing, db.execute(WITHDRAW, {"id": id}))


@transaction
async def orphans(db: Connection, *, node: str) -> list[Standing]:
    """Those a former life of this gateway asked for and for which nobody will come back."""
    return await many(Standing, db.execute(ORPHANS, {"node": node}))


@transaction
async def sweep(db: Connection, *, node_id: str, margin: float) -> list[Standing]:
    """End what is over since `margin` seconds, or whose run is; and forget rules of processes that are gone."""
    await db.execute(FORGET, {"node_id": node_id})
    return await many(Standing, db.execute(SWEEP, {"margin": margin}))


@transaction(readonly=True)
async def pending(db: Connection, *, tenant: str, user: str | None) -> list[Pending]:
    """Oldest first; of everybody where `user` is None."""
    return await many(Pending, db.execute(PENDING, {"tenant": tenant, "user": user}))


@transaction(readonly=True)
async def find(db: Connection, *, tenant: str, name: str) -> Pending | None:
    """One that can still be answered."""
    return await maybe(Pending, db.execute(FIND, {"tenant": tenant, "name": name}))


@transaction(readonly=True)
async def coded(db: Connection, *, tenant: str, code: str) -> Standing | None:
    """The last one of a day that was typed as this, whatever became of it."""
    return await maybe(Standing, db.execute(CODED, {"tenant": tenant, "code": code}))


@transaction(readonly=True)
async def still_open(db: Connection) -> list[Pending]:
    """Of all tenants and nodes."""
    return await many(Pending, db.execute(ALL))


@transaction(readonly=True)
async def look(db: Connection, *, ids: Sequence[str]) -> list[Standing]:
    """What became of these, of whatever tenant: for other nodes, who know the ids of rows from each other."""
    return await many(Standing, db.execute(STANDING, {"ids": list(ids)}))


@transaction(readonly=True)
async def rules(db: Connection, *, tenant: str) -> list[Rule]:
    """Newest first, at most 1,000."""
    return await many(Rule, db.execute(RULES, {"tenant": tenant}))


@transaction(readonly=True)
async def matching(db: Connection, *, tenant: str, agent: str, node_id: str) -> list[Rule]:
    """Those that hold for an agent in this process."""
    return await many(Rule, db.execute(MATCHING, {"tenant": tenant, "agent": agent, "node_id": node_id}))


@transaction(retry_safe=True, single=True)
async def drop(db: Connection, *, tenant: str, id: str) -> bool:
    return await maybe(str, db.execute(DROP, {"id": id, "tenant": tenant})) is not None
