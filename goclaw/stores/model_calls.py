"""Every model call by itself: what it took, what it cost, how it ended. Table `model_calls` (migration 0022).

A call is written with the step or the end of the life that made it, under the fence of that life and its number in
it: writing it again changes nothing, and a call of another life is another call. Contract: observability.md §3.2, §6.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import asdict

from goclaw.stores.unit import Connection, many, one, transaction

CallStatus = Literal["completed", "error", "cancelled"]


class ModelCall(Struct, frozen=True, kw_only=True):
    """One call of a life. What a vendor did not say is 0; `total_cost` is None while nobody knows the price."""

    number: int  # in its life
    provider: str
    model: str
    status: CallStatus
    error: str | None = None  # the kind of a vendor's failure
    finish_reason: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_create_tokens: int = 0
    thinking_tokens: int = 0
    estimated: bool = False
    total_cost: Decimal | None = None  # USD
    tool_calls: int = 0  # that its answer asks for
    start_time: datetime
    duration_ms: int
    reservations: tuple[str, ...] = ()  # what was held for it; several if it was asked again …
    spent: Decimal = Decimal(0)  # … and what its purses pay: an estimate where nobody heard the end of it
    spent_tokens: int = 0
    overshot: bool = False  # that is more than was held


CALLS = """
  INSERT INTO model_calls (run_id, fence, number, tenant_id, agent_id, user_id, session_key, run_kind, channel,
    provider, model, status, error, finish_reason, input_tokens, output_tokens, cache_read_tokens,
    cache_create_tokens, thinking_tokens, estimated, total_cost, tool_calls, start_time, duration_ms)
  SELECT mine.run_id, mine.fence, c.number, mine.tenant_id, mine.agent_id, mine.user_id, mine.session_key, mine.kind,
    left(split_part(mine.session_key, ':', 3), 100), left(c.provider, 50), left(c.model, 200), c.status, c.error,
    c.finish_reason, c.input_tokens, c.output_tokens, c.cache_read_tokens, c.cache_create_tokens, c.thinking_tokens,
    c.estimated, c.total_cost, c.tool_calls, c.start_time, c.duration_ms
  FROM mine, jsonb_to_recordset(%(calls)s::jsonb) AS c(number int, provider text, model text, status text, error text,
    finish_reason text, input_tokens bigint, output_tokens bigint, cache_read_tokens bigint,
    cache_create_tokens bigint, thinking_tokens bigint, estimated bool, total_cost numeric, tool_calls int,
    start_time timestamptz, duration_ms int)
  ON CONFLICT DO NOTHING RETURNING number
"""  # `mine` is the run, held


class Costs(Struct, frozen=True, kw_only=True):
    """What the calls of a run came to. `unpriced`: those whose price nobody knows; failures cost nothing."""

    calls: int
    unpriced: int
    total: Decimal  # USD


@transaction(readonly=True)
async def cost_of(db: Connection, *, tenant: str, run_id: str) -> Costs:
    """In all its lives so far."""
    query = """
    SELECT count(*) AS calls, count(*) FILTER (WHERE total_cost IS NULL) AS unpriced,
      coalesce(sum(total_cost), 0) AS total
    FROM model_calls WHERE tenant_id = %(tenant)s AND run_id = %(run)s AND status <> 'error'
    """
    return await one(Costs, db.execute(query, {"tenant": tenant, "run": run_id}))


class ProviderCalls(Struct, frozen=True, kw_only=True):
    provider: str
    calls: int = 0
    errors: int = 0


@transaction(readonly=True)
async def by_provider(db: Connection, *, tenant: str, since: datetime) -> list[ProviderCalls]:
    """Calls that began since then, by who answered; those that nobody answered by who was asked first."""
    query = """
    SELECT provider, count(*) AS calls, count(*) FILTER (WHERE status = 'error') AS errors
    FROM model_calls WHERE tenant_id = %(tenant)s AND start_time >= %(since)s GROUP BY provider LIMIT 1000
    """
    return await many(ProviderCalls, db.execute(query, {"tenant": tenant, "since": since}))


# --- by conversations -----------------------------------------------------------------------------


class Wanted(Struct, frozen=True, kw_only=True):
    """Which calls; None means any. `agent` is a key or an id, `user` None for those who may see everybody's."""

    tenant: str
    user: str | None = None
    agent: str | None = None
    provider: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class SessionUsage(Struct, frozen=True, kw_only=True):
    """What a conversation took. `provider` and `model` are those of its last call."""

    agent_key: str
    session_key: str
    provider: str
    model: str
    input_tokens: int
    output_tokens: int
    last: datetime
    total: int  # conversations that match, beyond this page


class AgentUsage(Struct, frozen=True, kw_only=True):
    agent_key: str
    input_tokens: int
    output_tokens: int
    sessions: int


MATCHING = """c.tenant_id = %(tenant)s AND c.input_tokens + c.output_tokens > 0
  AND (%(user)s::text IS NULL OR c.user_id = %(user)s)
  AND (%(agent)s::text IS NULL OR split_part(c.session_key, ':', 2) = %(agent)s OR c.agent_id::text = %(agent)s)
  AND (%(provider)s::text IS NULL OR c.provider = %(provider)s)
  AND (%(since)s::timestamptz IS NULL OR c.start_time >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR c.start_time < %(until)s)"""

BY_SESSION = f"""
SELECT split_part(session_key, ':', 2) AS agent_key, session_key, (array_agg(provider ORDER BY start_time DESC))[1]
  AS provider, (array_agg(model ORDER BY start_time DESC))[1] AS model, sum(input_tokens)::bigint AS input_tokens,
  sum(output_tokens)::bigint AS output_tokens, max(start_time) AS last, count(*) OVER () AS total
FROM model_calls c WHERE {MATCHING}
GROUP BY session_key ORDER BY max(start_time) DESC, session_key LIMIT %(limit)s OFFSET %(offset)s
"""

SESSIONS = f"SELECT count(DISTINCT session_key) FROM model_calls c WHERE {MATCHING}"

BY_AGENT = f"""
SELECT split_part(session_key, ':', 2) AS agent_key, sum(input_tokens)::bigint AS input_tokens,
  sum(output_tokens)::bigint AS output_tokens, count(*) AS sessions
FROM (
  SELECT session_key, sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens
  FROM model_calls c WHERE {MATCHING} GROUP BY session_key
) AS spoken GROUP BY 1 ORDER BY 1 LIMIT 1000
"""


@transaction(readonly=True)
async def by_session(db: Connection, wanted: Wanted, *, limit: int, offset: int) -> list[SessionUsage]:
    """Conversations that took tokens, last used first."""
    return await many(SessionUsage, db.execute(BY_SESSION, {**_params(wanted), "limit": limit, "offset": offset}))


@transaction(readonly=True)
async def sessions(db: Connection, wanted: Wanted) -> int:
    """How many conversations took tokens."""
    return (await many(int, db.execute(SESSIONS, _params(wanted))))[0]


@transaction(readonly=True)
async def by_agent(db: Connection, wanted: Wanted) -> list[AgentUsage]:
    return await many(AgentUsage, db.execute(BY_AGENT, _params(wanted)))


def _params(wanted: Wanted) -> dict[str, Any]:
    return asdict(wanted)
