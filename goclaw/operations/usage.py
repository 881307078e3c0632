"""What was used: by conversation, over time, by name, now against before.

Contract: edge-http.md §18, edge-websocket.md §7.12, wire-compat.md C17, observability.md §14.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, Struct, field
from msgspec.structs import asdict

from goclaw.domain.access import Role
from goclaw.domain.errors import Rejected, invalid
from goclaw.domain.schedule import Unscheduled, zone_of
from goclaw.operations.context import Context
from goclaw.operations.gateway import Nothing
from goclaw.operations.operation import Http, Rpc, operation
from goclaw.operations.params import moment
from goclaw.settings.keys import camel
from goclaw.stores import model_calls, usage
from goclaw.stores.usage import By, Figures, on_the_hour

MOST = 200  # rows of a page
POINTS = 2_000  # of a series
DAY = timedelta(days=1)

Step = Literal["hour", "day", "week"]
Name = Literal["provider", "model", "channel", "agent"]
Period = Literal["24h", "today", "7d", "30d", "custom"]
STEPS: dict[Step, timedelta] = {"hour": usage.HOUR, "day": DAY, "week": 7 * DAY}
PERIODS: dict[Period, timedelta] = {"24h": DAY, "7d": 7 * DAY, "30d": 30 * DAY}


# --- by conversation ------------------------------------------------------------------------------


class ListUsage(Struct, kw_only=True):
    """`from` counts, `to` does not; either is a time with its zone, or a day in UTC."""

    ALIASES: ClassVar = {"since": "from", "until": "to"}

    agent_id: str | None = None
    provider: str | None = None
    since: str | None = field(name="from", default=None)
    until: str | None = field(name="to", default=None)
    limit: Annotated[int, Meta(ge=1)] = 20
    offset: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0


class UsageRecord(Struct, kw_only=True):
    """A conversation. Its agent is named by key, provider and model are those of its last call."""

    agent_id: str
    session_key: str
    model: str
    provider: str
    input_tokens: int
    output_tokens: int
    total_tokens: int
    timestamp: int  # of its last call, milliseconds since 1970


class UsagePage(Struct, kw_only=True):
    records: list[UsageRecord]
    total: int
    limit: int
    offset: int


def page_for_socket(page: UsagePage) -> dict[str, Any]:
    records = [{camel(name): value for name, value in asdict(record).items()} for record in page.records]
    return {"records": records, "total": page.total, "limit": page.limit, "offset": page.offset}


@operation(Rpc("usage.get", Role.VIEWER, reply=page_for_socket), Http("GET /v1/usage", Role.VIEWER))
async def get(ctx: Context, ask: ListUsage) -> UsagePage:
    """List conversations by the tokens they took, last used first. Who is no admin sees their own."""
    since, until = _at("from", ask.since), _at("to", ask.until)
    if since is not None and until is not None and since >= until:
        raise Rejected(invalid("from", "not before to"))
    wanted = model_calls.Wanted(
        tenant=ctx.caller.tenant_id,
        user=_own(ctx),
        agent=ask.agent_id,
        provider=ask.provider,
        since=since,
        until=until,
    )
    limit = min(ask.limit, MOST)
    rows = await ctx.db(model_calls.by_session, wanted, limit=limit, offset=ask.offset)
    total = rows[0].total if rows else 0
    if ask.offset and not rows:
        total = await ctx.db(model_calls.sessions, wanted)  # no row past the end carries it
    records = [
        UsageRecord(
            agent_id=row.agent_key,
            session_key=row.session_key,
            model=row.model,
            provider=row.provider,
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            total_tokens=row.input_tokens + row.output_tokens,
            timestamp=int(row.last.timestamp() * 1000),
        )
        for row in rows
    ]
    return UsagePage(records=records, total=total, limit=limit, offset=ask.offset)


class AgentTotals(Struct, kw_only=True, rename="camel"):
    input_tokens: int
    output_tokens: int
    total_tokens: int
    sessions: int


class UsageByAgent(Struct, kw_only=True, rename="camel"):
    by_agent: dict[str, AgentTotals]
    total_records: int


@operation(Rpc("usage.summary", Role.VIEWER))
async def by_agent(ctx: Context, ask: Nothing) -> UsageByAgent:
    """Add up the tokens of each agent's conversations. Who is no admin has their own added up."""
    rows = await ctx.db(model_calls.by_agent, model_calls.Wanted(tenant=ctx.caller.tenant_id, user=_own(ctx)))
    return UsageByAgent(
        by_agent={
            row.agent_key: AgentTotals(
                input_tokens=row.input_tokens,
                output_tokens=row.output_tokens,
                total_tokens=row.input_tokens + row.output_tokens,
                sessions=row.sessions,
            )
            for row in rows
        },
        total_records=sum(row.sessions for row in rows),
    )


