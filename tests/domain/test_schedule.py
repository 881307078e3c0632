"""When a job is due: cron expressions in zones that move their clocks. Contract: sessions-lanes-cron.md §5.2."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goclaw.domain.schedule import (
    Schedule,
    Unscheduled,
    checked,
    first,
    fnv1a,
    in_words,
    inside,
    instant,
    last_match,
    next_match,
    plain,
    stagger_of,
    tick,
    upcoming,
    zone_of,
)

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ZONES = [
    "UTC",
    "America/New_York",
    "Europe/Berlin",
    "Australia/Lord_Howe",  # half an hour
    "Asia/Kathmandu",
    "Pacific/Apia",  # skipped a whole day in 2011
    "Africa/Casablanca",
]


def cron(expr: str, zone: str = "", **more: timedelta) -> Schedule:
    return Schedule(kind="cron", expr=expr, zone=zone, **more)


def at(text: str, zone: str = "UTC") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def following(expr: str, zone: str, after: datetime, count: int) -> list[str]:
    """The next times, as clocks there show them."""
    times = upcoming(cron(expr, zone), after, count)
    return [f"{when.astimezone(ZoneInfo(zone)):%m-%d %H:%M}" for when in times]


# --- clocks that are moved (C5.4) -----------------------------------------------------------------


def test_sl30_a_time_that_does_not_exist_means_the_first_one_after() -> None:
    """SL-30: 02:00–03:00 does not exist in New York on 2026-03-08."""
    before = at("2026-03-07 12:00", "America/New_York")

    assert following("30 2 * * *", "America/New_York", before, 3) == ["03-08 03:00", "03-09 02:30", "03-10 02:30"]


def test_several_times_in_the_gap_are_one() -> None:
    before = at("2026-03-08 01:40", "America/New_York")

    times = following("*/15 * * * *", "America/New_York", before, 4)

    assert times == ["03-08 01:45", "03-08 03:00", "03-08 03:15", "03-08 03:30"]


def test_a_gap_at_midnight() -> None:
    before = at("2026-03-28 12:00", "Asia/Beirut")  # no 00:00 on the 29th

    assert following("0 0 * * *", "Asia/Beirut", before, 2) == ["03-29 01:00", "03-30 00:00"]


def test_a_day_that_does_not_exist() -> None:
    before = at("2011-12-29 12:00", "Pacific/Apia")  # no 30th of December 2011

    assert following("0 9 * * *", "Pacific/Apia", before, 2) == ["12-31 00:00", "12-31 09:00"]


@pytest.mark.parametrize("expr", ["30 1 * * *", "*/30 * * * *"])
def test_a_time_that_comes_twice_means_the_first_one(expr: str) -> None:
    before = at("2026-11-01 00:59", "America/New_York")  # 01:00–02:00 comes twice

    times = [when for when in upcoming(cron(expr, "America/New_York"), before, 10) if when < before + 3 * 60 * MINUTE]

    shown = [(f"{when.astimezone(ZoneInfo('America/New_York')):%H:%M}", when.hour) for when in times]
    assert shown.count(("01:30", 5)) == 1  # in summer time …
    assert ("01:30", 6) not in shown  # … and not an hour later


def test_nothing_is_due_twice_for_who_asks_in_the_second_hour() -> None:
    second = at("2026-11-01 05:10") + 60 * MINUTE  # 01:10 for the second time

    assert following("30 1 * * *", "America/New_York", second, 1) == ["11-02 01:30"]
    assert last_match("*/15 * * * *", second, ZoneInfo("America/New_York")) == at("2026-11-01 05:45")


def test_a_zone_without_summer_time_is_plain_arithmetic() -> None:
    assert following("30 2 * * *", "Asia/Ho_Chi_Minh", at("2026-03-07 12:00"), 2) == ["03-08 02:30", "03-09 02:30"]


# --- expressions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expr", "says"),
    [
        ("@hourly", "0 * * * *"),
        ("@Daily", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("  0  9 * jan-mar   mon,FRI ", "0 9 * jan-mar mon,FRI"),
        ("*/5 8-18/2 1,15 * 7", "*/5 8-18/2 1,15 * 7"),
    ],
)
def test_what_is_understood(expr: str, says: str) -> None:
    assert plain(expr) == says


def test_day_of_month_and_day_of_week_are_either_or() -> None:
    """2026-03-13 is a Friday."""
    assert following("0 0 15 * fri", "UTC", NOW, 3) == ["03-13 00:00", "03-15 00:00", "03-20 00:00"]


@pytest.mark.parametrize(
    ("expr", "reason"),
    [
        ("0 0 9 * * *", "5 fields are expected, there are 6"),
        ("9 * *", "5 fields are expected, there are 3"),
        ("", "an expression"),
        ("@often", "@hourly"),
        ("60 * * * *", "bad minute"),
        ("* * * * xyz", "bad day-of-week"),
        ("0 0 30 2 *", "bad day-of-month"),
        ("0,1,2,3," * 40 + "4 * * * *", "longer than 120"),
        ("*/0 * * * *", "bad minute"),
        ("1١ * * * *", "bad minute"),
    ],
)
def test_sl32_an_invalid_expression_is_refused_with_its_reason(expr: str, reason: str) -> None:
    with pytest.raises(Unscheduled, match=reason) as refused:
        checked(cron(expr), NOW)
    assert refused.value.field == "schedule.expr"


@given(st.text(alphabet="0123456789*/,-#LW @adehilmnoruy", max_size=24))
def test_no_text_is_too_strange(text: str) -> None:
    with suppress(Unscheduled):
        assert first(checked(cron(text), NOW), NOW) is not None


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd", "America", "Europe/Berlin\0", "x" * 300])
def test_sl32_an_unknown_zone_is_refused(zone: str) -> None:
    with pytest.raises(Unscheduled) as refused:
        checked(cron("0 9 * * *", zone), NOW)
    assert refused.value.field == "schedule.tz"


@pytest.mark.parametrize(
    ("schedule", "field", "reason"),
    [
        (Schedule(kind="at"), "schedule.atMs", "needs"),
        (Schedule(kind="at", at=NOW), "schedule.atMs", "at time is in the past"),
        (Schedule(kind="every"), "schedule.everyMs", "needs"),
        (Schedule(kind="every", every=timedelta(milliseconds=999)), "schedule.everyMs", "at least 1000 ms"),
        (Schedule(kind="every", every=timedelta(days=40_000)), "schedule.everyMs", "at least"),
        (Schedule(kind="cron"), "schedule.expr", "needs"),
    ],
)
def test_sl32_what_can_never_be_due_is_refused(schedule: Schedule, field: str, reason: str) -> None:
    with pytest.raises(Unscheduled, match=reason) as refused:
        checked(schedule, NOW)
    assert refused.value.field == field


# --- for all inputs -------------------------------------------------------------------------------

minutes = st.sampled_from(["*", "0", "30", "*/7", "10-20", "5,35,55"])
hours = st.sampled_from(["*", "0", "1", "2", "3", "*/5", "1-3", "22,23,0"])
days = st.sampled_from(["*", "1", "8", "*/2", "28-31"])
months = st.sampled_from(["*", "3", "11", "mar,oct,nov"])
weekdays = st.sampled_from(["*", "0", "7", "sun", "mon-fri"])
expressions = st.tuples(minutes, hours, days, months, weekdays).map(" ".join)
around_changes = st.sampled_from(
    [at("2026-03-08 07:00"), at("2026-11-01 06:00"), at("2026-03-29 01:00"), at("2026-10-25 01:00"),
     at("2026-04-04 15:00"), at("2026-10-03 15:30"), at("2011-12-30 10:00"), at("2026-02-15 02:00"), NOW]
)  # fmt: skip
moments = st.builds(lambda when, off: when + timedelta(seconds=off), around_changes, st.integers(-90_000, 90_000))


def means(expr: str, minute: datetime) -> bool:
    """The slow way: whether a naive local minute matches, field by field."""

    def matches(field: str, value: int, low: int, names: str = "") -> bool:
        for part in field.split(","):
            span, _, step = part.partition("/")
            begin, _, end = span.partition("-")
            if span == "*":
                found = (value - low) % int(step or 1) == 0
            elif end:
                found = number(begin, names, low) <= value <= number(end, names, low)
            else:
                found = number(begin, names, low) == value
            if found:
                return True
        return False

    def number(text: str, names: str, low: int) -> int:
        return names.split().index(text) + low if text in names.split() else int(text)

    m, h, dom, mon, dow = expr.split()
    day = matches(dom, minute.day, 1)
    weekday = any(matches(dow, n, 0, "sun mon tue wed thu fri sat") for n in {minute.isoweekday() % 7} | (
        {7} if minute.isoweekday() == 7 else set()
    ))  # fmt: skip
    either = day and weekday if dom.startswith("*") or dow.startswith("*") else day or weekday
    names = "jan feb mar apr may jun jul aug sep oct nov dec"
    return (
        matches(m, minute.minute, 0) and matches(h, minute.hour, 0) and matches(mon, minute.month, 1, names) and either
    )


def slow(expr: str, zone: ZoneInfo, begin: datetime, end: datetime) -> list[datetime]:
    """Every instant in (begin, end]: walk real time, and whatever a clock there shows or jumps over for the first time
    happens then."""
    real = begin.replace(second=0) - timedelta(hours=3)
    shown = real.astimezone(zone).replace(tzinfo=None, fold=0)
    found = []
    while real < end:
        real += MINUTE
        local = real.astimezone(zone).replace(tzinfo=None, fold=0)
        news = []
        while shown < local:  # more than one step is a gap; none while an hour is lived through again
            shown += MINUTE
            news.append(shown)
        if begin < real <= end and any(means(expr, minute) for minute in news):
            found.append(real)
    return found


@given(expressions, st.sampled_from(ZONES), moments)
def test_next_is_later_and_nothing_lies_between(expr: str, zone: str, now: datetime) -> None:
    there = zone_of(zone)
    found = next_match(expr, now, there)

    assert found is not None
    assert found > now
    previous = last_match(expr, found - timedelta(seconds=1), there)
    assert previous is None or previous <= now
    assert last_match(expr, found, there) == found


@given(expressions, st.sampled_from(ZONES), moments)
def test_it_is_what_the_slow_way_finds(expr: str, zone: str, now: datetime) -> None:
    there = zone_of(zone)
    until = now + timedelta(hours=5)
    expected = slow(expr, there, now, until)

    assert [when for when in upcoming(cron(expr, zone), now, len(expected) + 1) if when <= until] == expected


@given(st.sampled_from(ZONES), moments)
def test_a_local_time_is_one_instant(zone: str, now: datetime) -> None:
    there = zone_of(zone)
    local = now.astimezone(there).replace(tzinfo=None, fold=0)

    assert instant(local, there) <= now
    assert instant(local, there).astimezone(there).replace(tzinfo=None, fold=0) == local


# --- what was missed ------------------------------------------------------------------------------


def test_an_interval_does_not_drift() -> None:
    every = Schedule(kind="every", every=timedelta(seconds=10))

    found = tick(every, NOW, NOW + timedelta(seconds=3), "one")

    assert found.run == NOW
    assert found.next == NOW + timedelta(seconds=10)


def test_of_many_missed_ticks_the_latest_counts() -> None:
    every = Schedule(kind="every", every=timedelta(minutes=10))
    later = NOW + timedelta(minutes=47)

    found = tick(every, NOW, later, "one")

    assert found.run == NOW + timedelta(minutes=40)
    assert found.next == NOW + timedelta(minutes=50)
    assert found.late == timedelta(minutes=7)
    daily = tick(cron("0 9 * * *"), at("2026-03-01 09:00"), NOW, "one")
    assert (daily.run, daily.next) == (at("2026-03-10 09:00"), at("2026-03-11 09:00"))


def test_without_catching_up_what_was_missed_is_gone() -> None:
    every = Schedule(kind="every", every=timedelta(minutes=10))

    found = tick(every, NOW, NOW + timedelta(minutes=47), "none")

    assert found.run is None
    assert found.next == NOW + timedelta(minutes=50)


@pytest.mark.parametrize(("hours", "runs"), [(1, True), (23, True), (25, False)])
def test_one_time_is_made_up_for_within_a_day(hours: int, runs: bool) -> None:
    once = Schedule(kind="at", at=NOW)

    found = tick(once, NOW, NOW + timedelta(hours=hours), "none")

    assert (found.run is not None) is runs
    assert found.next is None


# --- the rest -------------------------------------------------------------------------------------


def test_jobs_that_share_a_time_are_spread() -> None:
    assert fnv1a("a") == 0xAF63DC4C8601EC8C  # the published value
    offset = stagger_of("0193a5b0-7000-7000-8000-000000000001", 60_000)
    assert timedelta() <= offset < MINUTE
    assert stagger_of("x", 0) == timedelta()

    spread = cron("0 9 * * *", stagger=offset)

    assert first(spread, NOW) == at("2026-03-11 09:00") + offset
    assert tick(spread, at("2026-03-09 09:00") + offset, NOW, "one").run == at("2026-03-10 09:00") + offset


@pytest.mark.parametrize(
    ("start", "end", "hour", "expected"),
    [
        ("22:00", "06:00", 23, True),
        ("22:00", "06:00", 3, True),
        ("22:00", "06:00", 12, False),
        ("08:00", "22:00", 8, True),
        ("08:00", "22:00", 22, False),
    ],
)
def test_sl37_hours_may_wrap_midnight(start: str, end: str, hour: int, expected: bool) -> None:
    assert inside(start, end, datetime(2026, 1, 1, hour, 30 if hour == 23 else 0)) is expected


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (40, "40 s"), (3600, "1 h"), (3900, "1 h 5 min"), (90_061, "1 d 1 h")]
)
def test_how_late_in_words(seconds: int, words: str) -> None:
    assert in_words(timedelta(seconds=seconds)) == words
