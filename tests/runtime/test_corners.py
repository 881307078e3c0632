"""Corners of the kernel where two rules meet."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from goclaw.runtime import steer
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.blocking import BlockingActor, ThreadContext
from goclaw.runtime.child import Backoff, Child, Limit, State, Strategy
from goclaw.runtime.faults import ActorStopped
from goclaw.runtime.inbox import inbox
from goclaw.runtime.lens import tapped
from goclaw.runtime.message import Down, LinkExit, Message, Told
from goclaw.runtime.news import EVENTS, LifeNews
from goclaw.runtime.tree import describe
from goclaw.runtime.virtual import Virtual
from tests.runtime.house import Boom, Say, Scribe, Wait, cell, house, outcome, quiet

A, B = Address("a"), Address("b")


class Stillborn(Actor):
    async def on_start(self, ctx: Context) -> None:
        raise RuntimeError("never")


class Pusher(BlockingActor):
    @handles
    def say(self, ctx: ThreadContext, ask: Say) -> str:
        for _ in range(3):
            ctx.tell(B, ask)
        return "pushed"


class Narrow(Scribe):
    capacity = 1


class Slow(Scribe):
    responsive = True

    @handles
    async def wait(self, ctx: Context, ask: Wait) -> str:
        ctx.child(Child("helper", Lingering, shutdown=ask.seconds))
        raise RuntimeError("with a child that takes its time")


class Lingering(Actor):
    async def on_stop(self, ctx: Context, reason: str) -> None:
        await trio.sleep(100)


async def test_a_virtual_actor_that_cannot_start_is_left_alone_until_somebody_asks(autojump_clock: MockClock) -> None:
    async with house(Child("s", lambda: Virtual(lambda address: Stillborn(), idle=60.0, most=10))) as system:
        await outcome(system.ask(Address("s", "acme", "k"), Say(text="x"), within=1))
        crashed = system.crashes.total
        await trio.sleep(3600)

        assert system.crashes.total == crashed
        assert Address("s", "acme", "k") not in system.members


async def test_who_makes_room_for_others_leaves_no_link_behind(autojump_clock: MockClock) -> None:
    news: list[str] = []

    def hear(message: Message[object]) -> Told:
        if isinstance(message, LifeNews):
            news.append(f"{message.event} {message.path} {message.reason}")
        return Told.ACCEPTED

    class Tied(Scribe):
        trap_links = True

        async def on_start(self, ctx: Context) -> None:
            ctx.link(Address("s", "acme", "k"))

        @handles
        def lost(self, ctx: Context, exit: LinkExit) -> None:
            self.diary.append("lost")

    diary: list[str] = []
    sleepy = Child("s", lambda: Virtual(lambda address: Scribe(), idle=1e6, most=1))
    async with house(sleepy) as system, trio.open_nursery():
        await system.ask(Address("s", "acme", "k"), Say(text="x"), within=1)
        cell(system).family.start_soon(Child("tied", Tied, ("tied", diary)))
        await quiet()
        with inbox(system, Address("listener"), "Test", hear) as box:
            box.join(EVENTS)
            await system.ask(Address("s", "acme", "other"), Say(text="x"), within=1)
        assert "actor.stopped /s/acme/k passivated" in news
        await system.ask(Address("s", "acme", "k"), Say(text="x"), within=1)
        system.tell(Address("s", "acme", "k"), Boom())
        await quiet()

        assert "lost" not in diary


async def test_a_rest_is_not_cut_short_by_the_timer_of_an_earlier_one(autojump_clock: MockClock) -> None:
    rest = Backoff(first=20.0, factor=1.0, jitter=0.0, reset_after=1e6)
    children = [Child("a", Scribe, backoff=rest), Child("b", Scribe, backoff=rest)]
    async with house(*children, strategy=Strategy.ONE_FOR_ALL) as system:
        system.tell(A, Boom())  # due at 20
        await trio.sleep(15)
        steer.restart(system, B)
        await trio.sleep(1)
        assert cell(system, "a").state is State.RUNNING
        system.tell(A, Boom())  # due at 36
        await trio.sleep(19)
        assert cell(system, "a").state is State.BACKOFF


async def test_an_actor_that_waits_for_its_children_to_end_has_nothing_in_hand(autojump_clock: MockClock) -> None:
    async with house(Child("a", Slow, backoff=Backoff(first=0.0))) as system:
        system.tell(A, Wait(seconds=30))
        await trio.sleep(10)
        node = await describe(system, A, 0)

        assert node is not None
        assert node["in_hand"] is None


async def test_who_monitors_a_stopped_actor_hears_so_at_once(autojump_clock: MockClock) -> None:
    heard: list[Message[object]] = []

    def hear(message: Message[object]) -> Told:
        heard.append(message)
        return Told.ACCEPTED

    async with house(Child("a", Scribe)) as system:
        steer.stop(system, A)
        await quiet()
        with inbox(system, Address("listener"), "Test", hear) as box:
            system.monitor(box, A)
            assert heard == [Down(address=A, incarnation=1, reason="shutdown")]
        with pytest.raises(ActorStopped):
            await system.cast(A, Say(text="x"), within=1)


async def test_old_restarts_count_no_more(autojump_clock: MockClock) -> None:
    async with house(Child("a", Scribe), limit=Limit(restarts=3, within=5.0)) as system:
        system.tell(A, Boom())
        await trio.sleep(1)
        first = await describe(system, A, 0)
        await trio.sleep(10)
        later = await describe(system, A, 0)

        assert first is not None
        assert later is not None
        assert (first["restarts_window"], later["restarts_window"]) == (1, 0)
        assert first["restart_limit"] == {"restarts": 3, "within": 5.0}


async def test_a_crowd_that_is_killed_is_no_storm(autojump_clock: MockClock) -> None:
    async with house(Child("s", lambda: Virtual(lambda address: Scribe(), idle=1e6, most=100))) as system:
        for n in range(30):
            system.tell(Address("s", "acme", str(n)), Wait(seconds=100))
        await quiet()
        for n in range(30):
            cell(system, "s", "acme", str(n)).kill()
        await quiet()

        assert system.escalations == 0
        assert await system.ask(Address("s", "acme", "new"), Say(text="x"), within=1) == "x"


async def test_an_ask_of_an_inbox_is_refused_and_not_acted_on() -> None:
    heard: list[Message[object]] = []

    def hear(message: Message[object]) -> Told:
        heard.append(message)
        return Told.FULL

    async with house() as system:
        with inbox(system, Address("listener"), "Test", hear):
            assert "can be told" in str(await outcome(system.ask(Address("listener"), Say(text="x"), within=1)))
    assert heard == []


async def test_a_thread_that_floods_a_full_actor_hurts_nobody_in_debug_mode() -> None:
    async with house(Child("a", Pusher), Child("b", Narrow)) as system:
        assert system.checks is not None
        steer.suspend(system, B)
        await quiet()
        assert await system.ask(A, Say(text="x"), within=5) == "pushed"
        assert await system.ask(A, Say(text="x"), within=5) == "pushed"  # the house still stands
        assert len(cell(system, "b").mailbox.user) == 1


async def test_a_tap_times_every_message_of_a_busy_node(autojump_clock: MockClock) -> None:
    async with house(Child("a", Scribe)) as system, tapped(system, A, count=3, seconds=10) as records:
        for seconds in (1, 1, 1):
            system.tell(A, Wait(seconds=seconds))
        waits = [seen.wait_ms async for seen in records]

        assert waits == pytest.approx([0, 1000, 2000])
