"""Scheduled jobs: what is said to the model, and what their actor understands.

Contract: sessions-lanes-cron.md §5.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from goclaw.domain.events import CronEvent, body
from goclaw.domain.schedule import LATE, in_words
from goclaw.domain.session import SessionKey
from goclaw.runtime.message import Message

NAME = 100  # characters of a job's name; edge-websocket.md §7.7 (§5.1 has 64)
LOGS = 200  # runs of a job that are remembered; §5.2
PREVIEW = 500  # characters of an answer that are
ERRORS = 10  # in a row, then the job is disabled; C5.8
JITTER = 0.25  # of a retry's delay; C5.7
NO_REPLY = "NO_REPLY"  # an answer that is for nobody; agent-loop.md §11
SETTLED = "It ran by schedule and nobody waits for a reply. If there is nothing to report, answer NO_REPLY."

Trigger = Literal["tick", "force"]
Action = Literal["created", "updated", "deleted", "started", "completed", "failed", "skipped"]


class Look(Message[None]):
    """Something may be due, or over. Saying it twice is harmless."""


class Ran(Message[None]):
    run_id: str = ""  # empty: it was not due, or still runs


class RunJob(Message[Ran]):
    """Run a job now. `only_due`: and only if it is due. The schedule stays as it is. A `key` starts one run."""

    tenant_id: str
    job_id: str
    only_due: bool
    key: str = ""


def session_of(agent_key: str, job_id: str) -> SessionKey:
    return SessionKey(agent_key, f"cron:{job_id}")


def news(job_id: str, name: str, agent_id: str, user_id: str, action: Action, **more: object) -> CronEvent:
    """`more`: status, runId, error, nextRunAtMs; what is None or empty is left out."""
    said = {name: value for name, value in more.items() if value not in (None, "")}
    return CronEvent(body=body(jobId=job_id, jobName=name, agentId=agent_id, userId=user_id, action=action, **said))


def epoch_ms(when: datetime | None) -> int | None:
    return None if when is None else int(when.timestamp() * 1000)


def prompt(name: str, message: str, fired_at: datetime, late: timedelta) -> str:
    """What the model is told (C5.13). `fired_at` is in the job's zone."""
    note = f" (late by {in_words(late)})" if late > LATE else ""
    return f'[Cron job "{name}" fired at {fired_at:%Y-%m-%d %H:%M %Z}]{note} {message}'


def silent(text: str) -> bool:
    """Whether an answer is for nobody (C5.11)."""
    return text.strip().strip("*_`.") in ("", NO_REPLY)


def retry_delay(failed: int, base: float, longest: float, jitter: float) -> float:
    """Seconds before the next attempt after `failed` of them (1 = the first). `jitter` is from -1 to 1 (C5.7)."""
    exact = min(base * 2.0 ** (failed - 1), longest)
    return exact * (1 + JITTER * jitter)
