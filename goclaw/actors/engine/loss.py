"""A run that has no actor any more: what becomes of it, and its last words. Contract: durability.md §6."""

from __future__ import annotations

from msgspec import Raw

from goclaw.actors.engine.lane_news import Orphaned
from goclaw.actors.engine.trouble import failure
from goclaw.actors.engine.voice import said_in, voice_of
from goclaw.actors.engine.waits import requeued
from goclaw.domain import address as at
from goclaw.domain.delivery import Post
from goclaw.domain.errors import Err, StoreError, agent_timeout
from goclaw.domain.events import body
from goclaw.domain.locks import KeysFreed
from goclaw.domain.retry import Rules, delay
from goclaw.domain.run import KINDS, RunResult, stop_reason, suspected
from goclaw.domain.session import RunEnded
from goclaw.runtime.actor import Context
from goclaw.stores import elsewhere, run_recovery, run_replies
from goclaw.stores.runs import Claimed, StaleOwner

AGAIN = 0.5  # seconds before another try when the database is away


async def recover(ctx: Context, run: Claimed, rules: Rules) -> None:
    """Its actor crashed: it gets another life, or is over. Its lane, which asks, is told if that has to wait."""
    pause = delay(run.run_id, run.crash_count + 1, rules)
    try:
        outcome = await ctx.db(run_replies.recover, run, "crash", delay=pause)
    except StaleOwner:
        return
    except StoreError:
        ctx.after(AGAIN, Orphaned(run=run))
        return
    free_keys(ctx, run)
    ctx.log.warning("run.recovered", run=run.run_id, outcome=outcome)
    if outcome == "requeued":
        ctx.tell(ctx.address, requeued(run, suspect=suspected(run.crash_count + 1), due_in=pause))
    elif outcome == "cancelled":
        await announce_stop(ctx, run)
    else:
        ctx.system.meter.count("run_dead_letter_total", "DEAD_LETTER_CRASH_LOOP")
        announce_loss(ctx, run)


async def time_out(ctx: Context, run: Claimed) -> None:
    """It did not end in time, so it failed. Its lane is told if that has to wait."""
    error = agent_timeout(round(run.age + run.left))
    try:
        await ctx.db(run_replies.lost, run, err=error, reason="TIMEOUT", error="the run did not end")
    except StaleOwner:
        return
    except StoreError:
        ctx.after(AGAIN, Orphaned(run=run, overdue=True))
        return
    free_keys(ctx, run)
    announce_loss(ctx, run, error)


def free_keys(ctx: Context, run: Claimed) -> None:
    """Others may have what it held."""
    if run.keyed:
        ctx.tell(at.LOCKS, KeysFreed())


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
