"""Hooks, whose they are and what they decided. Tables `hooks`, `hook_agents`, `hook_executions` (migration 0035)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct

from goclaw.domain.hook import Hook
from goclaw.stores.unit import Connection, Json, many, maybe, one, transaction

MOST = 200  # hooks of a tenant; our decision


class Execution(Struct, frozen=True, kw_only=True):
    id: str
    hook_id: str | None
    session_key: str | None
    run_id: str | None
    event: str
    decision: str
    duration_ms: int
    error: str | None
    created_at: datetime


COLUMNS = """id, tenant_id, scope, event, handler_type, name, config::text AS config,
  encode(secrets, 'hex') AS secrets, matcher, if_expr, timeout_ms, on_timeout, priority, enabled, version, source,
  array(SELECT agent_id::text FROM hook_agents a WHERE a.hook_id = h.id ORDER BY 1) AS agents"""

ADD = """
INSERT INTO hooks (id, tenant_id, scope, event, handler_type, name, config, secrets, matcher, if_expr, timeout_ms,
  on_timeout, priority, enabled, source, created_by)
SELECT %(id)s, %(tenant)s, %(scope)s, %(event)s, %(handler_type)s, %(name)s, %(config)s, decode(%(secrets)s, 'hex'),
  %(matcher)s, %(if_expr)s, %(timeout_ms)s, %(on_timeout)s, %(priority)s, %(enabled)s, 'api', %(created_by)s
WHERE (SELECT count(*) FROM hooks WHERE tenant_id = %(tenant)s) < %(most)s
ON CONFLICT (id) DO NOTHING RETURNING id
"""

GIVE = """
INSERT INTO hook_agents (hook_id, agent_id)
SELECT %(id)s, a.id FROM agents a WHERE a.tenant_id = %(tenant)s AND a.id = ANY(%(agents)s::uuid[])
ON CONFLICT DO NOTHING
"""

TAKE = """
DELETE FROM hook_agents WHERE hook_id = (SELECT id FROM hooks WHERE id = %(id)s AND tenant_id = %(tenant)s)
"""

CHANGE = """
UPDATE hooks SET scope = %(scope)s, event = %(event)s, handler_type = %(handler_type)s, name = %(name)s,
  config = %(config)s, secrets = decode(%(secrets)s, 'hex'), matcher = %(matcher)s, if_expr = %(if_expr)s,
  timeout_ms = %(timeout_ms)s, on_timeout = %(on_timeout)s, priority = %(priority)s, enabled = %(enabled)s,
  version = version + 1, updated_at = now()
WHERE id = %(id)s AND tenant_id = %(tenant)s AND version = %(version)s RETURNING id
"""

OFF = """
UPDATE hooks SET enabled = false, version = version + 1, updated_at = now()
WHERE id = %(id)s AND tenant_id = %(tenant)s AND enabled RETURNING id
"""

DROP = "DELETE FROM hooks WHERE id = %(id)s AND tenant_id = %(tenant)s RETURNING id"

GET = f"SELECT {COLUMNS} FROM hooks h WHERE id = %(id)s AND tenant_id = %(tenant)s"

PAGE = f"""
SELECT {COLUMNS} FROM hooks h
WHERE tenant_id = %(tenant)s AND (event = %(event)s OR %(event)s IS NULL) AND (scope = %(scope)s OR %(scope)s IS NULL)
  AND (enabled = %(enabled)s OR %(enabled)s IS NULL)
  AND (%(agent)s::uuid IS NULL OR id IN (SELECT hook_id FROM hook_agents WHERE agent_id = %(agent)s::uuid))
ORDER BY priority DESC, id LIMIT {MOST}
"""

IN_FORCE = f"""
SELECT {COLUMNS} FROM hooks h WHERE enabled AND (tenant_id = %(tenant)s OR scope = 'global')
ORDER BY priority DESC, id LIMIT 1000
"""

RECORD = """
INSERT INTO hook_executions (id, tenant_id, hook_id, session_key, run_id, event, input_hash, decision, duration_ms,
  error, error_detail)
