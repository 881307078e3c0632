"""What the house used, by the hour: snapshots of hours that are over, and the same figures worked out now.

Tables `usage_snapshots`, `model_calls` (migration 0022). Tokens, costs and calls are on the row of their provider and
model; requests, their errors and durations on the row of their agent and channel without either, so that sums over
providers count nothing twice. A request is a run that nobody's run made, in the hour it first ran.
Contract: observability.md §14, data-model.md §14.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import asdict, replace

from goclaw.stores.unit import Connection, many, maybe, one, transaction

HOUR = timedelta(hours=1)
LATE = 2  # hours that are worked out again, for calls and runs that end late
KNOWN = timedelta(days=31)  # up to here users are counted, beyond it is the most of an hour
BATCH = 24  # hours in one transaction
ROWS = 2001  # of a report

By = Literal["hour", "day", "week", "provider", "model", "channel", "agent", "all"]


class Wanted(Struct, frozen=True, kw_only=True):
    """Whose and what use; None means any. `agent` is a key or an id. `since` counts, `until` does not."""

    tenant: str
    since: datetime
    until: datetime
    user: str | None = None
    agent: str | None = None
    provider: str | None = None
    model: str | None = None
    channel: str | None = None


class Figures(Struct, frozen=True, kw_only=True):
    """One row of a report. `key`: the start of its time in UTC, or the name it is grouped by."""

    key: str
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_create_tokens: int = 0
    thinking_tokens: int = 0
    total_cost: Decimal = Decimal(0)  # USD, of calls with a price
    unpriced_calls: int = 0
    request_count: int = 0
    llm_call_count: int = 0
    tool_call_count: int = 0
    error_count: int = 0
    unique_users: int = 0
    avg_duration_ms: int = 0
    memory_docs: int = 0
    memory_chunks: int = 0
    kg_entities: int = 0
    kg_relations: int = 0


SPANS = "unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS span(since, until)"
OURS = "(%(tenant)s::uuid IS NULL OR t.id = %(tenant)s::uuid)"

CALLS = f"""
calls AS (
  SELECT c.tenant_id, c.start_time, c.agent_id, c.provider, c.model, c.channel, c.user_id, c.input_tokens,
    c.output_tokens, c.cache_read_tokens, c.cache_create_tokens, c.thinking_tokens, c.total_cost, c.tool_calls
  FROM tenants t CROSS JOIN {SPANS} CROSS JOIN LATERAL (
    SELECT * FROM model_calls m WHERE m.tenant_id = t.id AND m.start_time >= span.since AND m.start_time < span.until
    OFFSET 0) AS c
  WHERE {OURS} AND (%(user)s::text IS NULL OR c.user_id = %(user)s)
)"""  # OFFSET keeps the planner from joining whole tables: every span is a look into an index

REQUEST = """r.tenant_id, r.started_at AS start_time, r.agent_id, '' AS provider, '' AS model,
    left(split_part(r.session_key, ':', 3), 100) AS channel, r.user_id, r.state IN ('FAILED', 'DEAD_LETTER') AS failed,
    extract(epoch FROM r.finished_at - r.started_at) * 1000 AS duration"""
ASKED = "r.parent_run_id IS NULL AND r.kind <> 'replay'"

REQUESTS = f"""
requests AS (
  SELECT {REQUEST} FROM tenants t CROSS JOIN {SPANS} CROSS JOIN LATERAL (
    SELECT * FROM run_events n WHERE n.tenant_id = t.id AND n.at >= span.since AND n.at < span.until
      AND n.type = 'task.running' OFFSET 0) AS e
    JOIN runs r ON r.run_id = e.run_id AND r.started_at = e.at
  WHERE {OURS} AND {ASKED}
)"""  # the trail is in the order of time, which runs are not; the first start in it is the run's own

REQUESTS_OF_ONE = f"""
requests AS (
  SELECT {REQUEST} FROM runs r JOIN {SPANS} ON r.started_at >= span.since AND r.started_at < span.until
  WHERE r.tenant_id = %(tenant)s::uuid AND r.user_id = %(user)s AND {ASKED}
)"""

COUNTED = """input_tokens, output_tokens, cache_read_tokens, cache_create_tokens, thinking_tokens, total_cost,
  unpriced_calls, request_count, llm_call_count, tool_call_count, error_count, unique_users, avg_duration_ms"""
GAUGES = "memory_docs, memory_chunks, kg_entities, kg_relations"
PLACE = "tenant_id, bucket_hour, agent_id, provider, model, channel"

SUMS = """sum(input_tokens)::bigint AS input_tokens, sum(output_tokens)::bigint AS output_tokens,
  sum(cache_read_tokens)::bigint AS cache_read_tokens, sum(cache_create_tokens)::bigint AS cache_create_tokens,
  sum(thinking_tokens)::bigint AS thinking_tokens, sum(total_cost) AS total_cost,
  sum(unpriced_calls)::bigint AS unpriced_calls, sum(request_count)::bigint AS request_count,
  sum(llm_call_count)::bigint AS llm_call_count, sum(tool_call_count)::bigint AS tool_call_count,
  sum(error_count)::bigint AS error_count, max(unique_users)::bigint AS unique_users,
  coalesce(round(sum(avg_duration_ms * request_count) / nullif(sum(request_count), 0)), 0)::bigint AS avg_duration_ms,
  max(memory_docs) AS memory_docs, max(memory_chunks) AS memory_chunks, max(kg_entities) AS kg_entities,
  max(kg_relations) AS kg_relations"""


def putting(columns: str) -> str:
    """The end of a statement that makes snapshots of the rows of `made`, again if need be."""
    again = ", ".join(f"{name} = EXCLUDED.{name}" for name in columns.replace(",", "").split())
    return f"""
