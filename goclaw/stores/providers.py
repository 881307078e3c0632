"""Vendors that operators added. Table `llm_providers` (migration 0024). Keys are sealed before they come here."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

from goclaw.stores.unit import Connection, many, maybe, one, transaction

ROWS = 200  # of a tenant
SHOWN = 20  # agents that stand in the way of a deletion
KEY_COLUMN = "llm_providers.api_key"


class ProviderRow(Struct, frozen=True, kw_only=True):
    id: str
    tenant_id: str
    name: str
    display_name: str | None
    provider_type: str
    api_base: str | None
    api_key: str | None  # sealed
    enabled: bool
    settings: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class Written(Struct, frozen=True):
    """Which provider, and which version of it."""

    id: str
    tenant_id: str
    name: str
    provider_type: str
    updated_at: datetime


class Used(Struct, frozen=True):
    """A provider cannot go: agents name it."""

    agents: list[str]


COLUMNS = (
    "id, tenant_id, name, display_name, provider_type, api_base, api_key, enabled, settings, created_at, updated_at"
)

PAGE = f"SELECT {COLUMNS} FROM llm_providers WHERE tenant_id = %(tenant)s ORDER BY created_at, id LIMIT {ROWS}"

WRITTEN = "SELECT id, tenant_id, name, provider_type, updated_at FROM llm_providers ORDER BY id LIMIT 10000"

FIND = f"""
SELECT {COLUMNS} FROM llm_providers
WHERE tenant_id = %(tenant)s AND (id::text = %(name)s OR name = %(name)s)
ORDER BY name = %(name)s LIMIT 1
"""

ADD = f"""
INSERT INTO llm_providers (id, tenant_id, name, display_name, provider_type, api_base, api_key, enabled, settings)
SELECT %(id)s::uuid, %(tenant)s::uuid, %(name)s, %(display_name)s, %(provider_type)s, %(api_base)s, %(api_key)s,
  %(enabled)s, %(settings)s::jsonb
WHERE (SELECT count(*) FROM llm_providers WHERE tenant_id = %(tenant)s::uuid) < {ROWS}
ON CONFLICT (tenant_id, name) DO NOTHING
RETURNING {COLUMNS}
"""

TAKEN = """
SELECT count(*) > 0 FROM llm_providers WHERE tenant_id = %(tenant)s AND name = %(name)s AND id <> %(id)s::uuid
"""

CHANGE = f"""
UPDATE llm_providers SET name = %(name)s, display_name = %(display_name)s, api_base = %(api_base)s,
  api_key = %(api_key)s, enabled = %(enabled)s, settings = %(settings)s::jsonb, updated_at = now()
WHERE tenant_id = %(tenant)s AND id = %(id)s::uuid AND updated_at = %(seen)s
RETURNING {COLUMNS}
"""

USERS = f"""
SELECT agent_key FROM agents
WHERE tenant_id = %(tenant)s AND provider = %(name)s AND deleted_at IS NULL ORDER BY agent_key LIMIT {SHOWN}
"""

COUNTS = """
SELECT provider AS name, count(*)::int AS agents FROM agents
WHERE tenant_id = %(tenant)s AND deleted_at IS NULL AND provider <> '' GROUP BY provider
"""

REMOVE = "DELETE FROM llm_providers WHERE tenant_id = %(tenant)s AND id = %(id)s::uuid"


@transaction(readonly=True)
async def page(db: Connection, *, tenant: str) -> list[ProviderRow]:
    """All of a tenant, the oldest first."""
    return await many(ProviderRow, db.execute(PAGE, {"tenant": tenant}))


@transaction(readonly=True)
async def written(db: Connection) -> list[Written]:
    """Those of all tenants."""
    return await many(Written, db.execute(WRITTEN))


@transaction(readonly=True)
async def find(db: Connection, *, tenant: str, name: str) -> ProviderRow | None:
    """The provider with this id or name."""
    return await maybe(ProviderRow, db.execute(FIND, {"tenant": tenant, "name": name}))


@transaction
async def add(db: Connection, /, **provider: Any) -> ProviderRow | Literal["exists", "full"]:
    """A new provider. "exists": the name is taken; "full": the tenant has as many as it may."""
    made = await maybe(ProviderRow, db.execute(ADD, provider))
    if made is not None:
        return made
    return "exists" if await one(bool, db.execute(TAKEN, provider)) else "full"


@transaction
async def change(
    db: Connection, /, *, tenant: str, id: str, seen: datetime, **provider: Any
) -> ProviderRow | Literal["exists"] | None:
    """The provider with these values, if nobody changed it since `seen`, its `updated_at`; else None."""
    values = {**provider, "tenant": tenant, "id": id, "seen": seen}
    if await one(bool, db.execute(TAKEN, values)):
        return "exists"
    return await maybe(ProviderRow, db.execute(CHANGE, values))


@transaction
async def remove(db: Connection, *, tenant: str, id: str, name: str, force: bool) -> Used | None:
    """Gone, with its models and tokens, unless agents use it and it is not forced."""
    users = [] if force else await many(str, db.execute(USERS, {"tenant": tenant, "name": name}))
    if users:
        return Used(users)
    await db.execute(REMOVE, {"tenant": tenant, "id": id})
    return None


@transaction(readonly=True)
async def agents_using(db: Connection, *, tenant: str) -> dict[str, int]:
    """How many agents name each provider."""
    return {row.name: row.agents for row in await many(_Count, db.execute(COUNTS, {"tenant": tenant}))}


class _Count(Struct, frozen=True):
    name: str
    agents: int
