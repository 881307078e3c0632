"""Texts of agents and of their users. Tables `agent_context_files`, `user_context_files`, `user_agent_profiles` (0028).

Which names there are and who may write them is knowledge (`knowledge/context_files.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from goclaw.domain.context_file import Text
from goclaw.domain.ids import new_id
from goclaw.domain.run import INTERACTIVE
from goclaw.stores.unit import Connection, Json, many, maybe, one, transaction

LISTED = 1000


class TooLarge(Exception):
    """Nothing was changed."""


class StoredText(Struct, frozen=True, kw_only=True):
    name: str
    content: str
    size: int  # bytes
    updated_at: datetime


class Found(Struct, frozen=True, kw_only=True):
    """What a run reads. `met` is false if the agent has not heard of this user for a while, or never."""

    texts: tuple[Text, ...]
    met: bool


class Instance(Struct, frozen=True, kw_only=True):
    """Somebody who talked to an agent."""

    user_id: str
    first_seen_at: datetime
    last_seen_at: datetime
    file_count: int
    metadata: dict[str, Any]
    total: int


OF_AGENT = "tenant_id = %(tenant)s AND agent_id = %(agent)s"
OF_USER = f"{OF_AGENT} AND user_id = %(user)s"
STORED = "file_name AS name, content, octet_length(content) AS size, updated_at"
HASH = "encode(sha256(convert_to(%(content)s, 'UTF8')), 'hex')"

READ = f"""
SELECT file_name AS name, content, 'agent' AS scope FROM agent_context_files WHERE {OF_AGENT}
UNION ALL
SELECT file_name, content, 'user' FROM user_context_files WHERE {OF_USER}
UNION ALL
SELECT '', '', 'met' FROM user_agent_profiles WHERE {OF_USER} AND last_seen_at > now() - interval '5 minutes'
LIMIT {LISTED}
"""

MEET = """
INSERT INTO user_agent_profiles (tenant_id, agent_id, user_id) VALUES (%(tenant)s, %(agent)s, %(user)s)
ON CONFLICT (agent_id, user_id) DO UPDATE SET last_seen_at = now(), updated_at = now()
RETURNING xmax = 0 AS new
"""

# what the agent itself says in a file comes before the template of it
SEED = """
INSERT INTO user_context_files (id, tenant_id, agent_id, user_id, file_name, content, content_hash)
SELECT gen_random_uuid(), %(tenant)s, %(agent)s, %(user)s, seed.name, said.text,
  encode(sha256(convert_to(said.text, 'UTF8')), 'hex')
FROM jsonb_each_text(%(seeds)s::jsonb) AS seed (name, text)
LEFT JOIN agent_context_files a ON a.tenant_id = %(tenant)s AND a.agent_id = %(agent)s AND a.file_name = seed.name
CROSS JOIN LATERAL (SELECT coalesce(a.content, seed.text) AS text) AS said
ON CONFLICT DO NOTHING
"""

PUT_AGENTS = f"""
INSERT INTO agent_context_files (id, tenant_id, agent_id, file_name, content, content_hash, updated_by)
VALUES (%(id)s, %(tenant)s, %(agent)s, %(name)s, %(content)s, {HASH}, %(by)s)
ON CONFLICT (agent_id, file_name) DO UPDATE SET content = excluded.content, content_hash = excluded.content_hash,
  updated_by = excluded.updated_by, updated_at = now()
RETURNING {STORED}
"""

PUT_USERS = f"""
INSERT INTO user_context_files (id, tenant_id, agent_id, user_id, file_name, content, content_hash, updated_by)
VALUES (%(id)s, %(tenant)s, %(agent)s, %(user)s, %(name)s, %(content)s, {HASH}, %(by)s)
ON CONFLICT (agent_id, user_id, file_name) DO UPDATE SET content = excluded.content,
  content_hash = excluded.content_hash, updated_by = excluded.updated_by, updated_at = now()
RETURNING {STORED}
"""

PROPAGATE = f"""
UPDATE user_context_files SET content = %(content)s, content_hash = {HASH}, updated_by = %(by)s, updated_at = now()
WHERE {OF_AGENT} AND file_name = %(name)s AND content <> %(content)s RETURNING id::text
"""

# finished turns since the file was made
OUTGROWN = """
DELETE FROM user_context_files f WHERE f.tenant_id = %(tenant)s AND f.agent_id = %(agent)s AND f.user_id = %(user)s
  AND f.file_name = %(name)s AND %(turns)s <= (
    SELECT count(*) FROM runs r
    WHERE r.tenant_id = f.tenant_id AND r.user_id = f.user_id AND r.agent_id = f.agent_id
      AND r.parent_run_id IS NULL AND r.kind = ANY(%(kinds)s) AND r.state = 'SUCCEEDED'
      AND r.finished_at >= f.created_at)
RETURNING f.id::text
"""

INSTANCES = """
SELECT p.user_id, p.first_seen_at, p.last_seen_at, p.metadata, count(*) OVER () AS total, (
  SELECT count(*) FROM user_context_files f WHERE f.agent_id = p.agent_id AND f.user_id = p.user_id) AS file_count
FROM user_agent_profiles p WHERE p.tenant_id = %(tenant)s AND p.agent_id = %(agent)s
ORDER BY p.last_seen_at DESC, p.user_id LIMIT %(limit)s OFFSET %(offset)s
"""

# merged member by member; a null takes one away
PATCH = f"""
UPDATE user_agent_profiles SET updated_at = now(), metadata = (
  SELECT coalesce(jsonb_object_agg(key, value), '{{}}') FROM jsonb_each(metadata || %(changes)s::jsonb)
  WHERE value <> 'null'::jsonb)