INSERT INTO usage_snapshots ({PLACE}, {columns}) SELECT {PLACE}, {columns} FROM made
ON CONFLICT (tenant_id, bucket_hour, coalesce(agent_id, '00000000-0000-0000-0000-000000000000'), provider, model,
  channel) DO UPDATE SET created_at = now(), {again}
"""


MEASURED = """
SELECT tenant_id, date_trunc('hour', start_time, 'UTC') AS bucket_hour, agent_id, provider, model, channel,
  sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens, sum(cache_read_tokens) AS cache_read_tokens,
  sum(cache_create_tokens) AS cache_create_tokens, sum(thinking_tokens) AS thinking_tokens,
  coalesce(sum(total_cost), 0) AS total_cost, count(*) FILTER (WHERE total_cost IS NULL) AS unpriced_calls,
  0 AS request_count, count(*) AS llm_call_count, sum(tool_calls) AS tool_call_count, 0 AS error_count,
  count(DISTINCT user_id) AS unique_users, 0 AS avg_duration_ms
FROM calls GROUP BY 1, 2, 3, 4, 5, 6
UNION ALL
SELECT tenant_id, date_trunc('hour', start_time, 'UTC'), agent_id, provider, model, channel, 0, 0, 0, 0, 0, 0, 0,
  count(*), 0, 0, count(*) FILTER (WHERE failed), count(DISTINCT user_id), coalesce(round(avg(duration)), 0)
FROM requests GROUP BY 1, 2, 3, 4, 5, 6"""

COMPUTE = f"WITH {CALLS}, {REQUESTS}, made AS ({MEASURED}) {putting(COUNTED)}"

MISSING = f"""
SELECT hour FROM generate_series(%(since)s::timestamptz, %(until)s::timestamptz - interval '1 hour', '1 hour') AS hour
WHERE NOT EXISTS (SELECT FROM usage_snapshots s WHERE s.bucket_hour = hour) AND (
  EXISTS (SELECT FROM tenants t JOIN model_calls c ON c.tenant_id = t.id
    WHERE c.start_time >= hour AND c.start_time < hour + interval '1 hour')
  OR EXISTS (SELECT FROM tenants t JOIN run_events e ON e.tenant_id = t.id JOIN runs r ON r.run_id = e.run_id
    WHERE e.at >= hour AND e.at < hour + interval '1 hour' AND e.type = 'task.running' AND r.started_at = e.at
      AND {ASKED}))
ORDER BY hour DESC LIMIT {24 * 90}
"""

KEYS: dict[By, str] = {
    **{
        step: f"""to_char(date_trunc('{step}', at, 'UTC') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')"""
        for step in ("hour", "day", "week")
    },
    "provider": "provider",
    "model": "model",
    "channel": "channel",
    "agent": "coalesce((SELECT a.agent_key FROM agents a WHERE a.id = agent_id), agent_id::text, '')",
    "all": "''",
}

MATCHING = """(%(provider)s::text IS NULL OR provider = %(provider)s) AND (%(model)s::text IS NULL OR model = %(model)s)
  AND (%(channel)s::text IS NULL OR channel = %(channel)s)
  AND (%(agent)s::text IS NULL OR agent_id::text = %(agent)s OR agent_id IN (
    SELECT a.id FROM agents a WHERE a.tenant_id = %(tenant)s::uuid AND a.agent_key = %(agent)s))"""


