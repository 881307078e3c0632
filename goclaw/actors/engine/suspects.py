"""Runs that crashed before: one at a time on the whole node, in a place of its own beside the slots.

Contract: durability.md §6.4.
"""

from __future__ import annotations

from goclaw.actors.engine.claims import Claims
from goclaw.actors.engine.lane_news import Orphaned, SuspectsMayRun, tell_lanes
from goclaw.actors.engine.loss import AGAIN, announce_stop, free_keys
from goclaw.actors.engine.ready import Ready
from goclaw.actors.engine.waits import requeued
from goclaw.domain.errors import StoreError
from goclaw.domain.run import SUSPECT
from goclaw.runtime.actor import Context
from goclaw.stores import elsewhere, run_queue, run_recovery
from goclaw.stores.runs import Claimed, StaleOwner


class Suspects:
    """Of a lane. Whoever holds the place is in the group `SUSPECT`."""

    def __init__(self, ready: Ready, claims: Claims) -> None:
        self.ready = ready
        self.claims = claims

    def may_run(self, ctx: Context) -> bool:
        return SUSPECT not in ctx.system.groups

    async def claim(self, ctx: Context) -> Claimed | None:
        """The next one, if it may run. Raises StoreError."""
        if not self.ready.suspects or not self.may_run(ctx):
            return None
        ctx.join(SUSPECT)
        chosen = self.ready.next_suspect(ctx.clock.monotonic())
        try:
            claimed = await self.claims.claim(ctx, [chosen])
        except StaleOwner:
            claimed = []  # another node owns it by now
        except StoreError:
            self.ready.suspects.add(chosen)
            ctx.leave(SUSPECT)
            raise
        if not claimed:
            self.gone(ctx)
            return None
        (run,) = claimed
        return run if await self._name(ctx, run) else None

    async def admit(self, ctx: Context, run: Claimed) -> bool:
        """Claimed among the others, because nobody had told us that it is one. If it may not run, it is put back."""
        if self.may_run(ctx):
            ctx.join(SUSPECT)
            return await self._name(ctx, run)
        try:
            await ctx.db(run_recovery.put_back, run, reason="RELEASE_SUSPECT")
            stopped = await ctx.db(elsewhere.endings, runs=[run.run_id])
        except StaleOwner:
            return False
        except StoreError:
            ctx.after(AGAIN, Orphaned(run=run))
            return False
        if stopped:
            await announce_stop(ctx, run)
        free_keys(ctx, run)
        self.ready.learn(requeued(run, suspect=True), ctx.clock.monotonic())
        return False

    def gone(self, ctx: Context) -> None:
        ctx.leave(SUSPECT)
        tell_lanes(ctx, SuspectsMayRun())

    async def _name(self, ctx: Context, run: Claimed) -> bool:
        """Whatever it does to us, the log names it. False if it is not ours any more."""
        ctx.log.warning("run.suspect", text=f"suspect run {run.run_id}", run=run.run_id, crashes=run.crash_count)
        try:
            await ctx.db(run_queue.suspect, run)
        except StaleOwner:
            self.gone(ctx)
            return False
        except StoreError as trouble:
            ctx.log.warning("run.suspect_not_written", run=run.run_id, error=str(trouble))
        return True
