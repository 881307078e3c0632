"""The last words of a run that has no actor any more to say them."""

from __future__ import annotations

from msgspec import Raw

from goclaw.actors.engine.run import failure
from goclaw.actors.engine.voice import said_in, voice_of
from goclaw.domain import address as at
from goclaw.domain.errors import Err
from goclaw.domain.events import body
from goclaw.domain.run import RunResult
from goclaw.domain.session import RunEnded
from goclaw.runtime.actor import Context
from goclaw.stores import runs
from goclaw.stores.runs import Claimed


def lost(run: Claimed, error: Err) -> RunResult:
    return RunResult(run_id=run.run_id, session_key=run.session_key, error=error)


def announce_loss(ctx: Context, run: Claimed, error: Err = runs.LOST) -> None:
    """Tell its session and whoever listens that a run failed without its actor."""
    _announce(ctx, run, "run.failed", failure(error, ""), lost(run, error))


def announce_stop(ctx: Context, run: Claimed) -> None:
    """Likewise of a run that nobody wanted any more."""
    result = RunResult(run_id=run.run_id, session_key=run.session_key, cancelled=True, finish_reason="cancelled")
    left = run.kind == "http" and not run.idempotent  # whoever asked held the line
    _announce(ctx, run, "run.cancelled", body(reason="client_gone" if left else "user"), result)


def _announce(ctx: Context, run: Claimed, type: str, payload: Raw, result: RunResult) -> None:
    ctx.tell(at.session(run.tenant_id, run.session_key), RunEnded(run_id=run.run_id))
    voice_of(ctx, run, seq=said_in(run.fence)).say(type, payload, result=result)
