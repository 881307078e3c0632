"""What a heartbeat's checklist asks for and what of its answer is worth saying. Contract: sessions-lanes-cron.md §6."""

from __future__ import annotations

from datetime import timedelta

import pytest

from goclaw.domain.heartbeat import SPAN, first_offset, idle, to_say

LONG = "the disk is full " * 50


@pytest.mark.parametrize(
    "answer",
    [
        "HEARTBEAT_OK",
        " HEARTBEAT_OK.\n",
        "**HEARTBEAT_OK**",
        "`HEARTBEAT_OK`",
        "<b>HEARTBEAT_OK</b>",
        "All four points are fine.\n\nHEARTBEAT_OK",
        "",
    ],
)
def test_sl34_what_is_well_is_not_said(answer: str) -> None:
    assert to_say(answer, 300) == ""


def test_sl35_an_alarm_is_said_without_the_token() -> None:
    assert to_say(f"**HEARTBEAT_OK** {LONG}", 300) == LONG.strip()


def test_the_token_counts_as_a_word_only() -> None:
    assert to_say("NOT_HEARTBEAT_OKAY", 300) == "NOT_HEARTBEAT_OKAY"
    assert to_say("the disk is full", 300) == "the disk is full"
    assert to_say("HEARTBEAT_OK but look", 0) == "but look"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("# Title\n\n## Another\n- [ ]\n* [x]\n- \n", True),
        ("<!-- - [ ] hidden -->", True),
        ("<!-- never closed\n- [ ] hidden", True),
        ("- [ ] backups", False),
        ("- [x] backups", False),
        ("look at the disk", False),
        ("# Title <!-- a -->\nsomething", False),
    ],
)
def test_what_asks_for_nothing(text: str, expected: bool) -> None:
    assert idle(text) is expected


def test_agents_beat_at_different_times() -> None:
    offsets = {first_offset(f"agent-{n}", 1800) for n in range(20)}

    assert len(offsets) > 10
    assert all(timedelta() <= offset < timedelta(seconds=180) for offset in offsets)


@pytest.mark.parametrize(("text", "fits"), [("00:00", True), ("23:59", True), ("24:00", False), ("9:00", False)])
def test_hours(text: str, fits: bool) -> None:
    assert (SPAN.fullmatch(text) is not None) is fits
