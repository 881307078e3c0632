"""Supervisors as messages see them."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from goclaw.runtime.actor import Context
from goclaw.runtime.address import Address
from goclaw.runtime.child import Child, Limit, Restart, Strategy
from goclaw.runtime.faults import Err, Rejected
from goclaw.runtime.supervisor import StartChild, StopChild, Supervisor
from goclaw.runtime.system import System
from tests.runtime.house import PLENTY, Boom, Say, Scribe, Wait, cell, house, outcome, quiet, scribes

POOL = Address("pool")


class Fails(Scribe):
    async def on_start(self, ctx: Context) -> None:
        raise LookupError("no row")


class Refuses(Scribe):
    async def on_start(self, ctx: Context) -> None:
        raise Rejected(Err("NOT_FOUND", "not_found"))


class Slow(Scribe):
    async def on_stop(self, ctx: Context, reason: str) -> None:
        await trio.sleep(1)


def pool(limit: Limit = PLENTY, most: int = 3) -> Child:
    return Child("pool", lambda: Supervisor(strategy=Strategy.DYNAMIC, limit=limit, max_children=most))


async def start(system: System, child: Child) -> Address:
    return await system.ask(POOL, StartChild(child=child), within=5)


async def test_children_come_and_go() -> None:
    diary: list[str] = []
    async with house(pool()) as system:
        address = await start(system, scribes("a", diary)[0])
        assert address == POOL / "a"
        assert await system.ask(address, Say(text="hello"), within=5) == "hello"

        await system.ask(POOL, StopChild(address=address), within=5)
        await system.ask(POOL, StopChild(address=address), within=5)
        assert address not in system.members
    assert diary == ["+a", "hello", "-a"]


async def test_a_full_supervisor_refuses_another_child() -> None:
    async with house(pool(most=1)) as system:
        await start(system, Child("a", Scribe))
        with pytest.raises(Rejected) as caught:
            await start(system, Child("b", Scribe))

        assert caught.value.err.details["reason"] == "capacity"
        assert caught.value.err.retryable


@pytest.mark.parametrize(
    ("child", "code"),
    [(Child("b", Fails), "UNAVAILABLE"), (Child("b", Refuses), "NOT_FOUND"), (Child("a", Scribe), "ALREADY_EXISTS")],
)
async def test_a_child_that_cannot_start_is_refused_and_hurts_nobody(child: Child, code: str) -> None:
    async with house(pool()) as system:
        await start(system, Child("a", Scribe))
        with pytest.raises(Rejected) as caught:
            await start(system, child)

        assert caught.value.err.code == code
        assert [child.address for child in cell(system, "pool").children] == [POOL / "a"]
        assert cell(system, "pool").incarnation == 1


async def test_dynamic_children_stop_together_within_their_own_budgets(autojump_clock: MockClock) -> None:
    async with house(pool(most=1_000)) as system:
        for number in range(100):
            await start(system, Child(str(number), Slow))

    assert trio.current_time() == 2.0  # 64 at a time, one second each


async def test_a_dynamic_supervisor_takes_as_long_to_stop_as_its_children_may(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(pool()) as system:
        address = await start(system, Child("a", Scribe, ("a", diary), shutdown=30.0))
        system.tell(address, Wait(seconds=20))
        await quiet()

    assert diary == ["+a", "wait", "waited", "-a"]


async def test_crashes_are_counted_per_child(autojump_clock: MockClock) -> None:
    async with house(pool(limit=Limit(restarts=1, within=60.0), most=100)) as system:
        for number in range(20):
            address = await start(system, Child(str(number), Scribe, restart=Restart.TRANSIENT))
            await outcome(system.ask(address, Boom(), within=5))
        await trio.sleep(5)

        assert [child.incarnation for child in cell(system, "pool").children] == [2] * 20
