"""Schedules: when a job is due next, and which of the ticks that were missed counts. Pure.

Contract: sessions-lanes-cron.md §5.1, §5.2 (C5.3–C5.5). Expressions are cronsim's business, zones are ours: it walks
naive local times, and each of them becomes one instant here. A local time that does not exist means the first valid
instant after it, one that comes twice means the first time (C5.4), whatever the expression looks like.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from msgspec import Struct

Kind = Literal["at", "every", "cron"]
CatchUp = Literal["one", "none"]

LONGEST = 120  # characters of an expression; data-model.md §12
EVERY = timedelta(seconds=1)  # the shortest interval; §5.1
EVERY_OTHERS = timedelta(seconds=60)  # … of somebody who is no admin
FOREVER = timedelta(days=36_500)  # the longest: a century is never
CATCH_UP = timedelta(hours=24)  # a tick that was missed by more is not made up for; C5.5
LATE = timedelta(seconds=5)  # a tick this late was missed: nobody was there; supervision.md §13
STAGGER = 3_600_000  # ms, the largest
MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}


class Unscheduled(ValueError):
    """The schedule cannot be. `field` is the one to mend."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


class Schedule(Struct, frozen=True, kw_only=True):
    """When. `zone` is an IANA name; empty means UTC. `stagger` moves every tick of `cron` and `every`."""

    kind: Kind
    at: datetime | None = None
    every: timedelta | None = None
    expr: str | None = None
    zone: str = ""
    stagger: timedelta = timedelta()


class Tick(Struct, frozen=True, kw_only=True):
    """What is due: the tick to run, None if what was missed is too old; and the one after now, None if never."""

    run: datetime | None
    next: datetime | None
    late: timedelta


def checked(schedule: Schedule, now: datetime, *, shortest: timedelta = EVERY) -> Schedule:
    """The schedule, if it can ever be due. Raises Unscheduled."""
    zone_of(schedule.zone)
    match schedule.kind:
        case "at":
            if schedule.at is None:
                raise Unscheduled("schedule.atMs", "kind at needs a time")
            if schedule.at <= now:
                raise Unscheduled("schedule.atMs", "at time is in the past")
        case "every":
            if schedule.every is None:
                raise Unscheduled("schedule.everyMs", "kind every needs an interval")
            if not shortest <= schedule.every <= FOREVER:
                raise Unscheduled("schedule.everyMs", f"at least {int(shortest.total_seconds() * 1000)} ms")
        case "cron":
            if not schedule.expr:
                raise Unscheduled("schedule.expr", "kind cron needs an expression")
            plain(schedule.expr)
            if first(schedule, now) is None:
                raise Unscheduled("schedule.expr", "it is never due")
    return schedule


def first(schedule: Schedule, now: datetime) -> datetime | None:
    """The first time it is due after `now`, for a schedule that begins now."""
    if schedule.kind == "at":
        return schedule.at
    if schedule.kind == "every":
        return now + _every(schedule) + schedule.stagger
    return next_match(plain(schedule.expr or ""), now - schedule.stagger, zone_of(schedule.zone), schedule.stagger)


def tick(schedule: Schedule, due: datetime, now: datetime, catch_up: CatchUp) -> Tick:
    """What to do about a job that was due at `due` ≤ `now`: at most one run, for the latest tick (C5.5)."""
    latest, after = due, None
    if schedule.kind == "every":
        interval = _every(schedule)
        latest = due + (now - due) // interval * interval
        after = latest + interval  # from the scheduled time, so nothing drifts (C5.3)
    elif schedule.kind == "cron":
        zone, expr = zone_of(schedule.zone), plain(schedule.expr or "")
        if (found := last_match(expr, now - schedule.stagger, zone, schedule.stagger)) is not None:
            latest = max(due, found)
        after = next_match(expr, now - schedule.stagger, zone, schedule.stagger)
    late = now - latest
    missed = late > CATCH_UP or (late > LATE and schedule.kind != "at" and catch_up == "none")
    return Tick(run=None if missed else latest, next=after, late=late)


