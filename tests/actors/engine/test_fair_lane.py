"""A lane with more work than slots. Contract: sessions-lanes-cron.md §4; durability.md §6.4, §10, §11."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from goclaw.actors.engine.engine import Engine
from goclaw.actors.engine.lane import LaneActor
from goclaw.actors.engine.lane_news import Audit, Orphaned, Pressed, Start
from goclaw.actors.engine.queue import QueueKeeper
from goclaw.actors.engine.ready import READY, Ready
from goclaw.actors.engine.waits import news_of
from goclaw.actors.engine.works import GRACE
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.address import lane, run, session
from goclaw.domain.cluster import HEARD, Woken
from goclaw.domain.errors import Rejected, StoreError
from goclaw.domain.events import RunEvent, Saturation, of_operators
from goclaw.domain.ids import new_id
from goclaw.domain.run import (
    LANES,
    SATURATED,
    GetLoad,
    GiveSlotBack,
    HandBack,
    LaneLoad,
    LendSlot,
    ReclaimSlot,
    ReplyTo,
    RunQueued,
    RunRequest,
    SetLimit,
    StopRun,
    TakeSlot,
)
from goclaw.domain.session import Abort
from goclaw.operations.feed import listening
from goclaw.runtime.address import Address
from goclaw.runtime.child import child
from goclaw.runtime.inbox import inbox
from goclaw.runtime.message import Cancel, Message, Told
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import System, open_system
from goclaw.settings.agents import AgentDefaults
from goclaw.settings.providers import Offline, Providers
from goclaw.settings.queue import Lanes, Queue
from goclaw.stores import run_claims, run_queue, run_stops, runs
from goclaw.stores.database import Database
from goclaw.stores.runs import Claimed
from goclaw.stores.unit import Connection, transaction
from tests.actors.house import Weather, house, turn
from tests.stores.test_run_lives import rows
from tests.stores.test_run_queue import crowd_of
from tests.stores.test_runs import accept, trail

SLOW = Providers(offline=Offline(first_token_ms=600_000))
DEAF = 3_600_000.0  # milliseconds between two looks: nothing is found, everything is told


def key(name: str) -> str:
    return f"agent:default:ws:direct:{name}"


def one_slot(**more: Any) -> Queue:
    return Queue(lanes=Lanes(main=1), **{"poll_ms": DEAF, **more})


async def send(system: System, database: Database, name: str, user: str = "lan") -> str:
    """A turn in the session of that name; its run."""
    ask = msgspec.structs.replace(await turn(database), user_id=user)
    await system.ask(session(MASTER_TENANT, key(name)), ask, within=5)
    return ask.run_id


async def stop(system: System, name: str, user: str = "lan") -> None:
    await system.ask(session(MASTER_TENANT, key(name)), Abort(user_id=user, as_admin=True), within=5)


def shown(system: System, name: str = "main") -> dict[str, Any]:
    cell = system.cell(lane(name))
    assert cell is not None
    assert isinstance(cell.actor, LaneActor)
    return cell.actor.snapshot()


def works(system: System, *run_ids: str, where: str = "main") -> bool:
    return {run(where, run_id) for run_id in run_ids} == {
        address for address in system.members if address.startswith(f"{lane(where)}/")
    }


async def until(system: System, true: Callable[[], bool]) -> None:
    """Looked at as often as the lane answers."""
    with trio.fail_after(10):
        while not true():
            await system.ask(lane("main"), GetLoad(), within=5)


async def settled(system: System) -> LaneLoad:
    """The load of the main lane when it has done what it was told so far, and what that led to."""
    for _ in range(5):
        load = await system.ask(lane("main"), GetLoad(), within=5)
    return load


@asynccontextmanager
async def slow_house(
    database: Database | Weather, workspace: Path, queue: Queue, providers: Providers = SLOW
) -> AsyncIterator[System]:
    """A house whose runs do not end, until it is closed."""
    async with house(database, workspace, queue, providers) as system:
        try:
            yield system
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(5):
                for name in LANES:
                    await system.ask(lane(name), HandBack(within=0), within=5)


# --- slots ----------------------------------------------------------------------------------------


async def test_a_parent_that_waits_lends_its_only_slot_to_its_child(database: Database, tmp_path: Path) -> None:
    """SL-42."""
    async with slow_house(database, tmp_path, one_slot()) as system:
        parent = await send(system, database, "parent")
        child_run = await send(system, database, "child")
        await until(system, lambda: works(system, parent))

        system.tell(lane("main"), LendSlot(run_id=parent))
        await until(system, lambda: works(system, parent, child_run))
        other = await send(system, database, "other")
        back: list[bool] = []

        async def reclaim() -> None:
            back.append(await system.ask(lane("main"), ReclaimSlot(run_id=parent), within=10))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(reclaim)
            assert (await settled(system)).queued == 1
            assert back == []
            await stop(system, "child")

        assert back == [True]
        assert works(system, parent), "the other one waits until the parent is done"
        await stop(system, "parent")
        await until(system, lambda: works(system, other))


async def test_a_lane_that_shrinks_lets_its_runs_finish_and_one_that_grows_takes_more(
    database: Database, tmp_path: Path
) -> None:
    async with slow_house(database, tmp_path, one_slot()) as system:
        first, second = await send(system, database, "a"), await send(system, database, "b")
        await until(system, lambda: works(system, first))

        system.tell(lane("main"), SetLimit(limit=2))
        await until(system, lambda: works(system, first, second))
        system.tell(lane("main"), SetLimit(limit=1))
        third = await send(system, database, "c")
        await stop(system, "a")
        await until(system, lambda: works(system, second))
        await stop(system, "b")
        await until(system, lambda: works(system, third))


async def test_a_lane_that_crashes_keeps_its_new_size(database: Database, tmp_path: Path) -> None:
    async with slow_house(database, tmp_path, one_slot()) as system:
        system.tell(lane("main"), SetLimit(limit=2))
        await settled(system)
        cell = system.cell(lane("main"))
        assert cell is not None
        died = cell.actor
        cell.kill()

        assert (await settled(system)).limit == 2
        assert cell.actor is not died


async def test_another_user_is_served_before_the_crowd_of_one(database: Database, tmp_path: Path) -> None:
    """SL-16 on a real lane."""
    async with slow_house(database, tmp_path, one_slot()) as system:
        await send(system, database, "first", "crowd")
        for number in range(5):
            await send(system, database, f"more-{number}", "crowd")
        other = await send(system, database, "other", "anh")

        await stop(system, "first")

        await until(system, lambda: works(system, other))


async def test_what_is_due_soon_waits_for_its_moment_and_what_is_due_later_is_found(autojump_clock: MockClock) -> None:
    engine = Engine("n", {}, AgentDefaults(workspace=Path("/nowhere")), Queue())
    async with open_system(Full()) as system:
        lanes = Supervisor([child("main", LaneActor, "main", 1, engine)])
        tree = Supervisor([child("engine", lambda: Supervisor([child("lanes", lambda: lanes)]))])
        await system.start(child("", lambda: tree))
        for name, due_in in (("soon", 10.0), ("later", 3600.0)):
            system.tell(lane("main"), RunQueued(tenant_id="t", session_key=name, waited=-due_in))

        await trio.sleep(9)
        assert (await settled(system)).queued == 0
        await trio.sleep(2)
        assert (await settled(system)).queued == 1


# --- suspects -------------------------------------------------------------------------------------


@transaction
async def has_crashed(db: Connection, *run_ids: str, times: int = 2) -> None:
    await db.execute("UPDATE runs SET crash_count = %s WHERE run_id = ANY(%s::uuid[])", [times, list(run_ids)])


@transaction
async def ownerless(db: Connection) -> None:
    await db.execute("UPDATE runs SET lease_expires_at = now() - interval '1 minute' WHERE state = 'RUNNING'")


async def test_suspects_run_one_at_a_time_on_the_node_beside_the_slots(database: Database, tmp_path: Path) -> None:
    first = await accept(database, key=key("s1"))
    second = await accept(database, key=key("s2"), kind="delegation", lane="team")
    good = await accept(database, key=key("good"))
    await database.run(has_crashed, first, second)

    async with slow_house(database, tmp_path, one_slot(poll_ms=20.0)) as system:
        await until(system, lambda: works(system, first, good) or works(system, good))
        await until(system, lambda: works(system, first, good) != works(system, second, where="team"))
        assert shown(system)["limit"] == 1
        if works(system, second, where="team"):
            where, name, other, of_other = "team", "s2", first, "main"
        else:
            where, name, other, of_other = "main", "s1", second, "team"
        assert run(of_other, other) not in system.members

        await stop(system, name)

        await until(system, lambda: run(of_other, other) in system.members)
        assert where != of_other

    assert (4, "task.suspect") in await database.run(trail, key("s1"))
    assert (4, "task.suspect") in await database.run(trail, key("s2"))
    assert "task.suspect" not in [type for _, type in await database.run(trail, key("good"))]


async def test_who_saw_two_processes_die_lets_others_go_first(database: Database, tmp_path: Path) -> None:
    once, twice = await accept(database, key=key("s1")), await accept(database, key=key("s2"))
    sessions = [(MASTER_TENANT, key("s1")), (MASTER_TENANT, key("s2"))]
    await database.run(run_claims.claim, node=new_id(), lane="main", sessions=sessions, limit=2)
    await database.run(has_crashed, twice, times=1)
    await database.run(ownerless)

    async with slow_house(database, tmp_path, Queue(suspect_hold_sec=300.0, poll_ms=20.0)) as system:
        await until(system, lambda: works(system, once))
        await stop(system, "s1")
        good = await send(system, database, "good")
        await until(system, lambda: works(system, good))

        assert not works(system, twice)


async def test_a_suspect_nobody_told_of_goes_back_when_its_place_is_taken(database: Database, tmp_path: Path) -> None:
    queue = Queue(poll_ms=DEAF)
    async with slow_house(database, tmp_path, queue) as system:
        first, second = await accept(database, key=key("s1")), await accept(database, key=key("s2"))
        await database.run(has_crashed, first, second)
        for name in ("s1", "s2"):
            system.tell(lane("main"), RunQueued(tenant_id=MASTER_TENANT, session_key=key(name)))

        await until(system, lambda: works(system, first) or works(system, second))
        load = await settled(system)
        assert (load.active, load.queued) == (1, 1)
        running = "s1" if run("main", first) in system.members else "s2"
        await stop(system, running)

        await until(system, lambda: works(system, second if running == "s1" else first))

    released = "s2" if running == "s1" else "s1"
    assert [type for _, type in await database.run(trail, key(released))][:7] == [
        "task.enqueued", "task.claimed", "task.running", "task.released", "task.claimed", "task.running",
        "task.suspect",
    ]  # fmt: skip


# --- waiting can be seen --------------------------------------------------------------------------


async def test_who_waits_hears_how_many_are_ahead_and_how_long_it_will_be(database: Database, tmp_path: Path) -> None:
    async with slow_house(database, tmp_path, one_slot()) as system:
        await send(system, database, "first")
        await stop(system, "first")
        with trio.fail_after(10):
            while (await settled(system)).active:
                pass
        heard: list[dict[str, Any]] = []
        for number in range(3):
            ask = await turn(database)
            with listening(system, ask.run_id) as feed:
                await system.ask(session(MASTER_TENANT, key(f"s{number}")), ask, within=5)
                queued = (await feed.next())[0]
                assert isinstance(queued, RunEvent)
                heard.append(msgspec.json.decode(queued.body))

        load = await system.ask(lane("main"), GetLoad(), within=5)

    assert [one["position"] for one in heard] == [0, 1, 2]
    assert "estimateMs" not in heard[0]
    assert heard[1]["estimateMs"] <= heard[2]["estimateMs"]
    assert (load.active, load.queued, load.limit) == (1, 2, 1)


async def test_too_many_waiting_are_refused_by_name_with_a_time_to_come_back(
    database: Database, tmp_path: Path
) -> None:
    async with slow_house(database, tmp_path, one_slot(max_depth_per_user=2)) as system:
        for name in ("runs", "w1", "w2"):
            await send(system, database, name)

        with pytest.raises(Rejected) as refused:
            await send(system, database, "w3")
        await send(system, database, "w4", "anh")
        load = await system.ask(lane("main"), GetLoad(), within=5)

    err = refused.value.err
    assert (err.code, err.details["reason"], err.retryable, err.retry_after) == (
        "RESOURCE_EXHAUSTED", "queue_full", True, 1.0,
    )  # fmt: skip
    assert load.drops == 1


async def test_a_tenant_has_a_limit_too(database: Database, tmp_path: Path) -> None:
    async with slow_house(database, tmp_path, one_slot(max_depth=2)) as system:
        for name, user in (("runs", "a"), ("w1", "b"), ("w2", "c")):
            await send(system, database, name, user)

        with pytest.raises(Rejected) as refused:
            await send(system, database, "w3", "d")

    assert refused.value.err.details["reason"] == "queue_full"


@transaction
async def take(db: Connection, keys: list[str]) -> None:
    """What a claim does to a head, without its events."""
    await db.execute("UPDATE session_heads SET queued = 0 WHERE session_key = ANY(%s)", [keys])


async def test_a_lane_remembers_a_bounded_part_of_ten_thousand_and_is_told_of_all(database: Database) -> None:
    await database.run(crowd_of, "crowd", 9_990)
    await database.run(crowd_of, "quiet", 10)
    ready = Ready("main")
    served: list[str] = []

    while found := await database.run(run_queue.waiting, limit=1_200):
        for row in found:
            ready.learn(news_of(row), 0.0)
        assert len(ready.waiting) <= READY
        chosen = ready.next({}, slots=1_000, free=900, now=0.0)
        await database.run(take, [candidate.session_key for candidate in chosen])
        served += [candidate.session_key for candidate in chosen]

    assert len(served) == len(set(served)) == 10_000
    assert {f"quiet{n}" for n in range(1, 11)} <= set(served[:900])


# --- saturation -----------------------------------------------------------------------------------


@transaction
async def priorities(db: Connection) -> None:
    await db.execute("UPDATE runs SET priority = CASE kind WHEN 'autolearn' THEN 0 WHEN 'heartbeat' THEN 2 ELSE 3 END")


async def test_while_a_lane_is_saturated_the_clocks_least_work_stops_first(database: Database, tmp_path: Path) -> None:
    queue = Queue(lanes=Lanes(main=1, cron=30), poll_ms=20.0)
    async with slow_house(database, tmp_path, queue) as system:
        system.tell(lane("cron"), Pressed(lane="main", level=1))
        kinds = ("autolearn", "heartbeat", "cron")
        made = {kind: await accept(database, key=key(kind), kind=kind, lane="cron", node=None) for kind in kinds}
        await database.run(priorities)

        await until(system, lambda: run("cron", made["cron"]) in system.members)
        await until(system, lambda: run("cron", made["heartbeat"]) in system.members)
        assert run("cron", made["autolearn"]) not in system.members

        system.tell(lane("cron"), Pressed(lane="main", level=0))

        await until(system, lambda: run("cron", made["autolearn"]) in system.members)


class Full:
    """A database whose runs cannot be claimed for a while."""

    def __init__(self) -> None:
        self.away = True

    async def run(self, work: Any, /, *args: Any, **kwargs: Any) -> list[Any]:
        await trio.lowlevel.checkpoint()
        if self.away and work.name == "run_claims.claim":
            raise StoreError("unavailable", "away")
        return []


async def test_runs_that_wait_for_too_long_are_told_to_operators_and_all_lanes(autojump_clock: MockClock) -> None:
    engine = Engine("n", {}, AgentDefaults(workspace=Path("/nowhere")), Queue())
    full, told = Full(), list[Saturation]()

    def tree() -> Supervisor:
        lanes = Supervisor([child(name, LaneActor, name, 1, engine) for name in ("main", "cron")])
        return Supervisor([child("engine", lambda: Supervisor([child("lanes", lambda: lanes)]))])

    def hear(message: Message[Any]) -> Told:
        if isinstance(message, Saturation):
            told.append(message)
        return Told.ACCEPTED

    async with open_system(full) as system:
        await system.start(child("", tree))
        with inbox(system, Address("test", "operator"), "Test", hear) as box:
            box.join(of_operators(MASTER_TENANT))
            system.tell(lane("main"), RunQueued(tenant_id="t", session_key="s", waited=0.0))

            await trio.sleep(89)
            assert SATURATED not in system.groups, "30 s are allowed, and then a minute"
            await trio.sleep(16)
            assert SATURATED in system.groups
            cron = system.cell(lane("cron"))
            assert cron is not None
            assert isinstance(cron.actor, LaneActor)
            assert cron.actor.ready.pressures["main"] == 1

            full.away = False
            await trio.sleep(70)
            assert SATURATED not in system.groups
            assert cron.actor.ready.pressures["main"] == 0

    assert [(news.lane, news.level) for news in told] == [("main", 1), ("main", 0)]
    assert told[0].wait_p95 > 30.0


# --- runs that do not end -------------------------------------------------------------------------


@transaction
async def grown_old(db: Connection, run_id: str) -> None:
    await db.execute("UPDATE runs SET deadline = now() - interval '1 hour' WHERE run_id = %s", [run_id])


async def test_a_run_that_does_not_end_after_its_deadline_is_ended_by_its_lane(
    database: Database, tmp_path: Path
) -> None:
    hanging, over = trio.Event(), trio.Event()

    async def hangs(_work: Any, _end: Any, run: runs.Claimed, *_to: Any, **_said: Any) -> None:
        hanging.set()
        await over.wait()
        raise runs.StaleOwner(run.run_id)

    assert GRACE < 3000
    to = ReplyTo(channel_instance="telegram-1", chat_id="42")
    run_id = await accept(database, key=key("old"), request=RunRequest(message="hi", reply_to=to))
    await database.run(grown_old, run_id)
    async with house(Weather(database, "run_replies.ended", hangs), tmp_path, one_slot(poll_ms=20.0)) as system:
        with trio.fail_after(10), listening(system, run_id) as feed:
            await hanging.wait()

            system.tell(lane("main"), Audit())

            events: list[RunEvent] = []
            while more := await feed.next():
                events += more
        assert shown(system)["active"] == 0, "its slot is free although it hangs on"
        over.set()

    failed = [event for event in events if event.type == "run.failed"]
    assert len(failed) == 1
    assert msgspec.json.decode(failed[0].body)["code"] == "AGENT_TIMEOUT"
    stored = await database.run(runs.result, tenant=MASTER_TENANT, run_id=run_id)
    assert stored is not None
    assert stored.error is not None
    assert stored.error.code == "AGENT_TIMEOUT"
    assert await database.run(rows, "SELECT chat_id || ' ' || kind FROM outbox") == ["42 notice"]


# --- looks ----------------------------------------------------------------------------------------


class Nothing:
    """A database with nothing in it that counts how often it was looked at."""

    def __init__(self) -> None:
        self.looks = 0

    async def run(self, work: Any, /, *args: Any, **kwargs: Any) -> list[Any]:
        self.looks += work.name == "run_queue.waiting"
        await trio.lowlevel.checkpoint()
        return []


@asynccontextmanager
async def keeper(nothing: Nothing, *, alone: bool) -> AsyncIterator[System]:
    engine = Engine("n", {}, AgentDefaults(workspace=Path("/nowhere")), Queue())
    engine.ownership.alone, engine.ownership.peers = alone, 0 if alone else 1

    def tree() -> Supervisor:
        return Supervisor([child("keeper", lambda: QueueKeeper(engine))])

    async with open_system(nothing) as system:
        await system.start(child("", tree))
        yield system


@pytest.mark.parametrize(("alone", "least", "most"), [(True, 60, 85), (False, 590, 601)])
async def test_looks_get_rarer_while_they_find_nothing_and_everybody_is_told(
    alone: bool, least: int, most: int, autojump_clock: MockClock
) -> None:
    nothing = Nothing()
    async with keeper(nothing, alone=alone):
        await trio.sleep(60)

    assert least <= nothing.looks <= most


async def test_many_bells_are_one_look_and_who_hears_them_looks_less(autojump_clock: MockClock) -> None:
    nothing = Nothing()
    async with keeper(nothing, alone=False) as system:
        cell = system.cell(Address("keeper"))
        assert cell is not None
        assert isinstance(cell.actor, QueueKeeper)
        own = cell.actor.own
        own.listening, own.shards = True, {7: 1}
        await trio.sleep(60)
        assert 60 <= nothing.looks <= 85

        nothing.looks = 0
        for _ in range(100):
            system.publish(HEARD, Woken(kind="runs", shards=(7,)))
        await trio.sleep(0.06)

    assert 1 <= nothing.looks <= 2


async def test_a_run_claimed_again_begins_when_its_last_life_is_gone(database: Database, tmp_path: Path) -> None:
    async with slow_house(database, tmp_path, one_slot(poll_ms=DEAF)) as system:
        run_id = await send(system, database, "twice")
        await until(system, lambda: works(system, run_id))
        place, first = system.cell(lane("main")), system.cell(run("main", run_id))
        assert place is not None
        assert isinstance(place.actor, LaneActor)
        (mine,) = await database.run(run_claims.owned, node=place.actor.engine.node_id, lane="main")
        system.tell(lane("main"), SetLimit(limit=2))
        assert await system.ask(lane("main"), TakeSlot(run_id=run_id), within=5)

        system.tell(lane("main"), Start(run=msgspec.structs.replace(mine, fence=2)))
        await settled(system)

        assert place.incarnation == 1, "the lane did not stumble over it"
        assert place.actor.slots.taken == 1
        system.tell(run("main", run_id), Cancel(reason="user", by="lan"))
        await until(system, lambda: works(system, run_id) and system.cell(run("main", run_id)) is not first)
        assert place.actor.slots.taken == 1


async def test_a_run_that_is_stopped_before_it_begins_again_hears_of_it(database: Database, tmp_path: Path) -> None:
    async with slow_house(database, tmp_path, one_slot(poll_ms=DEAF)) as system:
        run_id = await send(system, database, "twice")
        await until(system, lambda: works(system, run_id))
        place = system.cell(lane("main"))
        assert place is not None
        assert isinstance(place.actor, LaneActor)
        (mine,) = await database.run(run_claims.owned, node=place.actor.engine.node_id, lane="main")
        system.tell(lane("main"), SetLimit(limit=2))
        assert await system.ask(lane("main"), TakeSlot(run_id=run_id), within=5)
        system.tell(lane("main"), Start(run=msgspec.structs.replace(mine, fence=2)))
        assert await system.ask(lane("main"), StopRun(run_id=run_id, reason="user", by="lan"), within=5)

        system.tell(run("main", run_id), Cancel(reason="user", by="lan"))
        await until(system, lambda: not works(system, run_id) and not place.actor.works.next_lives)


async def test_a_suspect_that_somebody_stopped_is_told_to_be_cancelled(database: Database, tmp_path: Path) -> None:
    async with slow_house(database, tmp_path, one_slot()) as system:
        run_id = await send(system, database, "stopped")
        await until(system, lambda: works(system, run_id))
        place = system.cell(lane("main"))
        assert place is not None
        assert isinstance(place.actor, LaneActor)
        (mine,) = await database.run(run_claims.owned, node=place.actor.engine.node_id, lane="main")
        named = {"tenant": MASTER_TENANT, "run_ids": [run_id], "by": "lan", "reason": "interrupt"}
        await database.run(run_stops.request_cancel, **named)
        events: list[RunEvent] = []
        with trio.fail_after(10), listening(system, run_id) as feed:
            system.tell(lane("main"), Orphaned(run=mine))
            while more := await feed.next():
                events += more

    (last,) = [event for event in events if event.type == "run.cancelled"]
    assert last.result is not None
    assert (last.result.cancelled, last.result.error) == (True, None)
    assert msgspec.json.decode(last.body) == {"reason": "interrupt", "by": "lan"}, "the reason of who stopped it"


async def test_a_suspect_that_is_stopped_while_it_goes_back_is_cancelled_aloud(
    database: Database, tmp_path: Path
) -> None:
    async def stopped_first(work: Any, given: Claimed, **how: Any) -> Any:
        named = {"tenant": MASTER_TENANT, "run_ids": [given.run_id], "by": "lan", "reason": "user"}
        await database.run(run_stops.request_cancel, **named)
        return await database.run(work, given, **how)

    weather = Weather(database, "run_recovery.put_back", stopped_first)
    first = await accept(database, key=key("first"))
    await database.run(has_crashed, first)
    async with slow_house(weather, tmp_path, Queue(poll_ms=DEAF)) as system:
        await until(system, lambda: works(system, first))  # the place of suspects is taken
        run_id = await accept(database, key=key("s"))
        await database.run(has_crashed, run_id)
        with trio.fail_after(10), listening(system, run_id) as feed:
            system.tell(lane("main"), RunQueued(tenant_id=MASTER_TENANT, session_key=key("s")))
            result = await feed.result()

    assert result.cancelled


async def test_a_lane_is_not_empty_while_a_slot_is_kept(database: Database, tmp_path: Path) -> None:
    answers: list[int] = []
    async with slow_house(database, tmp_path, one_slot()) as system:
        assert await system.ask(lane("main"), TakeSlot(run_id="r"), within=5)

        async def close() -> None:
            answers.append(await system.ask(lane("main"), HandBack(within=60), within=60))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(close)
            await until(system, lambda: shown(system)["closing"])
            await settled(system)
            assert answers == []
            system.tell(lane("main"), GiveSlotBack(run_id="r"))

    assert answers == [0]
