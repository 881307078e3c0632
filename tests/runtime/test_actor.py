"""What an actor's author uses: the handler table and the context."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.child import Child, Restart
from goclaw.runtime.faults import ActorCrashed, AlreadyRegistered, AskTimeout
from goclaw.runtime.message import ChildEnded, Message, Told
from goclaw.runtime.reply import Reply
from tests.runtime.house import Boom, End, Say, Scribe, cell, house, outcome, quiet, scribes

A = Address("a")


class Later(Message[str]):
    """Answered when `Now` comes."""


class Now(Message[bool]):
    text: str


class Start(Message[Address]):
    REMOTE = False
    child: Child


class Finish(Message[None]):
    address: Address


class Desk(Actor):
    """Takes questions, answers them later, and has helpers."""

    def __init__(self, seen: list[Any]) -> None:
        self.seen = seen
        self.waiting: list[Reply] = []

    @handles
    def later(self, ctx: Context, ask: Later) -> str:
        reply = ctx.defer()
        if reply is None:
            return "told"
        self.waiting.append(reply)
        assert ctx.defer() is None
        return "ignored"

    @handles
    def now(self, ctx: Context, ask: Now) -> bool:
        return self.waiting.pop().answer(ask.text)

    @handles
    def start(self, ctx: Context, ask: Start) -> Address:
        return ctx.child(ask.child)

    @handles
    async def finish(self, ctx: Context, ask: Finish) -> None:
        await ctx.stop_child(ask.address)
        await ctx.stop_child(ask.address)

    @handles
    def ended(self, ctx: Context, news: ChildEnded) -> None:
        self.seen.append((news.address.name, news.reason, bool(news.error)))

    @handles
    def say(self, ctx: Context, ask: Say) -> str:
        self.seen.append(ask.text)
        return ask.text

    @handles
    def boom(self, ctx: Context, ask: Boom) -> None:
        raise RuntimeError("as told")


class Tells(Actor):
    """Says its last words to its parent, then ends."""

    async def on_start(self, ctx: Context) -> None:
        for text in ("last", "words"):
            assert ctx.tell(A, Say(text=text)) is Told.ACCEPTED
        ctx.stop()


class Who(Message[tuple[object, ...]]):
    pass


class Curious(Actor):
    @handles
    def who(self, ctx: Context, ask: Who) -> tuple[object, ...]:
        return (ctx.address, ctx.incarnation, ctx.sender, ctx.principal, ctx.deadline, ctx.clock.monotonic())


def test_an_actor_has_one_handler_for_a_message() -> None:
    class Twice(Actor):
        @handles
        def one(self, ctx: Context, ask: Say) -> str:
            return "1"

        @handles
        def two(self, ctx: Context, ask: Say) -> str:
            return "2"

    with pytest.raises(TypeError, match="two handlers for Say"):
        Twice.table()


def test_handlers_are_inherited_and_the_table_is_each_classes_own() -> None:
    class Quieter(Scribe):
        @handles
        def say(self, ctx: Context, ask: Say) -> str:
            return ""

    assert set(Quieter.table()) == set(Scribe.table())
    assert Quieter.table()[Say] != Scribe.table()[Say]


async def test_a_handler_learns_who_asks_and_how_long_they_wait(autojump_clock: MockClock) -> None:
    async with house(Child("a", Curious)) as system:
        sender = Address("b")
        facts = await system.ask(A, Who(), within=5, sender=sender, principal="lan")

    assert facts == (A, 1, sender, "lan", 5.0, 0.0)


async def test_a_deferred_answer_comes_when_its_time_has_come() -> None:
    answers: list[str] = []

    async with house(Child("a", Desk, ([],))) as system:

        async def ask() -> None:
            answers.append(await system.ask(A, Later(), within=5))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await quiet()
            assert answers == []
            assert await system.ask(A, Now(text="now"), within=5)
            await quiet()

    assert answers == ["now"]


async def test_a_deferred_answer_nobody_waits_for_says_so(autojump_clock: MockClock) -> None:
    async with house(Child("a", Desk, ([],))) as system:
        assert isinstance(await outcome(system.ask(A, Later(), within=1)), AskTimeout)

        assert not await system.ask(A, Now(text="late"), within=1)


async def test_a_deferred_answer_that_is_lost_in_a_crash_ends_with_the_deadline(autojump_clock: MockClock) -> None:
    async with house(Child("a", Desk, ([],))) as system, trio.open_nursery() as nursery:
        outcomes: list[Any] = []

        async def ask() -> None:
            outcomes.append(await outcome(system.ask(A, Later(), within=7)))

        nursery.start_soon(ask)
        await quiet()
        system.tell(A, Boom())
        await trio.sleep(8)

        assert isinstance(outcomes[0], AskTimeout)


async def test_a_parent_hears_a_childs_last_words_before_its_end() -> None:
    seen: list[Any] = []
    async with house(Child("a", Desk, (seen,))) as system:
        await system.ask(A, Start(child=Child("t", Tells, restart=Restart.TEMPORARY)), within=5)
        await quiet()

        assert seen == ["last", "words", ("t", "normal", False)]
        assert cell(system, "a").children == []


async def test_a_temporary_child_that_crashes_is_reported_and_gone(autojump_clock: MockClock) -> None:
    seen: list[Any] = []
    async with house(Child("a", Desk, (seen,))) as system:
        child = await system.ask(A, Start(child=Child("c", Scribe, restart=Restart.TEMPORARY)), within=5)
        system.tell(child, Boom())
        await trio.sleep(1)

        assert seen == [("c", "crash", True)]
        assert system.tell(child, Boom()) is Told.NO_ACTOR


async def test_a_child_its_parent_stopped_is_no_news() -> None:
    seen: list[Any] = []
    diary: list[str] = []
    async with house(Child("a", Desk, (seen,))) as system:
        child = await system.ask(A, Start(child=scribes("c", diary)[0]), within=5)
        await quiet()
        await system.ask(A, Finish(address=child), within=5)
        await system.ask(A, Start(child=scribes("c", diary)[0]), within=5)
        await quiet()

        assert seen == []
        assert diary == ["+c", "-c", "+c"]


async def test_news_of_an_earlier_child_is_not_mistaken_for_its_namesakes() -> None:
    """A child ends; before the parent hears of it, it stops the child and starts another of that name."""
    seen: list[Any] = []
    async with house(Child("a", Desk, (seen,))) as system:
        namesake = Child("c", Scribe, restart=Restart.TEMPORARY)
        child = await system.ask(A, Start(child=namesake), within=5)
        await quiet()
        system.tell(child, End())
        system.tell(A, Finish(address=child))
        system.tell(A, Start(child=namesake))
        await quiet()

        assert cell(system, "a", "c").running
    assert seen in ([], [("c", "normal", False)])  # whichever of the two came first


async def test_two_children_cannot_share_a_name(autojump_clock: MockClock) -> None:
    async with house(Child("a", Desk, ([],))) as system:
        await system.ask(A, Start(child=Child("c", Scribe)), within=5)
        with pytest.raises(ActorCrashed):
            await system.ask(A, Start(child=Child("c", Scribe)), within=5)

        assert system.crashes.records[-1].type == AlreadyRegistered.__name__
        await quiet()
        assert cell(system, "a").children == []  # they went with the incarnation that started them


async def test_resources_are_released_at_every_end(autojump_clock: MockClock) -> None:
    released: list[str] = []

    class Holder(Scribe):
        def release(self) -> None:
            released.append(self.name)
            if self.name == "clumsy":
                raise OSError("already closed")

    holders = [Child(name, Holder, (name,), restart=Restart.TEMPORARY) for name in ("crash", "kill", "stop", "clumsy")]
    async with house(*holders) as system:
        system.tell(Address("crash"), Boom())
        cell(system, "kill").kill()
        await quiet()
        assert sorted(released) == ["crash", "kill"]
    assert sorted(released) == ["clumsy", "crash", "kill", "stop"]
