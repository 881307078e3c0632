"""What is written down, and that nobody ever waits for it or falls over it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from goclaw.actors.history import KEPT, Activity, ActorLog, Pages, tenant_of
from goclaw.domain.activity import RecordActivity
from goclaw.domain.errors import StoreError
from goclaw.operations.bulletin import Owner
from goclaw.runtime import steer
from goclaw.runtime.address import Address
from goclaw.runtime.child import Child, Limit, Strategy
from goclaw.runtime.message import Told
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import open_system
from goclaw.runtime.values import FrozenMap
from goclaw.stores import activity, actor_log
from goclaw.stores.actor_log import Entry
from tests.runtime.house import Boom, Scribe, cell, quiet

AT = datetime(2026, 11, 20, tzinfo=UTC)
NODE = "0193a5b0-1111-7000-8000-000000000001"


def owner_of(path: str) -> Owner:
    return (NODE if path.startswith("/pool/") else "", None)


def writing() -> tuple[Any, ...]:
    return NODE, owner_of, Pages(actor_log.append, actor_log.trim)


def done_pages() -> Pages[RecordActivity]:
    return Pages(activity.add)


class Shelf:
    """A database that may be away. Batches it took are kept."""

    def __init__(self) -> None:
        self.away = False
        self.refuses = ""  # the line it cannot take
        self.asked = 0
        self.batches: list[list[Any]] = []

    async def run(self, work: Any, /, *args: Any, **kwargs: Any) -> Any:
        self.asked += 1
        await trio.sleep(0.1)
        if self.away:
            raise StoreError("unavailable", "gone")
        if args and any(getattr(line, "id", "") == self.refuses for line in args[0]):
            raise ValueError("such a line")
        if args:
            self.batches.append(list(args[0]))
        return 0

    @property
    def lines(self) -> list[Any]:
        return [line for batch in self.batches for line in batch]


def done(n: int) -> RecordActivity:
    return RecordActivity(
        id=str(n), at=AT, tenant_id="t", actor_type="user", actor_id="lan", action="actor.stopped",
        entity_type="actor", entity_id="/a", details=FrozenMap({}),
    )  # fmt: skip


async def test_lines_wait_for_the_database_in_order_and_the_oldest_are_lost(autojump_clock: MockClock) -> None:
    """AL-34, for what is written about the gateway beside its runs: a full buffer is one warning, no more."""
    shelf = Shelf()
    shelf.away = True
    async with open_system(shelf, seed=1) as system:
        await system.start(Child("", lambda: Supervisor([Child("activity", Activity, (done_pages(),))])))
        to = Address("activity")
        with capture_logs() as lines:
            for n in range(KEPT + 500):
                assert system.tell(to, done(n)) is Told.ACCEPTED
                if n % 500 == 499:
                    await trio.sleep(2)
            await trio.sleep(20)
        actor = cell(system, "activity").actor
        assert actor is not None
        assert actor.snapshot() == {"waiting": KEPT, "written": 0, "lost": 500}
        assert [line["lost"] for line in lines if line["event"] == "history.full"] == [500]

        shelf.away = False
        await trio.sleep(3)

        assert [int(line.id) for line in shelf.lines] == list(range(500, KEPT + 500))
        assert max(map(len, shelf.batches)) == 500
        assert actor.snapshot() == {"waiting": 0, "written": KEPT, "lost": 500}
        assert cell(system, "activity").incarnation == 1


async def test_what_goes_wrong_is_written_and_orderly_lives_are_not(autojump_clock: MockClock) -> None:
    shelf = Shelf()
    async with open_system(shelf, seed=1) as system:
        weak = Child("weak", Scribe, limit=Limit(restarts=1, within=60))
        pool = Child("pool", lambda: Supervisor([weak], strategy=Strategy.DYNAMIC))
        await system.start(
            Child(
                "",
                lambda: Supervisor([Child("log", ActorLog, writing()), pool]),
            )
        )
        path = Address("pool", "weak")
        system.tell(path, Boom())
        await trio.sleep(5)
        system.tell(path, Boom())
        await trio.sleep(5)
        steer.restart(system, path, by="ada")
        await trio.sleep(5)
        steer.restart(system, path, kill=True, by="ada")
        await trio.sleep(5)

    lines: list[Entry] = shelf.lines
    assert [(line.event, line.by) for line in lines] == [
        ("crashed", None),
        ("restarted", None),
        ("crashed", None),
        ("quarantined", None),
        ("restarted", "ada"),
        ("killed", "ada"),
        ("restarted", "ada"),
    ]
    assert {(line.path, line.of_class, line.supervisor, line.strategy) for line in lines} == {
        ("/pool/weak", "Scribe", "/pool", "dynamic")
    }
    assert {(line.node_id, line.tenant_id) for line in lines} == {(NODE, NODE)}
    first = lines[0]
    assert (first.error_type, first.in_hand_type) == ("RuntimeError", Boom.TYPE)
    assert first.traceback is not None
    assert len(first.fingerprint or "") == 16


async def test_the_last_lines_are_written_at_the_end(autojump_clock: MockClock) -> None:
    shelf = Shelf()
    async with open_system(shelf, seed=1) as system:
        await system.start(Child("", lambda: Supervisor([Child("activity", Activity, (done_pages(),))])))
        system.tell(Address("activity"), done(1))
        await quiet()
        assert shelf.lines == []

    assert [line.id for line in shelf.lines] == ["1"]


async def test_lines_outlive_their_writer_and_bad_ones_do_not_hold_up_the_rest(autojump_clock: MockClock) -> None:
    shelf = Shelf()
    shelf.away = True
    async with open_system(shelf, seed=1) as system:
        await system.start(Child("", lambda: Supervisor([Child("activity", Activity, (done_pages(),))])))
        to = Address("activity")
        for n in range(500):
            system.tell(to, done(n))
        await trio.sleep(2.05)  # in the middle of a write
        steer.restart(system, to, kill=True)
        await trio.sleep(1)
        for n in range(500, 503):
            system.tell(to, done(n))
        shelf.refuses = "500"
        shelf.away = False
        await trio.sleep(2)
        system.tell(to, done(503))
        await trio.sleep(2)

        actor = cell(system, "activity").actor
        assert actor is not None
        assert cell(system, "activity").incarnation == 2
        assert [int(line.id) for line in shelf.lines] == [*range(500), 503]
        assert actor.snapshot() == {"waiting": 0, "written": 501, "lost": 3}


async def test_old_lines_are_forgotten_now_and_then(autojump_clock: MockClock) -> None:
    shelf = Shelf()
    async with open_system(shelf, seed=1) as system:
        await system.start(
            Child(
                "",
                lambda: Supervisor([Child("log", ActorLog, writing())]),
            )
        )
        await trio.sleep(61)
        assert shelf.asked == 1
        shelf.away = True
        await trio.sleep(3601)
        assert shelf.asked == 2
        assert cell(system, "log").incarnation == 1


def test_a_path_says_whose_tenant_it_is() -> None:
    assert tenant_of(f"/sessions/{NODE}/k") == NODE
    assert tenant_of(f"/agents/{NODE}/k") == NODE
    assert [tenant_of(path) for path in ("/", "/sessions", "/sessions/acme/k", f"/engine/{NODE}/k")] == [None] * 4
