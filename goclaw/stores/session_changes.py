"""Changes of a conversation that are no message: patched, reset, deleted, compacted, truncated.

Tables `sessions`, `session_messages`. Each adds a hidden row, its marker, in the same commit, so that the table is
a journal (data-model.md §8). History is archived, never rewritten.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from goclaw.domain.chat import Raw
from goclaw.domain.ids import new_id
from goclaw.domain.mention import place_of
from goclaw.domain.session import parse_key
from goclaw.stores.routes import forget
from goclaw.stores.session_queue import Stopped, stop
from goclaw.stores.sessions import COLUMNS, ListedSession, MessageRow
from goclaw.stores.unit import Connection, Json, many, maybe, transaction

LIVE = 10_000  # messages of a history that are looked at
NOBODY = -1  # generation of a run whose session was deleted; no session has it


class Known(Struct, frozen=True, kw_only=True):
    """What the actor of a session wants to remember."""

    user_id: str
    model: str | None
    queue_config: dict[str, Any] | None
    slots: int | None  # runs at once; None before the first
    stale_before: datetime | None


class Live(Struct, frozen=True, kw_only=True):
    """A message of the live history, as compaction sees it."""

    seq: int
    role: str
    content: str
    tool_calls: list[dict[str, Any]] | None
    summary: str | None
    generation: int
    compaction_count: int
    compacted: str | None = None  # with the first: what a provider made of what was before, JSON


class Exported(MessageRow, frozen=True, kw_only=True):
    generation: int
    hidden: bool
    archived_at: datetime | None


class Patch(Struct, frozen=True, kw_only=True):
    """UNSET keeps, None clears."""

    label: str | UnsetType | None = UNSET
    model: str | UnsetType | None = UNSET
    metadata: dict[str, Any] | UnsetType | None = UNSET
    queue_mode: str | UnsetType | None = UNSET


KNOWN = """
SELECT s.user_id, s.model, s.queue_config, h.max_concurrent AS slots, s.stale_before
FROM sessions s LEFT JOIN session_heads h USING (tenant_id, session_key)
WHERE s.tenant_id = %(tenant)s AND s.session_key = %(key)s
"""

ROW = f"""
SELECT {COLUMNS}, a.display_name AS agent_name, coalesce(h.running, 0) AS running, coalesce(h.queued, 0) AS queued,
  1 AS total
FROM sessions s
LEFT JOIN session_heads h ON h.tenant_id = s.tenant_id AND h.session_key = s.session_key
LEFT JOIN agents a ON a.id = s.agent_id
WHERE s.tenant_id = %(tenant)s AND s.session_key = %(key)s
"""

MARKER = """
INSERT INTO session_messages (session_id, seq, tenant_id, id, role, payload, generation, hidden)
SELECT changed.id, changed.last_seq, %(tenant)s::uuid, %(id)s::uuid, 'system',
  %(payload)s::jsonb || jsonb_build_object('marker', %(marker)s::text), changed.generation, true
