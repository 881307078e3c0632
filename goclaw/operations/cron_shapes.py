"""What a scheduled job and its log look like on the wire. Contract: wire-compat.md E7, edge-websocket.md §7.7, §9."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from goclaw.domain.cron import epoch_ms
from goclaw.domain.schedule import STAGGER, Kind
from goclaw.stores.cron import Job, LogRow, Status

LAST_MS = 253_402_300_799_000  # the end of the year 9999


class CronSchedule(Struct, rename="camel", omit_defaults=True, kw_only=True):
    """E-CronSchedule. Members of other kinds than `kind` are ignored."""

    kind: Kind
    at_ms: Annotated[int, Meta(ge=0, le=LAST_MS)] | None = None
    every_ms: Annotated[int, Meta(ge=0, le=9_007_199_254_740_991)] | None = None
    expr: Annotated[str, Meta(max_length=500)] | None = None
    tz: Annotated[str, Meta(max_length=64)] | None = None
    stagger_ms: Annotated[int, Meta(ge=0, le=STAGGER)] = 0


class CronPayload(Struct, omit_defaults=True, kw_only=True):
    kind: str
    message: str
    deliver: bool
    channel: str
    to: str
    stateless: bool
    wake_heartbeat: bool
    prompt_file: str = msgspec.field(name="promptFile", default="")


class CronState(Struct, rename="camel", omit_defaults=True, kw_only=True):
    next_run_at_ms: int | None = None
    last_run_at_ms: int | None = None
    last_status: Status | None = None
    last_error: str | None = None
    consecutive_errors: int = 0
    run_count: int = 0


class CronJob(Struct, rename="camel", kw_only=True):
    """E-CronJob (wire-compat.md E7)."""

    id: str
    name: str
    agent_id: str
    agent_key: str
    user_id: str
    enabled: bool
    schedule: CronSchedule
    payload: CronPayload
    state: CronState
    delete_after_run: bool
    timeout_sec: int | None
    created_at_ms: int
    updated_at_ms: int


class CronFigures(Struct, rename="camel", omit_defaults=True, kw_only=True):
    enabled: bool
    running: int
    jobs: int
    next_run_at_ms: int | None = None


class CronEntry(Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A line of the run log (wire-compat.md C8)."""

    id: str
    ts: int
    job_id: str
    status: Status
    input_tokens: int
    output_tokens: int
    attempt: int
    trigger: str
    duration_ms: int | None = None
    run_id: str | None = None
    error: str | None = None
    summary: str | None = None
    delivery: str | None = None
    delivery_error: str | None = None


def job_of(row: Job) -> CronJob:
    return CronJob(
        id=row.id,
        name=row.name,
        agent_id=row.agent_id,
        agent_key=row.agent_key,
        user_id=row.user_id,
        enabled=row.enabled,
        schedule=CronSchedule(
            kind=row.schedule_kind,
            at_ms=epoch_ms(row.run_at),
            every_ms=row.interval_ms,
            expr=row.cron_expression,
            tz=row.timezone or None,
            stagger_ms=row.stagger_ms,
        ),
        payload=CronPayload(
            kind="agent_turn",
            message=row.payload.get("message", ""),
            deliver=row.deliver,
            channel=row.deliver_channel or "",
            to=row.deliver_to or "",
            stateless=row.stateless,
            wake_heartbeat=row.wake_heartbeat,
            prompt_file=row.prompt_file,
        ),
        state=state_of(row),
        delete_after_run=row.delete_after_run,
        timeout_sec=row.timeout_sec,
        created_at_ms=epoch_ms(row.created_at) or 0,
        updated_at_ms=epoch_ms(row.updated_at) or 0,
    )


def state_of(row: Job) -> CronState:
    return CronState(
        next_run_at_ms=epoch_ms(row.next_run_at),
        last_run_at_ms=epoch_ms(row.last_run_at),
        last_status=row.last_status,
        last_error=row.last_error,
        consecutive_errors=row.consecutive_errors,
        run_count=row.run_count,
    )


def entry_of(row: LogRow) -> CronEntry:
    return CronEntry(
        id=row.id,
        ts=epoch_ms(row.started_at or row.scheduled_at) or 0,
        job_id=row.job_id,
        status=row.status,
        duration_ms=row.duration_ms,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        attempt=row.attempt,
        trigger=row.trigger,
        run_id=row.run_id,
        error=row.error,
        summary=row.output_preview,
        delivery=row.delivery,
        delivery_error=row.delivery_error,
    )
