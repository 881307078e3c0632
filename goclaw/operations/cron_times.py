"""Schedules as clients send them: checked, and as columns. Contract: sessions-lanes-cron.md §5.1."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from goclaw.domain.errors import Rejected, invalid
from goclaw.domain.schedule import EVERY, EVERY_OTHERS, Schedule, Unscheduled, checked, stagger_of
from goclaw.operations.context import Context
from goclaw.operations.cron_shapes import CronSchedule


def scheduled(ctx: Context, wanted: CronSchedule, id: str) -> tuple[Schedule, dict[str, Any]]:
    """A schedule that can be due, and its columns. Refuses what cannot."""
    schedule = Schedule(
        kind=wanted.kind,
        at=None if wanted.at_ms is None else datetime.fromtimestamp(wanted.at_ms / 1000, UTC),
        every=None if wanted.every_ms is None else timedelta(milliseconds=min(wanted.every_ms, 10**13)),
        expr=wanted.expr,
        zone=wanted.tz or zone(ctx),
        stagger=stagger_of(id, wanted.stagger_ms),
    )
    check(ctx, schedule)
    kind = wanted.kind
    return schedule, {
        "schedule_kind": kind,
        "run_at": schedule.at if kind == "at" else None,
        "interval_ms": wanted.every_ms if kind == "every" else None,
        "cron_expression": wanted.expr if kind == "cron" else None,
        "timezone": wanted.tz or "",
        "stagger_ms": wanted.stagger_ms,
    }


def check(ctx: Context, schedule: Schedule) -> None:
    try:
        checked(schedule, ctx.now(), shortest=EVERY if ctx.caller.is_admin else EVERY_OTHERS)
    except Unscheduled as refusal:
        raise Rejected(invalid(refusal.field, refusal.reason)) from None


def zone(ctx: Context) -> str:
    return ctx.house.settings.cron.default_timezone
