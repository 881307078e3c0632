"""Sending: what a tell, a cast and an ask lead to, groups, monitors, and the life of the root."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from structlog.typing import EventDict
from trio.testing import MockClock

from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.child import Backoff, Child, Limit, Restart
from goclaw.runtime.faults import (
    ActorCrashed,
    ActorStopped,
    AskCycle,
    AskTimeout,
    Escalated,
    MailboxFull,
    NoSuchActor,
    QueueDropped,
    Rejected,
    SelfAsk,
)
from goclaw.runtime.mailbox import Overflow
from goclaw.runtime.message import Down, Message, Told
from goclaw.runtime.news import EVENTS, LifeNews
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import System, open_system
from goclaw.runtime.virtual import Virtual
from tests.runtime.house import (
    Boom,
    End,
    Forward,
    NoDatabase,
    Refuse,
    RefuseLoudly,
    Say,
    Scribe,
    Wait,
    cell,
    house,
    outcome,
    quiet,
    scribes,
)

A, B, C = Address("a"), Address("b"), Address("c")


class Small(Scribe):
    capacity = 1


class Forgetful(Small):
    overflow = Overflow.DROP_OLD


class Watch(Message[None]):
    address: Address


class Leave(Message[None]):
    group: str


class Watcher(Actor):
    """Writes down who is gone, and what it hears in the group `news`."""

    def __init__(self, seen: list[str]) -> None:
        self.seen = seen

    async def on_start(self, ctx: Context) -> None:
        ctx.join("news")

    @handles
    def watch(self, ctx: Context, ask: Watch) -> None:
        ctx.monitor(ask.address)

    @handles
    def leave(self, ctx: Context, ask: Leave) -> None:
        ctx.leave(ask.group)

    @handles
    def down(self, ctx: Context, news: Down) -> None:
        self.seen.append(f"{news.address} {news.reason}")

    @handles
    def say(self, ctx: Context, news: Say) -> None:
        self.seen.append(news.text)

    @handles
    def event(self, ctx: Context, news: LifeNews) -> None:
        self.seen.append(f"{news.event} {news.path}")

    @handles
    def boom(self, ctx: Context, ask: Boom) -> None:
        raise RuntimeError("as told")


def reasons(system: System) -> list[str]:
    return [letter.reason for letter in system.dead_letters.records]


# --- tell and cast ------------------------------------------------------------------------------


async def test_a_told_message_is_handled_in_order() -> None:
    diary: list[str] = []
    async with house(*scribes("a", diary)) as system:
        assert [system.tell(A, Say(text=text)) for text in "xyz"] == [Told.ACCEPTED] * 3
        await quiet()

        assert diary == ["+a", "x", "y", "z"]


async def test_telling_nobody_says_so_and_leaves_a_dead_letter() -> None:
    async with house() as system:
        assert system.tell(A, Say(text="x"), sender=B) is Told.NO_ACTOR

        letter = system.dead_letters.records[-1]
        assert (letter.to, letter.sender, letter.reason, letter.type) == (A, B, "no_actor", Say.TYPE)


async def test_a_tell_to_a_full_mailbox_is_refused(autojump_clock: MockClock) -> None:
    async with house(Child("a", Small)) as system:
        system.tell(A, Wait(seconds=1))
        await quiet()

        assert system.tell(A, Say(text="1")) is Told.ACCEPTED
        assert system.tell(A, Say(text="2")) is Told.FULL
        assert reasons(system) == ["mailbox_full"]


async def test_a_message_its_receiver_does_not_know_is_a_dead_letter() -> None:
    async with house(Child("a", Scribe)) as system:
        system.tell(A, Watch(address=B))
        with pytest.raises(NoSuchActor, match="does not handle"):
            await system.ask(A, Watch(address=B), within=5)

        assert reasons(system) == ["not_handled", "not_handled"]


async def test_a_cast_waits_for_room_and_no_longer_than_it_may(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(Child("a", Small, ("a", diary))) as system:
        for message in (Wait(seconds=1), Say(text="1")):
            system.tell(A, message)
            await quiet()

        with pytest.raises(MailboxFull):
            await system.cast(A, Say(text="too early"), within=0.5)
        await system.cast(A, Say(text="2"), within=1)
        await quiet()
        with pytest.raises(NoSuchActor):
            await system.cast(B, Say(text="3"), within=1)

    assert diary == ["+a", "wait", "waited", "1", "2", "-a"]


# --- ask ----------------------------------------------------------------------------------------


async def test_an_ask_is_answered() -> None:
    async with house(Child("a", Scribe)) as system:
        assert await system.ask(A, Say(text="hello"), within=5) == "hello"


@pytest.mark.parametrize("refusal", [Refuse(), RefuseLoudly()])
async def test_a_refusal_reaches_the_asker_and_is_no_crash(refusal: Message[None]) -> None:
    async with house(Child("a", Scribe)) as system:
        with pytest.raises(Rejected) as caught:
            await system.ask(A, refusal, within=5)

        assert caught.value.err.code == "NO"
        assert cell(system, "a").incarnation == 1


async def test_a_refusal_nobody_hears_is_a_crash(autojump_clock: MockClock) -> None:
    async with house(Child("a", Scribe)) as system:
        system.tell(A, RefuseLoudly())
        await trio.sleep(1)

        assert cell(system, "a").incarnation == 2


async def test_an_asker_learns_that_its_own_message_crashed_the_handler(autojump_clock: MockClock) -> None:
    async with house(Child("a", Scribe)) as system:
        with pytest.raises(ActorCrashed) as caught:
            await system.ask(A, Boom(), within=5)

        assert await system.ask(A, Say(text="again"), within=5) == "again"
        crash = system.crashes.records[-1]
        assert (crash.path, crash.incarnation, crash.in_hand) == (A, 1, Boom.TYPE)
        assert crash.fingerprint == caught.value.fingerprint
        assert reasons(system) == ["crashed_handler"]


async def test_an_asker_waits_no_longer_than_it_said_and_the_handler_goes_on(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(Child("a", Scribe, ("a", diary))) as system:
        with pytest.raises(AskTimeout, match=r"/a did not answer house.wait within 2 s"):
            await system.ask(A, Wait(seconds=3), within=2)
        assert trio.current_time() == 2
        await trio.sleep(2)

        assert diary == ["+a", "wait", "waited"]
        assert reasons(system) == ["late_reply"]


async def test_a_message_nobody_waits_for_any_more_is_not_handled(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(Child("a", Scribe, ("a", diary))) as system:
        system.tell(A, Wait(seconds=3))
        with pytest.raises(AskTimeout):
            await system.ask(A, Say(text="late"), within=1)
        await trio.sleep(5)

        assert diary == ["+a", "wait", "waited"]
        assert cell(system, "a").mailbox.expired == 1
        assert reasons(system) == ["expired"]


async def test_an_ask_waits_for_room_within_its_deadline(autojump_clock: MockClock) -> None:
    async with house(Child("a", Small)) as system:
        for message in (Wait(seconds=2), Say(text="1")):
            system.tell(A, message)
            await quiet()

        with pytest.raises(MailboxFull):
            await system.ask(A, Say(text="2"), within=1)
        assert await system.ask(A, Say(text="3"), within=2) == "3"


async def test_an_asker_cancelled_while_it_waits_for_room_is_forgotten(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(Child("a", Small, ("a", diary))) as system:
        for message in (Wait(seconds=2), Say(text="1")):
            system.tell(A, message)
            await quiet()
        with trio.move_on_after(1):
            await system.ask(A, Say(text="cancelled"), within=60)
        await trio.sleep(5)

    assert diary == ["+a", "wait", "waited", "1", "-a"]


async def test_the_newest_pushes_the_oldest_out_of_a_mailbox_that_drops(autojump_clock: MockClock) -> None:
    outcomes: list[Any] = []

    async def ask(system: System, text: str) -> None:
        outcomes.append(await outcome(system.ask(A, Say(text=text), within=5)))

    async with house(Child("a", Forgetful)) as system, trio.open_nursery() as nursery:
        system.tell(A, Wait(seconds=1))
        for text in ("old", "new"):
            await quiet()
            nursery.start_soon(ask, system, text)

    assert isinstance(outcomes[0], QueueDropped)
    assert outcomes[1:] == ["new"]


async def test_asking_nobody_fails_at_once() -> None:
    async with house() as system:
        with pytest.raises(NoSuchActor):
            await system.ask(A, Say(text="x"), within=5)


async def test_messages_that_wait_when_their_receiver_is_removed_are_answered(autojump_clock: MockClock) -> None:
    outcomes: list[Any] = []

    async def ask(system: System, text: str) -> None:
        outcomes.append(await outcome(system.ask(A, Say(text=text), within=60)))

    async with house(Child("a", Small, restart=Restart.TEMPORARY, shutdown=1.0)) as system:
        system.tell(A, Wait(seconds=30))
        async with trio.open_nursery() as nursery:
            for text in ("queued", "waits for room"):
                await quiet()
                nursery.start_soon(ask, system, text)
            await quiet()
            await cell(system).family.stop(A)

    assert {type(fault) for fault in outcomes} == {ActorStopped, NoSuchActor}
    assert trio.current_time() == 1


@pytest.mark.parametrize(
    ("path", "fault"), [((A, B, A), AskCycle), ((A, B, C, B), AskCycle), ((A, A), SelfAsk), ((A, B, C, A), AskCycle)]
)
async def test_an_ask_in_a_circle_fails_at_once(
    path: tuple[Address, ...], fault: type[Exception], autojump_clock: MockClock
) -> None:
    async with house(*scribes("abc", [])) as system:
        found = await outcome(system.ask(path[0], Forward(path=path[1:]), within=5))

        assert isinstance(found, ActorCrashed)  # whoever closed the circle did not expect to
        assert system.crashes.records[0].type == fault.__name__
        assert trio.current_time() == 0


class Pass(Message[str]):
    """Forward to the first of `path`, or ask it if `asks`; the rest is its business."""

    path: tuple[Address, ...]
    asks: bool = False


class Passer(Actor):
    @handles
    async def pass_on(self, ctx: Context, ask: Pass) -> str:
        rest = Pass(path=ask.path[1:], asks=not ask.asks)
        if ask.asks:
            return await ctx.ask(ask.path[0], rest, within=5)
        ctx.forward(ask.path[0], rest)
        return ""


async def test_an_ask_that_is_forwarded_to_somebody_who_waits_for_it_fails_at_once(autojump_clock: MockClock) -> None:
    async with house(Child("a", Passer), Child("b", Passer)) as system:
        with pytest.raises(ActorCrashed):  # a did not catch its AskCycle
            await system.ask(A, Pass(path=(B, A), asks=True), within=1)

        assert trio.current_time() == 0


async def test_deadlines_shrink_along_a_chain_of_asks(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(*scribes("abc", diary)) as system:
        await system.ask(A, Forward(path=(B, C)), within=1)

    assert [line for line in diary if "deadline" in line] == ["deadline 1.000", "deadline 0.995", "deadline 0.990"]


async def test_an_ask_never_outlives_the_one_that_caused_it(autojump_clock: MockClock) -> None:
    async with house(*scribes("ab", [])) as system:
        system.tell(B, Wait(seconds=60))
        found = await outcome(system.ask(A, Forward(path=(B,), within=50), within=2))

        assert isinstance(found, ActorCrashed)
        assert system.crashes.records[0].type == "AskTimeout"
        assert trio.current_time() == pytest.approx(2 - 0.005)


# --- groups and monitors ------------------------------------------------------------------------


async def test_a_group_hears_what_is_published_until_it_leaves() -> None:
    seen: list[str] = []
    async with house(Child("a", Watcher, (seen,)), Child("b", Watcher, (seen,))) as system:
        assert system.publish("news", Say(text="both")) == 2
        await system.ask(A, Leave(group="news"), within=5)
        assert system.publish("news", Say(text="one")) == 1
        assert system.publish("nobody", Say(text="none")) == 0
        await quiet()

    assert seen == ["both", "both", "one"]


async def test_membership_ends_with_the_incarnation(autojump_clock: MockClock) -> None:
    seen: list[str] = []
    async with house(Child("a", Watcher, (seen,), backoff=Backoff(first=1.0))) as system:
        system.tell(A, Boom())
        await quiet()
        assert system.publish("news", Say(text="nobody hears this")) == 0
        await trio.sleep(5)
        assert system.publish("news", Say(text="joined again")) == 1
        await quiet()

    assert seen == ["joined again"]


async def test_a_monitor_hears_once_and_after_the_last_words(autojump_clock: MockClock) -> None:
    seen: list[str] = []
    quits = Child("b", Scribe, restart=Restart.TEMPORARY)
    async with house(Child("a", Watcher, (seen,)), quits) as system:
        system.tell(A, Watch(address=B))
        system.tell(A, Watch(address=B))
        await quiet()
        system.tell(B, End())
        system.tell(A, Say(text="last words"), sender=B)
        await quiet()
        await cell(system).family.start(quits)
        system.tell(B, End())
        await quiet()

    assert seen == ["last words", "/b normal"]


async def test_a_monitor_survives_restarts_of_the_watched_but_not_of_the_watcher(autojump_clock: MockClock) -> None:
    seen: list[str] = []
    mortal = Child("b", Scribe, restart=Restart.TRANSIENT)
    async with house(Child("a", Watcher, (seen,)), Child("c", Watcher, (seen,)), mortal) as system:
        for watcher in (A, C):
            system.tell(watcher, Watch(address=B))
        for victim in (B, C):
            system.tell(victim, Boom())
        await trio.sleep(5)
        assert seen == []
        system.tell(B, End())
        await quiet()

        assert seen == ["/b normal"]
        assert "watching /b" not in system.groups


async def test_watching_nobody_is_answered_at_once() -> None:
    seen: list[str] = []
    async with house(Child("a", Watcher, (seen,))) as system:
        system.tell(A, Watch(address=B))
        await quiet()

    assert seen == ["/b no_actor"]


async def test_watching_a_virtual_actor_does_not_wake_it() -> None:
    seen: list[str] = []
    sleepers = Child("s", lambda: Virtual(lambda address: Scribe(), idle=60, most=5))
    async with house(Child("a", Watcher, (seen,)), sleepers) as system:
        system.tell(A, Watch(address=Address("s", "acme", "k")))
        await quiet()

        assert seen == []
        assert cell(system, "s").children == []


async def test_the_life_of_actors_is_published(autojump_clock: MockClock) -> None:
    seen: list[str] = []
    mortal = Child("b", Scribe, restart=Restart.TRANSIENT)
    async with house(Child("a", Watcher, (seen,)), mortal) as system:
        system.join(EVENTS, cell(system, "a"))
        system.tell(B, Boom())
        await trio.sleep(1)
        system.tell(B, End())
        await quiet()

    assert seen[:3] == ["actor.crashed /b", "actor.restarted /b", "actor.stopped /b"]


# --- the root -----------------------------------------------------------------------------------


async def test_the_system_stops_in_reverse_and_twice_is_the_same_as_once() -> None:
    diary: list[str] = []
    async with house(*scribes("abc", diary)) as system:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(system.stop)
            nursery.start_soon(system.stop)
        await system.stop()

        assert system.ended.is_set()
        assert system.last_news is not None
        assert system.last_news.reason == "shutdown"
        assert system.members == {}
        assert system.tell(A, Say(text="x")) is Told.NO_ACTOR
    assert diary == ["+a", "+b", "+c", "-c", "-b", "-a"]


async def test_the_root_raises_what_kept_it_from_coming_up_and_stops_what_had() -> None:
    diary: list[str] = []

    class Stillborn(Scribe):
        async def on_start(self, ctx: Context) -> None:
            raise LookupError("no such table")

    inner = Child("inner", lambda: Supervisor([*scribes("bc", diary), Child("d", Stillborn)]))
    async with open_system(NoDatabase()) as system:
        root = Child("/", lambda: Supervisor([*scribes("a", diary), inner]))
        with pytest.raises(LookupError, match="no such table"):
            await system.start(root)

        assert system.ended.is_set()
        assert system.members == {}
    assert diary == ["+a", "+b", "+c", "-c", "-b", "-a"]


async def test_a_crash_nobody_can_cure_ends_the_system_and_says_why(
    autojump_clock: MockClock, logged: list[EventDict]
) -> None:
    diary: list[str] = []
    inner = Child("inner", lambda: Supervisor([Child("a", Scribe)], limit=Limit(restarts=1, within=60.0)))
    limit = Limit(restarts=0, within=60.0)
    async with house(*scribes("b", diary), inner, limit=limit) as system:
        for _ in range(2):
            await outcome(system.ask(Address("inner", "a"), Boom(), within=5))
            await trio.sleep(1)
        await system.ended.wait()

        assert system.last_news is not None
        assert system.last_news.reason == "crash"
        assert [crash.type for crash in system.crashes.records][2:] == [Escalated.__name__] * 2
        assert system.crashes.records[-1].fingerprint == system.last_news.error
        assert system.members == {}
    assert diary == ["+b", "-b"]
    assert [entry["actor"] for entry in logged if entry["event"] == "actor.crashed"][2:] == ["/inner", "/"]


async def test_a_system_that_is_still_starting_can_be_stopped(autojump_clock: MockClock) -> None:
    diary: list[str] = []

    class Slow(Scribe):
        async def on_start(self, ctx: Context) -> None:
            await trio.sleep(9)

    async with open_system(NoDatabase()) as system, trio.open_nursery() as nursery:
        root = Child("/", lambda: Supervisor([*scribes("a", diary), Child("slow", Slow)]))
        nursery.start_soon(outcome, system.start(root))
        await trio.sleep(1)
        await system.stop()

        assert system.members == {}
    assert trio.current_time() == 1
    assert diary == ["+a", "-a"]


async def test_an_exception_that_ends_the_process_is_not_swallowed() -> None:
    class Exits(Scribe):
        @handles
        def end(self, ctx: Context, ask: End) -> None:
            raise SystemExit(3)

    released: list[str] = []

    class Holder(Scribe):
        def release(self) -> None:
            released.append("closed")

    with pytest.RaisesGroup(SystemExit, flatten_subgroups=True):
        async with house(Child("a", Exits), Child("b", Holder)) as system:
            system.tell(A, End())
            await trio.sleep_forever()

    assert released == ["closed"]


async def test_an_exception_that_ends_the_process_does_so_in_the_middle_of_a_stop() -> None:
    class Exits(Scribe):
        async def on_stop(self, ctx: Context, reason: str) -> None:
            raise SystemExit(3)

    inner = Child("inner", lambda: Supervisor([Child("a", Exits)]))
    with pytest.RaisesGroup(SystemExit, flatten_subgroups=True), trio.fail_after(5):
        async with house(inner):
            pass


async def test_a_body_that_fails_still_stops_the_tree_in_order() -> None:
    diary: list[str] = []
    with pytest.RaisesGroup(KeyError):
        async with house(*scribes("ab", diary)):
            raise KeyError

    assert diary == ["+a", "+b", "-b", "-a"]
