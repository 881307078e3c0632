"""A call of a tool is an actor below its run: killed or stopped there, the run goes on. Contract: tools.md T21."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from msgspec import Struct
from trio.testing import MockClock

from goclaw.actors.engine.tool_calls import SLOW, Durations, Made, ToolCalls
from goclaw.domain.chat import ToolCall
from goclaw.domain.estop import TOOL_CALLS, Change, ToolsStopped
from goclaw.runtime.actor import Actor, Context
from goclaw.runtime.address import Address
from goclaw.runtime.cell import Cell
from goclaw.runtime.child import child
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import System, open_system
from goclaw.security.estop import Brake, Levels, Stopped
from goclaw.security.paths import Workspace
from goclaw.tools.ledger import ToolResult
from goclaw.tools.pipeline import Toolbox
from goclaw.tools.tool import Effect, Tool, ToolContext, tool
from tests.runtime.house import NoDatabase
from tests.tools.web.reader import Reader

REACH = ToolContext(Workspace(Path("/nonexistent")), lambda: datetime.now(UTC), "")
RUN = Address("run")


class Nothing(Struct):
    pass


def named(work: Callable[[], Awaitable[str]], **options: Any) -> dict[str, Tool]:
    @tool(group="test", effect=Effect.PURE, **options)
    async def weigh(ctx: ToolContext, ask: Nothing) -> str:
        """Weigh."""
        return await work()

    return {"weigh": weigh.__tool__}  # type: ignore[attr-defined]


class Caller(Actor):
    """A run as far as calls see it: makes one, and says what came of it."""

    def __init__(
        self, tools: dict[str, Tool], brake: Brake, slow: list[str], durations: Durations, **arguments: Any
    ) -> None:
        self.tools, self.brake, self.slow, self.durations = tools, brake, slow, durations
        self.call = ToolCall(id="c1", name=next(iter(tools)), arguments=arguments)
        self.results: list[ToolResult] = []
        self.done = trio.Event()
        self.scope = trio.CancelScope()

    async def live(self, ctx: Context) -> None:
        calls = ToolCalls(
            ctx, "s", self.brake, self.durations, lambda name, id, after: self.slow.append(f"{name} {id}")
        )
        box = Toolbox(self.tools, REACH, through=calls)
        with self.scope:
            self.results.append(await box.act(self.call))
        self.done.set()
        await trio.sleep_forever()

    def _slow(self, name: str, id: str, _seconds: float) -> None:
        self.slow.append(f"{name} {id}")


class Scene:
    def __init__(self, work: Callable[[], Awaitable[str]], brake: Brake | None = None, **options: Any) -> None:
        self.brake, self.slow = brake or Brake(), list[str]()
        self.caller = Caller(named(work, **options), self.brake, self.slow, Durations())

    async def open(self, system: System) -> None:
        await system.start(child("", lambda: Supervisor([child("run", lambda: self.caller)])))


async def test_a_call_is_seen_below_its_run_and_gone_when_it_is_over() -> None:
    seen: list[list[Address]] = []
    begun, go_on = trio.Event(), trio.Event()

    async def work() -> str:
        begun.set()
        await go_on.wait()
        return "7 kg"

    scene = Scene(work)
    async with open_system(NoDatabase()) as system:
        await scene.open(system)
        with trio.fail_after(5):
            await begun.wait()
            cell = system.find(RUN / "weigh-1")
            seen.append([cell.address] if cell is not None else [])
            go_on.set()
            await scene.caller.done.wait()
            while system.find(RUN / "weigh-1") is not None:
                await trio.testing.wait_all_tasks_blocked()

    assert seen == [[RUN / "weigh-1"]]
    assert [one.text for one in scene.caller.results] == ["7 kg"]


async def test_a_killed_call_is_an_internal_result_and_the_run_goes_on() -> None:
    begun = trio.Event()

    async def hang() -> str:
        begun.set()
        await trio.sleep_forever()

    scene = Scene(hang)
    async with open_system(NoDatabase()) as system:
        await scene.open(system)
        with trio.fail_after(5):
            await begun.wait()
            cell = system.find(RUN / "weigh-1")
            assert isinstance(cell, Cell)
            cell.kill()
            await scene.caller.done.wait()

    assert [(one.is_error, one.error_code) for one in scene.caller.results] == [(True, "internal")]


async def test_a_stop_of_tools_ends_the_calls_that_are_made() -> None:
    begun = trio.Event()

    async def hang() -> str:
        begun.set()
        await trio.sleep_forever()

    scene = Scene(hang)
    async with open_system(NoDatabase()) as system:
        await scene.open(system)
        with trio.fail_after(5):
            await begun.wait()
            scene.brake.become(Stopped(tools=("other*",)))
            system.publish(TOOL_CALLS, ToolsStopped())
            await trio.testing.wait_all_tasks_blocked()
            assert not scene.caller.done.is_set()
            scene.brake.change(Change(engage=True, levels=Levels(tools=("w*",)), by="an", at=""))
            system.publish(TOOL_CALLS, ToolsStopped())
            await scene.caller.done.wait()

    (result,) = scene.caller.results
    assert (result.error_code, result.text) == ("denied_policy", "Error: weigh was stopped by the operator")


@pytest.mark.parametrize("levels", [Levels(network=True), Levels(all=True), Levels(tools=("web_*",))])
async def test_a_stop_of_the_network_ends_a_page_that_is_being_read(levels: Levels) -> None:
    """security.md §13: within a second; what is not of the network goes on, and the server sees us go."""
    asked, left = trio.Event(), trio.Event()

    async def slow(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>")
            asked.set()
            while await stream.receive_some():
                pass
            left.set()

    async with trio.open_nursery() as servers, open_system(NoDatabase()) as system:
        (listener,) = await servers.start(partial(trio.serve_tcp, slow, 0, host="127.0.0.1"))
        door = f"127.0.0.1:{listener.socket.getsockname()[1]}"
        reader = Reader(allow_hosts=(door,))
        scene = Scene(trio.sleep_forever)
        tools = {"web_fetch": reader.tools["web_fetch"]}
        scene.caller = Caller(tools, scene.brake, scene.slow, Durations(), url=f"http://{door}/")
        await scene.open(system)
        with trio.fail_after(5):
            await asked.wait()
            for one in (Levels(tools=("exec",)), levels):
                assert not scene.caller.done.is_set()
                scene.brake.change(Change(engage=True, levels=one, by="an", at=""))
                system.publish(TOOL_CALLS, ToolsStopped())
                await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(1):
            await scene.caller.done.wait()
            await left.wait()
        servers.cancel_scope.cancel()

    (result,) = scene.caller.results
    assert (result.error_code, result.text) == ("denied_policy", "Error: web_fetch was stopped by the operator")


async def test_a_cancelled_run_waits_for_the_tool_to_clean_up_and_no_longer_than_it_may(
    autojump_clock: MockClock,
) -> None:
    cleaned: list[float] = []

    async def stubborn() -> str:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)
                cleaned.append(trio.current_time())

    async def deaf() -> str:
        with trio.CancelScope(shield=True):
            await trio.sleep(60)
        return ""

    for work, takes, ended in ((stubborn, 3.0, 1), (deaf, 3.5, 0)):
        cleaned.clear()
        scene = Scene(work)
        async with open_system(NoDatabase()) as system:
            await scene.open(system)
            await trio.testing.wait_all_tasks_blocked()
            began = trio.current_time()
            scene.caller.scope.cancel()
            await scene.caller.done.wait()
            assert trio.current_time() - began == takes
            assert len(cleaned) == ended


async def test_a_call_that_takes_too_long_is_told_of_once(autojump_clock: MockClock) -> None:
    async def long() -> str:
        await trio.sleep(SLOW + 200)
        return "at last"

    scene = Scene(long, timeout=1000.0)
    async with open_system(NoDatabase()) as system:
        await scene.open(system)
        await scene.caller.done.wait()

    assert scene.slow == ["weigh c1"]
    assert scene.caller.results[0].text == "at last"


def test_slow_is_more_than_twice_the_longest_of_three() -> None:
    known = Durations()
    for seconds in (1.0, 4.0):
        known.took("s", "weigh", seconds)
    assert known.usual("s", "weigh") == SLOW
    known.took("s", "weigh", 2.0)
    assert known.usual("s", "weigh") == 8.0
    assert known.usual("other", "weigh") == SLOW


async def test_an_operator_who_restarts_a_call_does_not_make_it_twice() -> None:
    made: list[int] = []

    async def work() -> str:
        made.append(1)
        return "7 kg"

    again = Made("weigh", "c1", work)
    await again.make()
    await again.make()
    assert (len(made), again.said) == (1, "7 kg")
