"""Taps: what one actor's next messages were. Contract: supervision.md §15."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from goclaw.runtime.address import Address
from goclaw.runtime.child import Child
from goclaw.runtime.lens import tapped
from tests.runtime.house import Boom, Refuse, Say, Scribe, Wait, house, outcome

A = Address("a")


async def test_a_tap_sees_every_message_with_its_outcome(autojump_clock: MockClock) -> None:
    async with house(Child("a", Scribe)) as system, tapped(system, A, count=4, seconds=10) as records:
        system.tell(A, Wait(seconds=2))
        system.tell(A, Say(text="x"), sender=Address("b"))
        await outcome(system.ask(A, Refuse(), within=5))
        await outcome(system.ask(A, Boom(), within=5))
        seen = [record async for record in records]

        assert [(one.type, one.kind, one.outcome) for one in seen] == [
            ("house.wait", "tell", "handled"),
            ("house.say", "tell", "handled"),
            ("house.refuse", "ask", "refused"),
            ("house.boom", "ask", "failed"),
        ]
        assert seen[0].handle_ms == pytest.approx(2000)
        assert seen[1].sender == "/b"
        assert seen[1].body == Say(text="x")


async def test_a_tap_ends_with_its_time_and_leaves_nothing_behind(autojump_clock: MockClock) -> None:
    async with house(Child("a", Scribe)) as system:
        assert system.lens is None
        async with tapped(system, A, count=100, seconds=3) as records:
            system.tell(A, Say(text="x"))
            began = trio.current_time()
            assert len([record async for record in records]) == 1
            assert trio.current_time() - began == 3
        assert system.lens is None


async def test_two_taps_see_the_same(autojump_clock: MockClock) -> None:
    async with (
        house(Child("a", Scribe)) as system,
        tapped(system, A, count=1, seconds=3) as first,
        tapped(system, A, count=1, seconds=3) as second,
    ):
        system.tell(A, Say(text="x"))
        assert [one.type async for one in first] == [one.type async for one in second] == ["house.say"]


@pytest.mark.parametrize(("count", "seconds"), [(0, 1.0), (1001, 1.0), (1, 0.0), (1, 61.0)])
async def test_a_tap_is_bounded(count: int, seconds: float) -> None:
    async with house(Child("a", Scribe)) as system:
        with pytest.raises(ValueError, match="records up to 1000 messages within 60 seconds"):
            async with tapped(system, A, count, seconds):
                pass
