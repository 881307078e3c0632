"""The watchman: slow handlers and dead letters that pile up. Contract: supervision.md §5 H5, §16, §4.2."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from goclaw.runtime.address import Address
from goclaw.runtime.child import Child
from goclaw.runtime.inbox import inbox
from goclaw.runtime.message import Message, Told
from goclaw.runtime.news import EVENTS, ActorNews, ActorSlow, DeadLettersRising, MailboxFilling
from goclaw.runtime.system import System
from goclaw.runtime.watch import Watchman
from tests.runtime.house import Say, Scribe, Wait, house, quiet

A, B = Address("a"), Address("b")


class Prompt(Scribe):
    responsive = True
    capacity = 10


@pytest.fixture
async def system() -> AsyncIterator[System]:
    async with house(Child("watch", Watchman), Child("a", Prompt), Child("b", Scribe)) as system:
        yield system


@pytest.fixture
async def news(system: System) -> AsyncIterator[list[ActorNews]]:
    heard: list[ActorNews] = []

    def keep(message: Message[object]) -> Told:
        assert isinstance(message, ActorNews)
        heard.append(message)
        return Told.ACCEPTED

    with inbox(system, Address("listener"), "Test", keep) as box:
        box.join(EVENTS)
        yield heard


async def test_a_handler_of_a_responsive_class_is_reported_after_five_seconds(
    autojump_clock: MockClock, system: System, news: list[ActorNews]
) -> None:
    system.tell(A, Wait(seconds=7.5))
    system.tell(B, Wait(seconds=7.5))  # makes no promise
    await trio.sleep(10)

    slow = [item for item in news if isinstance(item, ActorSlow)]
    assert {(item.path, item.message_type, item.of_class) for item in slow} == {("/a", "house.wait", "Prompt")}
    assert [item.age_ms // 1000 for item in slow] == [5, 6, 7]


async def test_dead_letters_are_reported_when_they_keep_piling_up(
    autojump_clock: MockClock, system: System, news: list[ActorNews]
) -> None:
    async def lose(per_second: int, seconds: int) -> None:
        for _ in range(seconds):
            for _ in range(per_second):
                system.tell(Address("nobody"), Say(text="x"))
            await trio.sleep(1)

    await lose(per_second=10, seconds=30)  # as many as are normal
    await lose(per_second=50, seconds=9)  # not for long enough
    await trio.sleep(2)
    assert [item for item in news if isinstance(item, DeadLettersRising)] == []

    await lose(per_second=50, seconds=11)
    rising = [item for item in news if isinstance(item, DeadLettersRising)]
    assert rising
    assert (rising[0].reason, rising[0].top_type, rising[0].rate) == ("no_actor", "house.say", 50)


async def test_a_mailbox_that_fills_up_is_reported_once_a_second(
    autojump_clock: MockClock, system: System, news: list[ActorNews]
) -> None:
    system.tell(A, Wait(seconds=100))
    await quiet()
    for _ in range(10):
        assert system.tell(A, Say(text="x")) is Told.ACCEPTED

    filling = [item for item in news if isinstance(item, MailboxFilling)]
    assert [(item.path, item.depth, item.capacity) for item in filling] == [("/a", 8, 10)]


async def test_a_mailbox_that_found_relief_is_reported_again(
    autojump_clock: MockClock, system: System, news: list[ActorNews]
) -> None:
    for _ in range(2):
        for _ in range(8):
            system.tell(A, Say(text="x"))
        await trio.sleep(2)

    assert len([item for item in news if isinstance(item, MailboxFilling)]) == 2
