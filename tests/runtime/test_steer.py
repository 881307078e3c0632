"""What operators do to one actor. Contract: edge-http.md §26."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from goclaw.runtime import steer
from goclaw.runtime.address import Address
from goclaw.runtime.child import Backoff, Child, Limit, State
from goclaw.runtime.faults import ActorStopped, NoSuchActor, Rejected
from goclaw.runtime.inbox import inbox
from goclaw.runtime.message import Message, Told
from goclaw.runtime.news import EVENTS, LifeNews
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import System
from goclaw.runtime.virtual import Virtual
from tests.runtime.house import PLENTY, Boom, Say, Scribe, Wait, cell, house, outcome, quiet

A = Address("a")
K = Address("s", "acme", "k")
AT_ONCE = Backoff(first=0.0)


@pytest.fixture
def diary() -> list[str]:
    return []


@pytest.fixture
async def system(diary: list[str]) -> AsyncIterator[System]:
    children = [
        Child("a", Scribe, ("a", diary), shutdown=60.0, backoff=Backoff(first=10.0)),
        Child("b", Scribe, ("b", [])),
        Child("s", lambda: Virtual(lambda address: Scribe("k", diary), idle=60.0, most=10, limit=Limit(1, 60.0))),
    ]
    async with house(*children) as system:
        yield system


async def test_a_restart_lets_the_message_in_hand_end_and_counts_for_nothing(
    autojump_clock: MockClock, system: System, diary: list[str]
) -> None:
    system.tell(A, Wait(seconds=2))
    system.tell(A, Say(text="later"))
    await quiet()

    assert steer.restart(system, A, by="ann") == 1
    await trio.sleep(3)

    assert diary == ["+a", "wait", "waited", "-a", "+a", "later"]
    assert cell(system, "a").past.times == []
    assert cell(system, "b").incarnation == 1


async def test_who_does_not_end_in_time_is_killed(autojump_clock: MockClock, system: System, diary: list[str]) -> None:
    system.tell(A, Wait(seconds=50))
    await quiet()

    steer.restart(system, A, within=5)
    await trio.sleep(4)
    assert cell(system, "a").incarnation == 1
    await trio.sleep(2)

    assert cell(system, "a").incarnation == 2
    assert "-a" not in diary


async def test_a_kill_waits_for_nobody(autojump_clock: MockClock, system: System, diary: list[str]) -> None:
    system.tell(A, Wait(seconds=50))
    await quiet()

    steer.restart(system, A, kill=True)
    await trio.sleep(0.1)

    assert diary == ["+a", "wait", "+a"]


async def test_a_restart_ends_a_back_off(autojump_clock: MockClock, system: System) -> None:
    system.tell(A, Boom())
    await quiet()
    assert cell(system, "a").state is State.BACKOFF

    steer.restart(system, A)
    await quiet()

    assert (cell(system, "a").state, cell(system, "a").incarnation) == (State.RUNNING, 2)


async def test_a_restart_clears_a_quarantine(autojump_clock: MockClock, system: System) -> None:
    for _ in range(2):
        await outcome(system.ask(K, Boom(), within=1))
        await trio.sleep(1)
    assert isinstance(await outcome(system.ask(K, Say(text="x"), within=1)), Rejected)

    steer.restart(system, K)
    await quiet()

    assert await system.ask(K, Say(text="x"), within=1) == "x"


async def test_a_sleeping_virtual_actor_starts_afresh_at_once(
    autojump_clock: MockClock, system: System, diary: list[str]
) -> None:
    await system.ask(K, Say(text="x"), within=1)

    assert steer.restart(system, K) == 1
    await quiet()

    assert diary[-3:] == ["x", "-k", "+k"]
    assert cell(system, "s", "acme", "k").incarnation == 2


async def test_a_stopped_actor_stays_away_until_it_is_restarted(autojump_clock: MockClock, system: System) -> None:
    steer.stop(system, A)
    await trio.sleep(100)

    assert cell(system, "a").state is State.STOPPED
    assert isinstance(await outcome(system.ask(A, Say(text="x"), within=1)), ActorStopped)
    assert system.tell(A, Say(text="x")) is Told.CLOSED

    steer.restart(system, A)
    await quiet()
    assert await system.ask(A, Say(text="back"), within=1) == "back"


async def test_a_stopped_virtual_actor_comes_back_with_its_next_message(
    autojump_clock: MockClock, system: System, diary: list[str]
) -> None:
    await system.ask(K, Say(text="x"), within=1)
    steer.stop(system, K)
    await quiet()
    assert K not in system.members

    assert await system.ask(K, Say(text="y"), within=1) == "y"


async def test_a_suspended_actor_keeps_its_messages_and_answers_probes(
    autojump_clock: MockClock, system: System, diary: list[str]
) -> None:
    steer.suspend(system, A)
    await quiet()
    system.tell(A, Say(text="held"))
    await trio.sleep(10)
    answer = await steer.probe(system, A)

    assert answer is not None
    assert (answer[0].state, answer[0].waiting) == ("suspended", 1)
    assert "held" not in diary

    steer.resume(system, A)
    await quiet()
    assert "held" in diary


async def test_a_busy_actor_answers_a_probe_at_once_with_the_age_of_its_handler(
    autojump_clock: MockClock, system: System
) -> None:
    system.tell(A, Wait(seconds=50))
    await trio.sleep(7)

    answer = await steer.probe(system, A)

    assert answer is not None
    probed, took = answer
    assert (probed.in_hand, probed.handle_ms, took) == ("house.wait", pytest.approx(7000), 0)


async def test_an_actor_without_a_life_answers_no_probe(autojump_clock: MockClock, system: System) -> None:
    system.tell(A, Boom())
    await quiet()

    assert await steer.probe(system, A, within=1.0) is None


async def test_nobody_and_the_root_cannot_be_steered(autojump_clock: MockClock, system: System) -> None:
    with pytest.raises(NoSuchActor):
        steer.restart(system, Address("nobody"))
    with pytest.raises(ValueError, match="root"):
        steer.restart(system, Address())


async def test_the_news_says_who_did_it(autojump_clock: MockClock, system: System) -> None:
    news: list[LifeNews] = []

    def keep(message: Message[object]) -> Told:
        assert isinstance(message, LifeNews)
        news.append(message)
        return Told.ACCEPTED

    with inbox(system, Address("listener"), "Test", keep) as box:
        box.join(EVENTS)
        steer.restart(system, A, by="ann")
        await quiet()

    assert [(item.event, item.path, item.incarnation, item.by) for item in news] == [
        ("actor.stopped", "/a", 1, "ann"),
        ("actor.restarted", "/a", 2, "ann"),
    ]


async def test_a_steered_supervisor_takes_its_branch_along(autojump_clock: MockClock) -> None:
    diary: list[str] = []

    def branch() -> Supervisor:
        return Supervisor([Child("x", Scribe, ("x", diary)), Child("y", Scribe, ("y", diary))])

    async with house(Child("branch", branch), limit=PLENTY) as system:
        steer.restart(system, Address("branch"))
        await trio.sleep(1)

        assert diary == ["+x", "+y", "-y", "-x", "+x", "+y"]
