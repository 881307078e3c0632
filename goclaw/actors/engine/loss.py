"""The last words of a run that has no actor any more to say them."""

from __future__ import annotations

from msgspec import Raw

from goclaw.actors.engine.run import failure
from goclaw.actors.engine.voice import said_in, voice_of
from goclaw.domain import address as at
from goclaw.domain.delivery import Post
from goclaw.domain.errors import Err, StoreError
from goclaw.domain.events import body
from goclaw.domain.run import KINDS, RunResult, stop_reason
from goclaw.domain.session import RunEnded
from goclaw.runtime.actor import Context
from goclaw.stores import elsewhere, run_recovery
from goclaw.stores.runs import Claimed


def lost(run: Claimed, error: Err) -> RunResult:
    return RunResult(run_id=run.run_id, session_key=run.session_key, error=error)


def announce_loss(ctx: Context, run: Claimed, error: Err = run_recovery.LOST) -> None:
    """Tell its session and whoever listens that a run failed without its actor."""
    _announce(ctx, run, "run.failed", failure(error, ""), lost(run, error))
    ctx.tell(at.OUTBOX, Post())


async def announce_stop(ctx: Context, run: Claimed) -> None:
    """Likewise of a run that nobody wanted any more, for the reason it was given."""
    result = RunResult(run_id=run.run_id, session_key=run.session_key, cancelled=True, finish_reason="cancelled")
    try:
        wish = await ctx.db(elsewhere.stop_wish, tenant=run.tenant_id, run_id=run.run_id)
    except StoreError:
        wish = None  # weather; who listens hears that it is over, at least
    if wish is not None:
        payload = stop_of(wish.reason, wish.by)
    elif run.kind == "http":
        payload = stop_of("client_gone")  # whoever asked held the line of a process that ended
    else:
        payload = stop_of("user" if KINDS[run.kind].recovers else "supervisor")
    _announce(ctx, run, "run.cancelled", payload, result)


def stop_of(wish: str, by: str = "") -> Raw:
    """The payload of run.cancelled."""
    return body(reason=stop_reason(wish), by=by) if by else body(reason=stop_reason(wish))


def _announce(ctx: Context, run: Claimed, type: str, payload: Raw, result: RunResult) -> None:
    ctx.tell(at.session(run.tenant_id, run.session_key), RunEnded(run_id=run.run_id))
    voice_of(ctx, run, seq=said_in(run.fence)).say(type, payload, result=result)
