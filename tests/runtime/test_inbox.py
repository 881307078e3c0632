from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest

from goclaw.runtime.address import Address
from goclaw.runtime.faults import AlreadyRegistered, NoSuchActor
from goclaw.runtime.inbox import Sink, inbox
from goclaw.runtime.message import Message, Told
from tests.runtime.house import Say, house

HERE = Address("edge", "ws", "1")


async def test_an_inbox_receives_what_it_is_told_and_what_its_groups_hear() -> None:
    heard: list[Message[Any]] = []

    def keep(message: Message[Any]) -> Told:
        heard.append(message)
        return Told.ACCEPTED

    async with house() as system:
        with inbox(system, HERE, "Connection", keep) as box:
            box.join("news")
            assert system.tell(HERE, Say(text="a")) is Told.ACCEPTED
            assert system.publish("news", Say(text="b")) == 1
            assert box.received == 2

        assert system.tell(HERE, Say(text="c")) is Told.NO_ACTOR
        assert system.publish("news", Say(text="d")) == 0
        assert system.guests == {}
        assert system.groups == {}

    assert heard == [Say(text="a"), Say(text="b")]


async def test_an_inbox_cannot_be_asked() -> None:
    async with house() as system:
        with inbox(system, HERE, "Connection", lambda message: Told.ACCEPTED), pytest.raises(NoSuchActor):
            await system.ask(HERE, Say(text="?"), within=5)


async def test_an_address_holds_one_inbox() -> None:
    async with house() as system:
        with inbox(system, HERE, "a", lambda message: Told.ACCEPTED):
            with pytest.raises(AlreadyRegistered), inbox(system, HERE, "b", lambda message: Told.ACCEPTED):
                pass
            assert system.tell(HERE, Say(text="still here")) is Told.ACCEPTED


async def test_a_broken_sink_does_not_hurt_the_sender() -> None:
    def broken(message: Message[Any]) -> Told:
        raise RuntimeError("full disk")

    async with house() as system:
        with inbox(system, HERE, "Connection", broken) as box:
            box.join("news")
            assert system.tell(HERE, Say(text="a")) is Told.CLOSED
            assert system.publish("news", Say(text="b")) == 0


async def test_members_may_leave_while_a_group_is_told() -> None:
    heard: list[str] = []
    async with house() as system:

        def quitter(name: str) -> Sink:
            def sink(message: Message[Any]) -> Told:
                heard.append(name)
                system.leave("news", system.members[Address("edge", name)])
                return Told.ACCEPTED

            return sink

        with ExitStack() as stack:
            for name in "abc":
                stack.enter_context(inbox(system, Address("edge", name), "Connection", quitter(name))).join("news")

            assert system.publish("news", Say(text="x")) == 3
            assert system.publish("news", Say(text="y")) == 0

    assert sorted(heard) == ["a", "b", "c"]
