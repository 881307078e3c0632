"""Conversations and their messages. Tables `sessions`, `session_messages` (migration 0005).

History is append-only rows with a gapless `seq` per session; a turn's messages are added together
(data-model.md §8).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from goclaw.domain.chat import Usage
from goclaw.domain.hint_texts import hint
from goclaw.stores.unit import Connection, Json, many, maybe, one, transaction

MessageRole = Literal["user", "assistant", "tool", "system"]


class SessionRow(Struct, frozen=True, kw_only=True):
    id: str
    session_key: str
    agent_id: str | None
    agent_key: str
    user_id: str
    channel: str | None
    label: str | None
    summary: str | None
    model: str | None
    provider: str | None
    message_count: int
    input_tokens: int
    output_tokens: int
    compaction_count: int
    context_window: int | None
    metadata: dict[str, Any]
    spawned_by: str | None
    spawn_depth: int
    created_at: datetime
    updated_at: datetime


class ListedSession(SessionRow, frozen=True, kw_only=True):
    """With what its actor would answer, read from the queue's own counters."""

    agent_name: str | None
    running: int
    queued: int
    total: int  # sessions that match, beyond this page


class Wanted(Struct, frozen=True, kw_only=True):
    """Which sessions to list; None means any."""

    tenant: str
    user: str | None = None
    agent: str | None = None
    channel: str | None = None
    search: str | None = None

    def params(self) -> dict[str, Any]:
        return {**asdict(self), "search": None if self.search is None else _contains(self.search)}


class MessageRow(Struct, frozen=True, kw_only=True):
    """`payload` by role: data-model.md §8."""

    id: str
    seq: int
    role: MessageRole
    content: str
    payload: dict[str, Any]
    run_id: str | None
    created_at: datetime


class NewMessage(Struct, frozen=True, kw_only=True):
    id: str
    role: MessageRole
    content: str
    payload: dict[str, Any] = {}
    token_estimate: int = 0


COLUMNS = """s.id, s.session_key, s.agent_id, s.agent_key, s.user_id, s.channel, s.label, s.summary, s.model,
s.provider, s.message_count, s.input_tokens, s.output_tokens, s.compaction_count, s.context_window, s.metadata,
s.spawned_by, s.spawn_depth, s.created_at, s.updated_at"""

FIND = f"SELECT {COLUMNS} FROM sessions s WHERE tenant_id = %(tenant)s AND session_key = %(key)s"

MATCHING = """s.tenant_id = %(tenant)s AND s.archived_at IS NULL AND s.session_key !~ '^agent:[^:]+:replay:'
  AND (%(user)s::text IS NULL OR s.user_id = %(user)s)
  AND (%(agent)s::text IS NULL OR s.agent_key = %(agent)s)
  AND (%(channel)s::text IS NULL OR s.channel = %(channel)s)
  AND (%(search)s::text IS NULL OR s.label ILIKE %(search)s OR s.session_key ILIKE %(search)s)"""

PAGE = f"""
SELECT {COLUMNS}, a.display_name AS agent_name, coalesce(h.running, 0) AS running, coalesce(h.queued, 0) AS queued,
  count(*) OVER () AS total
FROM sessions s
LEFT JOIN session_heads h ON h.tenant_id = s.tenant_id AND h.session_key = s.session_key
LEFT JOIN agents a ON a.id = s.agent_id
WHERE {MATCHING}
ORDER BY s.updated_at DESC, s.id
LIMIT %(limit)s OFFSET %(offset)s
"""

LIVE = """
SELECT m.id, m.seq, m.role, m.content, m.payload, m.run_id, m.created_at
FROM sessions s JOIN session_messages m ON m.session_id = s.id AND m.generation = s.generation
WHERE s.tenant_id = %(tenant)s AND s.session_key = %(key)s AND m.archived_at IS NULL AND NOT m.hidden
  AND (%(before)s::text IS NULL OR m.seq < (
    SELECT b.seq FROM session_messages b WHERE b.session_id = s.id AND b.id::text = %(before)s))
  AND (%(all)s OR NOT m.payload ? 'announce')
ORDER BY m.seq DESC LIMIT %(limit)s
"""

