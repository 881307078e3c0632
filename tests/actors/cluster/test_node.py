"""A node that cannot prove its life trusts itself no more; one that is taken for dead begins again or ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.testing import MockClock

from goclaw.actors.cluster.node import Membership, Node
from goclaw.actors.cluster.notifier import Notifier
from goclaw.domain.cluster import MARKS, Lease, Marked, Ownership, run_topic
from goclaw.domain.errors import StoreError
from goclaw.operations.context import House
from goclaw.runtime.child import Child
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import System, open_system
from goclaw.settings.settings import Settings
from goclaw.stores.cluster import Joined, Renewed
from goclaw.stores.shards import Shard
from goclaw.stores.wake import heard

SHARDS = {3: 7, 9: 1}


class Rows:
    """The database as one node sees it. It may be away, or silent."""

    def __init__(self) -> None:
        self.away = self.silent = self.ended = self.replaced = self.draining = False
        self.fences = dict(SHARDS)
        self.joins = 0
        self.renewals = 0
        self.rung: list[str] = []

    async def run(self, work: Any, /, *args: Any, **kwargs: Any) -> Any:
        await trio.sleep(0.01)
        if self.silent:
            await trio.sleep_forever()
        if self.away:
            raise StoreError("unavailable", "gone")
        match work.name:
            case "cluster.join":
                self.joins += 1
                self.ended = False
                return Joined(1, ())
            case "cluster.renew":
                self.renewals += 1
                shards = tuple(Shard(shard, fence) for shard, fence in self.fences.items())
                return None if self.ended else Renewed(self.draining, shards)
            case "cluster.replaced":
                return self.replaced
            case "wake.ring":
                self.rung.append(args[0])
                return None
            case "cluster.leave":
                return None
        raise AssertionError(work.name)


class Exits:
    def __init__(self) -> None:
        self.drains = self.gave_up = 0

    def drain(self) -> None:
        self.drains += 1

    def give_up(self) -> None:
        self.gave_up += 1


@asynccontextmanager
async def node(rows: Rows, *, alone: bool = False) -> AsyncIterator[tuple[Ownership, Exits, System]]:
    async with open_system(rows, seed=1) as system:
        house = House(Settings(), system, "1", "0193a5b0-1111-7000-8000-000000000001", 0)
        own = house.ownership = Ownership(alone=alone)
        exits = Exits()
        me = Membership(house, own, "http://127.0.0.1:1", 10, Lease(), exits.drain, exits.give_up)
        children = [Child("node", Node, (me,)), Child("notifier", Notifier, (house.node_id, own))]
        await system.start(Child("", lambda: Supervisor(children)))
        own.shards = dict(SHARDS)
        yield own, exits, system


async def test_a_lease_is_renewed_every_five_seconds(autojump_clock: MockClock) -> None:
    rows = Rows()
    async with node(rows) as (own, exits, _):
        await trio.sleep(60.5)
        assert 11 <= rows.renewals <= 13
        assert own.held
        assert own.shards == SHARDS
        assert (exits.drains, exits.gave_up) == (0, 0)


async def test_without_a_renewal_for_ten_seconds_nothing_is_started_until_the_next_one(
    autojump_clock: MockClock,
) -> None:
    for trouble in ("away", "silent"):
        rows = Rows()
        async with node(rows) as (own, exits, _):
            await trio.sleep(0.5)
            setattr(rows, trouble, True)
            await trio.sleep(9)
            assert own.held
            await trio.sleep(2)
            assert not own.held
            assert not own.has("t", "agent:a:b")
            setattr(rows, trouble, False)
            await trio.sleep(6)
            assert own.held, "renewed before anybody took it"
            assert own.shards == SHARDS
            await trio.sleep(70)
            assert exits.gave_up == 0


async def test_after_a_minute_in_quarantine_the_process_ends_once(autojump_clock: MockClock) -> None:
    rows = Rows()
    async with node(rows) as (own, exits, _):
        rows.away = True
        await trio.sleep(69)
        assert exits.gave_up == 0
        await trio.sleep(20)
        assert exits.gave_up == 1
        assert not own.held


async def test_alone_on_its_database_a_node_waits_for_it(autojump_clock: MockClock) -> None:
    rows = Rows()
    async with node(rows, alone=True) as (own, exits, _):
        rows.away = True
        await trio.sleep(200)
        assert own.held
        assert own.has("t", "agent:a:b")
        assert exits.gave_up == 0


async def test_who_was_taken_for_dead_owns_nothing_and_joins_again(autojump_clock: MockClock) -> None:
    rows = Rows()
    async with node(rows) as (own, exits, _):
        await trio.sleep(1)
        rows.ended = True
        await trio.sleep(6)
        assert rows.joins == 2
        assert own.held
        assert own.shards == {}
        assert exits.gave_up == 0


async def test_who_was_replaced_by_its_own_name_ends(autojump_clock: MockClock) -> None:
    rows = Rows()
    async with node(rows) as (own, exits, _):
        rows.ended = rows.replaced = True
        await trio.sleep(30)
        assert rows.joins == 1
        assert exits.gave_up == 1
        assert not own.held


async def test_a_shard_that_was_taken_is_forgotten_with_the_renewal(autojump_clock: MockClock) -> None:
    rows = Rows()
    async with node(rows) as (own, _, _):
        rows.fences = {3: 8, 9: 1, 200: 1}
        await trio.sleep(6)
        assert own.shards == {9: 1}


async def test_a_node_asked_to_leave_begins_to_end_once(autojump_clock: MockClock) -> None:
    rows = Rows()
    async with node(rows) as (_, exits, _):
        rows.draining = True
        await trio.sleep(30)
        assert exits.drains == 1


async def test_many_marks_are_one_ring_and_a_node_alone_rings_for_nobody(autojump_clock: MockClock) -> None:
    rows = Rows()
    async with node(rows) as (own, _, system):
        await trio.sleep(1)
        rows.rung.clear()
        system.publish(MARKS, Marked(kind="runs", shard=4))
        await trio.sleep(1)
        assert rows.rung == []

        own.peers = 1
        for n in range(100):
            system.publish(MARKS, Marked(kind="runs", shard=n % 3))
            system.publish(MARKS, Marked(kind="cache", topic=run_topic(str(n % 2))))
        await trio.sleep(1)
        system.publish(MARKS, Marked(kind="runs", shard=9))
        await trio.sleep(1)

        wakes = [(wake.k, wake.s, wake.t) for wake in map(heard, rows.rung) if wake is not None]
        assert wakes == [
            ("runs", (0, 1, 2), ()),
            ("cache", (), ("run:0", "run:1")),
            ("runs", (9,), ()),
        ]
