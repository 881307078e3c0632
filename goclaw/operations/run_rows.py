"""Runs and what befell them as clients see them: E-Run, E-RunEvent. Contract: edge-http.md §23."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct, convert

from goclaw.domain.run import Lane, RunKind, RunResult, RunState
from goclaw.domain.texts import text_of
from goclaw.domain.usage import on_socket
from goclaw.operations.context import Context
from goclaw.stores.run_views import EventRow, RunRow


class Run(Struct, omit_defaults=True, kw_only=True):
    """E-Run (edge-http.md §23), the same on all surfaces."""

    id: str
    kind: RunKind
    agent_id: str | None
    agent_key: str
    user_id: str
    session_key: str
    content_preview: str
    state: RunState
    sub_status: str | None = None
    attempt: int
    max_attempts: int
    recoveries: int
    priority: int
    lane: Lane
    cancel_requested: bool = False
    lease_owner: str | None = None
    lease_expires_at: datetime | None = None
    available_at: datetime | None = None
    resource_keys: list[str]
    metadata: dict[str, Any] | None = None  # as it was given; of a run looked at alone
    result: dict[str, Any] | None = None
    reason: str | None = None
    error: dict[str, str] | None = None
    parent_run_id: str | None = None
    merged_into: str | None = None
    requeued_from: str | None = None
    trace_id: str | None = None
    created_at: datetime
    claimed_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    updated_at: datetime


class RunTrailEvent(Struct, omit_defaults=True, kw_only=True):
    """E-RunEvent. `actor` is who did it: an operator, else the node that held the run."""

    event_id: int
    run_id: str
    type: str
    state_from: RunState | None = None
    state_to: RunState | None = None
    reason: str | None = None
    actor: str | None = None
    attempt: int
    trace_id: str | None = None
    payload: dict[str, Any]
    created_at: datetime


def run_of(ctx: Context, row: RunRow) -> Run:
    result, error = _outcome(ctx, row)
    return Run(
        id=row.run_id,
        kind=row.kind,
        agent_id=row.agent_id,
        agent_key=row.agent_key,
        user_id=row.user_id,
        session_key=row.session_key,
        content_preview=row.preview,
        state=row.state,
        sub_status=_sub_status(row),
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        recoveries=row.crash_count,
        priority=row.priority,
        lane=row.lane,
        cancel_requested=row.cancel_requested is not None,
        lease_owner=row.lease_owner,
        lease_expires_at=row.lease_expires_at,
        available_at=row.available_at,
        resource_keys=row.resource_keys,
        metadata=_metadata(row),
        result=result,
        reason=row.reason_code,
        error=error,
        parent_run_id=row.parent_run_id,
        merged_into=row.merged_into,
        requeued_from=row.requeued_from,
        trace_id=row.trace_id,
        created_at=row.created_at,
        claimed_at=row.claimed_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        updated_at=row.updated_at,
    )


def _metadata(row: RunRow) -> dict[str, Any] | None:
    text = (row.request or {}).get("metadata")
    return msgspec.json.decode(text, type=dict[str, Any]) if text else None


def _sub_status(row: RunRow) -> str | None:
    """What a run waits for that is due, or would be if it had its keys."""
    if row.state != "QUEUED" or (row.later and not row.wait_reason):
        return None
    return row.wait_reason or ("session_slot" if row.slot_taken else "lane_slot")


def _outcome(ctx: Context, row: RunRow) -> tuple[dict[str, Any] | None, dict[str, str] | None]:
    error = {"code": row.reason_code or "INTERNAL", "message": row.last_error} if row.last_error else None
    if row.result is None:
        return None, error
    if (comparison := row.result.get("comparison")) is not None:
        return msgspec.json.decode(comparison), error
    ended = convert(row.result, RunResult)
    if ended.error is not None:
        error = {"code": ended.error.code, "message": text_of(ended.error, ctx.caller.locale)}
    return {"content": ended.content, "usage": on_socket(ended.usage, cost=ended.cost_usd)}, error


def event_of(row: EventRow) -> RunTrailEvent:
    return RunTrailEvent(
        event_id=row.event_id,
        run_id=row.run_id,
        type=row.type,
        state_from=row.state_from,
        state_to=row.state_to,
        reason=row.reason_code,
        actor=row.actor or row.node_id,
        attempt=row.attempt,
        trace_id=row.trace_id,
        payload=row.payload,
        created_at=row.at,
    )
