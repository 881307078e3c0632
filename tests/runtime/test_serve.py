"""The loop: control, cancellation, suspension, and what leaves a handler."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from goclaw.runtime.actor import Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.child import Child, Restart, State
from goclaw.runtime.faults import ActorCrashed, ActorStopped, Rejected
from goclaw.runtime.mailbox import CONTROL
from goclaw.runtime.message import Cancel, LeaseLost, Message, Resume, Stop, Suspend
from tests.runtime.house import Boom, Say, Scribe, Wait, cell, house, outcome, quiet

A = Address("a")


class Stoppable(Scribe):
    preemptible = True

    @handles
    def cancelled(self, ctx: Context, signal: Cancel) -> None:
        self.diary.append(f"cancel {signal.reason}")


class Crowd(Message[None]):
    """Crash in two tasks at once."""


class Flood(Message[None]):
    """Send yourself the next one, for ever."""


class Odd(Scribe):
    @handles
    async def crowd(self, ctx: Context, ask: Crowd) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._fail)
            nursery.start_soon(self._fail)

    async def _fail(self) -> None:
        raise RuntimeError("both")

    @handles
    def flood(self, ctx: Context, ask: Flood) -> None:
        ctx.tell(ctx.address, Flood())


class Stubborn(Scribe):
    """Fails while it is being cancelled."""

    @handles
    async def wait(self, ctx: Context, ask: Wait) -> str:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, ask.seconds)
            try:
                await trio.sleep(ask.seconds)
            finally:
                raise OSError("on the way out")


async def test_a_cancel_ends_the_running_handler_now_and_the_actor_lives_on(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    outcomes: list[Any] = []
    async with house(Child("a", Stoppable, ("a", diary))) as system, trio.open_nursery() as nursery:

        async def ask() -> None:
            outcomes.append(await outcome(system.ask(A, Wait(seconds=60), within=90)))

        nursery.start_soon(ask)
        await trio.sleep(1)
        system.tell(A, Say(text="later"))
        system.tell(A, Cancel(reason="user"))
        await quiet()

        assert trio.current_time() == 1
        assert diary == ["+a", "wait", "cancel user", "later"]  # in effect before any later message
        assert isinstance(outcomes[0], Rejected)
        assert outcomes[0].err.details == {"reason": "cancelled"}
        assert cell(system, "a").incarnation == 1


async def test_a_cancel_that_comes_before_or_after_a_handler_does_not_touch_it(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(Child("a", Stoppable, ("a", diary))) as system:
        system.tell(A, Cancel(reason="early"))
        system.tell(A, Wait(seconds=1))
        await trio.sleep(2)
        system.tell(A, Cancel(reason="late"))
        system.tell(A, Say(text="unharmed"))
        await quiet()

    assert diary == ["+a", "cancel early", "wait", "waited", "cancel late", "unharmed", "-a"]


async def test_a_cancel_does_not_end_the_handler_of_an_actor_that_is_not_preemptible(
    autojump_clock: MockClock,
) -> None:
    diary: list[str] = []
    async with house(Child("a", Scribe, ("a", diary))) as system:
        system.tell(A, Wait(seconds=1))
        await quiet()
        system.tell(A, Cancel(reason="user"))
        await trio.sleep(2)

    assert diary == ["+a", "wait", "waited", "-a"]


async def test_a_preemptible_actor_may_have_plain_handlers() -> None:
    async with house(Child("a", Stoppable)) as system:
        assert await system.ask(A, Say(text="plain"), within=5) == "plain"


async def test_a_suspended_actor_keeps_its_messages_and_serves_control() -> None:
    diary: list[str] = []
    async with house(Child("a", Scribe, ("a", diary))) as system:
        system.tell(A, Suspend())
        system.tell(A, Say(text="held"))
        await quiet()
        assert cell(system, "a").state is State.SUSPENDED
        assert diary == ["+a"]

        system.tell(A, Resume())
        await quiet()
        assert diary == ["+a", "held"]

        system.tell(A, Suspend())
    assert diary == ["+a", "held", "-a"]  # a suspended actor can be stopped


async def test_a_signal_can_be_asked() -> None:
    async with house(Child("a", Scribe, restart=Restart.TEMPORARY)) as system:
        await system.ask(A, Suspend(), within=5)
        await system.ask(A, Cancel(reason="nobody listens"), within=5)
        await system.ask(A, Stop(), within=5)
        await quiet()

        assert A not in system.members


async def test_several_exceptions_at_once_are_one_crash(autojump_clock: MockClock) -> None:
    async with house(Child("a", Odd)) as system:
        with pytest.raises(ActorCrashed):
            await system.ask(A, Crowd(), within=5)

        assert system.crashes.records[-1].type == "ExceptionGroup"
        assert await system.ask(A, Say(text="again"), within=5) == "again"


async def test_a_handler_that_fails_while_it_is_killed_does_not_take_the_house_along(
    autojump_clock: MockClock,
) -> None:
    async with house(Child("a", Stubborn)) as system:
        system.tell(A, Wait(seconds=60))
        await quiet()
        cell(system, "a").kill()
        await trio.sleep(1)

        assert system.crashes.records[-1].type == "ExceptionGroup"
        assert cell(system, "a").incarnation == 2


async def test_a_kill_answers_whoever_waited_for_the_handler(autojump_clock: MockClock) -> None:
    outcomes: list[Any] = []
    async with house(Child("a", Scribe)) as system, trio.open_nursery() as nursery:

        async def ask() -> None:
            outcomes.append(await outcome(system.ask(A, Wait(seconds=60), within=90)))

        nursery.start_soon(ask)
        await quiet()
        cell(system, "a").kill()
        await trio.sleep(1)

        assert isinstance(outcomes[0], ActorStopped)
        assert cell(system, "a").incarnation == 2
        assert system.crashes.total == 0


async def test_an_actor_that_never_waits_can_be_killed_and_lets_others_run() -> None:
    diary: list[str] = []
    async with house(Child("a", Odd, restart=Restart.TEMPORARY), Child("b", Scribe, ("b", diary))) as system:
        system.tell(A, Flood())
        assert await system.ask(Address("b"), Say(text="my turn"), within=5) == "my turn"
        cell(system, "a").kill()
        await quiet()

        assert A not in system.members


async def test_a_flood_of_signals_crashes_the_actor(autojump_clock: MockClock) -> None:
    async with house(Child("a", Scribe)) as system:
        system.tell(A, Wait(seconds=1))
        await quiet()
        for number in range(CONTROL + 1):
            system.tell(A, Cancel(reason=str(number)))
        await trio.sleep(5)

        assert [crash.type for crash in system.crashes.records] == ["ControlOverflow"]
        assert cell(system, "a").incarnation == 2


async def test_messages_survive_a_crash_in_order_and_the_one_in_hand_does_not(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(Child("a", Scribe, ("a", diary))) as system:
        for message in (Say(text="1"), Boom(), Say(text="2"), Say(text="3")):
            system.tell(A, message)
        await trio.sleep(5)

    assert diary == ["+a", "1", "+a", "2", "3", "-a"]


async def test_a_lease_lost_in_the_middle_of_a_handler_costs_one_life(autojump_clock: MockClock) -> None:
    async with house(Child("a", Scribe)) as system:
        assert system.tell(A, Wait(seconds=5))
        await quiet()
        assert system.tell(A, LeaseLost())
        await trio.sleep(60)

        assert cell(system, "a").incarnation == 2
