"""What senders may rely on: forwarding, coalescing, named cancels, poison, abandoned asks, the cap of the node.

Contract: supervision.md §3, §4, §6 D3 and D4, §8.5.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, ClassVar

import pytest
import trio
from trio.testing import MockClock

from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.child import Backoff, Child
from goclaw.runtime.faults import ActorCrashed, MailboxFull, NoSuchActor, QueueDropped, Rejected
from goclaw.runtime.mailbox import Overflow
from goclaw.runtime.message import Cancel, Drain, LeaseLost, Message, Suspend, Told
from goclaw.runtime.system import System
from tests.runtime.house import Say, Scribe, Wait, cell, house, outcome, quiet

A, B = Address("a"), Address("b")
AT_ONCE = Backoff(first=0.0)


class Pass(Message[str]):
    """Forward it to whoever is named."""

    to: Address
    text: str = "x"


class Job(Message[str]):
    run: str
    seconds: float = 0.0

    @property
    def subject(self) -> str:
        return self.run


class Bad(Message[None]):
    key: str = ""

    @property
    def poison_key(self) -> Hashable:
        return self.key or None


class Careless(Bad):
    IDEMPOTENT: ClassVar[bool] = True


class Fleeting(Wait):
    CANCEL_WITH_ASKER: ClassVar[bool] = True


class Worker(Scribe):
    preemptible = True

    @handles
    def pass_on(self, ctx: Context, ask: Pass) -> str:
        self.diary.append(ctx.forward(ask.to, Say(text=ask.text)).value)
        return "ignored"

    @handles
    async def job(self, ctx: Context, ask: Job) -> str:
        self.diary.append(f"{ask.run} begins")
        await trio.sleep(ask.seconds)
        self.diary.append(f"{ask.run} ends")
        return ask.run

    @handles
    def bad(self, ctx: Context, ask: Bad) -> None:
        self.diary.append(f"bad {ask.key}")
        raise RuntimeError("as told")

    @handles
    def careless(self, ctx: Context, ask: Careless) -> None:
        raise RuntimeError("as told")

    @handles
    async def fleeting(self, ctx: Context, ask: Fleeting) -> str:
        self.diary.append("fleeting begins")
        await trio.sleep(ask.seconds)
        self.diary.append("fleeting ends")
        return "done"

    @handles
    def drain(self, ctx: Context, signal: Drain) -> None:
        self.diary.append("drains")


class Board(Scribe):
    """Shows only the newest text of each kind."""

    overflow = Overflow.COALESCE
    capacity = 3

    def coalesce(self, message: Message[Any]) -> Hashable:
        return message.text[0] if isinstance(message, Say) else None


class Narrow(Scribe):
    capacity = 1


def pair(diary: list[str], other: type[Actor] = Scribe) -> list[Child]:
    return [Child("a", Worker, ("a", diary), backoff=AT_ONCE), Child("b", other, ("b", diary), backoff=AT_ONCE)]


async def test_a_forwarded_ask_is_answered_by_the_other(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(*pair(diary)) as system:
        assert await system.ask(A, Pass(to=B, text="hello"), within=1) == "hello"
        system.tell(A, Pass(to=B, text="told"))
        await quiet()

        assert diary == ["+a", "+b", "accepted", "hello", "accepted", "told"]


async def test_a_forward_to_nobody_is_told_to_the_asker(autojump_clock: MockClock) -> None:
    async with house(*pair([], Narrow)) as system:
        assert isinstance(await outcome(system.ask(A, Pass(to=Address("nobody")), within=1)), NoSuchActor)

        system.tell(B, Suspend())
        await quiet()
        assert system.tell(B, Say(text="full")) is Told.ACCEPTED
        assert isinstance(await outcome(system.ask(A, Pass(to=B), within=1)), MailboxFull)


async def test_only_the_newest_message_of_a_kind_waits_and_keeps_the_place(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(Child("a", Board, ("a", diary))) as system, trio.open_nursery() as nursery:
        found: list[Any] = []

        async def ask(text: str) -> None:
            found.append(await outcome(system.ask(A, Say(text=text), within=9)))

        system.tell(A, Suspend())
        await quiet()
        nursery.start_soon(ask, "x1")
        await quiet()
        for text in ("y1", "z1", "x2", "y2"):
            assert system.tell(A, Say(text=text)) is Told.ACCEPTED
        assert system.tell(A, Say(text="new kind")) is Told.FULL
        await quiet()
        assert isinstance(found[0], QueueDropped)
        cell(system, "a").mailbox.held = False
        await system.ask(A, Say(text="x3"), within=1)

        assert diary == ["+a", "x3", "y2", "z1"]


async def test_a_cancel_that_names_its_work_hits_nothing_else(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(*pair(diary)) as system, trio.open_nursery() as nursery:
        found: dict[str, Any] = {}

        async def job(run: str) -> None:
            found[run] = await outcome(system.ask(A, Job(run=run, seconds=5), within=60))

        for run in ("r1", "r2", "r3"):
            nursery.start_soon(job, run)
            await quiet()
        system.tell(A, Cancel(reason="stop", of="r2"))
        await trio.sleep(1)
        assert diary[-1] == "r1 begins"  # it goes on
        system.tell(A, Cancel(reason="stop", of="r1"))
        await trio.sleep(20)

        assert isinstance(found["r1"], Rejected)
        assert isinstance(found["r2"], Rejected)
        assert found["r3"] == "r3"
        assert diary == ["+a", "+b", "r1 begins", "r3 begins", "r3 ends"]


async def test_the_message_two_incarnations_died_of_is_never_handled_again(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(*pair(diary)) as system:
        for _ in range(5):
            assert isinstance(await outcome(system.ask(A, Bad(key="k"), within=9)), ActorCrashed)
        assert diary.count("bad k") == 2
        assert system.dead_letters.counters["poison", Bad.TYPE] == 3
        assert cell(system, "a").incarnation == 3

        await outcome(system.ask(A, Bad(key="other"), within=9))
        assert diary[-1] == "bad other"


async def test_equal_messages_without_a_key_are_different_work(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(*pair(diary)) as system:
        for _ in range(3):
            await outcome(system.ask(A, Bad(), within=9))
        same = Bad()
        for _ in range(3):
            await outcome(system.ask(A, same, within=9))

        assert diary.count("bad ") == 5


@pytest.mark.parametrize(("message", "again"), [(Bad(), False), (Careless(), True)])
async def test_only_what_is_idempotent_may_be_asked_again_after_a_crash(message: Message[None], again: bool) -> None:
    async with house(*pair([])) as system:
        with pytest.raises(ActorCrashed) as crash:
            await system.ask(A, message, within=1)
        assert crash.value.retryable == again


@pytest.mark.parametrize(("message", "ends"), [(Wait(seconds=5), "waited"), (Fleeting(seconds=5), "fleeting begins")])
async def test_an_asker_that_goes_takes_only_fleeting_work_along(
    autojump_clock: MockClock, message: Message[str], ends: str
) -> None:
    diary: list[str] = []
    async with house(*pair(diary)) as system:
        with trio.move_on_after(1):
            await system.ask(A, message, within=60)
        await trio.sleep(10)

        assert diary[-1] == ends
        assert system.abandoned == 1


async def test_fleeting_work_that_still_waits_is_dropped(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(*pair(diary)) as system:
        system.tell(A, Job(run="first", seconds=3))
        with trio.move_on_after(1):
            await system.ask(A, Fleeting(seconds=5), within=60)
        await trio.sleep(20)

        assert diary[-1] == "first ends"
        assert system.dead_letters.counters["abandoned", Fleeting.TYPE] == 1


async def test_a_lost_lease_ends_the_incarnation_in_the_middle(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(*pair(diary)) as system:
        system.tell(A, Job(run="r", seconds=5))
        await quiet()
        system.tell(A, LeaseLost())
        await trio.sleep(10)

        assert diary == ["+a", "+b", "r begins", "+a"]


async def test_a_drain_is_not_forgotten_in_a_crash(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(*pair(diary)) as system:
        system.tell(A, Job(run="r", seconds=5))
        await quiet()
        system.tell(A, Drain())
        cell(system, "a").kill()
        await trio.sleep(1)

        assert diary == ["+a", "+b", "r begins", "+a", "drains"]


async def test_a_node_takes_no_more_than_its_cap(autojump_clock: MockClock) -> None:
    async with house(*pair([])) as system:
        system.load.most = 3
        for actor in (A, B):
            system.tell(actor, Suspend())
        await quiet()
        told = [system.tell(to, Say(text="x")) for to in (A, B, A, B)]

        assert told == [Told.ACCEPTED, Told.ACCEPTED, Told.ACCEPTED, Told.FULL]
        assert system.tell(A, Drain()) is Told.ACCEPTED  # control has room of its own
        await room_again(system)


async def room_again(system: System) -> None:
    cell(system, "a").mailbox.clear()
    assert system.load.queued == 1
    assert system.tell(B, Say(text="x")) is Told.ACCEPTED
