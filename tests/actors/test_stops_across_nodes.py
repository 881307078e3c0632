"""The emergency stop is the same at every node, whatever is lost. Contract: security.md §13."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from goclaw.actors.estop import BLIND, EstopKeeper
from goclaw.domain.access import MASTER_TENANT, Caller, Role
from goclaw.domain.cluster import HEARD, MARKS, Marked, Ownership, Woken
from goclaw.domain.errors import StoreError
from goclaw.domain.estop import Change, Levels, Stopped
from goclaw.domain.events import EstopEvent, of_admins
from goclaw.operations.context import Context, House
from goclaw.operations.estop import SetEstop, set_estop
from goclaw.runtime.address import Address
from goclaw.runtime.child import child
from goclaw.runtime.inbox import inbox
from goclaw.runtime.message import Message, Told
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import System, open_system
from goclaw.security.estop import Brake, write
from goclaw.settings.settings import Settings
from goclaw.stores import estop as rows
from goclaw.stores.database import Database

LATER = "2999-01-01T00:00:00+00:00"
ALL, NETWORK, EXEC = Levels(all=True), Levels(network=True), Levels(tools=("exec",))


class Away:
    """A database that may be away."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.away = False

    async def run(self, work: Any, /, *args: Any, **kwargs: Any) -> Any:
        if self.away:
            raise StoreError("unavailable", "gone")
        return await self.database.run(work, *args, **kwargs)


class Node:
    """A gateway as far as the stop goes."""

    def __init__(self, database: Database, place: Path) -> None:
        self.path = place / "estop.json"
        self.weather = Away(database)
        self.rung: list[Message[None]] = []
        self.told: list[str] = []

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Node]:
        self.brake = Brake(self.path)
        own = Ownership(alone=False)

        def tree() -> Supervisor:
            return Supervisor([child("infra", lambda: Supervisor([child("estop", EstopKeeper, self.brake, own)]))])

        async with open_system(self.weather) as system:
            self.system: System = system
            self.house = House(Settings(), system, "1", "node", 0, brake=self.brake)
            with inbox(system, Address("ear"), "Ear", self._hear) as ear:
                ear.join(MARKS)
                ear.join(of_admins(MASTER_TENANT))
                await system.start(child("", tree))
                yield self

    def _hear(self, message: Message[None]) -> Told:
        if isinstance(message, EstopEvent):
            self.told.append(message.type)
        else:
            self.rung.append(message)
        return Told.ACCEPTED

    async def set(self, levels: Levels, *, engage: bool = True, role: Role = Role.ADMIN) -> Stopped:
        ctx = Context(self.house, Caller(user_id="lan", role=role))
        return await set_estop(ctx, SetEstop(engage=engage, levels=levels, reason="odd"))

    def ring(self) -> None:
        self.system.publish(HEARD, Woken(kind="cache", topics=("estop",)))


@asynccontextmanager
async def nodes(database: Database, place: Path, count: int = 2) -> AsyncIterator[list[Node]]:
    async with AsyncExitStack() as stack:
        made = []
        for number in range(count):
            (place / str(number)).mkdir(exist_ok=True)
            made.append(await stack.enter_async_context(Node(database, place / str(number)).open()))
        yield made


async def seen(true: Any, clock: MockClock, seconds: float = 1.0) -> None:
    """True before so many seconds of the nodes' time have passed."""
    for _ in range(int(seconds / 0.25)):
        if true():
            return
        clock.jump(0.25)
        await trio.testing.wait_all_tasks_blocked(0.03)
    assert true()


