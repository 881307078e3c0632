"""One cell's life: start, stop, kill, and the dormant form."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from structlog.typing import EventDict
from trio.testing import MockClock

from goclaw.runtime.actor import Context
from goclaw.runtime.address import Address
from goclaw.runtime.child import Backoff, Child, Restart, State, Strategy
from goclaw.runtime.faults import StartFailed
from goclaw.runtime.message import Resume, Suspend
from tests.runtime.house import Boom, End, Say, Scribe, StartOne, Wait, cell, house, outcome, quiet, scribes

A = Address("a")


class Slow(Scribe):
    async def on_start(self, ctx: Context) -> None:
        self.diary.append("starting")
        await trio.sleep(5)
        await super().on_start(ctx)


class Frozen(Scribe):
    start_within = 2.0

    async def on_start(self, ctx: Context) -> None:
        await trio.sleep_forever()


class Clinging(Scribe):
    async def on_stop(self, ctx: Context, reason: str) -> None:
        await trio.sleep(60)
        await super().on_stop(ctx, reason)


async def test_a_stop_lets_the_handler_finish_within_its_budget(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(Child("a", Scribe, ("a", diary), shutdown=2.0)) as system:
        system.tell(A, Wait(seconds=1.5))
        await quiet()

    assert diary == ["+a", "wait", "waited", "-a"]
    assert trio.current_time() == 1.5


async def test_a_handler_that_exceeds_the_budget_is_killed(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(Child("a", Scribe, ("a", diary), shutdown=2.0)) as system:
        system.tell(A, Wait(seconds=60))
        await quiet()

    assert diary == ["+a", "wait"]
    assert trio.current_time() == 2.0


async def test_a_stop_hook_that_exceeds_the_budget_is_cut_off(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(Child("a", Clinging, ("a", diary), shutdown=2.0)):
        pass

    assert diary == ["+a"]
    assert trio.current_time() == 2.0


async def test_a_stop_hook_that_fails_is_logged_and_the_end_stays_orderly(logged: list[EventDict]) -> None:
    class Fails(Scribe):
        async def on_stop(self, ctx: Context, reason: str) -> None:
            raise OSError("disk full")

    async with house(Child("a", Fails, restart=Restart.TRANSIENT)) as system:
        system.tell(A, End())
        await quiet()
        assert A not in system.members

    assert [entry["event"] for entry in logged] == ["actor.on_stop_failed"]


async def test_a_start_that_takes_too_long_is_a_crash(autojump_clock: MockClock) -> None:
    async with house() as system:
        with pytest.raises(StartFailed) as caught:
            await cell(system).family.start(Child("a", Frozen))

        assert isinstance(caught.value.cause, trio.TooSlowError)
        assert trio.current_time() == 2.0
        assert A not in system.members


async def test_an_actor_that_cannot_be_made_is_a_crash() -> None:
    def broken() -> Scribe:
        raise LookupError("no settings")

    async with house() as system:
        with pytest.raises(StartFailed, match="no settings"):
            await cell(system).family.start(Child("a", broken))


async def test_an_actor_that_still_starts_can_be_killed(autojump_clock: MockClock) -> None:
    outcomes: list[Any] = []
    diary: list[str] = []
    async with house() as system, trio.open_nursery() as nursery:

        async def start() -> None:
            outcomes.append(await outcome(cell(system).family.start(Child("a", Slow, ("a", diary)))))

        nursery.start_soon(start)
        await trio.sleep(1)
        cell(system, "a").kill()
        await quiet()

        assert isinstance(outcomes[0], StartFailed)
        assert trio.current_time() == 1
        assert A not in system.members
    assert diary == ["starting"]


async def test_an_actor_that_still_starts_is_stopped_without_waiting_for_it(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house() as system:
        cell(system).family.start_soon(Child("a", Slow, ("a", diary)))
        await trio.sleep(1)
        await cell(system).family.stop(A)

        assert trio.current_time() == 1
    assert diary == ["starting"]


async def test_an_actor_killed_before_its_first_step_ends() -> None:
    async with house() as system:
        family = cell(system).family
        family.start_soon(Child("a", Scribe, restart=Restart.TEMPORARY)).kill()
        family.start_soon(Child("b", Scribe, restart=Restart.TEMPORARY, dormant=True)).kill()
        await quiet()

        assert A not in system.members


async def test_an_actor_that_ends_as_soon_as_it_is_up_did_start(autojump_clock: MockClock) -> None:
    class Brief(Scribe):
        async def on_start(self, ctx: Context) -> None:
            await super().on_start(ctx)
            ctx.stop()

    diary: list[str] = []
    async with house() as system:
        await cell(system).family.start(Child("a", Brief, ("a", diary), restart=Restart.TEMPORARY))
        await quiet()

        assert diary == ["+a", "-a"]
        assert A not in system.members


async def test_a_stop_during_back_off_needs_no_new_incarnation(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(Child("a", Scribe, ("a", diary), backoff=Backoff(first=10.0))) as system:
        system.tell(A, Boom())
        await trio.sleep(1)
        assert cell(system, "a").state is State.BACKOFF
        await cell(system).family.stop(A)
        await trio.sleep(60)

    assert diary == ["+a"]


async def test_a_stop_is_not_meant_for_the_next_incarnation(autojump_clock: MockClock) -> None:
    """It is killed before it hears that it should stop, and comes back with its group."""
    diary: list[str] = []
    busy = Child("b", Scribe, ("b", diary), shutdown=1.0)
    async with house(*scribes("a", diary), busy, strategy=Strategy.REST_FOR_ONE) as system:
        system.tell(Address("b"), Wait(seconds=60))
        await quiet()
        system.tell(A, Boom())
        await trio.sleep(10)

        assert diary == ["+a", "+b", "wait", "+a", "+b"]


async def test_the_children_of_a_killed_actor_end_with_it(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(Child("a", Scribe, restart=Restart.TEMPORARY)) as system:
        for name in "xy":
            await system.ask(A, StartOne(child=scribes(name, diary)[0]), within=5)
        await quiet()
        cell(system, "a").kill()
        await quiet()

        assert list(system.members) == ["/"]
    assert sorted(diary) == ["+x", "+y"]


async def test_nothing_is_started_below_an_actor_that_ends(autojump_clock: MockClock) -> None:
    class Revives(Scribe):
        async def on_stop(self, ctx: Context, reason: str) -> None:
            ctx.child(Child("late", Scribe))

    async with house(Child("a", Revives)) as system:
        await system.stop()

        assert system.members == {}


# --- dormant ------------------------------------------------------------------------------------


async def test_a_dormant_actor_has_a_task_only_while_messages_wait(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(Child("a", Scribe, ("a", diary), dormant=True)) as system:
        sleeper = cell(system, "a")
        assert (sleeper.running, sleeper.incarnation, diary) == (False, 0, [])

        system.tell(A, Wait(seconds=1))
        await quiet()
        assert sleeper.running
        await trio.sleep(2)
        system.tell(A, Say(text="again"))
        await quiet()

        assert (sleeper.running, sleeper.incarnation) == (False, 1)
        assert diary == ["+a", "wait", "waited", "again"]
    assert diary[-1] == "-a"


async def test_a_message_that_arrives_while_the_last_one_is_handled_is_not_forgotten() -> None:
    async with house(Child("a", Scribe, dormant=True)) as system:
        for number in range(200):
            assert await system.ask(A, Say(text=str(number)), within=5) == str(number)

        assert cell(system, "a").incarnation == 1


async def test_a_dormant_actor_that_crashes_starts_again_with_the_next_message(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(Child("a", Scribe, ("a", diary), dormant=True)) as system:
        system.tell(A, Boom())
        await trio.sleep(60)
        assert cell(system, "a").incarnation == 1

        assert await system.ask(A, Say(text="hello"), within=5) == "hello"
        assert cell(system, "a").incarnation == 2
    assert diary == ["+a", "+a", "hello", "-a"]


async def test_a_sleeping_actor_that_is_killed_only_loses_its_state() -> None:
    diary: list[str] = []
    async with house(Child("a", Scribe, ("a", diary), dormant=True)) as system:
        await system.ask(A, Say(text="1"), within=5)
        await quiet()
        cell(system, "a").kill()

        await system.ask(A, Say(text="2"), within=5)
        assert cell(system, "a").incarnation == 2
        assert cell(system, "a").past.restarts == 0
    assert diary == ["+a", "1", "+a", "2", "-a"]


async def test_a_kill_is_not_lost_on_a_task_that_is_about_to_sleep(autojump_clock: MockClock) -> None:
    async with house(Child("a", Scribe, dormant=True)) as system:
        system.tell(A, Say(text="wakes it"))
        cell(system, "a").kill()
        await trio.sleep(1)

        assert await system.ask(A, Say(text="next"), within=5) == "next"
        assert cell(system, "a").incarnation == 2


async def test_a_killed_sleeper_takes_its_children_along(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(Child("a", Scribe, dormant=True)) as system:
        await system.ask(A, StartOne(child=scribes("x", diary)[0]), within=5)
        await quiet()
        assert not cell(system, "a").running
        cell(system, "a").kill()
        await trio.sleep(5)

        assert Address("a", "x") not in system.members
        await system.ask(A, StartOne(child=scribes("x", diary)[0]), within=5)
        await quiet()
        assert diary == ["+x", "+x"]


async def test_a_killed_sleeper_takes_those_along_that_are_tied_to_it(autojump_clock: MockClock) -> None:
    async with house(Child("a", Scribe, dormant=True), Child("b", Scribe)) as system:
        await system.ask(A, Say(text="hello"), within=5)
        await quiet()
        system.link(cell(system, "b"), A)
        cell(system, "a").kill()
        await trio.sleep(5)

        assert cell(system, "b").incarnation == 2


async def test_a_suspended_sleeper_waits_without_spinning() -> None:
    diary: list[str] = []
    async with house(Child("a", Scribe, ("a", diary), dormant=True)) as system:
        await system.ask(A, Suspend(), within=5)
        system.tell(A, Say(text="held"))
        with trio.fail_after(5):
            await quiet()
        assert diary == ["+a"]

        system.tell(A, Resume())
        await quiet()
        assert diary == ["+a", "held"]


async def test_an_idle_actor_owns_little() -> None:
    """What makes a hundred thousand sleepers affordable: nothing is kept until it is used."""
    async with house(Child("a", Scribe, dormant=True)) as system:
        await system.ask(A, Say(text="x"), within=5)
        await quiet()
        sleeper = cell(system, "a")

        assert [sleeper.groups, sleeper.timers, sleeper._family, sleeper._scope, sleeper.in_hand] == [None] * 5
        assert sleeper.mailbox.user is sleeper.mailbox.control
