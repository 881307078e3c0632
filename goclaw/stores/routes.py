"""Which agent somebody has chosen in a chat. Table `sticky_routes` (migration 0033).

The user is part of the key in direct chats, too: nobody turns the chat of somebody else to another agent.
"""

from __future__ import annotations

from goclaw.domain.ids import new_id
from goclaw.domain.mention import Place
from goclaw.stores.unit import Connection, maybe, transaction

HERE = "tenant_id = %(tenant)s AND channel_instance = %(instance)s AND chat_id = %(chat)s"

PUT = """
INSERT INTO sticky_routes (id, tenant_id, channel_instance, chat_id, user_id, agent_key)
VALUES (%(id)s, %(tenant)s, %(instance)s, %(chat)s, %(user)s, %(agent)s)
ON CONFLICT (tenant_id, channel_instance, chat_id, user_id) DO UPDATE SET agent_key = excluded.agent_key,
  updated_at = now()
"""

# with the session, what was chosen in it; in a group by everybody
FORGET = f"""
DELETE FROM sticky_routes WHERE {HERE} AND (%(everybody)s OR user_id IN (
  SELECT user_id FROM sessions WHERE tenant_id = %(tenant)s AND session_key = %(key)s))
"""


@transaction(readonly=True)
async def sticky(db: Connection, *, tenant: str, place: Place, user: str) -> str | None:
    """The agent's key."""
    query = f"SELECT agent_key FROM sticky_routes WHERE {HERE} AND user_id = %(user)s"
    return await maybe(str, db.execute(query, _here(tenant, place) | {"user": user}))


@transaction(retry_safe=True, single=True)
async def stick(db: Connection, *, tenant: str, place: Place, user: str, agent: str) -> None:
    await db.execute(PUT, _here(tenant, place) | {"id": new_id(), "user": user, "agent": agent})


@transaction(retry_safe=True, single=True)
async def unstick(db: Connection, *, tenant: str, place: Place, user: str) -> None:
    """Nothing chosen is fine."""
    query = f"DELETE FROM sticky_routes WHERE {HERE} AND user_id = %(user)s"
    await db.execute(query, _here(tenant, place) | {"user": user})


async def forget(db: Connection, *, tenant: str, key: str, place: Place, everybody: bool) -> None:
    """Part of deleting a session, before its row goes."""
    await db.execute(FORGET, _here(tenant, place) | {"key": key, "everybody": everybody})


def _here(tenant: str, place: Place) -> dict[str, object]:
    return {"tenant": tenant, "instance": place.instance, "chat": place.chat_id}