def upcoming(schedule: Schedule, now: datetime, count: int) -> list[datetime]:
    """The next times it is due, at most `count`."""
    if schedule.kind == "at":
        return [schedule.at] if schedule.at is not None and schedule.at > now else []
    found: list[datetime] = []
    when = first(schedule, now)
    while when is not None and len(found) < count:
        found.append(when)
        when = when + _every(schedule) if schedule.kind == "every" else first(schedule, when)
    return found


def plain(expr: str) -> str:
    """The five fields of an expression, macros spelt out. Raises Unscheduled."""
    text = " ".join(expr.split())
    text = MACROS.get(text.lower(), text)
    if len(text) > LONGEST:
        raise Unscheduled("schedule.expr", f"longer than {LONGEST} characters")
    if text.startswith("@"):
        raise Unscheduled("schedule.expr", f"the names are {', '.join(MACROS)}")
    if (fields := len(text.split())) != 5:
        raise Unscheduled("schedule.expr", f"5 fields are expected, there are {fields}")
    try:
        CronSim(text, datetime(2000, 1, 1))
    except CronSimError as error:
        raise Unscheduled("schedule.expr", str(error).lower()) from None
    return text


def zone_of(name: str) -> ZoneInfo:
    """Raises Unscheduled for a name nobody knows."""
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a directory of zones
        raise Unscheduled("schedule.tz", f"there is no time zone {name[:64]!r}; use an IANA name") from None


def next_match(expr: str, after: datetime, zone: ZoneInfo, stagger: timedelta = timedelta()) -> datetime | None:
    """The first instant after `after` that the expression means; None if there is none in 50 years."""
    local = after.astimezone(zone).replace(tzinfo=None, fold=0)
    for candidate in CronSim(expr, local):
        if (found := instant(candidate, zone)) > after:
            return found + stagger
    return None


def last_match(expr: str, until: datetime, zone: ZoneInfo, stagger: timedelta = timedelta()) -> datetime | None:
    """The latest instant that is not after `until`; None if there was none in 50 years."""
    aware = until.astimezone(zone)
    before, now = aware.replace(fold=0).utcoffset(), aware.utcoffset()
    assert before is not None
    assert now is not None
    # an hour that is lived through for the second time has been matched to its end the first time
    local = aware.replace(tzinfo=None, fold=0) + max(before - now, timedelta()) + timedelta(seconds=1)
    for candidate in CronSim(expr, local.replace(microsecond=0), reverse=True):
        if (found := instant(candidate, zone)) <= until:
            return found + stagger
    return None


def instant(local: datetime, zone: ZoneInfo) -> datetime:
    """When a naive local time is: its first occurrence, or the first valid instant after it (C5.4). In UTC."""
    found = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if found.astimezone(zone).replace(tzinfo=None, fold=0) == local:
        return found
    early, late = local.replace(tzinfo=zone, fold=1).astimezone(UTC), found  # the clocks are moved between the two
    jumped = late.astimezone(zone).utcoffset()
    while late - early > timedelta(seconds=1):
        middle = (early + (late - early) // 2).replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == jumped:
            late = middle
        else:
            early = middle
    return late


def stagger_of(job_id: str, most_ms: int) -> timedelta:
    """The constant offset of a job: FNV-1a of its id modulo `most_ms` (§5.1)."""
    return timedelta(milliseconds=fnv1a(job_id) % most_ms) if most_ms > 0 else timedelta()


def fnv1a(text: str) -> int:
    """64 bits."""
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


def inside(start: str, end: str, local: datetime) -> bool:
    """Whether a local time lies in the hours from `start` to `end` (`HH:MM`), which may wrap midnight."""
    now = f"{local:%H:%M}"
    return start <= now < end if start <= end else now >= start or now < end


def in_words(late: timedelta) -> str:
    """ "1 h 5 min", "40 s": the two largest units."""
    seconds = int(late.total_seconds())
    parts = [(seconds // 86_400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "min"), (seconds % 60, "s")]
    return " ".join([f"{count} {unit}" for count, unit in parts if count][:2]) or "0 s"


def _every(schedule: Schedule) -> timedelta:
    assert schedule.every is not None  # checked when it was stored
    return schedule.every
