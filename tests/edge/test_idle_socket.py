"""A socket nobody speaks on, in virtual time: deadlines, pings, ticks."""

from __future__ import annotations

from typing import Any

import trio

from goclaw.domain.events import Farewell
from goclaw.edge.tree import BEAT
from tests.edge.links import CONNECT, QuietLink, connected


async def test_a_socket_that_never_connects_is_closed_after_fifteen_seconds(autojump_clock: Any) -> None:
    link = QuietLink(answers_pings=True)
    began = trio.current_time()

    async with connected(link):
        await trio.sleep(60)

    assert link.closed is not None
    assert link.closed[:2] == (4401, "handshake_timeout")
    assert 15 <= link.closed[2] - began <= 15 + 2 * BEAT
    assert link.sent == []


async def test_a_peer_that_answers_nothing_is_given_up_after_a_minute(autojump_clock: Any) -> None:
    link = QuietLink(CONNECT, answers_pings=False)

    async with connected(link):
        await trio.sleep(120)

    assert link.closed is not None
    assert link.closed[:2] == (4408, "idle")
    assert 60 <= link.closed[2] - link.heard_at <= 60 + 2 * BEAT
    assert link.pings >= 1


async def test_an_idle_socket_is_pinged_and_told_the_time(autojump_clock: Any) -> None:
    link = QuietLink(CONNECT, answers_pings=True)

    async with connected(link):
        await trio.sleep(180)

    assert link.closed is None
    assert 5 <= link.pings <= 6
    events = [frame["event"] for frame in link.sent if frame["type"] == "event"]
    assert events.count("tick") == link.pings
    assert events.count("health") == link.pings // 2
    assert [frame["seq"] for frame in link.sent if frame["type"] == "event"] == list(range(1, len(events) + 1))


async def test_a_farewell_closes_every_socket_with_1001(autojump_clock: Any) -> None:
    link = QuietLink(CONNECT, answers_pings=True)

    async with connected(link) as system:
        await trio.sleep(1)
        for group in list(system.groups):
            system.publish(group, Farewell())
        await trio.sleep(1)

    assert link.closed is not None
    assert link.closed[:2] == (1001, "shutdown")
