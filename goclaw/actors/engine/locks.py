"""The table of locks: wakes whoever waits for keys as soon as they are free, and says who holds theirs for long.

Address   /engine/queue/locks
Contract  nodes-autonomy.md §1, §3.4

Who holds what are rows. A wake-up that is lost costs the next look of the one who waits, never the run.
"""

from __future__ import annotations

from goclaw.actors.engine.engine import Engine
from goclaw.domain.address import lane
from goclaw.domain.errors import StoreError
from goclaw.domain.locks import KeysFreed
from goclaw.domain.run import RunQueued, suspected
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.message import Message
from goclaw.stores import locks

WATCH = 60.0  # seconds between two looks for keys that are held for long
AGAIN = 0.5  # seconds before another try when the database is away


class Wake(Message[None]):
    """Once for all the news that wait in the mailbox."""


class Watch(Message[None]):
    """Does anybody hold keys for too long?"""


class LockTable(Actor):
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.waking = False
        self.woken = 0
        self.long: set[str] = set()  # runs that were complained about

    async def on_start(self, ctx: Context) -> None:
        """What was freed while nobody listened."""
        self._wake_soon(ctx)
        ctx.every(WATCH, Watch())

    @handles
    async def freed(self, ctx: Context, _news: KeysFreed) -> None:
        self._wake_soon(ctx)

    @handles
    async def wake(self, ctx: Context, _tick: Wake) -> None:
        self.waking = False
        try:
            due = await ctx.db(locks.wake, rules=self.engine.locks)
        except StoreError as trouble:
            ctx.log.warning("locks.not_woken", error=str(trouble))
            self.waking = True
            ctx.after(AGAIN, Wake())
            return
        self.woken += len(due)
        for row in due:  # the lane rings, if another node owns the session
            ctx.system.meter.observe("resource_lock_wait_seconds", row.waited or 0.0, "woken")
            news = RunQueued(
                tenant_id=row.tenant_id,
                session_key=row.session_key,
                user_id=row.user_id,
                priority=row.priority,
                waited=0.0,
                suspect=suspected(row.crash_count),
            )
            ctx.tell(lane(row.lane), news)

    @handles
    async def watch(self, ctx: Context, _tick: Watch) -> None:
        try:
            found = await ctx.db(locks.long_held)
        except StoreError:
            return  # weather: the next look comes
        for held in found:
            if held.run_id not in self.long:
                ctx.log.warning("lock.held_long", run=held.run_id, keys=held.keys, seconds=round(held.seconds))
        self.long = {held.run_id for held in found}

    def _wake_soon(self, ctx: Context) -> None:
        if not self.waking:
            self.waking = True
            ctx.tell(ctx.address, Wake())

    def snapshot(self) -> dict[str, object]:
        return {"woken": self.woken}
