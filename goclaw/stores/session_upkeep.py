"""What becomes of a conversation by itself: named, its notes taken, looked at when the gateway starts.

Table `sessions`. Contract: agent-loop.md R3.4, §13.3; nodes-autonomy.md §8.
"""

from __future__ import annotations

from msgspec import Struct

from goclaw.domain.ids import new_id
from goclaw.stores.session_changes import MARKER
from goclaw.stores.unit import Connection, Json, many, maybe, transaction

DAYS = 30  # since anything was said
MOST = 500  # sessions; nodes-autonomy.md §8 with the one above


class Cycle(Struct, frozen=True, kw_only=True):
    """Of a session. A cycle ends with its compaction, and has its notes taken once."""

    generation: int
    compactions: int
    noted: bool


class Opening(Struct, frozen=True, kw_only=True):
    """The first exchange, as long as it is all there is."""

    asked: str
    answered: str
    label: str


class Long(Struct, frozen=True, kw_only=True):
    tenant_id: str
    session_key: str


CYCLE = """
SELECT generation, compaction_count AS compactions, memory_flush_compaction_count > compaction_count AS noted
FROM sessions WHERE tenant_id = %(tenant)s AND session_key = %(key)s
"""

NOTED = """
UPDATE sessions SET memory_flush_compaction_count = compaction_count + 1
WHERE tenant_id = %(tenant)s AND session_key = %(key)s AND generation = %(generation)s
  AND compaction_count = %(compactions)s
"""

OPENING = """
SELECT coalesce(s.label, '') AS label, min(m.content) FILTER (WHERE m.role = 'user') AS asked,
  (array_agg(m.content ORDER BY m.seq DESC) FILTER (WHERE m.role = 'assistant'))[1] AS answered
FROM sessions s JOIN session_messages m ON m.session_id = s.id AND m.generation = s.generation
WHERE s.tenant_id = %(tenant)s AND s.session_key = %(key)s AND NOT m.hidden
GROUP BY s.id HAVING count(*) FILTER (WHERE m.role = 'user') = 1 AND count(*) FILTER (WHERE m.role = 'assistant') > 0
"""

NAME = f"""
WITH changed AS (
  UPDATE sessions SET label = %(label)s::text, last_seq = last_seq + 1, updated_at = now()
  WHERE tenant_id = %(tenant)s::uuid AND session_key = %(key)s AND coalesce(label, '') = %(was)s::text
  RETURNING id, last_seq, generation
), marker AS ({MARKER})
SELECT generation FROM changed
"""

LONG = """
SELECT tenant_id, session_key FROM sessions
WHERE last_active_at > now() - make_interval(days => %(days)s) AND archived_at IS NULL AND message_count >= %(least)s
ORDER BY last_active_at DESC LIMIT %(most)s
"""


@transaction(readonly=True)
async def cycle(db: Connection, *, tenant: str, key: str) -> Cycle | None:
    return await maybe(Cycle, db.execute(CYCLE, {"tenant": tenant, "key": key}))


@transaction(single=True)
async def noted(db: Connection, *, tenant: str, key: str, of: Cycle) -> None:
    """The notes of this cycle are taken."""
    params = {"tenant": tenant, "key": key, "generation": of.generation, "compactions": of.compactions}
    await db.execute(NOTED, params)


@transaction(readonly=True)
async def opening(db: Connection, *, tenant: str, key: str) -> Opening | None:
    """None if nothing was answered yet, or more was said."""
    return await maybe(Opening, db.execute(OPENING, {"tenant": tenant, "key": key}))


@transaction(single=True)
async def name(db: Connection, *, tenant: str, key: str, was: str, label: str) -> bool:
    """Give it a label, unless somebody else did since it was `was`."""
    params = {
        "tenant": tenant,
        "key": key,
        "id": new_id(),
        "marker": "patched",
        "payload": Json({"label": label, "was": {"label": was}}),
        "label": label,
        "was": was,
    }
    return await maybe(int, db.execute(NAME, params)) is not None


@transaction(readonly=True)
async def long(db: Connection, *, least: int) -> list[Long]:
    """Sessions of at least so many messages that are not forgotten, the latest first."""
    return await many(Long, db.execute(LONG, {"days": DAYS, "least": least, "most": MOST}))
