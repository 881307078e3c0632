"""Every call gets exactly one result, whatever the model sends and the tool does. Contract: tools.md §2, §8."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct
from trio.testing import MockClock

from goclaw.domain.chat import ToolCall
from goclaw.security.paths import Workspace
from goclaw.tools.cut import shortened
from goclaw.tools.ledger import ToolResult
from goclaw.tools.pipeline import call
from goclaw.tools.tool import MOST, TIMEOUT, Effect, Tool, ToolContext, ToolFailed, collect, tool


class Inner(Struct):
    n: int = 0


class Weigh(Struct):
    stone: Annotated[str, Meta(min_length=1, max_length=20)]
    times: Annotated[int, Meta(ge=1, le=9)] = 1
    exact: bool = False
    inner: Inner | None = None


Work = Callable[[Weigh], Awaitable[str]]


def stand_in(work: Work) -> dict[str, Tool]:
    @tool(group="test", effect=Effect.PURE)
    async def weigh(ctx: ToolContext, ask: Weigh) -> str:
        """Weigh a stone."""
        return await work(ask)

    return {"weigh": weigh.__tool__}  # type: ignore[attr-defined]


async def say(ask: Weigh) -> str:
    return f"{ask.stone} {ask.times} {ask.exact}"


async def hang(ask: Weigh) -> str:
    await trio.Event().wait()
    return ""


CTX = ToolContext(Workspace(Path("/nonexistent")), lambda: datetime.now(UTC), "")


async def weigh(work: Work = say, **arguments: Any) -> ToolResult:
    return await call(stand_in(work), CTX, ToolCall(id="c", name="weigh", arguments=arguments))


async def test_a_call_gives_the_text_of_its_tool() -> None:
    result = await weigh(stone="jade", times=2)
    assert (result.text, result.is_error, result.error_code) == ("jade 2 False", False, "")


async def test_numbers_and_booleans_may_come_as_text() -> None:
    assert (await weigh(stone="jade", times="3", exact="true")).text == "jade 3 True"


async def test_what_is_no_parameter_is_left_out_and_named() -> None:
    extra: dict[str, Any] = {"colour": "green", "x" * 500: 1}
    result = await weigh(stone="jade", **extra)
    assert not result.is_error
    assert result.text.startswith("jade 1 False\n(ignored, not parameters of weigh: colour, xxx")
    assert len(result.text) < 200


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({}, "stone"),
        ({"stone": 5}, "/stone"),
        ({"stone": ""}, "/stone"),
        ({"stone": "a" * 21}, "/stone"),
        ({"stone": None}, "/stone"),
        ({"stone": "a", "times": 0}, "/times"),
        ({"stone": "a", "times": "many"}, "/times"),
        ({"stone": "a", "times": 1.5}, "/times"),
        ({"stone": "a", "exact": "perhaps"}, "/exact"),
        ({"stone": "a", "inner": {"n": "x"}}, "/inner/n"),
    ],
)
async def test_bad_arguments_are_refused_by_name(arguments: dict[str, Any], named: str) -> None:
    result = await weigh(**arguments)
    assert (result.is_error, result.error_code) == (True, "invalid_args")
    assert result.text.startswith("Error: weigh: ")
    assert named in result.text


async def test_arguments_that_were_no_object_are_explained() -> None:
    wanted = ToolCall(id="c", name="weigh", parse_error="Expecting ',' at 12")
    result = await call(stand_in(say), CTX, wanted)
    assert result.error_code == "invalid_args"
    assert "Expecting ',' at 12" in result.text


@pytest.mark.parametrize(
    ("name", "near"), [("read_fil", "read_file"), ("listfiles", "list_files"), ("date_time", "datetime")]
)
async def test_an_unknown_tool_is_answered_with_near_names(name: str, near: str) -> None:
    result = await call(collect("goclaw.tools"), CTX, ToolCall(id="c", name=name))
    assert result.error_code == "not_found"
    assert f"there is no tool {name}; near: {near}" in result.text


@pytest.mark.parametrize("name", ["", "🦀", "x" * 100_000, "read_file\n"])
async def test_a_name_like_nothing_is_answered_shortly(name: str) -> None:
    result = await call(collect("goclaw.tools"), CTX, ToolCall(id="c", name=name))
    assert result.error_code == "not_found"
    assert len(result.text) < 200


async def test_an_alias_is_the_tool(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("hello")
    ctx = ToolContext(Workspace(tmp_path), lambda: datetime.now(UTC), "")
    wanted = ToolCall(id="c", name="grep_files", arguments={"pattern": "hell"})
    assert (await call(collect("goclaw.tools"), ctx, wanted)).text.startswith("a:1:hello")


async def test_an_expected_failure_keeps_its_code() -> None:
    async def refuse(ask: Weigh) -> str:
        raise ToolFailed("too_large", "the stone is too heavy; take a smaller one")

    result = await weigh(refuse, stone="jade")
    assert result.text == "Error: the stone is too heavy; take a smaller one"
    assert result.error_code == "too_large"


@pytest.mark.parametrize("failure", [RuntimeError("secret at 0x7f"), ExceptionGroup("two", [ValueError("secret")])])
async def test_a_crash_inside_of_a_tool_is_a_result_without_its_text(failure: Exception) -> None:
    async def crash(ask: Weigh) -> str:
        raise failure

    result = await weigh(crash, stone="jade")
    assert result.error_code == "internal"
    assert "secret" not in result.text


async def test_a_tool_that_hangs_is_stopped(autojump_clock: MockClock) -> None:
    stopped = []

    async def hang_and_tell(ask: Weigh) -> str:
        try:
            return await hang(ask)
        finally:
            stopped.append(trio.current_time())

    began = trio.current_time()
    result = await weigh(hang_and_tell, stone="jade")

    assert result.error_code == "timeout"
    assert [when - began for when in stopped] == [TIMEOUT]


async def test_cancelling_passes_through() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await weigh(stone="jade", work=hang)
    assert scope.cancelled_caught


@pytest.mark.parametrize("failed", [False, True])
async def test_a_long_result_keeps_its_beginning_and_its_end(failed: bool) -> None:
    async def much(ask: Weigh) -> str:
        text = "begin" + "x" * 200_000 + "end"
        if failed:
            raise ToolFailed("conflict", text)
        return text

    result = await weigh(much, stone="jade")

    assert "begin" in result.text[:20]
    assert result.text.endswith("end")
    assert "characters omitted" in result.text
    assert len(result.text) <= MOST


@given(st.integers(0, 40), st.sampled_from(["👩\u200d🚀", "e\u0301", "👍🏽", "x", "名"]))
def test_a_cut_never_splits_a_sign(shift: int, sign: str) -> None:
    text = "-" * shift + sign * (MOST // len(sign) + 100)
    head, _, tail = shortened(text, MOST).partition("\n[… ")
    tail = tail.partition(" characters omitted]\n")[2]

    assert head.lstrip("-").replace(sign, "") in ("", "👍")  # skin tones are no marks, and may be cut off
    assert tail.replace(sign, "") in ("", "🏽")
    assert head
    assert tail


def test_a_result_at_the_limit_is_left_alone() -> None:
    assert shortened("x" * MOST, MOST) == "x" * MOST
    assert len(shortened("x" * (MOST + 1), MOST)) <= MOST
