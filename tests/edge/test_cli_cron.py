"""Schedules as the command line takes and shows them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from goclaw.edge.cli.cron import epoch_ms, in_words, schedule
from goclaw.edge.cli.options import Exit, Failure

NOON = int(datetime(2026, 12, 24, 12, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("given", "expected", "words"),
    [
        ((300.0, "", "", ""), {"kind": "every", "everyMs": 300_000}, "every 300 s"),
        ((None, "0 9 * * mon", "", "Europe/Berlin"), {"kind": "cron", "expr": "0 9 * * mon", "tz": "Europe/Berlin"},
         "0 9 * * mon Europe/Berlin"),
        ((None, "@daily", "", ""), {"kind": "cron", "expr": "@daily"}, "@daily"),
    ],
)  # fmt: skip
def test_a_schedule_is_one_of_three(given: Any, expected: dict[str, Any], words: str) -> None:
    assert schedule(*given) == expected
    assert in_words(expected) == words


@pytest.mark.parametrize("given", [(None, "", "", ""), (5.0, "@daily", "", "")])
def test_none_or_two_of_them_are_refused(given: Any) -> None:
    with pytest.raises(Failure) as refused:
        schedule(*given)
    assert refused.value.code == Exit.USAGE


@pytest.mark.parametrize(
    ("text", "zone"),
    [("2026-12-24T12:00Z", ""), ("2026-12-24T13:00", "Europe/Berlin"), ("2026-12-24 19:00", "Asia/Ho_Chi_Minh")],
)
def test_a_time_is_read_where_it_is_meant(text: str, zone: str) -> None:
    assert epoch_ms(text, zone) == NOON


@pytest.mark.parametrize(("text", "zone"), [("tomorrow", ""), ("2026-12-24T12:00", "Mars/Olympus"), ("", "")])
def test_what_is_no_time_is_refused(text: str, zone: str) -> None:
    with pytest.raises(Failure) as refused:
        epoch_ms(text, zone)
    assert refused.value.code == Exit.USAGE
