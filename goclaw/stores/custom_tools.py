"""Tools that operators made of commands. Table `custom_tools` (migration 0032). Secrets are sealed before they come."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from msgspec import Raw, Struct, field

from goclaw.stores.unit import Connection, many, maybe, one, transaction

ROWS = 1000  # of a tenant
ENV_COLUMN = "custom_tools.env"


class CustomTool(Struct, frozen=True, kw_only=True):
    """`env` is sealed. Without `agent_id` every agent of the tenant has it."""

    id: str
    tenant_id: str
    name: str
    description: str
    shape: str = field(name="parameters")  # JSON
    command: str
    working_dir: str | None
    timeout_seconds: int
    env: bytes | None
    env_keys: tuple[str, ...]
    agent_id: str | None
    enabled: bool
    effect_class: str
    acknowledged_groups: tuple[str, ...]
    created_by: str | None
    created_at: datetime
    updated_at: datetime

    @property
    def parameters(self) -> Raw:
        return Raw(self.shape.encode())


COLUMNS = (
    "id, tenant_id, name, description, parameters::text AS parameters, command, working_dir, timeout_seconds, env, "
    "env_keys, agent_id, enabled, effect_class, acknowledged_groups, created_by, created_at, updated_at"
)

CHOSEN = r"""
FROM custom_tools
WHERE tenant_id = %(tenant)s AND (enabled OR %(all)s) AND (%(agent)s::uuid IS NULL OR agent_id = %(agent)s::uuid)
  AND (%(search)s = '' OR name ILIKE %(like)s OR description ILIKE %(like)s)
"""

PAGE = f"SELECT {COLUMNS} {CHOSEN} ORDER BY name, agent_id NULLS FIRST, id LIMIT %(limit)s OFFSET %(offset)s"
COUNT = f"SELECT count(*)::int {CHOSEN}"
FIND = f"SELECT {COLUMNS} FROM custom_tools WHERE tenant_id = %(tenant)s AND id::text = %(id)s"
IN_USE = f"""
SELECT {COLUMNS} FROM custom_tools WHERE tenant_id = %(tenant)s AND enabled
ORDER BY name, agent_id NULLS FIRST LIMIT {ROWS}
"""

ADD = f"""
INSERT INTO custom_tools (id, tenant_id, name, description, parameters, command, working_dir, timeout_seconds,
  agent_id, enabled, effect_class, acknowledged_groups, created_by)
SELECT %(id)s::uuid, %(tenant)s::uuid, %(name)s, %(description)s, %(parameters)s::jsonb, %(command)s, %(working_dir)s,
  %(timeout_seconds)s, %(agent_id)s::uuid, %(enabled)s, %(effect_class)s, %(acknowledged_groups)s, %(created_by)s
WHERE (SELECT count(*) FROM custom_tools WHERE tenant_id = %(tenant)s::uuid) < {ROWS}
ON CONFLICT DO NOTHING
RETURNING {COLUMNS}
"""

TAKEN = """
SELECT count(*) > 0 FROM custom_tools
WHERE tenant_id = %(tenant)s AND name = %(name)s AND agent_id IS NOT DISTINCT FROM %(agent_id)s::uuid
  AND id <> %(id)s::uuid
"""

CHANGE = f"""
UPDATE custom_tools SET name = %(name)s, description = %(description)s, parameters = %(parameters)s::jsonb,
  command = %(command)s, working_dir = %(working_dir)s, timeout_seconds = %(timeout_seconds)s, env = %(env)s,
  env_keys = %(env_keys)s, agent_id = %(agent_id)s::uuid, enabled = %(enabled)s, effect_class = %(effect_class)s,
  acknowledged_groups = %(acknowledged_groups)s, updated_at = now()
WHERE tenant_id = %(tenant)s AND id = %(id)s::uuid AND updated_at = %(seen)s
RETURNING {COLUMNS}
"""

REMOVE = "DELETE FROM custom_tools WHERE tenant_id = %(tenant)s AND id::text = %(id)s RETURNING id"


class Page(Struct, frozen=True):
    tools: list[CustomTool]
    total: int


@transaction(readonly=True)
async def page(
    db: Connection, *, tenant: str, all: bool, agent: str | None, search: str, limit: int, offset: int
) -> Page:
    """By name. `all`: also those that are turned off; `search`: part of a name or description, as it is."""
    literal = search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    values = {"tenant": tenant, "all": all, "agent": agent, "search": search, "like": f"%{literal}%"}
    found = await many(CustomTool, db.execute(PAGE, {**values, "limit": limit, "offset": offset}))
    return Page(found, await one(int, db.execute(COUNT, values)))


@transaction(readonly=True)
async def find(db: Connection, *, tenant: str, id: str) -> CustomTool | None:
    return await maybe(CustomTool, db.execute(FIND, {"tenant": tenant, "id": id}))


@transaction(readonly=True)
async def in_use(db: Connection, *, tenant: str) -> list[CustomTool]:
    """Those that are turned on; of one name that of all agents comes first."""
    return await many(CustomTool, db.execute(IN_USE, {"tenant": tenant}))


@transaction
async def add(db: Connection, /, **tool: Any) -> CustomTool | Literal["exists", "full"]:
    """A new tool. "exists": the name is taken; "full": the tenant has as many as it may."""
    made = await maybe(CustomTool, db.execute(ADD, tool))
    if made is not None:
        return made
    return "exists" if await one(bool, db.execute(TAKEN, tool)) else "full"


@transaction
async def change(
    db: Connection, /, *, tenant: str, id: str, seen: datetime, **tool: Any
) -> CustomTool | Literal["exists"] | None:
    """The tool with these values, if nobody changed it since `seen`, its `updated_at`; else None."""
    values = {**tool, "tenant": tenant, "id": id, "seen": seen}
    if await one(bool, db.execute(TAKEN, values)):
        return "exists"
    return await maybe(CustomTool, db.execute(CHANGE, values))


@transaction(retry_safe=True, single=True)
async def remove(db: Connection, *, tenant: str, id: str) -> bool:
    """False if there is none."""
    return await maybe(str, db.execute(REMOVE, {"tenant": tenant, "id": id})) is not None