FROM changed
"""  # `changed` is the session whose last_seq was raised for it

PATCHED = MARKER.replace("%(payload)s::jsonb", "%(payload)s::jsonb || jsonb_build_object('was', changed.were)")

PATCH = f"""
WITH old AS (
  SELECT jsonb_build_object('label', label, 'model', model, 'queue', queue_config->'mode') AS were
  FROM sessions WHERE tenant_id = %(tenant)s::uuid AND session_key = %(key)s FOR UPDATE
), changed AS (
  UPDATE sessions SET
    label = CASE WHEN %(names)s::text[] @> '{{label}}' THEN %(label)s::text ELSE label END,
    model = CASE WHEN %(names)s::text[] @> '{{model}}' THEN %(model)s::text ELSE model END,
    metadata = CASE WHEN %(names)s::text[] @> '{{metadata}}' THEN %(metadata)s::jsonb ELSE metadata END,
    queue_config = CASE WHEN %(names)s::text[] @> '{{queue_mode}}' THEN %(queue)s::jsonb ELSE queue_config END,
    last_seq = last_seq + 1, updated_at = now()
  FROM old WHERE tenant_id = %(tenant)s::uuid AND session_key = %(key)s
  RETURNING id, last_seq, generation, (
    SELECT jsonb_object_agg(name, were->name) FROM jsonb_object_keys(%(payload)s::jsonb) AS name
  ) AS were
), marker AS ({PATCHED})
SELECT generation FROM changed
"""  # what was is told too, so that the time before the first patch can be read

RESET = """
WITH changed AS (
  UPDATE sessions SET generation = generation + 1, summary = NULL, compacted = NULL, input_tokens = 0,
    output_tokens = 0, message_count = 0, compaction_count = 0, memory_flush_compaction_count = 0,
    last_prompt_tokens = NULL, last_message_count = NULL, last_seq = last_seq + 1, updated_at = now()
  WHERE tenant_id = %(tenant)s::uuid AND session_key = %(key)s
  RETURNING id, last_seq, generation
), archived AS (
  UPDATE session_messages m SET archived_at = now() FROM changed
  WHERE m.session_id = changed.id AND m.archived_at IS NULL
), marker AS (
  INSERT INTO session_messages (session_id, seq, tenant_id, id, role, payload, generation, hidden)
  SELECT changed.id, changed.last_seq, %(tenant)s::uuid, %(id)s::uuid, 'system',
    jsonb_build_object('marker', 'reset', 'generation', changed.generation), changed.generation, true
  FROM changed
)
SELECT generation FROM changed
"""

DISOWN = """
UPDATE runs SET generation = %(nobody)s, updated_at = now()
WHERE tenant_id = %(tenant)s::uuid AND session_key = %(key)s AND state IN ('CLAIMED', 'RUNNING')
"""

HISTORY = """
SELECT m.seq, m.role, m.content, m.payload->'tool_calls' AS tool_calls, s.summary, s.generation, s.compaction_count,
  CASE WHEN m.seq = min(m.seq) OVER () THEN s.compacted::text END AS compacted
