"""Actors that exist by name."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from goclaw.runtime.actor import Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.child import Child, Restart, State
from goclaw.runtime.faults import Err, NoSuchActor, Rejected, StartFailed
from goclaw.runtime.mailbox import Overflow
from goclaw.runtime.message import Told
from goclaw.runtime.system import System
from goclaw.runtime.virtual import Virtual
from tests.runtime.house import Boom, End, Say, Scribe, StartOne, Wait, cell, house, outcome, quiet, until

KEY = Address("s", "acme", "k")


class Session(Scribe):
    async def on_passivate(self, ctx: Context) -> bool:
        self.diary.append("sleepy")
        await trio.sleep(1)
        return True


class Restless(Scribe):
    async def on_passivate(self, ctx: Context) -> bool:
        self.diary.append("no")
        return False


class Alarmed(Scribe):
    @handles
    def end(self, ctx: Context, ask: End) -> None:
        ctx.after(120.0, Say(text="rang"))


class Unknown(Scribe):
    async def on_start(self, ctx: Context) -> None:
        await trio.sleep(0.5)
        raise Rejected(Err("NOT_FOUND", "not_found"))


class Broken(Scribe):
    async def on_start(self, ctx: Context) -> None:
        await trio.sleep(0.5)
        raise LookupError("no row")


class Tiny(Scribe):
    capacity = 2
    overflow = Overflow.DROP_OLD


def sessions(kind: type[Scribe], diary: list[str], idle: float = 60.0, most: int = 10) -> Child:
    return Child("s", lambda: Virtual(lambda address: kind(address.name, diary), idle=idle, most=most))


def active(system: System) -> list[str]:
    return [child.address.name for child in cell(system, "s").children]


async def test_concurrent_first_messages_are_one_activation() -> None:
    diary: list[str] = []
    async with house(sessions(Scribe, diary)) as system, trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(system.ask, KEY, Say(text=str(number)), 5)

    assert diary.count("+k") == 1
    assert sorted(diary[1:21], key=int) == [str(number) for number in range(20)]


@pytest.mark.parametrize(
    "segments", [("s", "acme"), ("s", "acme", "k", "run"), ("t", "acme", "k"), ("s",), ("s", "acme", "k", "x", "y")]
)
async def test_only_addresses_of_the_right_depth_are_virtual(segments: tuple[str, ...]) -> None:
    async with house(sessions(Scribe, [])) as system:
        for _ in range(2):  # with and without `/s/acme/k` active
            found = await outcome(system.ask(Address(*segments), Say(text="x"), within=5))
            assert isinstance(found, NoSuchActor)
            await system.ask(KEY, Say(text="x"), within=5)

        assert active(system) == ["k"]


async def test_an_idle_actor_is_passivated_and_comes_back_with_the_next_message(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(sessions(Session, diary)) as system:
        await system.ask(KEY, Say(text="1"), within=5)
        await trio.sleep(59)
        assert active(system) == ["k"]
        await trio.sleep(10)
        assert active(system) == []
        await system.ask(KEY, Say(text="2"), within=5)

    assert diary == ["+k", "1", "sleepy", "+k", "2", "-k"]


async def test_messages_that_arrive_while_an_actor_falls_asleep_are_not_lost(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(sessions(Session, diary)) as system:
        await system.ask(KEY, Say(text="1"), within=5)
        await until(lambda: "sleepy" in diary, every=0.25)
        answer = await system.ask(KEY, Say(text="2"), within=30)

        assert answer == "2"
        assert cell(system, *KEY[1:].split("/")).incarnation == 2
    assert diary == ["+k", "1", "sleepy", "+k", "2", "-k"]


async def test_an_actor_may_refuse_to_sleep(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(sessions(Restless, diary)) as system:
        await system.ask(KEY, Say(text="1"), within=5)
        await trio.sleep(200)

        assert active(system) == ["k"]
        assert 1 < diary.count("no") < 5  # asked again once it was idle for long again


async def test_an_actor_with_a_child_or_a_timer_is_not_idle(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(sessions(Alarmed, diary)) as system:
        parent, alarmed = Address("s", "acme", "parent"), Address("s", "acme", "alarmed")
        await system.ask(parent, StartOne(child=Child("run", Scribe, restart=Restart.TEMPORARY)), within=5)
        system.tell(alarmed, End())
        await trio.sleep(100)
        assert active(system) == ["parent", "alarmed"]
        await trio.sleep(100)
        assert active(system) == ["parent"]
        assert "rang" in diary

        await system.ask(parent / "run", Say(text="still here"), within=5)


async def test_at_the_cap_who_slept_longest_makes_room(autojump_clock: MockClock) -> None:
    async with house(sessions(Scribe, [], most=2)) as system:
        for key in "abc":
            await system.ask(Address("s", "acme", key), Say(text=key), within=5)
            await trio.sleep(1)

        assert active(system) == ["b", "c"]


async def test_when_nobody_sleeps_the_newcomer_is_refused(autojump_clock: MockClock) -> None:
    async with house(sessions(Scribe, [], most=2)) as system:
        for key in "ab":
            system.tell(Address("s", "acme", key), Wait(seconds=10))
        await quiet()

        with pytest.raises(Rejected) as caught:
            await system.ask(Address("s", "acme", "c"), Say(text="c"), within=5)
        assert caught.value.err.details["reason"] == "capacity"
        assert system.tell(Address("s", "acme", "c"), Say(text="c")) is Told.FULL
        assert active(system) == ["a", "b"]


async def test_an_actor_that_refuses_to_exist_refuses_whoever_waits_and_leaves_nothing(
    autojump_clock: MockClock,
) -> None:
    outcomes: list[Any] = []
    async with house(sessions(Unknown, [])) as system:

        async def ask() -> None:
            outcomes.append(await outcome(system.ask(KEY, Say(text="?"), within=5)))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask)

        assert [fault.err.code for fault in outcomes] == ["NOT_FOUND"] * 3
        await quiet()
        assert active(system) == []
        assert system.crashes.total == 0


async def test_an_actor_that_cannot_start_tells_whoever_waits_why(autojump_clock: MockClock) -> None:
    async with house(sessions(Broken, [])) as system:
        found = await outcome(system.ask(KEY, Say(text="?"), within=60))
        assert isinstance(found, StartFailed)
        assert isinstance(found.cause, LookupError)
        assert trio.current_time() == 0.5

        with trio.fail_after(60):  # and so on, until it is left alone
            while not isinstance(found, Rejected):
                found = await outcome(system.ask(KEY, Say(text="?"), within=60))
        assert cell(system, *KEY[1:].split("/")).state is State.QUARANTINED


async def test_a_burst_before_the_first_start_is_cut_to_the_mailbox(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(sessions(Tiny, diary)) as system:
        for number in range(5):
            system.tell(KEY, Say(text=str(number)))
        await quiet()

        assert diary == ["+k", "3", "4"]
        assert [letter.reason for letter in system.dead_letters.records] == ["dropped_old"] * 3


async def test_a_crash_does_not_lose_the_messages_behind_it(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(sessions(Scribe, diary)) as system:
        for message in (Boom(), Say(text="1"), End(), Say(text="2")):
            system.tell(KEY, message)
        await trio.sleep(5)

    assert diary == ["+k", "+k", "1", "-k", "+k", "2", "-k"]


async def test_nothing_wakes_below_a_supervisor_that_ends(autojump_clock: MockClock) -> None:
    class Chatty(Scribe):
        async def on_stop(self, ctx: Context, reason: str) -> None:
            told.append(ctx.tell(Address("s", "acme", "other"), Say(text="x")))
            await trio.sleep(1)

    told: list[Told] = []
    async with house(sessions(Chatty, [])) as system:
        await system.ask(KEY, Say(text="1"), within=5)
        await system.stop()

        assert told == [Told.NO_ACTOR]
        assert system.members == {}
