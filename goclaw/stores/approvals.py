"""Approvals that were asked for, and rules that save asking. Tables `exec_approvals`, `exec_allow_rules`.

Migration 0030. Who waits for an answer waits in memory, on the node that asked; a row is what is left of it.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import asdict

from goclaw.domain.approval import Pending, Rule, detail_of
from goclaw.stores.unit import Connection, Json, many, maybe, transaction


class Orphan(Struct, frozen=True, kw_only=True):
    name: str
    tenant_id: str
    user_id: str
    agent_key: str


REQUEST = """
INSERT INTO exec_approvals (id, tenant_id, node_name, name, code, kind, run_id, session_key, agent_id, user_id,
  tool_name, command, detail, expires_at)
VALUES (%(id)s, %(tenant)s, %(node)s, %(name)s, %(code)s, %(kind)s, %(run_id)s, %(session_key)s, %(agent_id)s,
  %(user_id)s, %(tool)s, %(command)s, %(detail)s, to_timestamp(%(expires_at)s / 1000.0))
ON CONFLICT (id) DO NOTHING
"""

RESOLVE = """
UPDATE exec_approvals SET status = %(status)s, resolved_by = %(by)s, resolved_at = now(), reason = %(reason)s
WHERE id = %(id)s AND tenant_id = %(tenant)s AND status = 'pending'
"""

ORPHANS = """
UPDATE exec_approvals SET status = 'orphaned', resolved_at = now() WHERE status = 'pending' AND node_name = %(node)s
RETURNING name, tenant_id, user_id, coalesce(detail->>'agent', '') AS agent_key
"""

RULE = """id, tenant_id, agent_id, pattern, match_kind, created_by,
  (extract(epoch FROM created_at) * 1000)::bigint AS created_at, true AS kept"""

KEEP = """
INSERT INTO exec_allow_rules (id, tenant_id, agent_id, pattern, match_kind, created_by)
VALUES (%(id)s, %(tenant_id)s, %(agent_id)s, %(pattern)s, %(match_kind)s, %(created_by)s)
ON CONFLICT DO NOTHING
"""

RULES = f"""
SELECT {RULE} FROM exec_allow_rules
WHERE tenant_id = %(tenant)s AND (agent_id = %(agent)s::uuid OR %(agent)s::uuid IS NULL)
ORDER BY created_at DESC, id DESC LIMIT 1000
"""

DROP = "DELETE FROM exec_allow_rules WHERE id = %(id)s AND tenant_id = %(tenant)s RETURNING id"


@transaction(retry_safe=True, single=True)
async def request(db: Connection, pending: Pending, *, id: str, node: str) -> None:
    wish = pending.wish
    detail = {**detail_of(pending), "agent": wish.agent_key}
    row = {
        "id": id,
        "tenant": wish.tenant_id,
        "node": node,
        "name": pending.id,
        "code": pending.code,
        "kind": wish.kind,
        "run_id": wish.run_id or None,
        "session_key": wish.session_key,
        "agent_id": wish.agent_id or None,
        "user_id": wish.user_id,
        "tool": wish.tool,
        "command": pending.shown,
        "detail": Json(detail),
        "expires_at": pending.expires_at,
    }
    await db.execute(REQUEST, row)


@transaction
async def resolve(
    db: Connection, *, id: str, tenant: str, status: str, by: str, reason: str, rule: Rule | None = None
) -> None:
    """Write down what became of one, and the rule that came of it if that is to be kept."""
    await db.execute(RESOLVE, {"id": id, "tenant": tenant, "status": status, "by": by or None, "reason": reason})
    if rule is not None:
        await db.execute(KEEP, {name: value for name, value in asdict(rule).items() if name in KEEP})


@transaction
async def orphans(db: Connection, *, node: str) -> list[Orphan]:
    """Those a former life of this gateway asked for: nobody waits for them any more."""
    return await many(Orphan, db.execute(ORPHANS, {"node": node}))


@transaction(readonly=True)
async def rules(db: Connection, *, tenant: str, agent: str | None = None) -> list[Rule]:
    """Newest first, at most 1,000."""
    return await many(Rule, db.execute(RULES, {"tenant": tenant, "agent": agent}))


@transaction(retry_safe=True, single=True)
async def drop(db: Connection, *, tenant: str, id: str) -> bool:
    return await maybe(str, db.execute(DROP, {"id": id, "tenant": tenant})) is not None
