"""Background processes, as far as they are remembered after their gateway.

Table `background_processes` (migration 0030). One writer: the actor that starts them.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from goclaw.domain.process import Owner
from goclaw.stores.unit import Connection, many, one, transaction


class Lost(Struct, frozen=True, kw_only=True):
    number: int
    command: str
    started_at: datetime
    ended_at: datetime
    bytes: int


ADD = """
INSERT INTO background_processes (tenant_id, node_name, agent_id, user_id, session_key, command)
VALUES (%(tenant)s, %(node)s, %(agent)s, %(user)s, %(session)s, %(command)s) RETURNING number
"""

END = """
UPDATE background_processes SET ended_at = now(), exit_code = %(code)s, bytes = %(bytes)s
WHERE number = %(number)s AND ended_at IS NULL
"""

LOSE = "UPDATE background_processes SET ended_at = now(), lost = true WHERE node_name = %(node)s AND ended_at IS NULL"

FORGET = """
DELETE FROM background_processes
WHERE number IN (
  SELECT number FROM background_processes WHERE ended_at < now() - make_interval(secs => %(kept)s) LIMIT 1000)
"""

LOST = """
SELECT number, command, started_at, ended_at, bytes FROM background_processes
WHERE lost AND tenant_id = %(tenant)s AND session_key = %(session)s AND agent_id IS NOT DISTINCT FROM %(agent)s::uuid
  AND user_id = %(user)s AND ended_at > now() - make_interval(secs => %(kept)s)
ORDER BY number DESC LIMIT 100
"""


@transaction(single=True)
async def add(db: Connection, owner: Owner, *, node: str, command: str) -> int:
    """Its number, which no other process of any gateway has."""
    row = {"node": node, "command": command, **_whose(owner)}
    return await one(int, db.execute(ADD, row))


@transaction(retry_safe=True, single=True)
async def end(db: Connection, *, number: int, code: int | None, bytes: int) -> None:
    await db.execute(END, {"number": number, "code": code, "bytes": bytes})


@transaction(retry_safe=True)
async def lose(db: Connection, *, node: str, kept: float) -> None:
    """What a former life of this gateway left running is gone. What ended long ago is forgotten."""
    await db.execute(LOSE, {"node": node})
    await db.execute(FORGET, {"kept": kept})


@transaction(readonly=True)
async def lost(db: Connection, owner: Owner, *, kept: float) -> list[Lost]:
    """Newest first."""
    return await many(Lost, db.execute(LOST, {"kept": kept, **_whose(owner)}))


def _whose(owner: Owner) -> dict[str, str | None]:
    return {
        "tenant": owner.tenant_id,
        "session": owner.session_key,
        "agent": owner.agent_id or None,
        "user": owner.user_id,
    }
