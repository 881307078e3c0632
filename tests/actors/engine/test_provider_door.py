"""Who is let in to a provider, and what the door survives. Contract: providers.md §3 P3.8, §9."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio

from goclaw.actors.engine.desk import ModelDesk
from goclaw.actors.engine.provider import ProviderActor
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.address import provider
from goclaw.domain.errors import ProviderError, StoreError
from goclaw.domain.model import Candidate, Enter, Entered, Left, Resting
from goclaw.runtime.actor import Actor, Context
from goclaw.runtime.cell import Cell
from goclaw.runtime.child import Strategy, child
from goclaw.runtime.faults import RuntimeFault
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import System, open_system
from goclaw.runtime.testing import quiesce
from goclaw.stores.database import Database
from tests.actors.house import Weather

ACME = provider("acme")
BIG = Enter(model="big")


class Client:
    kind = "acme"
    slots = 1

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class Asker(Actor):
    """Has a desk."""

    async def on_start(self, ctx: Context) -> None:
        self.desk = ModelDesk(ctx, MASTER_TENANT)


@asynccontextmanager
async def door(database: Any, opener: Any = Client, **how: Any) -> AsyncIterator[System]:
    def tree() -> Supervisor:
        vendors = partial(
            Supervisor, [child("acme", partial(ProviderActor, **how), "acme", opener)], strategy=Strategy.DYNAMIC
        )
        return Supervisor([child("engine", partial(Supervisor, [child("providers", vendors)])), child("asker", Asker)])

    async with open_system(database) as system:
        await system.start(child("", tree))
        yield system


def actor_of(system: System, address: Any = ACME) -> Any:
    member = system.members[address]
    assert isinstance(member, Cell)
    return member.actor


def desk(system: System) -> ModelDesk:
    return actor_of(system, next(address for address in system.members if str(address).endswith("/asker"))).desk


async def refused(system: System, model: str = "m") -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await desk(system).enter(Candidate("acme", model), (), probe=False)
    return caught.value


async def test_a_database_that_is_away_does_not_make_the_door_forget_who_is_in(database: Database):
    async def away(*_: Any, **__: Any) -> None:
        raise StoreError("unavailable", "gone")

    async with door(Weather(database, "cooldowns.keep", away), at_once=2) as system:
        await system.ask(ACME, BIG, within=5)
        await system.ask(ACME, Enter(model="small"), within=5)
        first = actor_of(system)

        system.tell(ACME, Left(model="big", slot=0, trouble="rate_limit"))

        assert isinstance(await system.ask(ACME, BIG, within=5), Resting)
        assert actor_of(system) is first
        assert first.inside == 1


async def test_who_waits_in_line_is_not_let_in_to_a_model_that_rests_by_now(database: Database):
    got: list[Entered | Resting] = []

    async def wait(system: System) -> None:
        got.append(await system.ask(ACME, BIG, within=5))

    async with door(database, at_once=1) as system, trio.open_nursery() as nursery:
        await system.ask(ACME, BIG, within=5)
        nursery.start_soon(wait, system)
        nursery.start_soon(wait, system)
        await quiesce(system)
        system.tell(ACME, Left(model="big", slot=0, trouble="rate_limit"))
        await quiesce(system)

        assert [type(one) for one in got] == [Resting, Resting]
        assert actor_of(system).snapshot() == {"inside": 0, "at_once": 1, "waiting": 0}


async def test_who_gave_up_in_line_takes_no_place(database: Database):
    async with door(database, at_once=1) as system:
        await system.ask(ACME, BIG, within=5)
        with trio.move_on_after(0.05):
            await system.ask(ACME, BIG, within=5)
        system.tell(ACME, Left(model="big", slot=0, answered=True))

        assert isinstance(await system.ask(ACME, BIG, within=1), Entered)
        assert actor_of(system).inside == 1


async def test_who_waits_hears_at_once_that_the_door_is_gone(database: Database):
    async with door(database, at_once=1) as system:
        await system.ask(ACME, BIG, within=5)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_kill, system)
            with trio.fail_after(5), pytest.raises(RuntimeFault):
                await system.ask(ACME, BIG, within=60)


async def _kill(system: System) -> None:
    await quiesce(system)
    cell = system.members[ACME]
    assert isinstance(cell, Cell)
    cell.kill()


async def test_a_provider_that_cannot_be_opened_is_a_failed_call_and_no_crash(database: Database):
    def broken() -> Client:
        raise ProviderError("auth", "acme: the API key has characters that no key has")

    async with door(database, broken) as system:
        first = actor_of(system)
        for _ in range(5):
            assert (await refused(system)).kind == "auth"
        assert actor_of(system) is first


async def test_every_fault_of_the_door_is_a_trouble_that_a_call_knows(database: Database):
    async with door(database, at_once=1) as system:
        assert (await _of_nobody(system)).kind == "model_not_found"
        cell = system.members[ACME]
        assert isinstance(cell, Cell)
        cell.shelve()
        assert (await refused(system)).kind == "server_error"


async def _of_nobody(system: System) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await desk(system).enter(Candidate("nobody", "m"), (), probe=False)
    return caught.value


async def test_who_waits_hears_that_the_provider_cannot_be_opened_any_more(database: Database):
    async with door(database, at_once=1) as system, trio.open_nursery() as nursery:
        await system.ask(ACME, BIG, within=5)
        actor, said = actor_of(system), []

        async def wait() -> None:
            try:
                await system.ask(ACME, BIG, within=5)
            except ProviderError as error:
                said.append(error.kind)

        def broken() -> Client:
            raise ProviderError("auth", "another key, and none")

        nursery.start_soon(wait)
        await quiesce(system)
        actor._provider, actor._open = None, broken  # as a change of its row does
        system.tell(ACME, Left(model="big", slot=0, answered=True))
        await quiesce(system)

        assert (said, actor.inside) == (["auth"], 0)
