"""Telling the time. Contract: tools.md §10."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from goclaw.domain.chat import ToolCall
from goclaw.security.paths import Workspace
from goclaw.tools.ledger import ToolResult
from goclaw.tools.pipeline import call
from goclaw.tools.tool import ToolContext, collect

TOOLS = collect("goclaw.tools")
NOW = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)


async def asked(default: str = "", **arguments: str) -> ToolResult:
    ctx = ToolContext(Workspace(Path("/nonexistent")), lambda: NOW, default)
    return await call(TOOLS, ctx, ToolCall(id="c", name="datetime", arguments=arguments))


@pytest.mark.parametrize("default", ["", "Europe/Paris"])
async def test_the_time_of_a_zone(default: str) -> None:
    assert msgspec.json.decode((await asked(default, timezone="Asia/Ho_Chi_Minh")).text) == {
        "iso": "2026-03-02T06:30:00+07:00",
        "unix_ms": 1772407800000,
        "weekday": "Monday",
        "timezone": "Asia/Ho_Chi_Minh",
    }


async def test_without_a_zone_the_gateway_has_one() -> None:
    told = msgspec.json.decode((await asked("Europe/Paris")).text)
    assert (told["iso"], told["timezone"]) == ("2026-03-02T00:30:00+01:00", "Europe/Paris")


async def test_without_any_zone_the_machine_has_one() -> None:
    told = msgspec.json.decode((await asked()).text)
    assert told["unix_ms"] == 1772407800000
    assert datetime.fromisoformat(told["iso"]) == NOW


@pytest.mark.parametrize(
    "zone", ["Mars/Olympus", "America", "../../etc/passwd", "/etc/passwd", "a\0b", ".", "tzdata.zi", "x" * 65, "\u202e"]
)
async def test_what_is_no_zone_is_an_invalid_argument(zone: str) -> None:
    assert (await asked(timezone=zone)).error_code == "invalid_args"


@pytest.mark.parametrize(
    ("form", "text"),
    [("iso", "2026-03-01T23:30:00+00:00"), ("unix", "1772407800"), ("human", "Sunday, 01 March 2026, 23:30")],
)
async def test_the_time_in_a_form(form: str, text: str) -> None:
    assert msgspec.json.decode((await asked("UTC", format=form)).text)["text"] == text
