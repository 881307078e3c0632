"""Who changed what. Table `activity_logs` (migration 0012)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from goclaw.domain.activity import RecordActivity
from goclaw.stores.unit import Connection, Json, many, transaction
from goclaw.stores.values import cut

ENTITY = 255  # characters; `details` has the whole


class Activity(Struct, frozen=True, kw_only=True):
    id: str
    tenant_id: str
    actor_type: str
    actor_id: str
    action: str
    entity_type: str | None
    entity_id: str | None
    details: dict[str, Any]
    ip_address: str | None
    created_at: datetime


ADD = """
INSERT INTO activity_logs (id, tenant_id, actor_type, actor_id, action, entity_type, entity_id, details, ip_address,
  created_at)
SELECT id, tenant_id, actor_type, actor_id, action, entity_type, entity_id, details, ip_address, created_at
FROM jsonb_populate_recordset(NULL::activity_logs, %(rows)s)
ON CONFLICT (id) DO NOTHING
"""

PAGE = """
SELECT id, tenant_id, actor_type, actor_id, action, entity_type, entity_id, details, ip_address, created_at
FROM activity_logs WHERE tenant_id = %(tenant)s ORDER BY created_at DESC, id DESC LIMIT %(limit)s
"""

ABOUT = """
SELECT id, tenant_id, actor_type, actor_id, action, entity_type, entity_id, details, ip_address, created_at
FROM activity_logs WHERE tenant_id = %(tenant)s AND entity_type = %(type)s AND entity_id = %(id)s
ORDER BY created_at DESC, id DESC LIMIT %(limit)s
"""


@transaction(retry_safe=True, single=True)
async def add(db: Connection, done: Sequence[RecordActivity]) -> None:
    """Add some lines; those that are there already stay as they are."""
    rows = [
        {
            "id": one.id,
            "tenant_id": one.tenant_id,
            "actor_type": one.actor_type,
            "actor_id": cut(one.actor_id, ENTITY),
            "action": cut(one.action, 100),
            "entity_type": cut(one.entity_type, 50),
            "entity_id": cut(one.entity_id, ENTITY),
            "details": dict(one.details),
            "ip_address": cut(one.ip_address, 45) or None,
            "created_at": one.at,
        }
        for one in done
    ]
    await db.execute(ADD, {"rows": Json(rows)})


@transaction(readonly=True)
async def page(db: Connection, *, tenant: str, limit: int = 100) -> list[Activity]:
    """Newest first."""
    return await many(Activity, db.execute(PAGE, {"tenant": tenant, "limit": limit}))


@transaction(readonly=True)
async def about(db: Connection, *, tenant: str, entity_type: str, entity_id: str, limit: int = 100) -> list[Activity]:
    """What was done to one thing, newest first."""
    params = {"tenant": tenant, "type": entity_type, "id": entity_id, "limit": limit}
    return await many(Activity, db.execute(ABOUT, params))