# --- over time, and by name -----------------------------------------------------------------------


class Filters(Struct, kw_only=True):
    """`from` counts, `to` does not; without them the last 24 hours. `agent_id` takes a key too."""

    ALIASES: ClassVar = {"since": "from", "until": "to", "interval": "group_by"}

    since: str | None = field(name="from", default=None)
    until: str | None = field(name="to", default=None)
    agent_id: str | None = None
    provider: str | None = None
    model: str | None = None
    channel: str | None = None


class Numbers(Struct, kw_only=True):
    """`total_cost` in USD, of the calls that have a price; the others are `unpriced_calls`."""

    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_create_tokens: int
    thinking_tokens: int
    total_cost: float
    unpriced_calls: int
    request_count: int
    llm_call_count: int
    tool_call_count: int
    error_count: int
    unique_users: int
    avg_duration_ms: int
    memory_docs: int
    memory_chunks: int
    kg_entities: int
    kg_relations: int


class UsagePoint(Numbers, kw_only=True):
    bucket_time: str


class UsageRow(Numbers, kw_only=True):
    key: str


class UsageSeries(Struct, kw_only=True):
    points: list[UsagePoint]


class UsageRows(Struct, kw_only=True):
    rows: list[UsageRow]


class Timeseries(Filters, kw_only=True):
    group_by: Step = "hour"


@operation(Http("GET /v1/usage/timeseries", Role.VIEWER))
async def timeseries(ctx: Context, ask: Timeseries) -> UsageSeries:
    """Use over time, in UTC: every hour, day or week from that of `from` on, also those without any."""
    since, until = _span(ctx, ask)
    step = STEPS[ask.group_by]
    first = _begin(since, ask.group_by)
    if (until - first) > POINTS * step:
        raise Rejected(invalid("from", "range_too_large", limit=POINTS))
    found = {row.key: row for row in await _report(ctx, ask, first, until, ask.group_by)}
    points = []
    while first < until:
        key = first.strftime("%Y-%m-%dT%H:%M:%SZ")
        points.append(UsagePoint(bucket_time=key, **_numbers(found.get(key) or Figures(key=key))))
        first += step
    return UsageSeries(points=points)


class Breakdown(Filters, kw_only=True):
    group_by: Name = "provider"


@operation(Http("GET /v1/usage/breakdown", Role.VIEWER))
async def breakdown(ctx: Context, ask: Breakdown) -> UsageRows:
    """Use by provider, model, channel or agent, the most expensive first.

    Requests belong to no provider and no model: they are in the row `unknown` of these two.
    """
    rows = await _report(ctx, ask, *_span(ctx, ask), ask.group_by)
    return UsageRows(rows=[UsageRow(key=row.key or "unknown", **_numbers(row)) for row in rows])


# --- now against before ---------------------------------------------------------------------------


class Summarize(Filters, kw_only=True):
    period: Period = "24h"


class Totals(Struct, kw_only=True):
    """`cost` in USD, of the calls that have a price; the others are `unpriced_calls`."""

    requests: int
    input_tokens: int
    output_tokens: int
    cost: float
    unpriced_calls: int
    unique_users: int
    errors: int
    llm_calls: int
    tool_calls: int
    avg_duration_ms: int


