"""One call of a tool, below the run that makes it: seen in the tree, and ended there while the run goes on.

Address   /engine/lanes/{lane}/{run_id}/{tool}-{n}
Contract  tools.md §1.4, §2; agent-loop.md §14; security.md §13
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable

import trio

from goclaw.domain.estop import TOOL_CALLS, ToolsStopped
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.child import Child, Restart
from goclaw.tools.gates import Estop, stopped
from goclaw.tools.pipeline import Work
from goclaw.tools.tool import Answer, Tool, ToolContext, ToolFailed

CANCEL = 3.5  # seconds until a cancelled call has ended; tools.md §2
SLOW = 120.0  # seconds, for a tool that has no history …
TIMES = 2  # … and of the longest call, for one that has …
SAMPLES = 3  # … so many
REMEMBERED = 10_000  # tools of sessions

Slow = Callable[[str, str, float], None]  # name, id, seconds


class Durations:
    """How long the tools of each session took, so that an unusual call is noticed."""

    def __init__(self) -> None:
        self._of: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()

    def usual(self, session: str, tool: str) -> float:
        """Seconds after which a call is slow."""
        known = self._of.get((session, tool), ())
        return TIMES * max(known) if len(known) >= SAMPLES else SLOW

    def took(self, session: str, tool: str, seconds: float) -> None:
        known = self._of.pop((session, tool), None) or deque(maxlen=32)
        known.append(seconds)
        self._of[session, tool] = known
        if len(self._of) > REMEMBERED:
            self._of.popitem(last=False)


class Made:
    """A call that is made: what its actor does, and what the run waits for."""

    def __init__(self, tool: Tool, call_id: str, work: Work) -> None:
        self.tool = tool
        self.call_id = call_id
        self.work = work
        self.scope = trio.CancelScope()
        self.over = trio.Event()
        self.said: str | Answer | None = None
        self.error: Exception | None = None
        self.stopped = ""  # why somebody stopped it

    async def make(self) -> None:
        """Once, however often its actor is started."""
        if self.over.is_set():
            return
        try:
            with self.scope:
                self.said = await self.work()
        except Exception as error:  # raised where the run waits
            self.error = error
        finally:
            self.over.set()

    def stop(self, why: str) -> None:
        self.stopped = why
        self.scope.cancel()


class ToolCallActor(Actor):
    def __init__(self, made: Made, estop: Estop) -> None:
        self.made = made
        self.estop = estop

    async def on_start(self, ctx: Context) -> None:
        ctx.join(TOOL_CALLS)
        self._look()

    async def live(self, ctx: Context) -> None:
        await self.made.make()

    @handles
    def stopped(self, _ctx: Context, _news: ToolsStopped) -> None:
        self._look()

    def _look(self) -> None:
        if why := stopped(self.estop, self.made.tool):
            self.made.stop(why)

    def release(self) -> None:
        """The run hears of any end, also of a kill."""
        self.made.over.set()

    def snapshot(self) -> dict[str, object]:
        return {"tool": self.made.tool.name, "call": self.made.call_id, "over": self.made.over.is_set()}


class ToolCalls:
    """Makes the calls of a run, each in a child of it (`pipeline.Through`). `slow` is told once of a slow one."""

    def __init__(self, ctx: Context, session: str, estop: Estop, durations: Durations, slow: Slow) -> None:
        self._ctx = ctx
        self._session = session
        self._estop = estop
        self._durations = durations
        self._slow = slow
        self._number = 0

    async def __call__(self, tool: Tool, reach: ToolContext, work: Work) -> str | Answer:
        self._number += 1
        made, began = Made(tool, reach.call_id, work), trio.current_time()
        child = Child(f"{tool.name}-{self._number}", ToolCallActor, (made, self._estop), restart=Restart.TEMPORARY)
        self._ctx.child(child)
        try:
            await self._ended(made)
        finally:
            if not made.over.is_set():
                made.scope.cancel()
                with trio.CancelScope(shield=True), trio.move_on_after(CANCEL):
                    await made.over.wait()
        if made.stopped:
            raise ToolFailed("denied_policy", f"{tool.name} was {made.stopped}")
        if made.error is not None:
            raise made.error
        if made.said is None:
            raise ToolFailed("internal", f"{tool.name} was ended from outside; try another way")
        self._durations.took(self._session, tool.name, trio.current_time() - began)
        return made.said

    async def _ended(self, made: Made) -> None:
        usual = self._durations.usual(self._session, made.tool.name)
        with trio.move_on_after(usual):
            return await made.over.wait()
        self._slow(made.tool.name, made.call_id, usual)
        await made.over.wait()
