"""Turns that were asked for lately, counted in the runs (migrations 0006, 0019). Contract: sessions-lanes-cron.md §8.1.

A turn that became part of another, or a second try of an operator, is none of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from goclaw.domain.quota import FREE, Payer
from goclaw.stores.unit import Connection, many, one, transaction

MOST = 50  # entries of a report


class Spent(Struct, frozen=True, kw_only=True):
    """Turns in the last hour, day and week, and how many seconds ago the first of each was."""

    hour: int
    day: int
    week: int
    hour_age: float
    day_age: float
    week_age: float


class Today(Struct, frozen=True, kw_only=True):
    """Since midnight UTC."""

    requests: int
    users: int
    input_tokens: int
    output_tokens: int


class Entry(Struct, frozen=True, kw_only=True):
    name: str
    group: bool
    hour: int
    day: int
    week: int


GROUP = "split_part(session_key, ':', 4) = 'group'"  # `agent:<key>:<channel>:group:<chat>`
CHAT = "(split_part(session_key, ':', 3) || ':' || split_part(session_key, ':', 5))"

COUNTED = """parent_run_id IS NULL AND merged_into IS NULL AND requeued_from IS NULL
  AND reason_code IS DISTINCT FROM 'MESSAGE_STALE' AND kind <> ALL(%(free)s::text[])"""

LATELY = """count(*) FILTER (WHERE created_at > now() - interval '1 hour') AS hour,
  count(*) FILTER (WHERE created_at > now() - interval '1 day') AS day, count(*) AS week"""


def _age(condition: str) -> str:
    return f"coalesce(extract(epoch FROM now() - min(created_at) FILTER (WHERE {condition})), 0)::float8"


def _spent(whose: str) -> str:
    return f"""
SELECT {LATELY}, {_age("created_at > now() - interval '1 hour'")} AS hour_age,
  {_age("created_at > now() - interval '1 day'")} AS day_age, {_age("true")} AS week_age
FROM runs WHERE tenant_id = %(tenant)s AND {whose} AND created_at > now() - interval '7 days' AND {COUNTED}
  AND run_id <> ALL(%(besides)s::uuid[])
"""


SPENT_BY_USER = _spent(f"user_id = %(name)s AND NOT {GROUP}")
SPENT_BY_GROUP = _spent(f"{GROUP} AND {CHAT} = %(name)s")

TODAY = f"""
SELECT count(*) FILTER (WHERE {COUNTED}) AS requests, count(DISTINCT user_id) FILTER (WHERE {COUNTED}) AS users,
  coalesce(sum((result->'usage'->>'prompt_tokens')::bigint), 0)::bigint AS input_tokens,
  coalesce(sum((result->'usage'->>'completion_tokens')::bigint), 0)::bigint AS output_tokens
FROM runs WHERE tenant_id = %(tenant)s AND (%(user)s::text IS NULL OR user_id = %(user)s)
  AND created_at >= date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
"""

ENTRIES = f"""
SELECT CASE WHEN {GROUP} THEN {CHAT} ELSE user_id END AS name, {GROUP} AS "group", {LATELY}
FROM runs WHERE tenant_id = %(tenant)s AND (%(user)s::text IS NULL OR (user_id = %(user)s AND NOT {GROUP}))
  AND created_at > now() - interval '7 days' AND {COUNTED}
GROUP BY 1, 2 ORDER BY day DESC, week DESC, name LIMIT %(limit)s
"""


@transaction(readonly=True)
async def spent(db: Connection, *, payer: Payer, besides: Sequence[str] = ()) -> Spent:
    """What a payer has had, without the runs `besides`."""
    params = {"tenant": payer.tenant_id, "name": payer.name, "free": sorted(FREE), "besides": list(besides)}
    return await one(Spent, db.execute(SPENT_BY_GROUP if payer.group else SPENT_BY_USER, params))


@transaction(readonly=True)
async def today(db: Connection, *, tenant: str, user: str | None) -> Today:
    """What a tenant, or one of its users, has had since midnight UTC."""
    return await one(Today, db.execute(TODAY, {"tenant": tenant, "user": user, "free": sorted(FREE)}))


@transaction(readonly=True)
async def entries(db: Connection, *, tenant: str, user: str | None) -> list[Entry]:
    """Who has had most today, at most 50; or one user."""
    params = {"tenant": tenant, "user": user, "free": sorted(FREE), "limit": MOST}
    return await many(Entry, db.execute(ENTRIES, params))
