"""Calls made at the same time, each the whole way. Contract: tools.md §10 (`parallel`)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
import trio
from msgspec import Struct
from trio.testing import MockClock

from goclaw.domain.chat import ToolCall
from goclaw.tools.automation.parallel import parallel
from goclaw.tools.ledger import ToolResult
from goclaw.tools.pipeline import Toolbox
from goclaw.tools.tool import Effect, Tool, ToolContext, ToolFailed, tool
from tests.tools.test_pipeline import CTX


class Stone(Struct):
    seconds: float = 1.0


@tool(group="test", effect=Effect.PURE, parallel=True)
async def weigh(ctx: ToolContext, ask: Stone) -> str:
    """Weigh."""
    await trio.sleep(ask.seconds)
    return f"{ask.seconds:g} kg"


@tool(group="test", effect=Effect.PURE)
async def alone(ctx: ToolContext, ask: Stone) -> str:
    """Weigh alone."""
    return ""


DECLARED: list[Tool] = [getattr(fn, "__tool__") for fn in (weigh, alone, parallel)]  # noqa: B009 - a mark
TOOLS = {tool.name: tool for tool in DECLARED}


async def made(*calls: dict[str, Any], at_once: int = 2, **box: Any) -> ToolResult:
    hands = Toolbox(TOOLS, replace(CTX, at_once=at_once), **box)
    return await hands.act(ToolCall(id="c", name="parallel", arguments={"calls": list(calls)}))


def ask(seconds: float, id: str = "", name: str = "weigh") -> dict[str, Any]:
    return {"tool": name, "arguments": {"seconds": seconds}, **({"id": id} if id else {})}


async def test_results_are_in_the_order_of_the_calls_however_long_each_takes(autojump_clock: MockClock) -> None:
    result = await made(ask(3, "slow"), ask(1), ask(2, "last"))
    assert result.text == (
        '{"slow":{"ok":true,"result":"3 kg"},"2":{"ok":true,"result":"1 kg"},"last":{"ok":true,"result":"2 kg"}}'
    )


async def test_no_more_run_at_a_time_than_may(autojump_clock: MockClock) -> None:
    for at_once, takes in ((2, 3.0), (4, 2.0)):
        began = trio.current_time()
        await made(*[ask(1) for _ in range(5)], at_once=at_once)
        assert trio.current_time() - began == takes


async def test_each_inner_call_goes_the_whole_way(autojump_clock: MockClock) -> None:
    asked: list[str] = []

    async def gate(tool: Tool, ctx: ToolContext) -> None:
        asked.append(f"{tool.name} {ctx.call_id}")
        if ctx.call_id == "c.2":
            raise ToolFailed("rate_limited", "too many")

    result = await made(ask(1), ask(1), before=(gate,))
    said = msgspec.json.decode(result.text)
    assert sorted(asked) == ["parallel c", "weigh c.1", "weigh c.2"]
    assert said == {"1": {"ok": True, "result": "1 kg"}, "2": {"ok": False, "error": "Error: too many"}}


async def test_nothing_is_called_if_one_must_run_alone() -> None:
    for name in ("alone", "parallel", "nowhere"):
        result = await made(ask(1), ask(1, name=name))
        assert (result.error_code, name in result.text) == ("invalid_args", True)


async def test_two_calls_have_two_ids() -> None:
    result = await made(ask(1, "2"), ask(1))
    assert (result.error_code, "the id 2 is there twice" in result.text) == ("invalid_args", True)


async def test_outside_of_a_run_there_is_nothing_to_call() -> None:
    ask_ = msgspec.convert({"calls": [ask(1)]}, TOOLS["parallel"].input)
    with pytest.raises(ToolFailed, match="no other tools") as failure:
        await parallel(CTX, ask_)  # type: ignore[arg-type]
    assert failure.value.code == "unavailable"


class Ears:
    def __init__(self) -> None:
        self.heard: list[str] = []

    def tool_call(self, call: ToolCall, iteration: int, *, logged: bool = True) -> None:
        assert not logged, "a replay repeats the outer call alone"
        self.heard.append(f"{call.id} {call.name}")

    def tool_result(self, call: ToolCall, result: ToolResult, *, logged: bool = True) -> None:
        self.heard.append(f"{call.id} = {result.text}")


async def test_each_inner_call_is_seen_and_goes_where_calls_go(autojump_clock: MockClock) -> None:
    """Traced like others: its events, and its place in the tree (tools.md §10)."""
    ears, went = Ears(), list[str]()

    async def through(tool: Tool, ctx: ToolContext, work: Any) -> Any:
        went.append(f"{ctx.call_id} {tool.name}")
        return await work()

    await made(ask(1), ask(2), heard=ears, through=through)

    assert sorted(ears.heard) == ["c.1 = 1 kg", "c.1 weigh", "c.2 = 2 kg", "c.2 weigh"]
    assert sorted(went) == ["c parallel", "c.1 weigh", "c.2 weigh"]
