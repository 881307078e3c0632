"""Use for those who ask: shapes, spans, rights. Contract: edge-http.md §18, wire-compat.md C17."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio
from msgspec import to_builtins

from goclaw.domain.access import Caller, Role
from goclaw.domain.errors import Rejected
from goclaw.domain.schedule import zone_of
from goclaw.operations import usage
from goclaw.operations.context import Context, House
from goclaw.operations.gateway import Nothing
from goclaw.operations.params import decode
from goclaw.operations.usage import Breakdown, ListUsage, Summarize, Timeseries, page_for_socket
from goclaw.runtime.system import open_system
from goclaw.settings.agents import AgentDefaults, Agents
from goclaw.settings.settings import Settings
from goclaw.stores.database import Database
from goclaw.stores.usage import compute
from tests.stores.test_usage_table import NOW, THIS, Past

HOUR = timedelta(hours=1)
NUMBERS = {
    "input_tokens", "output_tokens", "cache_read_tokens", "cache_create_tokens", "thinking_tokens", "total_cost",
    "unpriced_calls", "request_count", "llm_call_count", "tool_call_count", "error_count", "unique_users",
    "avg_duration_ms", "memory_docs", "memory_chunks", "kg_entities", "kg_relations",
}  # fmt: skip


@pytest.fixture
async def ask(database: Database, dsn: str) -> Any:
    """Ask an operation at `NOW` as somebody: `await ask(operation, input, user="ann", role=Role.ADMIN, …)`."""

    async with open_system(database) as system:

        async def ask(operation: Any, wanted: Any, user: str = "lan", role: Role = Role.ADMIN, zone: str = "") -> Any:
            settings = Settings(agents=Agents(defaults=AgentDefaults(timezone=zone)))
            ctx = Context(House(settings, system, "1.2.3", "node", 0), Caller(user_id=user, role=role))
            ctx.now = lambda: NOW  # type: ignore[method-assign]
            return to_builtins(await operation(ctx, wanted))

        yield ask


@pytest.fixture
def past(database: Database, dsn: str) -> Any:
    past = Past(database, dsn)
    yield past
    past.db.close()


def given(input: Any, **members: Any) -> Any:
    """As a query string has it."""
    return decode(input, members, strict=False)


def iso(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


async def test_a_series_has_every_hour_also_those_without_anything(ask: Any, past: Past) -> None:
    await past.turn(NOW - 2 * HOUR)
    await past.turn(NOW - timedelta(minutes=1), session=2)

    points = (await ask(usage.timeseries, given(Timeseries)))["points"]
    assert [point["bucket_time"] for point in points] == [iso(THIS - ago * HOUR) for ago in range(24, -1, -1)]
    assert [point["llm_call_count"] for point in points] == [0] * 22 + [1, 0, 1], "the current hour is live"
    assert set(points[0]) == NUMBERS | {"bucket_time"}
    assert all(type(point["total_cost"]) is float for point in points)
    days = (await ask(usage.timeseries, given(Timeseries, interval="day")))["points"]
    assert [point["bucket_time"][10:] for point in days] == ["T00:00:00Z"] * 2
    assert sum(point["input_tokens"] for point in days) == 20
    (week, *_) = (await ask(usage.timeseries, given(Timeseries, group_by="week")))["points"]
    assert datetime.fromisoformat(week["bucket_time"]).weekday() == 0


async def test_an_empty_house_answers_with_zeros(ask: Any) -> None:
    assert len((await ask(usage.timeseries, given(Timeseries)))["points"]) == 25
    assert await ask(usage.breakdown, given(Breakdown)) == {"rows": []}
    zeros = dict.fromkeys(
        ("requests", "input_tokens", "output_tokens", "cost", "unpriced_calls", "unique_users", "errors", "llm_calls",
         "tool_calls", "avg_duration_ms"), 0)  # fmt: skip
    assert await ask(usage.summary, given(Summarize)) == {"period": "24h", "current": zeros, "previous": zeros}
    assert await ask(usage.get, given(ListUsage)) == {"records": [], "total": 0, "limit": 20, "offset": 0}
    assert await ask(usage.by_agent, Nothing()) == {"byAgent": {}, "totalRecords": 0}


async def test_a_breakdown_names_what_has_no_name_unknown(ask: Any, past: Past) -> None:
    await past.turn(NOW - HOUR, provider="groq", tool_calls=3)
    rows = (await ask(usage.breakdown, given(Breakdown)))["rows"]
    assert [(row["key"], row["llm_call_count"], row["request_count"]) for row in rows] == [
        ("groq", 1, 0),
        ("unknown", 0, 1),
    ]
    assert set(rows[0]) == NUMBERS | {"key"}
    for by, key in (("model", "m-1"), ("channel", "ws"), ("agent", "default")):
        assert (await ask(usage.breakdown, given(Breakdown, group_by=by)))["rows"][0]["key"] == key
    assert (await ask(usage.breakdown, given(Breakdown, provider="openai")))["rows"] == []


async def test_a_period_is_compared_with_the_same_span_before_it(ask: Any, past: Past) -> None:
    for days in (0.5, 1.5, 1.6, 5, 12, 40):
        await past.turn(NOW - timedelta(days=days))

    async def both(**wanted: Any) -> tuple[str, int, int]:
        found = await ask(usage.summary, given(Summarize, **wanted), zone=wanted.pop("zone", ""))
        return found["period"], found["current"]["llm_calls"], found["previous"]["llm_calls"]

    # what is settled comes from snapshots, and nobody made any of these hours
    await past.database.run(compute, [THIS - hours * HOUR for hours in range(24 * 60)])
    assert await both() == ("24h", 1, 2)
    assert await both(period="7d") == ("7d", 4, 1)
    assert await both(period="30d") == ("30d", 5, 1)
    since, until = iso(NOW - timedelta(days=2)), iso(NOW - timedelta(days=1))
    assert await both(**{"from": since, "to": until, "period": "7d"}) == ("custom", 2, 0), "from and to win"


@pytest.mark.parametrize("zone", ["", "Asia/Tokyo", "America/Los_Angeles", "Asia/Kolkata"])
async def test_today_begins_in_the_house_and_is_compared_with_as_much_of_yesterday(
    ask: Any, past: Past, zone: str
) -> None:
    begins = NOW.astimezone(zone_of(zone)).replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)
    day = timedelta(days=1)
    moments = {
        "today": begins + timedelta(seconds=1),
        "yesterday": begins - day + timedelta(seconds=1),
        "later yesterday": NOW - day + timedelta(seconds=1),
        "before": begins - day - timedelta(seconds=1),
    }
    for session, at in enumerate(moments.values()):
        await past.turn(at, session=session)
    await past.database.run(compute, [THIS - hours * HOUR for hours in range(80)])

    found = await ask(usage.summary, given(Summarize, period="today"), zone=zone)
    late = moments["later yesterday"] >= begins  # so close to midnight that it is today
    assert (found["current"]["requests"], found["previous"]["requests"]) == (2 if late else 1, 1)


async def test_conversations_are_listed_as_clients_know_them(ask: Any, past: Past) -> None:
    await past.turn(NOW - HOUR)
    await past.turn(NOW, session=2, user="ann")
    page = await ask(usage.get, given(ListUsage))
    assert page["total"] == 2
    assert page["records"][1] == {
        "agent_id": "default",
        "session_key": "agent:default:ws:direct:1",
        "model": "m-1",
        "provider": "openai",
        "input_tokens": 10,
        "output_tokens": 3,
        "total_tokens": 13,
        "timestamp": int((NOW - HOUR).timestamp() * 1000),
    }
    assert await ask(usage.get, given(ListUsage, offset=7, limit=900)) == {
        "records": [], "total": 2, "limit": 200, "offset": 7,
    }  # fmt: skip
    assert await ask(usage.by_agent, Nothing()) == {
        "byAgent": {"default": {"inputTokens": 20, "outputTokens": 6, "totalTokens": 26, "sessions": 2}},
        "totalRecords": 2,
    }


async def test_the_socket_has_camel_case() -> None:
    record = usage.UsageRecord(
        agent_id="a",
        session_key="s",
        model="m",
        provider="p",
        input_tokens=1,
        output_tokens=2,
        total_tokens=3,
        timestamp=4,
    )
    page = page_for_socket(usage.UsagePage(records=[record], total=1, limit=20, offset=0))
    assert page["records"] == [
        {"agentId": "a", "sessionKey": "s", "model": "m", "provider": "p", "inputTokens": 1, "outputTokens": 2,
         "totalTokens": 3, "timestamp": 4}
    ]  # fmt: skip


async def test_who_is_no_admin_sees_what_they_used(ask: Any, past: Past) -> None:
    await past.turn(NOW - HOUR)
    await past.turn(NOW - HOUR, session=2, user="ann")
    await past.turn(NOW - 9 * HOUR, session=2, user="ann")
    await past.database.run(compute, [THIS - hours * HOUR for hours in range(12)])
    hers: dict[str, Any] = {"user": "ann", "role": Role.VIEWER}

    assert (await ask(usage.get, given(ListUsage), **hers))["total"] == 1
    assert (await ask(usage.by_agent, Nothing(), **hers))["byAgent"]["default"]["inputTokens"] == 20
    assert (await ask(usage.summary, given(Summarize), **hers))["current"]["requests"] == 2
    assert (await ask(usage.breakdown, given(Breakdown), **hers))["rows"][0]["input_tokens"] == 20
    points = (await ask(usage.timeseries, given(Timeseries), **hers))["points"]
    assert sum(point["llm_call_count"] for point in points) == 2
    assert (await ask(usage.summary, given(Summarize)))["current"]["requests"] == 3
    with pytest.raises(Rejected):
        await ask(usage.summary, given(Summarize), user="", role=Role.VIEWER)


@pytest.mark.parametrize(
    ("operation", "input", "members", "field"),
    [
        (usage.timeseries, Timeseries, {"from": "yesterday"}, "from"),
        (usage.timeseries, Timeseries, {"from": "2026-11-21T10:00:00"}, "from"),
        (usage.timeseries, Timeseries, {"to": "0001-01-01"}, "to"),
        (usage.timeseries, Timeseries, {"to": "9999-12-31T23:59:59Z"}, "to"),
        (usage.timeseries, Timeseries, {"from": "2026-01-02", "to": "2026-01-02"}, "from"),
        (usage.timeseries, Timeseries, {"from": "2026-01-01", "to": "2026-03-26"}, "from"),
        (usage.timeseries, Timeseries, {"from": "1990-01-01", "group_by": "day"}, "from"),
        (usage.breakdown, Breakdown, {"from": "2026-01-03", "to": "2026-01-02"}, "from"),
        (usage.summary, Summarize, {"period": "custom", "from": "2026-01-03"}, "period"),
        (usage.summary, Summarize, {"from": "1970-01-02", "to": "9998-01-02"}, "from"),
        (usage.get, ListUsage, {"from": "2026-01-03", "to": "2026-01-03"}, "from"),
    ],
)
async def test_a_span_that_is_none_is_refused_by_name(
    ask: Any, operation: Any, input: Any, members: dict[str, str], field: str
) -> None:
    with trio.fail_after(5), pytest.raises(Rejected) as refused:
        await ask(operation, given(input, **members))
    assert refused.value.err.details["field"] == field


@pytest.mark.parametrize(
    ("input", "members"),
    [(Summarize, {"period": "1y"}), (Breakdown, {"group_by": "user"}), (Timeseries, {"group_by": "minute"})],
)
def test_an_unknown_period_or_group_is_refused(input: Any, members: dict[str, str]) -> None:
    with pytest.raises(Rejected):
        given(input, **members)


async def test_2000_points_are_not_too_many(ask: Any) -> None:
    since = datetime(2026, 1, 1, tzinfo=UTC)
    span = {"from": iso(since), "to": iso(since + 2000 * HOUR)}
    assert len((await ask(usage.timeseries, given(Timeseries, **span)))["points"]) == 2000
    with pytest.raises(Rejected) as refused:
        await ask(usage.timeseries, given(Timeseries, **{**span, "to": iso(since + 2001 * HOUR)}))
    assert refused.value.err.details["reason"] == "range_too_large"
