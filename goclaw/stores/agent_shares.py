"""Whom agents are shared with, what differs for whom, who may write an agent's files in a group.

Tables `agent_shares`, `user_agent_overrides`, `agent_config_permissions` (migration 0028).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct

from goclaw.domain.agent import SharedRole, UserOverride
from goclaw.domain.ids import new_id
from goclaw.stores.unit import Connection, Json, many, maybe, one, transaction

LISTED = 1000
OVERRIDES = 1000  # of one agent: its actor keeps them


class Share(Struct, frozen=True, kw_only=True):
    id: str
    agent_id: str
    user_id: str
    role: SharedRole
    granted_by: str | None
    created_at: datetime


class StoredShare(Share, frozen=True, kw_only=True):
    new: bool


class Override(Struct, frozen=True, kw_only=True):
    user_id: str
    provider: str | None
    model: str | None
    settings: dict[str, Any]
    updated_at: datetime


class Permission(Struct, frozen=True, kw_only=True, rename="camel"):
    id: str
    agent_id: str
    scope: str
    config_type: str
    user_id: str
    permission: str
    granted_by: str | None
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime


SHARE = "id, agent_id, user_id, role, granted_by, created_at"
OF_AGENT = "tenant_id = %(tenant)s AND agent_id = %(agent)s"
OVERRIDE = "user_id, provider, model, settings, updated_at"
PERMISSION = "id, agent_id, scope, config_type, user_id, permission, granted_by, metadata, created_at, updated_at"

PUT_SHARE = f"""
INSERT INTO agent_shares (id, tenant_id, agent_id, user_id, role, granted_by)
VALUES (%(id)s, %(tenant)s, %(agent)s, %(user)s, %(role)s, %(by)s)
ON CONFLICT (agent_id, user_id) DO UPDATE SET role = excluded.role, granted_by = excluded.granted_by,
  updated_at = now()
RETURNING {SHARE}, xmax = 0 AS new
"""

PUT_OVERRIDE = f"""
INSERT INTO user_agent_overrides (id, tenant_id, agent_id, user_id, provider, model, settings)
VALUES (%(id)s, %(tenant)s, %(agent)s, %(user)s, %(provider)s, %(model)s, %(settings)s)
ON CONFLICT (agent_id, user_id) DO UPDATE SET provider = excluded.provider, model = excluded.model,
  settings = excluded.settings, updated_at = now()
RETURNING {OVERRIDE}
"""

PUT_PERMISSION = f"""
INSERT INTO agent_config_permissions
  (id, tenant_id, agent_id, scope, config_type, user_id, permission, granted_by, metadata)
VALUES (%(id)s, %(tenant)s, %(agent)s, %(scope)s, %(type)s, %(user)s, %(permission)s, %(by)s, %(metadata)s)
ON CONFLICT (agent_id, scope, config_type, user_id) DO UPDATE SET permission = excluded.permission,
  granted_by = excluded.granted_by, metadata = excluded.metadata, updated_at = now()
RETURNING {PERMISSION}
"""

# the nearest scope decides, in one scope a refusal before a grant; nobody said anything: no
MAY_WRITE = """
SELECT permission = 'allow' FROM agent_config_permissions
WHERE tenant_id = %(tenant)s AND agent_id = %(agent)s AND user_id = ANY(%(users)s)
  AND config_type IN ('file_writer', 'context_files', '*') AND scope IN (%(scope)s, 'group:*', '*')