SELECT %(id)s, %(tenant)s, (SELECT h.id FROM hooks h WHERE h.id = %(hook)s), %(session)s, %(run)s, %(event)s,
  %(input_hash)s, %(decision)s, %(duration_ms)s, %(error)s, decode(%(detail)s, 'hex')
ON CONFLICT DO NOTHING
"""

HISTORY = """
SELECT id, hook_id, session_key, run_id, event, decision, duration_ms, error, created_at FROM hook_executions
WHERE tenant_id = %(tenant)s AND (hook_id = %(hook)s::uuid OR %(hook)s IS NULL)
ORDER BY created_at DESC, id DESC LIMIT %(limit)s OFFSET %(offset)s
"""

COUNT = """
SELECT count(*) FROM hook_executions
WHERE tenant_id = %(tenant)s AND (hook_id = %(hook)s::uuid OR %(hook)s IS NULL)
"""

TENANTS = "SELECT count(*) FROM (SELECT 1 FROM tenants LIMIT 2) AS found"


@transaction(retry_safe=True)
async def add(db: Connection, /, *, id: str, tenant: str, agents: list[str], **hook: Any) -> bool:
    """False if the tenant has as many as it may."""
    row = {**hook, "config": Json(hook["config"]), "id": id, "tenant": tenant, "most": MOST}
    if await maybe(str, db.execute(ADD, row)) is None:
        return await maybe(Hook, db.execute(GET, {"id": id, "tenant": tenant})) is not None
    await db.execute(GIVE, {"id": id, "tenant": tenant, "agents": agents})
    return True


@transaction
async def change(db: Connection, /, *, id: str, tenant: str, version: int, agents: list[str], **hook: Any) -> bool:
    """False if it was changed meanwhile, or is gone."""
    row = {**hook, "config": Json(hook["config"]), "id": id, "tenant": tenant, "version": version}
    if await maybe(str, db.execute(CHANGE, row)) is None:
        return False
    await db.execute(TAKE, {"id": id, "tenant": tenant})
    await db.execute(GIVE, {"id": id, "tenant": tenant, "agents": agents})
    return True


@transaction(retry_safe=True, single=True)
async def switch_off(db: Connection, *, id: str, tenant: str) -> bool:
    return await maybe(str, db.execute(OFF, {"id": id, "tenant": tenant})) is not None


@transaction(retry_safe=True, single=True)
async def drop(db: Connection, *, id: str, tenant: str) -> bool:
    return await maybe(str, db.execute(DROP, {"id": id, "tenant": tenant})) is not None


@transaction(readonly=True)
async def get(db: Connection, *, id: str, tenant: str) -> Hook | None:
    return await maybe(Hook, db.execute(GET, {"id": id, "tenant": tenant}))


@transaction(readonly=True)
async def page(
    db: Connection, *, tenant: str, event: str | None, scope: str | None, enabled: bool | None, agent: str | None
) -> list[Hook]:
    asked = {"tenant": tenant, "event": event, "scope": scope, "enabled": enabled, "agent": agent}
    return await many(Hook, db.execute(PAGE, asked))


@transaction(readonly=True)
async def in_force(db: Connection, *, tenant: str) -> list[Hook]:
    """The tenant's own and those for everybody, of highest priority first."""
    return await many(Hook, db.execute(IN_FORCE, {"tenant": tenant}))


@transaction(retry_safe=True, single=True)
async def record(db: Connection, /, **row: Any) -> None:
    await db.execute(RECORD, row)


@transaction(readonly=True)
async def history(db: Connection, *, tenant: str, hook: str | None, limit: int, offset: int) -> list[Execution]:
    return await many(
        Execution, db.execute(HISTORY, {"tenant": tenant, "hook": hook, "limit": limit, "offset": offset})
    )


@transaction(readonly=True)
async def recorded(db: Connection, *, tenant: str, hook: str | None) -> int:
    return await one(int, db.execute(COUNT, {"tenant": tenant, "hook": hook}))


@transaction(readonly=True)
async def alone(db: Connection) -> bool:
    """Whether there is one tenant."""
    return await one(int, db.execute(TENANTS)) < 2
