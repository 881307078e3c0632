"""Agents whose files are being written. Table `agent_summonings` (migration 0028).

A summoning is durable: whoever holds its lease works on it, and its fence says whose words still count.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from goclaw.stores import context_files
from goclaw.stores.unit import Connection, many, maybe, transaction

LEASE = 60.0  # seconds until somebody else takes a summoning that nobody renews


class Summoning(Struct, frozen=True, kw_only=True):
    """`wish` None: the files are written anew."""

    agent_id: str
    tenant_id: str
    agent_key: str
    name: str
    emoji: str
    description: str
    owner_id: str
    wish: str | None
    requested_by: str
    fence: int
    attempts: int


ASK = """
INSERT INTO agent_summonings AS s (agent_id, tenant_id, wish, requested_by)
VALUES (%(agent)s, %(tenant)s, %(wish)s, %(by)s)
ON CONFLICT (agent_id) DO UPDATE SET wish = excluded.wish, requested_by = excluded.requested_by, fence = s.fence + 1,
  leased_until = NULL, attempts = 0, error = NULL, updated_at = now()
"""

CLAIM = """
UPDATE agent_summonings s SET fence = s.fence + 1, attempts = s.attempts + 1, updated_at = now(),
  leased_until = now() + make_interval(secs => %(lease)s)
FROM agents a
WHERE s.agent_id IN (
    SELECT w.agent_id FROM agent_summonings w JOIN agents v ON v.id = w.agent_id
    WHERE v.status = 'summoning' AND v.deleted_at IS NULL
      AND (%(alone)s OR w.leased_until IS NULL OR w.leased_until < now()) AND NOT w.agent_id = ANY(%(but)s::uuid[])
    ORDER BY w.updated_at LIMIT %(most)s FOR UPDATE OF w SKIP LOCKED)
  AND a.id = s.agent_id
RETURNING s.agent_id, s.tenant_id, a.agent_key, coalesce(a.display_name, '') AS name, coalesce(a.emoji, '') AS emoji,
  coalesce(a.description, '') AS description, a.owner_id, s.wish, s.requested_by, s.fence, s.attempts
"""

RENEW = """
UPDATE agent_summonings SET leased_until = now() + make_interval(secs => %(lease)s)
WHERE tenant_id = %(tenant)s AND agent_id = %(agent)s AND fence = %(fence)s RETURNING agent_id::text
"""

# of the one whose fence it is; the lock keeps whoever takes over waiting until the words are stored
HOLD = """
SELECT a.id::text FROM agent_summonings s JOIN agents a ON a.id = s.agent_id
WHERE s.tenant_id = %(tenant)s AND s.agent_id = %(agent)s AND s.fence = %(fence)s AND a.status = 'summoning'
  AND a.deleted_at IS NULL
FOR UPDATE
"""

END = """
UPDATE agents SET status = %(status)s, version = version + 1, updated_at = now(),
  display_name = coalesce(nullif(display_name, ''), nullif(%(name)s, ''), display_name),
  emoji = coalesce(nullif(emoji, ''), nullif(%(emoji)s, ''), emoji),
  frontmatter = coalesce(nullif(%(summary)s, ''), frontmatter)
WHERE tenant_id = %(tenant)s AND id = %(agent)s
"""


async def ask(db: Connection, *, tenant: str, agent: str, wish: str | None, by: str) -> None:
    """Within the transaction that makes the agent `summoning`."""
    await db.execute(ASK, {"tenant": tenant, "agent": agent, "wish": wish, "by": by})


@transaction
async def begin(db: Connection, *, tenant: str, agent: str, wish: str | None, by: str) -> bool:
    """Have an agent's files written. False if they are being written."""
    query = """
    UPDATE agents SET status = 'summoning', version = version + 1, updated_at = now()
    WHERE tenant_id = %(tenant)s AND id = %(agent)s AND status <> 'summoning' AND deleted_at IS NULL RETURNING id::text
    """
    if await maybe(str, db.execute(query, {"tenant": tenant, "agent": agent})) is None:
        return False
    await ask(db, tenant=tenant, agent=agent, wish=wish, by=by)
    return True


@transaction
async def claim(db: Connection, *, most: int, alone: bool, but: list[str]) -> list[Summoning]:
    """Take what nobody works on, of all tenants; with `alone` also what a former process did not finish."""
    params = {"lease": LEASE, "most": most, "alone": alone, "but": but}
    return await many(Summoning, db.execute(CLAIM, params))


@transaction(retry_safe=True, single=True)
async def renew(db: Connection, of: Summoning) -> bool:
    """False if it is not ours any more."""
    return await maybe(str, db.execute(RENEW, {**_named(of), "lease": LEASE})) is not None


@transaction(retry_safe=True)
async def keep(db: Connection, of: Summoning, *, texts: Mapping[str, str]) -> bool:
    """Store what is written so far. False if it is not ours any more."""
    if await maybe(str, db.execute(HOLD, _named(of))) is None:
        return False
    await _write(db, of, texts)
    return True


@transaction
async def finish(
    db: Connection, of: Summoning, *, texts: Mapping[str, str], name: str, emoji: str, summary: str, error: str
) -> bool:
    """Its files are there: it answers from now on. `error` says why they are not as they were meant to be."""
    return await _end(db, of, "active", texts, name, emoji, summary, error)


@transaction
async def fail(db: Connection, of: Summoning, *, error: str) -> bool:
    return await _end(db, of, "summon_failed", {}, "", "", "", error)


async def _end(
    db: Connection,
    of: Summoning,
    status: str,
    texts: Mapping[str, str],
    name: str,
    emoji: str,
    summary: str,
    error: str,
) -> bool:
    if await maybe(str, db.execute(HOLD, _named(of))) is None:
        return False
    await _write(db, of, texts)
    await db.execute(END, {**_named(of), "status": status, "name": name, "emoji": emoji, "summary": summary})
    query = """
    UPDATE agent_summonings SET error = nullif(%(error)s, ''), leased_until = NULL, updated_at = now()
    WHERE tenant_id = %(tenant)s AND agent_id = %(agent)s
    """
    await db.execute(query, {**_named(of), "error": error})
    return True


async def _write(db: Connection, of: Summoning, texts: Mapping[str, str]) -> None:
    for name, content in texts.items():
        await context_files.write(
            db, tenant=of.tenant_id, agent=of.agent_id, name=name, content=content, by=of.requested_by
        )


def _named(of: Summoning) -> dict[str, str | int]:
    return {"tenant": of.tenant_id, "agent": of.agent_id, "fence": of.fence}