@lru_cache(maxsize=16)
def reporting(by: By, *, of_one: bool) -> str:
    """Snapshots of `since` … `until`, and what the spans hold, in one report."""
    return f"""
WITH {CALLS}, {REQUESTS_OF_ONE if of_one else REQUESTS}, hours AS (
  SELECT bucket_hour AS at, agent_id, provider, model, channel, {COUNTED}, {GAUGES} FROM usage_snapshots
  WHERE tenant_id = %(tenant)s::uuid AND bucket_hour >= %(since)s AND bucket_hour < %(until)s
  UNION ALL
  SELECT bucket_hour, agent_id, provider, model, channel, {COUNTED}, 0, 0, 0, 0 FROM ({MEASURED}) AS measured
)
SELECT {KEYS[by]} AS key, {SUMS}
FROM hours WHERE {MATCHING}
GROUP BY 1 ORDER BY sum(total_cost) DESC, sum(input_tokens + output_tokens) DESC, 1 LIMIT {ROWS}
"""


@lru_cache(maxsize=16)
def counting(by: By) -> str:
    """Users of the spans who came as far as a model, by the same keys."""
    return f"""
WITH {CALLS}, used AS (SELECT start_time AS at, agent_id, provider, model, channel, user_id FROM calls)
SELECT {KEYS[by]} AS key, count(DISTINCT user_id) AS users FROM used WHERE {MATCHING} GROUP BY 1 LIMIT {ROWS}
"""


class Users(Struct, frozen=True):
    key: str
    users: int


@transaction(readonly=True)
async def report(db: Connection, wanted: Wanted, by: By, *, now: datetime) -> list[Figures]:
    """Use in a span of time, grouped: the most expensive first, 2,001 rows at most.

    Hours that are settled come from their snapshots, the others, and all that one user alone did, from the calls.
    Users are counted once in each row up to 31 days, beyond that `unique_users` is the most of an hour.
    """
    first, last = on_the_hour(wanted.since + HOUR - timedelta.resolution), on_the_hour(wanted.until)
    last = min(last, on_the_hour(now) - LATE * HOUR)
    if wanted.user is not None or last <= first:
        first = last = wanted.until
        spans = [(wanted.since, wanted.until)]
    else:
        spans = [(wanted.since, first), (last, wanted.until)]
    matching = {**asdict(wanted), "since": first, "until": last}
    rows = await many(Figures, db.execute(reporting(by, of_one=wanted.user is not None), {**matching, **_spans(spans)}))
    if wanted.until - wanted.since > KNOWN:
        return rows
    whole = _spans([(wanted.since, wanted.until)])
    users = {row.key: row.users for row in await many(Users, db.execute(counting(by), {**matching, **whole}))}
    return [replace(row, unique_users=max(row.unique_users, users.get(row.key, 0))) for row in rows]


@transaction(readonly=True)
async def missing(db: Connection, *, since: datetime, until: datetime) -> list[datetime]:
    """Hours somebody did something in and nobody made a snapshot of, newest first. Both ends are whole hours."""
    return await many(datetime, db.execute(MISSING, {"since": since, "until": until}))


@transaction(retry_safe=True, single=True)
async def compute(db: Connection, hours: list[datetime]) -> None:
    """Make the snapshots of these hours, of all tenants. Doing it again puts right what came late."""
    spans = [(hour, hour + HOUR) for hour in hours]
    await db.execute(COMPUTE, {"tenant": None, "user": None, **_spans(spans)})


# --- what is old ----------------------------------------------------------------------------------

OLDEST = """
SELECT date_trunc('day', bucket_hour, 'UTC') FROM usage_snapshots
WHERE bucket_hour < date_trunc('day', now() - make_interval(days => %(days)s), 'UTC')
  AND bucket_hour <> date_trunc('day', bucket_hour, 'UTC')
ORDER BY bucket_hour LIMIT 1
"""

FOLD = f"""
WITH made AS (
  SELECT tenant_id, %(day)s::timestamptz AS bucket_hour, agent_id, provider, model, channel, {SUMS}
  FROM usage_snapshots WHERE bucket_hour >= %(day)s AND bucket_hour < %(day)s::timestamptz + interval '1 day'
  GROUP BY tenant_id, agent_id, provider, model, channel
)
{putting(f"{COUNTED}, {GAUGES}")}
"""

UNFOLDED = """
WITH gone AS (
  DELETE FROM usage_snapshots WHERE bucket_hour > %(day)s AND bucket_hour < %(day)s::timestamptz + interval '1 day'
  RETURNING 1)
SELECT count(*) FROM gone
"""


@transaction
async def fold(db: Connection, *, days: int) -> int:
    """Make one row of each place out of the hours of the oldest day that ended so long ago. Rows that went."""
    day = await maybe(datetime, db.execute(OLDEST, {"days": days}))
    if day is None:
        return 0
    await db.execute(FOLD, {"day": day})
    return await one(int, db.execute(UNFOLDED, {"day": day}))


def on_the_hour(at: datetime) -> datetime:
    """The start of its hour."""
    return at.replace(minute=0, second=0, microsecond=0)


def _spans(spans: list[tuple[datetime, datetime]]) -> dict[str, Any]:
    return {"starts": [since for since, _ in spans], "ends": [until for _, until in spans]}
