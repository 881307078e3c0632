"""Tenants. Table `tenants` (migration 0001)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from goclaw.stores.unit import Connection, many, maybe, one, transaction

MASTER = "0193a5b0-7000-7000-8000-000000000001"  # data-model.md §2 T1

Status = Literal["active", "suspended", "deleting"]


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    slug: str
    name: str
    status: Status
    settings: dict[str, Any]
    created_at: datetime
    updated_at: datetime


COLUMNS = "id, slug, name, status, settings, created_at, updated_at"

ADD = f"""
INSERT INTO tenants (id, slug, name) VALUES (%(id)s, %(slug)s, %(name)s)
RETURNING {COLUMNS}
"""

GET = f"SELECT {COLUMNS} FROM tenants WHERE id = %(id)s"
PAGE = f"SELECT {COLUMNS} FROM tenants WHERE slug > %(after)s ORDER BY slug LIMIT %(limit)s"


@transaction
async def add(db: Connection, *, id: str, slug: str, name: str) -> Tenant:
    return await one(Tenant, db.execute(ADD, {"id": id, "slug": slug, "name": name}))


@transaction(readonly=True)
async def get(db: Connection, id: str) -> Tenant | None:
    return await maybe(Tenant, db.execute(GET, {"id": id}))


@transaction(readonly=True)
async def page(db: Connection, *, after: str = "", limit: int = 100) -> list[Tenant]:
    """By slug, those behind `after`."""
    return await many(Tenant, db.execute(PAGE, {"after": after, "limit": limit}))
