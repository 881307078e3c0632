"""Who says how turns wait. Contract: sessions-lanes-cron.md §3.1."""

from __future__ import annotations

from typing import Any

import pytest

from goclaw.domain.queue_policy import NOTHING, Override, override_of, resolved
from goclaw.settings.queue import ChannelQueue, Queue


def test_the_strongest_voice_that_says_something_counts() -> None:
    session, agent = Override(mode="followup"), Override(mode="interrupt", cap=3)
    channel = ChannelQueue(cap=5, drop="new", max_concurrent_group=7)

    policy = resolved(session, agent, channel, Queue(max_concurrent_group=2))

    assert (policy.mode, policy.cap, policy.drop) == ("followup", 3, "new")
    assert (policy.slots(group=True), policy.slots(group=False), policy.debounce_ms) == (7, 1, 800)


def test_zero_is_a_wish_too() -> None:
    assert resolved(Override(debounce_ms=0), ChannelQueue(debounce_ms=300), Queue()).debounce_ms == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, NOTHING),
        ({"inbound_debounce_ms": 300}, Override(debounce_ms=300)),
        ({"inbound_debounce_ms": -1, "emoji": "x"}, Override(debounce_ms=-1)),
        ({"inbound_debounce_ms": 1, "queue": {"debounce_ms": 2}}, Override(debounce_ms=2)),
        ({"queue": {"mode": "followup", "cap": 2, "drop": "new"}}, Override(mode="followup", cap=2, drop="new")),
        ({"queue": {"max_concurrent_group": 5, "max_concurrent_dm": 2}},
         Override(max_concurrent_group=5, max_concurrent_dm=2)),
        ({"queue": {"mode": "inject", "cap": 0, "drop": 1, "max_concurrent_dm": 1}}, Override(max_concurrent_dm=1)),
        ({"queue": "fast", "inbound_debounce_ms": "soon"}, NOTHING),
        ({"queue": {"cap": True}, "inbound_debounce_ms": 99_999}, NOTHING),
    ],
)  # fmt: skip
def test_what_an_agent_says_and_what_it_cannot_say(given: dict[str, Any], said: Override) -> None:
    assert override_of(given) == said
