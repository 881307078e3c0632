"""Which built-in tools are in use, and how they are set. Tables `builtin_tools`, `builtin_tool_tenant_configs` (0032).

The code says which there are; rows keep what people say of them. Contract: data-model.md §11, tools.md §3.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Raw, Struct, field

from goclaw.stores.unit import Connection, Json, many, maybe, transaction

ROWS = 1000  # more than there are tools


class BuiltIn(Struct, frozen=True, kw_only=True):
    """A tool as the code has it."""

    name: str
    display_name: str
    description: str
    category: str
    requires: tuple[str, ...]
    position: int


class BuiltInRow(Struct, frozen=True, kw_only=True):
    """What is said of a tool, for everybody and for one tenant. None: the tenant says nothing."""

    name: str
    enabled: bool
    stored: str = field(name="settings")  # JSON
    tenant_enabled: bool | None = None
    tenant_stored: str | None = field(name="tenant_settings", default=None)
    created_at: datetime
    updated_at: datetime

    @property
    def on(self) -> bool:
        return self.enabled if self.tenant_enabled is None else self.tenant_enabled

    @property
    def settings(self) -> Raw:
        """Those that hold: the tenant's or everybody's, never a mixture."""
        return Raw((self.stored if self.tenant_stored is None else self.tenant_stored).encode())


FILL = """
INSERT INTO builtin_tools (name, display_name, description, category, requires, position)
SELECT name, display_name, description, category, requires, position
FROM jsonb_to_recordset(%(tools)s::jsonb)
  AS made (name text, display_name text, description text, category text, requires text[], position int)
ON CONFLICT (name) DO UPDATE SET display_name = excluded.display_name, description = excluded.description,
  category = excluded.category, requires = excluded.requires, position = excluded.position, updated_at = now()
WHERE (builtin_tools.display_name, builtin_tools.description, builtin_tools.category, builtin_tools.requires,
  builtin_tools.position) IS DISTINCT FROM (excluded.display_name, excluded.description, excluded.category,
  excluded.requires, excluded.position)
"""

COLUMNS = """
b.name, b.enabled, b.settings::text AS settings, t.enabled AS tenant_enabled, t.settings::text AS tenant_settings,
b.created_at, greatest(b.updated_at, t.updated_at) AS updated_at
FROM builtin_tools b LEFT JOIN builtin_tool_tenant_configs t ON t.tool_name = b.name AND t.tenant_id = %(tenant)s
"""

PAGE = f"SELECT {COLUMNS} ORDER BY b.name LIMIT {ROWS}"
FIND = f"SELECT {COLUMNS} WHERE b.name = %(name)s"

CHANGE = """
UPDATE builtin_tools SET enabled = coalesce(%(enabled)s, enabled), settings = coalesce(%(settings)s::jsonb, settings),
  updated_at = now()
WHERE name = %(name)s
"""

SET_TENANT = """
INSERT INTO builtin_tool_tenant_configs AS kept (tenant_id, tool_name, enabled, settings)
VALUES (%(tenant)s, %(name)s, %(enabled)s, %(settings)s::jsonb)
ON CONFLICT (tenant_id, tool_name) DO UPDATE SET enabled = coalesce(excluded.enabled, kept.enabled),
  settings = coalesce(excluded.settings, kept.settings), updated_at = now()
"""

CLEAR_TENANT = "DELETE FROM builtin_tool_tenant_configs WHERE tenant_id = %(tenant)s AND tool_name = %(name)s"


@transaction(retry_safe=True, single=True)
async def fill(db: Connection, *, tools: Sequence[BuiltIn]) -> None:
    """What the code says of its tools. What people said of them stays."""
    await db.execute(FILL, {"tools": Json(list(tools))})


@transaction(readonly=True)
async def page(db: Connection, *, tenant: str) -> list[BuiltInRow]:
    """All that ever were, by name."""
    return await many(BuiltInRow, db.execute(PAGE, {"tenant": tenant}))


@transaction(readonly=True)
async def find(db: Connection, *, tenant: str, name: str) -> BuiltInRow | None:
    return await maybe(BuiltInRow, db.execute(FIND, {"tenant": tenant, "name": name}))


@transaction(retry_safe=True, single=True)
async def change(db: Connection, *, name: str, enabled: bool | None, settings: dict[str, Any] | None) -> None:
    """For everybody. None leaves it as it is."""
    await db.execute(CHANGE, {"name": name, "enabled": enabled, "settings": settings})


@transaction(retry_safe=True, single=True)
async def set_tenant(
    db: Connection, *, tenant: str, name: str, enabled: bool | None, settings: dict[str, Any] | None
) -> None:
    """For one tenant. None leaves it as it is."""
    await db.execute(SET_TENANT, {"tenant": tenant, "name": name, "enabled": enabled, "settings": settings})


@transaction(retry_safe=True, single=True)
async def clear_tenant(db: Connection, *, tenant: str, name: str) -> None:
    """As for everybody again."""
    await db.execute(CLEAR_TENANT, {"tenant": tenant, "name": name})