RECALL = f"""
({LIVE}) UNION ALL
SELECT s.id, 0, 'user', '[Previous conversation summary]' || E'\\n' || s.summary,
  CASE WHEN s.compacted IS NULL THEN '{{}}' ELSE jsonb_build_object('raw', s.compacted) END, NULL, s.created_at
FROM sessions s WHERE s.tenant_id = %(tenant)s AND s.session_key = %(key)s AND s.summary <> ''
ORDER BY seq DESC
"""

UNDERSTOOD = hint("understood", "en")  # to the summary, unless another language is spoken

GROW = """
  UPDATE sessions s SET last_seq = s.last_seq + %(count)s::int, message_count = s.message_count + %(count)s::int,
    input_tokens = s.input_tokens + %(input)s::int, output_tokens = s.output_tokens + %(output)s::int,
    updated_at = now(), last_active_at = now()
"""

MESSAGES = """
  INSERT INTO session_messages
    (session_id, seq, tenant_id, id, role, content, payload, run_id, generation, token_estimate)
  SELECT session.id, session.before + m.place, session.tenant_id, m.id, m.role, m.content, m.payload,
    %(run)s::uuid, session.generation, m.token_estimate
  FROM session, jsonb_to_recordset(%(messages)s::jsonb)
    AS m(place int, id uuid, role text, content text, payload jsonb, token_estimate int)
"""  # `session` is what GROW returned as GROWN

GROWN = "s.id, s.tenant_id, s.generation, s.last_seq - %(count)s::int AS before"

WITHDRAWN = """
WITH gone AS (
  SELECT s.id, min(m.seq) AS first, max(m.seq) AS last, count(*)::int AS n
  FROM sessions s JOIN session_messages m ON m.session_id = s.id
  WHERE s.tenant_id = %(tenant)s AND s.session_key = %(key)s AND m.archived_at = now() AND NOT m.hidden
  GROUP BY s.id
), changed AS (
  UPDATE sessions s SET last_seq = s.last_seq + 1, message_count = s.message_count - gone.n
  FROM gone WHERE s.id = gone.id RETURNING s.id, s.tenant_id, s.last_seq, s.generation, gone.first, gone.last
)
INSERT INTO session_messages (session_id, seq, tenant_id, id, role, payload, generation, hidden)
SELECT id, last_seq, tenant_id, gen_random_uuid(), 'system',
  jsonb_build_object('marker', 'truncated', 'covered', jsonb_build_array(first, last)), generation, true
FROM changed
"""  # now() is the time of the transaction

APPEND = f"""
WITH session AS (
  {GROW} WHERE s.tenant_id = %(tenant)s AND s.session_key = %(key)s RETURNING {GROWN}
)
{MESSAGES}
"""


@transaction(readonly=True)
async def find(db: Connection, *, tenant: str, key: str) -> SessionRow | None:
    return await maybe(SessionRow, db.execute(FIND, {"tenant": tenant, "key": key}))


@transaction(readonly=True)
async def page(db: Connection, wanted: Wanted, *, limit: int, offset: int) -> list[ListedSession]:
    """Sessions, last touched first."""
    return await many(ListedSession, db.execute(PAGE, {**wanted.params(), "limit": limit, "offset": offset}))


@transaction(readonly=True)
async def total(db: Connection, wanted: Wanted) -> int:
    query = f"SELECT count(*) FROM sessions s WHERE {MATCHING}"
    return await one(int, db.execute(query, wanted.params()))


