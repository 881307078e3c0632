"""Blocking actors: real threads, real time, every wait with a deadline."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.blocking import THREADS, ZOMBIES, ZOMBIES_PER_HOUR, BlockingActor, ThreadContext, Vehicles
from goclaw.runtime.child import Backoff, Child, Restart
from goclaw.runtime.faults import (
    ActorCrashed,
    ActorStopped,
    AskTimeout,
    Err,
    Rejected,
    TooManyThreads,
    TooManyZombies,
)
from goclaw.runtime.message import Cancel, Message, Told
from goclaw.runtime.system import System
from goclaw.runtime.testing import Inline
from tests.runtime.house import Boom, Refuse, Say, Scribe, cell, house, outcome, until

A, B = Address("a"), Address("b")


class Exit(Message[None]):
    """Raise SystemExit in the thread."""


class Block(Message[str]):
    """Wait in the thread until the gate opens."""


class Where(Message[tuple[int, str]]):
    """The number and the name of the thread."""


class Library(BlockingActor):
    preemptible = True

    def __init__(self, gate: threading.Event | None = None, entered: threading.Event | None = None) -> None:
        self.gate = gate or threading.Event()
        self.entered = entered or threading.Event()

    def interrupt(self) -> None:
        pass  # a library that cannot be interrupted

    @handles
    def say(self, ctx: ThreadContext, ask: Say) -> str:
        ctx.tell(B, ask)
        return ask.text

    @handles
    def where(self, ctx: ThreadContext, ask: Where) -> tuple[int, str]:
        return threading.get_native_id(), threading.current_thread().name

    @handles
    def refuse(self, ctx: ThreadContext, ask: Refuse) -> Err:
        return Err("NO", "no")

    @handles
    def boom(self, ctx: ThreadContext, ask: Boom) -> None:
        raise RuntimeError("in the thread")

    @handles
    def exit(self, ctx: ThreadContext, ask: Exit) -> None:
        raise SystemExit

    @handles
    def block(self, ctx: ThreadContext, ask: Block) -> str:
        self.entered.set()
        self.gate.wait(timeout=20)
        return "late"


class Kind(Library):
    def interrupt(self) -> None:
        self.gate.set()


def library(kind: type[Library] = Library, **options: Any) -> Child:
    return Child("a", kind, backoff=Backoff(first=0.0), **options)


async def entered(system: System) -> Library:
    actor = cell(system, "a").actor
    assert isinstance(actor, Library)
    await until(actor.entered.is_set)
    return actor


async def test_the_thread_answers_and_tells() -> None:
    diary: list[str] = []
    async with house(library(), Child("b", Scribe, ("b", diary))) as system:
        assert await system.ask(A, Say(text="hello"), within=5) == "hello"
        await until(lambda: "hello" in diary)

        names = {await system.ask(A, Where(), within=5) for _ in range(5)}
        assert len(names) == 1
        assert threading.main_thread().name not in names


async def test_a_refusal_from_the_thread_is_an_answer_and_no_crash() -> None:
    async with house(library()) as system:
        assert system.tell(A, Refuse()) is Told.ACCEPTED
        with pytest.raises(Rejected):
            await system.ask(A, Refuse(), within=5)

        assert cell(system, "a").incarnation == 1


@pytest.mark.parametrize(("message", "crash"), [(Boom(), "RuntimeError"), (Exit(), "ThreadDied")])
async def test_whatever_the_thread_raises_is_a_crash_of_this_actor_alone(message: Message[None], crash: str) -> None:
    other = Child("c", Library)
    async with house(library(), other) as system:
        await system.ask(Address("c"), Where(), within=5)
        with pytest.raises(ActorCrashed):
            await system.ask(A, message, within=5)

        assert system.crashes.records[-1].type == crash
        assert await system.ask(A, Where(), within=5)
        assert await system.ask(Address("c"), Where(), within=5)
        assert cell(system, "c").incarnation == 1


async def test_an_asker_does_not_wait_for_the_thread_beyond_its_deadline() -> None:
    async with house(library()) as system:
        with pytest.raises(AskTimeout):
            await system.ask(A, Block(), within=0.05)
        (await entered(system)).gate.set()

        assert await system.ask(A, Where(), within=10)
        assert [letter.reason for letter in system.dead_letters.records] == ["late_reply"]


async def test_a_kill_leaves_a_stuck_thread_behind_and_the_next_incarnation_gets_its_own() -> None:
    outcomes: list[Any] = []
    async with house(library()) as system, trio.open_nursery() as nursery:
        stuck_in = await system.ask(A, Where(), within=5)

        async def ask() -> None:
            outcomes.append(await outcome(system.ask(A, Block(), within=10)))

        nursery.start_soon(ask)
        stuck = await entered(system)
        cell(system, "a").kill()

        assert await system.ask(A, Where(), within=10) != stuck_in
        assert isinstance(outcomes[0], ActorStopped)
        assert system.vehicles.zombies == 1
        stuck.gate.set()  # its late answer reaches nobody
        await until(lambda: not system.vehicles.zombies)
        assert cell(system, "a").incarnation == 2


async def test_a_library_that_can_be_interrupted_leaves_no_thread_behind() -> None:
    async with house(library(Kind)) as system:
        system.tell(A, Block())
        await entered(system)
        system.tell(A, Cancel(reason="user"))

        assert await system.ask(A, Where(), within=10)
        await until(lambda: not system.vehicles.zombies)
        assert cell(system, "a").incarnation == 1


async def test_too_many_stuck_threads_crash_the_actor() -> None:
    gate = threading.Event()
    async with house(Child("a", Library, (gate,), restart=Restart.TEMPORARY)) as system:
        actor = cell(system, "a").actor
        assert isinstance(actor, Library)
        for _ in range(ZOMBIES + 1):
            actor.entered.clear()
            system.tell(A, Block())
            await until(actor.entered.is_set)
            system.tell(A, Cancel(reason="user"))
        with pytest.raises(ActorCrashed):
            await system.ask(A, Where(), within=10)

        assert system.crashes.records[-1].type == "TooManyZombies"
        gate.set()
        await until(lambda: not system.vehicles.zombies)


async def test_a_stop_ends_the_thread() -> None:
    async with house(library()) as system:
        _, name = await system.ask(A, Where(), within=5)
        assert name in {thread.name for thread in threading.enumerate()}
        await system.stop()

        await until(lambda: name not in {thread.name for thread in threading.enumerate()})


async def test_a_thread_that_outlives_the_loop_talks_to_nobody() -> None:
    token = trio.lowlevel.current_trio_token()
    contexts: list[ThreadContext] = []

    class Keeps(Library):
        @handles
        def say(self, ctx: ThreadContext, ask: Say) -> str:
            contexts.append(ctx)
            return ""

    async with house(library(Keeps)) as system:
        await system.ask(A, Say(text=""), within=5)

    contexts[0].tell(B, Say(text="after the end"))
    assert token is trio.lowlevel.current_trio_token()
    await until(lambda: system.dead_letters.total == 1)


class Relay(Message[str]):
    """Ask the other actor from inside the thread."""

    within: float = 5.0


class Asking(BlockingActor):
    @handles
    def relay(self, ctx: ThreadContext, ask: Relay) -> str:
        return ctx.ask(B, Say(text="from a thread"), within=ask.within)

    @handles
    def circle(self, ctx: ThreadContext, ask: Say) -> str:
        return ctx.ask(Address("middle"), Relay(), within=5)


class Middle(Actor):
    @handles
    async def relay(self, ctx: Context, ask: Relay) -> str:
        return await ctx.ask(A, Relay(), within=5)


async def test_a_thread_may_ask_and_only_itself_waits() -> None:
    async with house(Child("a", Asking), Child("b", Scribe)) as system:
        assert await system.ask(A, Relay(), within=5) == "from a thread"


async def test_a_circle_through_a_thread_is_refused_at_once() -> None:
    async with house(Child("a", Asking), Child("middle", Middle)) as system:
        with capture_logs():
            assert isinstance(await outcome(system.ask(A, Say(text="x"), within=5)), ActorCrashed)
        crash = system.crashes.records[0]
        assert crash.type == "AskCycle"


async def test_a_node_has_room_for_so_many_threads(autojump_clock: MockClock) -> None:
    vehicles = Vehicles()
    workers = [vehicles.start(f"/{n}") for n in range(THREADS)]
    try:
        with pytest.raises(TooManyThreads):
            vehicles.start("/one-too-many")
    finally:
        for worker in workers:
            vehicles.stop(worker)
    assert vehicles.running == set()


async def test_threads_left_behind_too_often_stop_the_rest_although_they_ended(autojump_clock: MockClock) -> None:
    vehicles = Vehicles()
    for n in range(ZOMBIES_PER_HOUR + 1):
        worker = vehicles.start(f"/{n}")
        vehicles.abandon(worker)
        worker.actor_stopped.wait()
    assert vehicles.zombies == 0
    with pytest.raises(TooManyZombies):
        vehicles.start("/next")

    await trio.sleep(3600)
    vehicles.stop(vehicles.start("/an-hour-later"))


async def test_in_virtual_time_blocking_work_takes_what_the_test_says(autojump_clock: MockClock) -> None:
    async with house(Child("a", Library), Child("b", Scribe)) as system:
        system.inline = Inline(latency=3.0)
        began = trio.current_time()
        await system.ask(A, Where(), within=5)

        assert trio.current_time() - began == 3.0
        assert system.vehicles.running == set()