class UsageSummary(Struct, kw_only=True, omit_defaults=True):
    """`approx`: too long ago to count every user once."""

    period: Period
    current: Totals
    previous: Totals
    approx: bool = False


@operation(Http("GET /v1/usage/summary", Role.VIEWER))
async def summary(ctx: Context, ask: Summarize) -> UsageSummary:
    """Compare a period up to now, or `from` … `to`, with the same span before it.

    `today` begins with the day of the gateway's time zone; what it is compared with is as much of yesterday.
    """
    period, now = ask.period, ctx.now()
    if ask.since and ask.until:
        period = "custom"
        since, until = _span(ctx, ask)
    elif period == "custom":
        raise Rejected(invalid("period", "custom takes from and to"))
    elif period == "today":
        since, until = _midnight(ctx, now), now
    else:
        since, until = now - PERIODS[period], now
    length = DAY if period == "today" else until - since
    try:
        earlier = (since - length, until - length)
    except OverflowError:
        raise Rejected(invalid("from", "range_too_large")) from None
    return UsageSummary(
        period=period,
        current=_totals(await _report(ctx, ask, since, until, "all")),
        previous=_totals(await _report(ctx, ask, *earlier, "all")),
        approx=until - since > usage.KNOWN,
    )


def _midnight(ctx: Context, now: datetime) -> datetime:
    try:
        zone = zone_of(ctx.house.settings.agents.defaults.timezone)
    except Unscheduled:
        zone = zone_of("")
    return now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)


def _totals(rows: list[Figures]) -> Totals:
    row = rows[0] if rows else Figures(key="")
    return Totals(
        requests=row.request_count,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        cost=float(row.total_cost),
        unpriced_calls=row.unpriced_calls,
        unique_users=row.unique_users,
        errors=row.error_count,
        llm_calls=row.llm_call_count,
        tool_calls=row.tool_call_count,
        avg_duration_ms=row.avg_duration_ms,
    )


# --- of all of them -------------------------------------------------------------------------------


async def _report(ctx: Context, ask: Filters, since: datetime, until: datetime, by: By) -> list[Figures]:
    wanted = usage.Wanted(
        tenant=ctx.caller.tenant_id,
        since=since,
        until=until,
        user=_own(ctx),
        agent=ask.agent_id,
        provider=ask.provider,
        model=ask.model,
        channel=ask.channel,
    )
    return await ctx.db(usage.report, wanted, by, now=ctx.now())


def _own(ctx: Context) -> str | None:
    """Whose use the caller may see; None for everybody's."""
    return None if ctx.caller.is_admin else ctx.user_id


def _numbers(row: Figures) -> dict[str, Any]:
    members = asdict(row)
    del members["key"]
    return {**members, "total_cost": float(row.total_cost)}


def _span(ctx: Context, ask: Filters) -> tuple[datetime, datetime]:
    until = _at("to", ask.until) or ctx.now()
    since = _at("from", ask.since) or until - DAY
    if since >= until:
        raise Rejected(invalid("from", "not before to"))
    return since, until


def _at(name: str, given: str | None) -> datetime | None:
    """A time with its zone, or the beginning of a day in UTC."""
    if given is None:
        return None
    try:
        at = datetime.fromisoformat(given)
    except ValueError:
        raise Rejected(invalid(name, "neither RFC 3339 nor YYYY-MM-DD")) from None
    if len(given) == len("2026-11-21"):
        at = at.replace(tzinfo=UTC)
    if at.tzinfo is None:
        raise Rejected(invalid(name, "a time without its zone"))
    known = moment(name, at)
    if known is None or not 1970 <= known.year < 9999:
        raise Rejected(invalid(name, "a year beyond 1970 … 9998"))
    return known


def _begin(at: datetime, step: Step) -> datetime:
    """The start of its hour, day or week, which begins on Monday."""
    at = on_the_hour(at)
    if step != "hour":
        at = at.replace(hour=0)
    return at - timedelta(days=at.weekday()) if step == "week" else at
