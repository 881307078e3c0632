"""What a tool call costs that does nothing: `python -m benchmarks.tools`.

The whole pipeline (policy, emergency stop, arguments, rates, scrubbing, marking) with an actor for each call, beside a
bare await of the same function, call by call in one run. Milliseconds. Target: p50 of what the pipeline adds <= 3 ms.
"""

from __future__ import annotations

import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trio
from msgspec import Struct

from goclaw.actors.engine.guards import Guards, permit, rate, unless_stopped
from goclaw.actors.engine.rates import Rates
from goclaw.actors.engine.tool_calls import Durations, ToolCalls
from goclaw.domain.chat import ToolCall
from goclaw.runtime.actor import Actor, Context
from goclaw.runtime.child import child
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import open_system
from goclaw.security.paths import Workspace
from goclaw.settings.tools import Tools
from goclaw.stores.runs import Claimed
from goclaw.tools.clean import marking, scrubbing
from goclaw.tools.pipeline import Toolbox
from goclaw.tools.tool import Effect, Tool, ToolContext, tool

CALLS = 3000
TARGET = 3.0  # milliseconds


class Stone(Struct):
    stone: str


@tool(group="test", effect=Effect.PURE)
async def weigh(ctx: ToolContext, ask: Stone) -> str:
    """Weigh."""
    await trio.lowlevel.checkpoint()
    return ask.stone


class NoDatabase:
    async def run(self, work: Any, /, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("nobody is asked")


RUN = Claimed(
    run_id="r",
    tenant_id="t",
    session_key="s",
    agent_id=None,
    agent_key="a",
    user_id="u",
    kind="chat",
    lane="main",
    attempt=1,
    crash_count=0,
    fence=1,
    lease_owner="n",
    stored="{}",
    created_at=datetime.now(UTC),
    age=0.0,
)


class Measure(Actor):
    def __init__(self, done: trio.Event, took: list[tuple[float, float]]) -> None:
        self.done, self.took = done, took

    async def live(self, ctx: Context) -> None:
        guards = Guards()
        declared: Tool = weigh.__tool__  # type: ignore[attr-defined]
        reach = ToolContext(Workspace(Path("/nonexistent")), lambda: datetime.now(UTC), "")
        box = Toolbox(
            {"weigh": declared},
            reach,
            before=(permit(guards.policy.pin("t")), unless_stopped(guards.estop)),
            after=(rate(ctx, RUN),),
            finish=(scrubbing(guards.known), marking(guards.known, "warn")),
            through=ToolCalls(ctx, "s", guards.estop, Durations(), lambda name, id, seconds: None),
        )
        wanted, ask = ToolCall(id="c", name="weigh", arguments={"stone": "jade"}), Stone("jade")
        for _ in range(CALLS):
            began = time.perf_counter()
            await declared.fn(reach, ask)
            bare = time.perf_counter()
            await box.act(wanted)
            self.took.append((bare - began, time.perf_counter() - bare))
        self.done.set()
        await trio.sleep_forever()


async def main() -> float:
    done, took = trio.Event(), list[tuple[float, float]]()

    def tree() -> Supervisor:
        settings = Tools(rate_limit_per_hour=0, rate_limit_per_hour_user=0)
        policy = Supervisor([child("rates", Rates, settings)])
        engine = Supervisor([child("policy", lambda: policy), child("run", Measure, done, took)])
        return Supervisor([child("engine", lambda: engine)])

    async with open_system(NoDatabase(), debug=False) as system:
        await system.start(child("", tree))
        await done.wait()
    added = []
    for name, times in (("bare await", [one for one, _ in took]), ("pipeline", [other for _, other in took])):
        cuts = statistics.quantiles([each * 1000 for each in times[CALLS // 10 :]], n=100)
        added.append(cuts[49])
        print(f"{name:12} p50 {cuts[49]:.3f}  p95 {cuts[94]:.3f}  p99 {cuts[98]:.3f} ms")
    print(f"the pipeline adds {added[1] - added[0]:.3f} ms to p50; target {TARGET:g}")
    return added[1] - added[0]


if __name__ == "__main__":
    sys.exit(trio.run(main) > TARGET)
