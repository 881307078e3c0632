"""What listeners and taps learn of an operator's orders."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from goclaw.runtime import steer
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.child import Child, Exhausted, Limit
from goclaw.runtime.lens import tapped
from goclaw.runtime.news import EVENTS, LifeNews
from goclaw.runtime.supervisor import Supervisor
from tests.runtime.house import Boom, Say, Scribe, cell, house, quiet

A = Address("a")


class Listener(Actor):
    def __init__(self, heard: list[tuple[str, str]]) -> None:
        self.heard = heard

    async def on_start(self, ctx: Context) -> None:
        ctx.join(EVENTS)

    @handles
    def hear(self, ctx: Context, news: LifeNews) -> None:
        if news.path.startswith("/a"):
            self.heard.append((news.event, news.by))


async def test_only_what_an_operator_asked_for_carries_its_name(autojump_clock: MockClock) -> None:
    heard: list[tuple[str, str]] = []
    async with house(Child("listener", Listener, (heard,)), Child("a", Scribe)) as system:
        steer.restart(system, A, by="ada")
        await trio.sleep(1)
        system.tell(A, Boom())
        await trio.sleep(1)

    assert heard[1:5] == [
        ("actor.stopped", "ada"),
        ("actor.restarted", "ada"),
        ("actor.crashed", ""),
        ("actor.restarted", ""),
    ]


async def test_stopping_a_quarantined_actor_is_told_too(autojump_clock: MockClock) -> None:
    heard: list[tuple[str, str]] = []

    def weak() -> Supervisor:
        return Supervisor([Child("b", Scribe)], limit=Limit(restarts=0, within=60), on_exhausted=Exhausted.QUARANTINE)

    async with house(Child("listener", Listener, (heard,)), Child("a", weak)) as system:
        system.tell(A / "b", Boom())
        await trio.sleep(1)
        assert cell(system, "a", "b").state.value == "quarantined"
        heard.clear()

        steer.stop(system, A / "b", by="ada")
        await quiet()

        assert cell(system, "a", "b").state.value == "stopped"
        assert heard == [("actor.stopped", "ada")]


async def test_a_reader_who_looks_up_now_and_then_misses_no_record(autojump_clock: MockClock) -> None:
    async with house(Child("a", Scribe)) as system, tapped(system, A, 1, 60) as seen:
        with trio.move_on_after(15):
            await anext(seen)
        system.tell(A, Say(text="x"))
        assert (await anext(seen)).type == Say.TYPE
