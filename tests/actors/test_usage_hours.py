"""Five minutes after every hour, on the node that leads, its snapshot; at the start those of the hours it was away."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
import trio
from trio.testing import MockClock

from goclaw.actors.usage import Begin, UsageKeeper
from goclaw.domain.address import USAGE
from goclaw.domain.errors import StoreError
from goclaw.domain.ids import new_id
from goclaw.runtime.child import child
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import System, open_system
from goclaw.settings.retention import Retention
from goclaw.stores.database import Database
from goclaw.stores.usage import on_the_hour
from tests.runtime.house import cell
from tests.stores.test_usage_table import NOW, THIS, Past

HOUR = timedelta(hours=1)


class Shelf:
    """A database in virtual time. `missing` says which hours have no snapshot."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.clock = clock
        self.leads = True
        self.away = False
        self.missing: list[datetime] = []
        self.looked: list[dict[str, datetime]] = []
        self.made: list[tuple[datetime, list[datetime]]] = []
        self.old = [7, 3]

    async def run(self, work: Any, /, *args: Any, **kwargs: Any) -> Any:
        await trio.sleep(0.001)
        match work.name:
            case "cluster.take_name":
                return 1 if self.leads else None
            case "usage.missing":
                self.looked.append(kwargs)
                found, self.missing = self.missing, []
                return found
            case "usage.compute":
                if self.away:
                    raise StoreError("unavailable", "gone")
                self.made.append((self.clock(), args[0]))
            case "usage.fold":
                return self.old.pop() if self.old else 0
        return None


async def started(system: System, settings: Retention = Retention()) -> None:  # noqa: B008 - frozen
    def infra() -> Supervisor:
        return Supervisor([child("usage", UsageKeeper, new_id(), settings)])

    await system.start(child("", lambda: Supervisor([child("infra", infra)])))


async def test_the_last_two_hours_are_made_at_the_start_and_five_minutes_past_each(autojump_clock: MockClock) -> None:
    shelf = Shelf(lambda: system.clock.now())
    async with open_system(shelf, seed=1) as system:
        await started(system)
        await trio.sleep(3 * 3600)
        actor = cell(system, "infra", "usage").actor
        assert actor is not None

    assert [at.minute for at, _ in shelf.made][1:] == [5, 5, 5]
    assert all(hours == [on_the_hour(at) - HOUR, on_the_hour(at) - 2 * HOUR] for at, hours in shelf.made)
    assert actor.snapshot() == {"passes": 4, "hours": 8, "left": 0, "folded": 10}


async def test_hours_that_were_missed_are_made_up_for_a_day_at_a_time(autojump_clock: MockClock) -> None:
    shelf = Shelf(lambda: system.clock.now())
    async with open_system(shelf, seed=1) as system:
        this = on_the_hour(system.clock.now())
        shelf.missing = [this - hours * HOUR for hours in range(3, 53)]
        await started(system, Retention(usage_hourly_days=10))
        await trio.sleep(60)

    assert [len(hours) for _, hours in shelf.made] == [24, 24, 4]
    assert [hour for _, hours in shelf.made for hour in hours] == [this - hours * HOUR for hours in range(1, 53)]
    assert shelf.looked[0]["until"] == this - 2 * HOUR
    assert shelf.looked[0]["since"] == (this - timedelta(days=10)).replace(hour=0), "what is older is folded"


@pytest.mark.parametrize("trouble", ["leads", "away"])
async def test_who_does_not_lead_makes_nothing_and_an_outage_waits_for_the_next_hour(
    autojump_clock: MockClock, trouble: str
) -> None:
    shelf = Shelf(lambda: system.clock.now())
    shelf.leads, shelf.away = trouble != "leads", trouble == "away"
    async with open_system(shelf, seed=1) as system:
        await started(system)
        await trio.sleep(1)
        assert shelf.made == []
        shelf.leads, shelf.away = True, False
        await trio.sleep(3600)
        assert len(shelf.made) == 1
        assert cell(system, "infra", "usage").incarnation == 1


class Watched:
    """The database, and whether a pass has come to its end."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.passes = trio.Event()

    async def run(self, work: Any, /, *args: Any, **kwargs: Any) -> Any:
        answer = await self._database.run(work, *args, **kwargs)
        if work.name == "usage.fold" and answer == 0:
            self.passes.set()
        return answer


async def test_a_gateway_that_was_away_makes_up_for_it_and_doing_it_again_changes_nothing(
    database: Database, dsn: str
) -> None:
    past = Past(database, dsn)
    for ago in (1, 2, 50, 300):
        await past.turn(NOW - ago * HOUR)
    watched = Watched(database)
    async with open_system(watched) as system:
        with trio.fail_after(15):
            await started(system)
            await watched.passes.wait()
            first = past.snapshots()
            watched.passes = trio.Event()
            system.tell(USAGE, Begin())
            await watched.passes.wait()

    hours = {row[0] for row in first}
    assert hours == {THIS - ago * HOUR for ago in (1, 2, 50, 300)}
    assert past.snapshots() == first
    with psycopg.connect(dsn) as db:
        assert db.execute("SELECT name FROM named_leases").fetchall() == [("usage",)]
    past.db.close()
