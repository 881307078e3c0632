"""Timers inside an actor, in virtual time."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.child import Backoff, Child
from goclaw.runtime.message import Message
from goclaw.runtime.timers import SPARE, Timer, Timers
from tests.runtime.house import Boom, Say, cell, house, quiet

ALARM = Address("alarm")


class Set(Message[None]):
    delay: float
    text: str = "tick"
    again: bool = False


class CancelAll(Message[None]):
    pass


class Busy(Message[None]):
    seconds: float


class Alarm(Actor):
    capacity = 3

    def __init__(self, rung: list[tuple[float, str]]) -> None:
        self.rung = rung
        self.timers: list[Timer] = []

    @handles
    def set(self, ctx: Context, ask: Set) -> None:
        message = Say(text=ask.text)
        self.timers.append((ctx.every if ask.again else ctx.after)(ask.delay, message))

    @handles
    def cancel_all(self, ctx: Context, ask: CancelAll) -> None:
        for timer in self.timers:
            timer.cancel()
            timer.cancel()

    @handles
    def ring(self, ctx: Context, tick: Say) -> None:
        self.rung.append((round(trio.current_time(), 3), tick.text))

    @handles
    async def busy(self, ctx: Context, ask: Busy) -> None:
        await trio.sleep(ask.seconds)

    @handles
    def boom(self, ctx: Context, ask: Boom) -> None:
        raise RuntimeError("as told")


def alarm(rung: list[tuple[float, str]]) -> Child:
    return Child("alarm", Alarm, (rung,), backoff=Backoff(first=0.5, jitter=0.0))


async def test_delayed_messages_arrive_in_the_order_of_their_times(autojump_clock: MockClock) -> None:
    rung: list[tuple[float, str]] = []
    async with house(alarm(rung)) as system:
        for delay in (3.0, 1.0, 2.0):
            system.tell(ALARM, Set(delay=delay, text=str(delay)))
        await trio.sleep(5)

    assert rung == [(1.0, "1.0"), (2.0, "2.0"), (3.0, "3.0")]


async def test_a_periodic_timer_ticks_until_it_is_cancelled(autojump_clock: MockClock) -> None:
    rung: list[tuple[float, str]] = []
    async with house(alarm(rung)) as system:
        system.tell(ALARM, Set(delay=1.0, again=True))
        await trio.sleep(3.5)
        system.tell(ALARM, CancelAll())
        await trio.sleep(10)

        assert cell(system, "alarm").timers == set()
    assert [when for when, _ in rung] == [1.0, 2.0, 3.0]


async def test_a_tick_that_still_waits_is_not_doubled(autojump_clock: MockClock) -> None:
    rung: list[tuple[float, str]] = []
    async with house(alarm(rung)) as system:
        system.tell(ALARM, Set(delay=1.0, again=True))
        system.tell(ALARM, Busy(seconds=5.5))
        await trio.sleep(6.2)

    assert [when for when, _ in rung] == [5.5, 6.0]


async def test_a_tick_that_waits_while_its_timer_is_cancelled_is_not_handled(autojump_clock: MockClock) -> None:
    rung: list[tuple[float, str]] = []
    async with house(alarm(rung)) as system:
        system.tell(ALARM, Set(delay=1.0))
        system.tell(ALARM, Busy(seconds=2))
        await quiet()
        system.tell(ALARM, CancelAll())
        await trio.sleep(5)

    assert rung == []


async def test_a_timer_ends_with_the_incarnation_that_set_it(autojump_clock: MockClock) -> None:
    rung: list[tuple[float, str]] = []
    async with house(alarm(rung)) as system:
        for message in (Set(delay=1.0), Set(delay=2.0, again=True), Boom()):
            system.tell(ALARM, message)
        await trio.sleep(10)

        assert cell(system, "alarm").incarnation == 2
    assert rung == []


async def test_a_delayed_message_that_finds_no_room_tries_again(autojump_clock: MockClock) -> None:
    rung: list[tuple[float, str]] = []
    async with house(alarm(rung)) as system:
        system.tell(ALARM, Set(delay=1.0, text="late"))
        system.tell(ALARM, Busy(seconds=2))
        await quiet()
        for _ in range(Alarm.capacity):
            system.tell(ALARM, Say(text="full"))
        await trio.sleep(4)

    assert [text for _, text in rung] == ["full"] * Alarm.capacity + ["late"]


@pytest.mark.parametrize("period", [0.0, -1.0])
async def test_a_period_must_be_positive(period: float) -> None:
    async with house(alarm([])) as system:
        with pytest.raises(ValueError, match="period"):
            cell(system, "alarm").later(1.0, Say(text=""), period)


class Brief:
    """Something with a deadline that is nearly always over before."""

    def __init__(self) -> None:
        self.over = False
        self.called = 0

    def due(self, now: float) -> None:
        self.called += 1


async def test_what_is_over_does_not_pile_up(autojump_clock: MockClock) -> None:
    timers = Timers()
    last = Brief()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timers.run)
        for number in range(20 * SPARE):
            item = Brief()
            timers.at(100.0 + number, item)
            item.over = True
        timers.at(1.0, last)
        assert len(timers._heap) <= SPARE + 1

        await trio.sleep(2)
        assert last.called == 1
        assert not timers._heap
        nursery.cancel_scope.cancel()


async def test_a_nearer_time_set_later_comes_first(autojump_clock: MockClock) -> None:
    rung: list[tuple[float, str]] = []
    async with house(alarm(rung)) as system:
        system.tell(ALARM, Set(delay=100.0, text="far"))
        await trio.sleep(1)
        system.tell(ALARM, Set(delay=1.0, text="near"))
        await trio.sleep(2)

    assert rung == [(2.0, "near")]