@pytest.mark.parametrize("bell", [True, False])
async def test_what_is_engaged_at_one_node_is_in_force_at_the_other(
    database: Database, tmp_path: Path, mock_clock: MockClock, bell: bool
) -> None:
    """Within a second without the bell, at once with it; in both files; released the same way."""
    async with nodes(database, tmp_path) as (a, b):
        await a.set(EXEC)
        assert a.rung == [Marked(kind="cache", topic="estop")]
        if bell:
            b.ring()
            await trio.testing.wait_all_tasks_blocked(0.05)
        else:
            await seen(lambda: b.brake.tool("exec"), mock_clock)
        assert b.brake.tool("exec")
        assert Brake(b.path).state == b.brake.state == a.brake.state
        await b.set(NETWORK)
        await b.set(EXEC, engage=False)
        await seen(lambda: a.brake.network(), mock_clock)
        assert (a.brake.tool("exec"), a.brake.state.network) == ("", True)
        await seen(lambda: a.told[-1:] == ["estop.released"], mock_clock)
        assert a.told == ["estop.engaged", "estop.engaged", "estop.released"][: len(a.told)]


async def test_two_that_engage_at_once_lose_neither(database: Database, tmp_path: Path, mock_clock: MockClock) -> None:
    async with nodes(database, tmp_path) as (a, b):
        async with trio.open_nursery() as both:
            both.start_soon(a.set, EXEC)
            both.start_soon(b.set, NETWORK)
        await seen(lambda: a.brake.state == b.brake.state, mock_clock)
        assert (a.brake.state.tools, a.brake.state.network) == (("exec",), True)


async def test_without_the_database_it_is_in_force_here_and_in_the_file_and_elsewhere_when_it_is_back(
    database: Database, tmp_path: Path, mock_clock: MockClock
) -> None:
    async with nodes(database, tmp_path) as (a, b):
        a.weather.away = True
        await a.set(EXEC)
        assert a.brake.tool("exec")
        assert Brake(a.path).tool("exec")
        write(
            a.path, a.brake.state.after(Change(engage=True, levels=NETWORK, by="cli", at="2999-01-01T00:00:00+00:00"))
        )
        await seen(lambda: a.brake.network(), mock_clock)
        await b.set(Levels(domains=("a.b",)))

        a.weather.away = False

        await seen(lambda: b.brake.tool("exec") and b.brake.network(), mock_clock, 2)
        row = await database.run(rows.read)
        assert row is not None
        assert row.value.domains == ("a.b",)


async def test_a_node_that_knows_neither_row_nor_file_stops_itself_until_it_does(
    database: Database, tmp_path: Path, mock_clock: MockClock
) -> None:
    async with nodes(database, tmp_path) as (a, b):
        await a.set(EXEC)
        a.weather.away = True
        a.path.write_text("{")
        for _ in range(int(BLIND - 2)):
            mock_clock.jump(1)
            await trio.testing.wait_all_tasks_blocked(0.03)
            assert not a.brake.state.all

        await seen(lambda: a.brake.state.all, mock_clock, 4)
        assert not b.brake.state.all
        a.weather.away = False
        await seen(lambda: not a.brake.state.all, mock_clock, 2)
        assert a.brake.state.tools == ("exec",)


async def test_the_later_word_counts_at_a_start_and_a_bad_file_stops_this_node_alone(
    database: Database, tmp_path: Path, mock_clock: MockClock
) -> None:
    """An operator wrote into the file while the gateway was down; later somebody broke it."""
    async with nodes(database, tmp_path) as (a, b):
        await a.set(ALL)
        await seen(lambda: b.brake.state.all, mock_clock)
    later = Stopped(all=True).after(Change(engage=False, levels=ALL, by="cli", at=LATER))
    write(tmp_path / "1/estop.json", later)
    async with nodes(database, tmp_path) as (a, b):
        await seen(lambda: not (a.brake.state.all or b.brake.state.all), mock_clock)
    (tmp_path / "0/estop.json").write_text("{")
    async with nodes(database, tmp_path) as (a, b):
        assert a.brake.state.all
        await b.set(EXEC)
        await seen(lambda: a.brake.state.tools == ("exec",), mock_clock)
        assert (a.brake.state.all, b.brake.state.all) == (True, False)
        await a.set(NETWORK, engage=False)
        assert a.brake.state.all
    async with nodes(database, tmp_path) as (a, b):
        assert a.brake.state.all, "it is still not known what the file said"
        await a.set(ALL, engage=False)
        assert (a.brake.state.all, a.brake.state.tools) == (False, ("exec",))
