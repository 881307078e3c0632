"""Orders of operators: never counted, never forgotten, whatever else happens at the same moment."""

from __future__ import annotations

import trio
import trio.lowlevel
from trio.testing import MockClock

from goclaw.runtime import steer
from goclaw.runtime.address import Address
from goclaw.runtime.child import Backoff, Child, Limit, State, Strategy
from goclaw.runtime.message import Told
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import open_system
from goclaw.runtime.virtual import Virtual
from tests.runtime.house import Boom, NoDatabase, Say, Scribe, cell, house, quiet, scribes

A, B, K = Address("a"), Address("b"), Address("v", "acme", "k")
SECOND = Backoff(first=1.0, jitter=0.0)


async def test_two_restarts_at_once_are_one_and_none_is_counted(autojump_clock: MockClock) -> None:
    async with house(Child("a", Scribe), limit=Limit(restarts=0)) as system:
        steer.restart(system, A, kill=True)
        await trio.lowlevel.checkpoint()
        steer.restart(system, A)
        await trio.sleep(10)

        assert cell(system, "a").incarnation == 2
        assert not system.ended.is_set()


async def test_a_restart_its_group_has_done_already_is_not_counted(autojump_clock: MockClock) -> None:
    orders: list[int] = []

    class Ordered(Scribe):
        def release(self) -> None:  # just now, before anybody knows that it has ended
            if not orders:
                orders.append(steer.restart(system, B))

    children = [Child("a", Scribe), Child("b", Ordered)]
    async with house(*children, strategy=Strategy.ONE_FOR_ALL, limit=Limit(restarts=0)) as system:
        steer.restart(system, A)
        await trio.sleep(10)

        assert orders == [1]
        assert not system.ended.is_set()
        assert [cell(system, name).state for name in "ab"] == [State.RUNNING] * 2


async def test_a_stop_holds_although_the_group_starts_again_at_that_moment(autojump_clock: MockClock) -> None:
    children = scribes("ab", [], backoff=SECOND)
    async with house(*children, strategy=Strategy.ONE_FOR_ALL) as system:
        system.tell(A, Boom())
        steer.stop(system, B)
        await trio.sleep(10)

        assert [cell(system, name).state for name in "ab"] == [State.RUNNING, State.STOPPED]


async def test_who_waits_for_a_restart_goes_on_when_it_becomes_a_stop(autojump_clock: MockClock) -> None:
    children = scribes("ab", [], backoff=SECOND)
    async with house(*children, strategy=Strategy.REST_FOR_ONE) as system:
        system.tell(A, Boom())
        await quiet()
        steer.stop(system, A)
        await trio.sleep(10)

        assert [cell(system, name).state for name in "ab"] == [State.STOPPED, State.RUNNING]


async def test_a_virtual_actor_stopped_in_quarantine_comes_back_with_its_next_message(
    autojump_clock: MockClock,
) -> None:
    diary: list[str] = []
    virtual = Virtual(lambda address: Scribe(diary=diary), idle=60.0, most=10, limit=Limit(restarts=0))
    async with open_system(NoDatabase(), seed=1) as system:
        await system.start(Child("/", lambda: Supervisor([Child("v", lambda: virtual)])))
        system.tell(K, Boom())
        await quiet()
        assert cell(system, "v", "acme", "k").state is State.QUARANTINED
        steer.stop(system, K)
        await quiet()

        assert system.tell(K, Say(text="hello")) is Told.ACCEPTED
        await quiet()
        assert diary == ["+", "+", "hello"]


async def test_a_quarantine_is_not_cut_short_by_an_earlier_one_an_operator_ended(autojump_clock: MockClock) -> None:
    async with house(Child("a", Scribe), strategy=Strategy.DYNAMIC, limit=Limit(restarts=0)) as system:
        system.tell(A, Boom())  # until 60
        await trio.sleep(30)
        steer.restart(system, A)
        await quiet()
        system.tell(A, Boom())  # until 90
        await trio.sleep(59)
        assert cell(system, "a").state is State.QUARANTINED

        await trio.sleep(2)
        assert cell(system, "a").state is State.RUNNING


async def test_a_storm_holds_back_those_whose_rest_is_over_sooner(autojump_clock: MockClock) -> None:
    names = [str(number) for number in range(21)]
    async with house(*scribes(names, [], backoff=SECOND), strategy=Strategy.DYNAMIC) as system:
        for name in names:
            system.tell(Address(name), Boom())
        await trio.sleep(4.9)
        assert {cell(system, name).state for name in names} == {State.BACKOFF}

        await trio.sleep(0.2)
        assert {cell(system, name).state for name in names} == {State.RUNNING}