WHERE {OF_USER} RETURNING metadata
"""


@transaction(readonly=True)
async def read(db: Connection, *, tenant: str, agent: str, user: str) -> Found:
    """An agent's texts and a user's own, read at one moment."""
    cursor = await db.execute(READ, {"tenant": tenant, "agent": agent, "user": user})
    rows = await cursor.fetchall()
    texts = tuple(Text(name=name, content=content, scope=scope) for name, content, scope in rows if name)
    return Found(texts=texts, met=len(texts) < len(rows))


@transaction(retry_safe=True)
async def meet(db: Connection, *, tenant: str, agent: str, user: str, seeds: Mapping[str, str]) -> Found:
    """The same for a user who is there again. One who never was gets his first files."""
    named = {"tenant": tenant, "agent": agent, "user": user}
    if await one(bool, db.execute(MEET, named)):
        await db.execute(SEED, {**named, "seeds": Json(dict(seeds))})
    return await read(db, tenant=tenant, agent=agent, user=user)


@transaction(readonly=True)
async def of_agent(db: Connection, *, tenant: str, agent: str) -> list[StoredText]:
    query = f"SELECT {STORED} FROM agent_context_files WHERE {OF_AGENT} ORDER BY file_name LIMIT {LISTED}"
    return await many(StoredText, db.execute(query, {"tenant": tenant, "agent": agent}))


@transaction(readonly=True)
async def of_user(db: Connection, *, tenant: str, agent: str, user: str) -> list[StoredText]:
    query = f"SELECT {STORED} FROM user_context_files WHERE {OF_USER} ORDER BY file_name LIMIT {LISTED}"
    return await many(StoredText, db.execute(query, {"tenant": tenant, "agent": agent, "user": user}))


@transaction(retry_safe=True)
async def write(
    db: Connection,
    *,
    tenant: str,
    agent: str,
    name: str,
    content: str,
    by: str,
    columns: Mapping[str, str] | None = None,
) -> StoredText:
    """Replace a text of the agent's own, with the `columns` of its row that the text names."""
    named = {"tenant": tenant, "agent": agent}
    await _sync(db, named, columns or {})
    return await one(
        StoredText, db.execute(PUT_AGENTS, {**named, "id": new_id(), "name": name, "content": content, "by": by})
    )


@transaction(retry_safe=True)
async def write_own(
    db: Connection,
    *,
    tenant: str,
    agent: str,
    user: str,
    name: str,
    content: str,
    by: str,
    columns: Mapping[str, str] | None = None,
) -> StoredText:
    """Replace a user's own text."""
    named = {"tenant": tenant, "agent": agent, "user": user}
    await _sync(db, named, columns or {})
    params = {**named, "id": new_id(), "name": name, "content": content, "by": by}
    return await one(StoredText, db.execute(PUT_USERS, params))


@transaction(single=True)
async def drop_own(db: Connection, *, tenant: str, agent: str, user: str, name: str) -> bool:
    query = f"DELETE FROM user_context_files WHERE {OF_USER} AND file_name = %(name)s RETURNING id::text"
    params = {"tenant": tenant, "agent": agent, "user": user, "name": name}
    return await maybe(str, db.execute(query, params)) is not None


@transaction(single=True)
async def propagate(db: Connection, *, tenant: str, agent: str, name: str, content: str, by: str) -> int:
    """Put a text in the place of every user's own of that name. How many were another one."""
    params = {"tenant": tenant, "agent": agent, "name": name, "content": content, "by": by}
    return len(await many(str, db.execute(PROPAGATE, params)))


@transaction(single=True)
async def outgrow(db: Connection, *, tenant: str, agent: str, user: str, name: str, turns: int) -> bool:
    """Take a user's file away when so many of his turns have ended since it was made."""
    params = {"tenant": tenant, "agent": agent, "user": user, "name": name, "turns": turns}
    return await maybe(str, db.execute(OUTGROWN, {**params, "kinds": list(INTERACTIVE)})) is not None


@transaction(readonly=True)
async def instances(db: Connection, *, tenant: str, agent: str, limit: int = LISTED, offset: int = 0) -> list[Instance]:
    """Who talked to an agent, last seen first."""
    params = {"tenant": tenant, "agent": agent, "limit": limit, "offset": offset}
    return await many(Instance, db.execute(INSTANCES, params))


@transaction(retry_safe=True)
async def describe(
    db: Connection, *, tenant: str, agent: str, user: str, changes: Mapping[str, Any], most: int
) -> dict[str, Any] | None:
    """Merge into what is known of somebody; None if he never talked to the agent. TooLarge beyond `most` bytes."""
    params = {"tenant": tenant, "agent": agent, "user": user, "changes": Json(dict(changes))}
    found = await maybe(dict, db.execute(PATCH, params))
    if found is not None and len(msgspec.json.encode(found)) > most:
        raise TooLarge
    return found


async def _sync(db: Connection, named: Mapping[str, str], columns: Mapping[str, str]) -> None:
    """What a text says of the agent stands in its row too."""
    if columns:
        await db.execute(
            f"""
            UPDATE agents SET {"".join(f"{name} = %({name})s, " for name in columns)}version = version + 1,
              updated_at = now()
            WHERE tenant_id = %(tenant)s AND id = %(agent)s
              AND ({" OR ".join(f"{name} IS DISTINCT FROM %({name})s" for name in columns)})
            """,
            {**named, **columns},
        )
