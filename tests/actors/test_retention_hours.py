"""Once an hour, on the node that leads, one batch after the other, written into the audit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import psycopg
import pytest
import trio
from trio.testing import MockClock

from goclaw.actors.history import Activity, Pages
from goclaw.actors.retention import Begin, RetentionKeeper, until_minute
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.address import RETENTION
from goclaw.domain.errors import StoreError
from goclaw.domain.ids import new_id
from goclaw.runtime.child import child
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import System, open_system
from goclaw.settings.retention import Retention
from goclaw.stores import activity
from goclaw.stores.database import Database
from goclaw.stores.retention import Rule, rules
from goclaw.stores.trim import TRIMMED
from tests.runtime.house import cell

RULES = len(rules(Retention()))


class Shelf:
    """A database in virtual time. `found` says what a rule finds."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.clock = clock
        self.leads = True
        self.away = ""  # the table whose rule fails
        self.found: dict[str, list[int]] = {}
        self.passes: list[datetime] = []
        self.asked: list[str] = []

    async def run(self, work: Any, /, *args: Any, **kwargs: Any) -> Any:
        await trio.sleep(0.001)
        match work.name, args:
            case "cluster.take_name", _:
                return 1 if self.leads else None
            case "retention.drop_weeks", _:
                self.passes.append(self.clock())
                return 0
            case "retention.forget", (Rule() as rule,):
                self.asked.append(rule.name)
                if rule.table == self.away:
                    raise StoreError("unavailable", "gone")
                batches = self.found.get(rule.name)
                return batches.pop(0) if batches else 0
            case "retention.make_weeks", _:
                return []
        return None


class LastRule:
    """The database, and whether the last rule of a pass has been asked for."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.done = trio.Event()

    async def run(self, work: Any, /, *args: Any, **kwargs: Any) -> Any:
        answer = await self._database.run(work, *args, **kwargs)
        if args == (rules(Retention())[-1],):
            self.done.set()
        return answer


async def started(system: System) -> None:
    def infra() -> Supervisor:
        return Supervisor(
            [child("retention", RetentionKeeper, new_id(), Retention()), child("activity", Activity, PAGES)]
        )

    await system.start(child("", lambda: Supervisor([child("infra", infra)])))


PAGES: Pages[Any] = Pages(activity.add)


@pytest.mark.parametrize(
    ("now", "seconds"),
    [("10:00:00", 17 * 60), ("10:16:59", 1), ("10:17:00", 3600), ("10:59:30", 17 * 60 + 30), ("23:30:00", 47 * 60)],
)
def test_the_next_pass_is_at_minute_17(now: str, seconds: float) -> None:
    assert until_minute(datetime.fromisoformat(f"2026-11-21T{now}+00:00")) == seconds


async def test_a_pass_an_hour_takes_every_rule_until_it_finds_no_more(autojump_clock: MockClock) -> None:
    shelf = Shelf(lambda: system.clock.now())
    shelf.found = {"outbox": [TRIMMED, TRIMMED, 3]}
    async with open_system(shelf, seed=1) as system:
        await started(system)
        await trio.sleep(3 * 3600)
        actor = cell(system, "infra", "retention").actor
        assert actor is not None

    assert [at.minute for at in shelf.passes] == [17, 17, 17]
    assert {later - at < timedelta(hours=1, seconds=1) for at, later in pairwise(shelf.passes)} == {True}
    assert len(shelf.asked) == 3 * RULES + 2
    assert shelf.asked.count("outbox") == 3 * 2 + 2
    assert actor.snapshot() == {"passes": 3, "removed": {}, "left": 0}


async def test_whoever_does_not_lead_forgets_nothing_and_one_bad_rule_stops_no_other(autojump_clock: MockClock) -> None:
    shelf = Shelf(lambda: system.clock.now())
    shelf.leads = False
    async with open_system(shelf, seed=1) as system:
        await started(system)
        await trio.sleep(3601)
        assert (shelf.passes, shelf.asked) == ([], [])
        shelf.leads, shelf.away = True, "run_steps"
        await trio.sleep(3600)
        assert len(shelf.asked) == RULES
        assert cell(system, "infra", "retention").incarnation == 1


async def test_what_a_pass_removed_is_written_down(database: Database, dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute(
            """INSERT INTO ingress_log (tenant_id, source, external_id, expires_at)
            SELECT %s, 'ws', n::text, now() - interval '1 hour' FROM generate_series(1, %s) AS n""",
            [MASTER_TENANT, TRIMMED + 7],
        )
    watched = LastRule(database)
    async with open_system(watched) as system:
        await started(system)
        system.tell(RETENTION, Begin())
        with trio.fail_after(15):
            await watched.done.wait()

    (line,) = await database.run(activity.page, tenant=MASTER_TENANT)
    assert (line.actor_type, line.actor_id, line.action) == ("system", "retention", "retention.pass")
    assert line.details == {"table": "ingress_log", "rows": TRIMMED + 7, "older_than": "7d"}
    assert line.created_at > datetime.now(UTC) - timedelta(minutes=1)