ORDER BY scope = %(scope)s DESC, scope = 'group:*' DESC, permission = 'deny' DESC LIMIT 1
"""


@transaction(readonly=True)
async def shares(db: Connection, *, tenant: str, agent: str) -> list[Share]:
    query = f"SELECT {SHARE} FROM agent_shares WHERE {OF_AGENT} ORDER BY user_id LIMIT {LISTED}"
    return await many(Share, db.execute(query, {"tenant": tenant, "agent": agent}))


@transaction(readonly=True)
async def role(db: Connection, *, tenant: str, agent: str, user: str) -> SharedRole | None:
    """As what an agent is shared with a user."""
    query = f"SELECT role FROM agent_shares WHERE {OF_AGENT} AND user_id = %(user)s"
    found = await maybe(str, db.execute(query, {"tenant": tenant, "agent": agent, "user": user}))
    return found  # type: ignore[return-value]  # the table's own check


@transaction(retry_safe=True, single=True)
async def share(db: Connection, *, tenant: str, agent: str, user: str, role: SharedRole, by: str) -> StoredShare:
    params = {"id": new_id(), "tenant": tenant, "agent": agent, "user": user, "role": role, "by": by}
    return await one(StoredShare, db.execute(PUT_SHARE, params))


@transaction(single=True)
async def unshare(db: Connection, *, tenant: str, agent: str, user: str) -> bool:
    """False if it was not shared with him."""
    query = f"DELETE FROM agent_shares WHERE {OF_AGENT} AND user_id = %(user)s RETURNING id::text"
    return await maybe(str, db.execute(query, {"tenant": tenant, "agent": agent, "user": user})) is not None


@transaction(readonly=True)
async def overrides(db: Connection, *, tenant: str, agent: str) -> list[UserOverride]:
    """What differs for whom, as the engine takes it."""
    query = f"""
    SELECT user_id, coalesce(provider, '') AS provider, coalesce(model, '') AS model,
      (settings->>'temperature')::float AS temperature, (settings->>'max_tokens')::int AS max_tokens,
      coalesce(settings->>'thinking_level', '') AS thinking_level, coalesce(settings->>'language', '') AS language
    FROM user_agent_overrides WHERE {OF_AGENT} ORDER BY user_id LIMIT {OVERRIDES}
    """
    return await many(UserOverride, db.execute(query, {"tenant": tenant, "agent": agent}))


@transaction(readonly=True)
async def override(db: Connection, *, tenant: str, agent: str, user: str) -> Override | None:
    query = f"SELECT {OVERRIDE} FROM user_agent_overrides WHERE {OF_AGENT} AND user_id = %(user)s"
    return await maybe(Override, db.execute(query, {"tenant": tenant, "agent": agent, "user": user}))


@transaction(readonly=True)
async def listed_overrides(db: Connection, *, tenant: str, agent: str) -> list[Override]:
    query = f"SELECT {OVERRIDE} FROM user_agent_overrides WHERE {OF_AGENT} ORDER BY user_id LIMIT {OVERRIDES}"
    return await many(Override, db.execute(query, {"tenant": tenant, "agent": agent}))


@transaction(retry_safe=True)
async def put_override(
    db: Connection,
    *,
    tenant: str,
    agent: str,
    user: str,
    provider: str | None,
    model: str | None,
    settings: dict[str, Any],
) -> Override | None:
    """None if the agent has as many as it may have."""
    named = {"tenant": tenant, "agent": agent, "user": user}
    await db.execute("SELECT FROM agents WHERE tenant_id = %(tenant)s AND id = %(agent)s FOR UPDATE", named)
    others = f"SELECT count(*) FROM user_agent_overrides WHERE {OF_AGENT} AND user_id <> %(user)s"
    if await one(int, db.execute(others, named)) >= OVERRIDES:
        return None
    params = {**named, "id": new_id(), "provider": provider, "model": model, "settings": Json(settings)}
    return await one(Override, db.execute(PUT_OVERRIDE, params))


@transaction(single=True)
async def drop_override(db: Connection, *, tenant: str, agent: str, user: str) -> bool:
    query = f"DELETE FROM user_agent_overrides WHERE {OF_AGENT} AND user_id = %(user)s RETURNING id::text"
    return await maybe(str, db.execute(query, {"tenant": tenant, "agent": agent, "user": user})) is not None


@transaction(readonly=True)
async def permissions(db: Connection, *, tenant: str, agent: str) -> list[Permission]:
    query = f"""
    SELECT {PERMISSION} FROM agent_config_permissions WHERE {OF_AGENT}
    ORDER BY scope, config_type, user_id LIMIT {LISTED}
    """
    return await many(Permission, db.execute(query, {"tenant": tenant, "agent": agent}))


@transaction(retry_safe=True, single=True)
async def permit(
    db: Connection,
    *,
    tenant: str,
    agent: str,
    scope: str,
    type: str,
    user: str,
    permission: str,
    by: str,
    metadata: dict[str, Any],
) -> Permission:
    params: dict[str, Any] = {"id": new_id(), "tenant": tenant, "agent": agent, "scope": scope}
    params |= {"type": type, "user": user}
    params |= {"permission": permission, "by": by, "metadata": Json(metadata)}
    return await one(Permission, db.execute(PUT_PERMISSION, params))


@transaction(single=True)
async def revoke(db: Connection, *, tenant: str, agent: str, scope: str, type: str, user: str) -> bool:
    query = f"""
    DELETE FROM agent_config_permissions
    WHERE {OF_AGENT} AND scope = %(scope)s AND config_type = %(type)s AND user_id = %(user)s RETURNING id::text
    """
    params = {"tenant": tenant, "agent": agent, "scope": scope, "type": type, "user": user}
    return await maybe(str, db.execute(query, params)) is not None


@transaction(readonly=True)
async def may_write(db: Connection, *, tenant: str, agent: str, scope: str, users: list[str]) -> bool:
    """Whether somebody may write an agent's files from a group; whoever is not listed may not."""
    params = {"tenant": tenant, "agent": agent, "scope": scope, "users": users}
    return bool(await maybe(bool, db.execute(MAY_WRITE, params)))