@transaction(readonly=True)
async def history(db: Connection, *, tenant: str, key: str, limit: int, before: str | None = None) -> list[MessageRow]:
    """The newest `limit` live messages, oldest of them first; `before` is a message id to page back from.

    What nobody said, as results of subagents, is for models alone.
    """
    params = {"tenant": tenant, "key": key, "limit": limit, "before": before, "all": False}
    rows = await many(MessageRow, db.execute(LIVE, params))
    return rows[::-1]


@transaction(readonly=True)
async def recall(
    db: Connection, *, tenant: str, key: str, limit: int, understood: str = UNDERSTOOD
) -> list[MessageRow]:
    """As `history`, begun with the summary of what was compacted, as a pair of messages (agent-loop.md §8.3)."""
    params = {"tenant": tenant, "key": key, "limit": limit, "before": None, "all": True}
    rows = await many(MessageRow, db.execute(RECALL, params))
    rows.reverse()
    if rows and rows[0].seq == 0:
        rows.insert(1, msgspec.structs.replace(rows[0], role="assistant", content=understood))
    return rows


@transaction(readonly=True)
async def between(
    db: Connection, *, tenant: str, key: str, first: int, last: int, without: Sequence[int] = ()
) -> list[MessageRow]:
    """Messages as they stood in the history then, whatever was archived since; oldest first, 1,000 at most.

    `without`: numbers that did not stand there any more.
    """
    query = """
    SELECT m.id, m.seq, m.role, m.content, m.payload, m.run_id, m.created_at
    FROM sessions s JOIN session_messages m ON m.session_id = s.id
    WHERE s.tenant_id = %(tenant)s AND s.session_key = %(key)s AND m.seq BETWEEN %(first)s AND %(last)s AND NOT m.hidden
      AND m.seq <> ALL(%(without)s::bigint[])
    ORDER BY m.seq LIMIT 1000
    """
    params = {"tenant": tenant, "key": key, "first": first, "last": last, "without": list(without)}
    return await many(MessageRow, db.execute(query, params))


@transaction(readonly=True)
async def count(db: Connection, *, tenant: str) -> int:
    query = "SELECT count(*) FROM sessions WHERE tenant_id = %(tenant)s AND archived_at IS NULL"
    return await one(int, db.execute(query, {"tenant": tenant}))


@transaction(single=True)
async def inject(db: Connection, *, tenant: str, key: str, message: NewMessage) -> None:
    """Add one message outside of any run."""
    await append(db, tenant=tenant, key=key, messages=[message])


async def withdraw(db: Connection, *, tenant: str, key: str) -> None:
    """Mark the messages that this transaction has archived as gone, so that the journal knows (data-model.md §8)."""
    await db.execute(WITHDRAWN, {"tenant": tenant, "key": key})


async def append(db: Connection, *, tenant: str, key: str, messages: Sequence[NewMessage]) -> None:
    """Add messages of one turn, in order. Part of the caller's transaction."""
    await db.execute(APPEND, {"tenant": tenant, "key": key, **growth(messages)})


def growth(
    messages: Sequence[NewMessage],
    run: str | None = None,
    usage: Usage = Usage(),  # noqa: B008 - frozen
) -> dict[str, Any]:
    """The parameters of GROW and MESSAGES. The last message tells what its turn cost (data-model.md §8)."""
    rows = [
        {
            "place": place,
            "id": message.id,
            "role": message.role,
            "content": message.content,
            "payload": message.payload,
            "token_estimate": message.token_estimate,
        }
        for place, message in enumerate(messages, 1)
    ]
    input, output = usage.prompt_tokens, usage.completion_tokens
    if rows and (input or output):
        cost = {"prompt_tokens": input, "completion_tokens": output}
        rows[-1]["payload"] = {**messages[-1].payload, "usage": cost}
    return {
        "count": len(rows),
        "messages": Json(rows),
        "run": run,
        "input": input,
        "output": output,
    }


def _contains(text: str) -> str:
    """A LIKE pattern that finds `text` literally, anywhere."""
    for special in ("\\", "%", "_"):
        text = text.replace(special, "\\" + special)
    return f"%{text}%"
