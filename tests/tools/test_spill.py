"""Long results are kept whole where a model can read them. Contract: tools.md §8, T7."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from goclaw.domain.chat import ToolCall
from goclaw.security.paths import Workspace
from goclaw.tools.pipeline import call
from goclaw.tools.spill import KEPT, PLACE, spill
from goclaw.tools.tool import Effect, ToolContext, tool
from tests.file_tools import FILE_TOOLS

LONG = "".join(f"line {number}\n" for number in range(20_000))


class Nothing(Struct):
    pass


@tool(group="test", effect=Effect.PURE, most=30_000)
async def long_text(ctx: ToolContext, ask: Nothing) -> str:
    """Say much."""
    return LONG


def context(place: Path) -> ToolContext:
    return ToolContext(Workspace(place), lambda: datetime.now(UTC), "", call_id="c/1")


async def test_a_result_that_is_cut_names_the_file_that_has_all_of_it(tmp_path: Path) -> None:
    tools = {**FILE_TOOLS, "long_text": long_text.__tool__}  # type: ignore[attr-defined]
    result = await call(tools, context(tmp_path), ToolCall(id="call 7", name="long_text"))

    assert len(result.text) < 30_200
    path = result.text.partition("full text: ")[2].partition("]")[0]
    ask = {"path": path, "offset": 15_000, "limit": 1}
    read = await call(tools, context(tmp_path), ToolCall(id="b", name="read_file", arguments=ask))
    assert read.text == "15000\tline 14999\n"
    listed = await call(tools, context(tmp_path), ToolCall(id="d", name="list_files"))
    assert listed.text == "(empty)"


def test_the_newest_are_kept_and_none_for_longer_than_a_day(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    for number in range(KEPT + 5):
        spill(workspace, f"c{number}", "x")
        os.utime(tmp_path / PLACE / f"c{number}.txt", (time.time() - 1000 + number,) * 2)
    spill(workspace, "last", "x")
    left = {path.name for path in (tmp_path / PLACE).iterdir()}
    assert len(left) == KEPT
    assert {"last.txt", f"c{KEPT + 4}.txt"} <= left
    for path in (tmp_path / PLACE).iterdir():
        os.utime(path, (time.time() - 90_000,) * 2)
    spill(workspace, "new", "x")
    assert [path.name for path in (tmp_path / PLACE).iterdir()] == ["new.txt"]


def test_a_place_that_leads_outside_takes_nothing(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (inside / PLACE).symlink_to(outside)
    assert spill(Workspace(inside), "c", "secret") == ""
    assert list(outside.iterdir()) == []


def test_results_that_are_kept_at_once_do_not_lose_each_other(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with ThreadPoolExecutor(8) as threads:
        kept = list(threads.map(lambda number: spill(workspace, f"c{number}", "x"), range(400)))
    assert all(kept)
    assert len(list((tmp_path / PLACE).iterdir())) <= KEPT
