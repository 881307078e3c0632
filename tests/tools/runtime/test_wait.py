"""Waiting. Contract: tools.md §10."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from goclaw.domain.chat import ToolCall
from goclaw.tools.pipeline import call
from goclaw.tools.runtime.wait import wait
from tests.tools.test_pipeline import CTX


async def test_as_long_as_was_asked(autojump_clock: MockClock) -> None:
    tools = {"wait": wait.__tool__}  # type: ignore[attr-defined]
    began = trio.current_time()
    result = await call(tools, CTX, ToolCall(id="c", name="wait", arguments={"seconds": 299.5}))
    assert (result.text, trio.current_time() - began) == ("waited 299.5s", 299.5)
    for seconds in (0, 301, "nan"):
        refused = await call(tools, CTX, ToolCall(id="c", name="wait", arguments={"seconds": seconds}))
        assert refused.error_code == "invalid_args", seconds