FROM sessions s JOIN session_messages m ON m.session_id = s.id AND m.generation = s.generation
WHERE s.tenant_id = %(tenant)s AND s.session_key = %(key)s AND m.archived_at IS NULL AND NOT m.hidden
ORDER BY m.seq LIMIT %(limit)s
"""

LOCK = "SELECT 1 FROM sessions WHERE tenant_id = %(tenant)s::uuid AND session_key = %(key)s FOR UPDATE"

ARCHIVE = f"""
WITH changed AS (
  UPDATE sessions s SET summary = coalesce(%(summary)s::text, s.summary),
    compacted = CASE WHEN %(summary)s::text IS NULL THEN s.compacted ELSE %(raw)s::jsonb END,
    message_count = s.message_count - covered.n,
    compaction_count = s.compaction_count + %(compactions)s::int, last_seq = s.last_seq + 1, updated_at = now()
  FROM (SELECT count(*)::int AS n FROM sessions o JOIN session_messages m ON m.session_id = o.id
      AND m.generation = o.generation
    WHERE o.tenant_id = %(tenant)s::uuid AND o.session_key = %(key)s AND m.archived_at IS NULL AND NOT m.hidden
      AND m.seq BETWEEN %(first)s AND %(last)s) AS covered
  WHERE s.tenant_id = %(tenant)s::uuid AND s.session_key = %(key)s AND s.generation = %(generation)s
    AND s.compaction_count = %(compacted)s AND covered.n = %(count)s
  RETURNING s.id, s.last_seq, s.generation
), archived AS (
  UPDATE session_messages m SET archived_at = now() FROM changed
  WHERE m.session_id = changed.id AND m.generation = changed.generation AND m.archived_at IS NULL AND NOT m.hidden
    AND m.seq BETWEEN %(first)s AND %(last)s
), marker AS ({MARKER})
SELECT generation FROM changed
"""

EXPORT = """
SELECT m.id, m.seq, m.role, m.content, m.payload, m.run_id, m.created_at, m.generation, m.hidden, m.archived_at
FROM sessions s JOIN session_messages m ON m.session_id = s.id
WHERE s.tenant_id = %(tenant)s AND s.session_key = %(key)s AND m.seq > %(after)s
ORDER BY m.seq LIMIT %(limit)s
"""


@transaction(readonly=True)
async def known(db: Connection, *, tenant: str, key: str) -> Known | None:
    return await maybe(Known, db.execute(KNOWN, {"tenant": tenant, "key": key}))


@transaction(readonly=True)
async def row(db: Connection, *, tenant: str, key: str) -> ListedSession | None:
    """One session as lists show it."""
    return await maybe(ListedSession, db.execute(ROW, {"tenant": tenant, "key": key}))


@transaction(readonly=True)
async def live(db: Connection, *, tenant: str, key: str) -> list[Live]:
    """The live history, oldest first."""
    return await many(Live, db.execute(HISTORY, {"tenant": tenant, "key": key, "limit": LIVE}))


@transaction(readonly=True)
async def export(db: Connection, *, tenant: str, key: str, after: int, limit: int) -> list[Exported]:
    """Every row of the journal behind `after`: archived ones and markers too."""
    return await many(Exported, db.execute(EXPORT, {"tenant": tenant, "key": key, "after": after, "limit": limit}))


@transaction(single=True)
async def patch(db: Connection, *, tenant: str, key: str, change: Patch) -> bool:
    """False if there is no such session."""
    given = {name: value for name in change.__struct_fields__ if (value := getattr(change, name)) is not UNSET}
    told = {"queue" if name == "queue_mode" else name: value for name, value in given.items() if name != "metadata"}
    mode = given.get("queue_mode")
    params = {
        "tenant": tenant,
        "key": key,
        "id": new_id(),
        "marker": "patched",
        "payload": Json(told),
        "names": list(given),
        "label": given.get("label"),
        "model": given.get("model"),
        "metadata": Json(given.get("metadata") or {}),
        "queue": Json({"mode": mode}) if mode else None,
    }
    return await maybe(int, db.execute(PATCH, params)) is not None


@transaction
async def reset(db: Connection, *, tenant: str, key: str, by: str, cutoff: datetime) -> Stopped | None:
    """Archive the history, end what works and waits, begin a new generation. None if there is no such session."""
    stopped = await stop(
        db, tenant=tenant, key=key, by=by, reason="reset", code="LANE_CLEARED", drain=True, cutoff=cutoff
    )
    params = {"tenant": tenant, "key": key, "id": new_id()}
    return stopped if await maybe(int, db.execute(RESET, params)) is not None else None


@transaction
async def delete(db: Connection, *, tenant: str, key: str, by: str) -> Stopped | None:
    """End what works and waits, and forget the session with all it ever held. None if there is none.

    Its head stays: the order of its events goes on if somebody uses the key again.
    """
    here = {"tenant": tenant, "key": key}
    stopped = await stop(db, tenant=tenant, key=key, by=by, reason="deleted", code="LANE_CLEARED", drain=True)
    await db.execute(DISOWN, {**here, "nobody": NOBODY})
    name = parse_key(key)
    await forget(db, tenant=tenant, key=key, place=place_of(name), everybody=name.group)
    query = "DELETE FROM sessions WHERE tenant_id = %(tenant)s AND session_key = %(key)s RETURNING generation"
    return stopped if await maybe(int, db.execute(query, here)) is not None else None


@transaction
async def archive(
    db: Connection,
    *,
    tenant: str,
    key: str,
    covered: Sequence[Live],
    summary: str | None = None,
    compacted: Raw | None = None,
    mode: str = "",
) -> bool:
    """Archive the head of a history; `summary` stands for it from now on, without one it is just gone.

    `compacted` is what a provider made of it, for its own models; `mode` how that came about.

    False if the history is not the one it was: reset, compacted or truncated meanwhile.
    """
    first, last = covered[0], covered[-1]
    payload: dict[str, Any] = {"covered": [first.seq, last.seq]}
    if summary is not None:
        payload |= {"summary": summary, "count": len(covered), **({"mode": mode} if mode else {})}
    params = {
        "tenant": tenant,
        "key": key,
        "id": new_id(),
        "marker": "truncated" if summary is None else "compacted",
        "payload": Json(payload),
        "summary": summary,
        "raw": None if compacted is None else Json(compacted),
        "compactions": 0 if summary is None else 1,
        "compacted": first.compaction_count,
        "generation": first.generation,
        "first": first.seq,
        "last": last.seq,
        "count": len(covered),
    }
    await db.execute(LOCK, params)  # what is checked is true until we are done
    return await maybe(int, db.execute(ARCHIVE, params)) is not None


@transaction(readonly=True)
async def summary(db: Connection, *, tenant: str, key: str) -> str:
    query = "SELECT coalesce(summary, '') FROM sessions WHERE tenant_id = %(tenant)s AND session_key = %(key)s"
    return await maybe(str, db.execute(query, {"tenant": tenant, "key": key})) or ""
