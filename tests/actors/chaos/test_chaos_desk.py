"""How plans end, what they count, and what is left of them. Contract: supervision.md §21 C2–C4, report."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio
from msgspec.json import decode, encode
from msgspec.structs import replace
from structlog.testing import capture_logs

from goclaw.actors.agents import agents
from goclaw.actors.chaos.books import checks_of, error_share
from goclaw.actors.chaos.cost import most_within, spread
from goclaw.actors.chaos.desk import Desk
from goclaw.actors.chaos.experiment import agent_id, known_as, protected
from goclaw.domain.access import MASTER_TENANT, SYSTEM_USER, Caller, Role
from goclaw.domain.activity import RecordActivity
from goclaw.domain.address import ACTIVITY, CHAOS
from goclaw.domain.chaos import (
    LOAD_AGENT,
    GetReport,
    Item,
    Limits,
    Load,
    Plan,
    Report,
    Spread,
    Started,
    StartPlan,
    StopPlan,
    Turns,
    When,
    load_sessions,
)
from goclaw.domain.errors import Rejected, StoreError
from goclaw.domain.events import EVERYBODY, ShuttingDown
from goclaw.domain.ids import new_id
from goclaw.domain.run import RunRequest, RunResult
from goclaw.operations import chaos
from goclaw.operations.context import Context, House
from goclaw.operations.params import decode as params
from goclaw.runtime import steer
from goclaw.runtime.address import Address
from goclaw.runtime.child import Child
from goclaw.runtime.faults import RuntimeFault
from goclaw.runtime.inbox import inbox
from goclaw.runtime.message import Message, Told
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import open_system
from goclaw.settings.agents import AgentDefaults
from goclaw.settings.chaos import Chaos
from goclaw.settings.database import Database as DatabaseSettings
from goclaw.settings.providers import Provider, Providers
from goclaw.settings.settings import Settings
from goclaw.stores import agents as agent_rows
from goclaw.stores import chaos as rows
from goclaw.stores import run_acceptance, run_claims, run_ends
from goclaw.stores.database import Database
from goclaw.stores.unit import Connection, Json, one, transaction
from tests.runtime.house import Say, Scribe

TARGET = Address("target")
KEY = "agent:default:ws:direct:1"
PATIENCE = 20.0  # seconds
QUICK = Plan(
    items=(Item(path="/target", what="drop", when=When(every=1), times=1000),),
    before_sec=0.05,
    duration_sec=60,
    after_sec=0.05,
)
CALM = replace(QUICK, before_sec=60)
VENDOR = Providers(named={"fake": Provider(api_base="http://127.0.0.1:9/v1", models=("m",))})


@pytest.fixture(autouse=True)
def quiet_log() -> Any:
    with capture_logs() as entries:
        yield entries


@asynccontextmanager
async def desk(database: Database, settings: Settings | None = None) -> AsyncIterator[House]:
    """A desk, an actor to hit at /target, and agents whose model is a vendor's."""
    async with open_system(database, seed=1) as system:
        house = House(settings or Settings(), system, "0", new_id(), 0)

        def services() -> Supervisor:
            return Supervisor([Child("chaos", Desk, (house,))])

        branches = [
            Child("system", services),
            Child("target", Scribe),
            Child("agents", agents, (AgentDefaults(provider="fake"), VENDOR)),
        ]
        await system.start(Child("/", lambda: Supervisor(branches)))
        yield house


async def start(house: House, plan: Plan = QUICK) -> Started:
    return await house.system.ask(CHAOS, StartPlan(plan=plan, by="lan"), within=5)


async def stop(house: House, id: str = "") -> Report:
    return await house.system.ask(CHAOS, StopPlan(id=id), within=5)


async def hit(house: House, times: int = 1) -> None:
    """Tell the target until so many messages were dropped."""
    letters = house.system.dead_letters
    with trio.fail_after(PATIENCE):
        while letters.counters["injected", Say.TYPE] < times:
            house.system.tell(TARGET, Say(text="x"))
            await trio.sleep(0.01)


async def ended(database: Database, id: str) -> rows.PlanRow:
    with trio.fail_after(PATIENCE):
        while True:
            row = await database.run(rows.get, id=id)
            assert row is not None
            if row.state != "running":
                return row
            await trio.sleep(0.02)


async def refusal(asking: Awaitable[object]) -> tuple[str, Any]:
    with pytest.raises(Rejected) as refused:
        await asking
    return refused.value.err.code, refused.value.err.details.get("reason")


# --- how plans end ------------------------------------------------------------------------------


async def test_a_plan_ends_with_its_windows(database: Database) -> None:
    async with desk(database) as house:
        started = await start(house, replace(QUICK, duration_sec=1, name="short", seed=5))
        await hit(house)
        row = await ended(database, started.id)

        assert (row.state, row.reason, row.name, row.seed, row.started_by) == ("ended", None, "short", 5, "lan")
        assert row.report is not None
        assert row.report["faults"]["fired"]["drop"] > 0
        assert row.report["dead_letters"]["injected"] == row.report["faults"]["fired"]["drop"]
        assert row.report["verdict"] == "pass"
        assert house.system.lens is None


async def test_a_plan_that_used_up_its_faults_is_aborted(database: Database) -> None:
    async with desk(database) as house:
        started = await start(house, replace(QUICK, limits=Limits(faults=3)))
        await hit(house, 3)
        row = await ended(database, started.id)

        assert (row.state, row.reason) == ("aborted", "faults")
        assert row.report is not None
        assert row.report["faults"]["fired"] == {"drop": 3}
        assert row.report["checks"][-1] == {"name": "completed", "ok": False, "got": "faults", "want": "duration"}
        assert row.report["verdict"] == "fail"


async def test_a_drain_ends_a_plan(database: Database) -> None:
    async with desk(database) as house:
        started = await start(house)
        await hit(house)
        house.system.publish(EVERYBODY, ShuttingDown(reason="sigterm", in_ms=1000, reconnect_after_ms=1000))
        row = await ended(database, started.id)

        assert (row.state, row.reason) == ("aborted", "drain")
        assert house.system.lens is None


async def test_a_house_that_is_stopped_stores_its_plan_before(database: Database) -> None:
    async with desk(database) as house:
        started = await start(house)
        await hit(house)
        await house.system.stop()
        row = await ended(database, started.id)

        assert (row.state, row.reason) == ("aborted", "shutdown")


async def test_a_plan_that_is_killed_lets_go_and_says_so(database: Database) -> None:
    async with desk(database) as house:
        started = await start(house)
        await hit(house)
        killed = house.system.cell(CHAOS / started.id)
        assert killed is not None
        killed.kill()
        row = await ended(database, started.id)

        assert (row.state, row.reason, row.report) == ("aborted", "crashed", None)
        assert house.system.lens is None
        second = await start(house)
        assert (await stop(house, second.id)).reason == "stopped"


@pytest.mark.parametrize("kill", [True, False])
async def test_a_plan_that_does_not_end_by_itself_leaves_no_load_behind(database: Database, kill: bool) -> None:
    load = Load(turns_per_sec=0.1, sessions=1)
    async with desk(database) as house:
        started = await start(house, replace(CALM, load=load))
        for key in (*load_sessions(load, started.id), KEY):
            await accepted(database, key)
        if kill:
            steer.stop(house.system, CHAOS / started.id, kill=True)
        else:
            await database.run(rows.end, id=started.id, state="aborted", reason="x", report=None)
            experiment = house.system.cell(CHAOS / started.id)
            assert experiment is not None
            experiment.kill()
        with trio.fail_after(PATIENCE):
            while len(await database.run(left)) > 1:  # noqa: ASYNC110 - nobody says so
                await trio.sleep(0.02)
        assert await database.run(left) == [KEY]

        assert await database.run(agent_rows.find, tenant=MASTER_TENANT, name=load.agent) is None
        row = await database.run(rows.get, id=started.id)
        assert row is not None
        assert row.state != "running"


async def test_a_start_that_fails_leaves_nothing_behind(database: Database) -> None:
    @transaction
    async def forbid(db: Connection) -> None:
        await db.execute("ALTER TABLE chaos_plans ADD CONSTRAINT never CHECK (name <> 'never')")

    await database.run(forbid)
    async with desk(database) as house:
        with pytest.raises((StoreError, RuntimeFault)):
            await start(house, replace(CALM, load=Load(turns_per_sec=1, sessions=1), name="never"))
        assert await database.run(agent_rows.find, tenant=MASTER_TENANT, name=LOAD_AGENT) is None
        assert await database.run(rows.page) == []


async def test_a_desk_that_dies_takes_its_plan_with_it_and_says_so(database: Database) -> None:
    async with desk(database) as house:
        started = await start(house)
        await hit(house)
        dies = house.system.cell(CHAOS)
        assert dies is not None
        dies.kill()
        row = await ended(database, started.id)

        assert (row.state, row.reason) == ("interrupted", "process ended")
        assert house.system.lens is None


async def test_one_plan_at_a_time_and_the_next_at_once(database: Database) -> None:
    async with desk(database) as house:
        first = await start(house)
        assert await refusal(start(house)) == ("FAILED_PRECONDITION", "chaos_active")
        assert (await refusal(stop(house, new_id())))[0] == "NOT_FOUND"
        live = await house.system.ask(CHAOS, GetReport(id=first.id), within=5)
        assert (live.id, live.state, live.verdict) == (first.id, "running", None)

        report = await stop(house)
        assert (report.id, report.state, report.reason) == (first.id, "ended", "stopped")
        second = await start(house)
        assert second.id != first.id
        await stop(house)
        assert (await refusal(stop(house)))[0] == "NOT_FOUND"


async def test_who_starts_and_stops_a_plan_is_written_down(database: Database) -> None:
    written: list[tuple[str, str, str]] = []

    def hear(message: Message[Any]) -> Told:
        if isinstance(message, RecordActivity):
            written.append((message.action, message.actor_id, message.entity_id))
        return Told.ACCEPTED

    async with desk(database, Settings(chaos=Chaos(enabled=True))) as house:
        with inbox(house.system, ACTIVITY, "Ear", hear):
            ctx = Context(house, Caller(user_id="ann", role=Role.ADMIN))
            asked = {"items": decode(encode(QUICK.items)), "confirm": house.node_name}
            started = await chaos.start(ctx, params(chaos.StartChaos, asked))
            await chaos.stop(ctx, chaos.StopChaos())
            await chaos.stop(ctx, chaos.StopChaos(id=started.id))  # it is over: nobody stops anything

    assert written == [("chaos.started", "ann", started.id), ("chaos.stopped", "ann", started.id)]


async def test_a_load_is_never_sent_to_a_vendor(database: Database) -> None:
    seed = agent_rows.seed
    await database.run(seed, id=new_id(), tenant=MASTER_TENANT, key="default", name="A", owner=SYSTEM_USER)
    async with desk(database) as house:
        load = Load(turns_per_sec=1, sessions=1, agent="default")
        with pytest.raises(Rejected) as refused:
            await start(house, replace(QUICK, load=load))

        assert refused.value.err.details["field"] == "load.agent"
        assert await database.run(rows.page) == []


# --- rows of the dead ---------------------------------------------------------------------------


@transaction
async def began_at(db: Connection, id: str, started_at: datetime) -> None:
    await db.execute("UPDATE chaos_plans SET started_at = %(at)s WHERE id = %(id)s", {"at": started_at, "id": id})


async def left_over(database: Database, plan: Plan, age: float = 0.0) -> str:
    """A row that says its plan runs, on another node."""
    id = new_id()
    await database.run(rows.start, id=id, node=new_id(), name="", seed=1, plan=Json(plan), by="lan")
    await database.run(began_at, id, datetime.now(UTC) - timedelta(seconds=age))
    return id


@pytest.mark.parametrize(("mode", "age", "state"), [("embedded", 0, "interrupted"), ("external", 0, "running")])
async def test_who_is_alone_with_its_database_knows_that_others_are_dead(
    database: Database, mode: Any, age: float, state: str
) -> None:
    id = await left_over(database, replace(QUICK, before_sec=5, after_sec=5))
    async with desk(database, Settings(database=DatabaseSettings(mode=mode))):
        row = await database.run(rows.get, id=id)

    assert row is not None
    assert row.state == state


async def test_a_plan_of_another_node_is_dead_when_it_is_overdue(database: Database) -> None:
    due, overdue = [await left_over(database, replace(QUICK, duration_sec=30), age) for age in (60, 120)]
    async with desk(database, Settings(database=DatabaseSettings(mode="external"))):
        states = {row.id: row.state for row in await database.run(rows.page)}

    assert states == {due: "running", overdue: "interrupted"}


async def test_the_plan_that_runs_is_not_taken_for_dead(database: Database) -> None:
    async with desk(database) as house:
        started = await start(house)
        node = house.node_id
        assert await database.run(rows.interrupt, node=node, alone=True, living=started.id) == []
        (dead,) = await database.run(rows.interrupt, node=node, alone=False, living=None)

        assert dead.id == started.id


async def test_the_sessions_of_a_plan_that_died_are_swept(database: Database) -> None:
    load = Load(turns_per_sec=1, sessions=2)
    id = await left_over(database, replace(QUICK, load=load))
    made = {"tenant": MASTER_TENANT, "key": load.agent, "name": "x", "owner": SYSTEM_USER}
    await database.run(rows.add_agent, id=agent_id(id), **made)
    for key in (*load_sessions(load, id), KEY):
        await accepted(database, key)
    async with desk(database, Settings(database=DatabaseSettings(mode="embedded"))):
        pass

    assert await database.run(left) == [KEY]
    assert await database.run(agent_rows.find, tenant=MASTER_TENANT, name=load.agent) is None


@transaction
async def left(db: Connection) -> list[str]:
    cursor = await db.execute("SELECT session_key FROM sessions JOIN session_heads USING (tenant_id, session_key)")
    return [row[0] for row in await cursor.fetchall()]


async def test_fifty_plans_are_kept(database: Database) -> None:
    ids = []
    for number in range(53):
        ids.append(await left_over(database, QUICK, age=100 - number))
        await database.run(rows.end, id=ids[-1], state="ended", reason=None, report=None)

    assert [row.id for row in await database.run(rows.page)] == ids[:2:-1]
    assert await database.run(counted) == 50


@transaction(readonly=True)
async def counted(db: Connection) -> int:
    return await one(int, db.execute("SELECT count(*) FROM chaos_plans"))


# --- the account --------------------------------------------------------------------------------


async def accepted(database: Database, key: str = KEY, node: str | None = None) -> str:
    run_id = new_id()
    await database.run(
        run_acceptance.accept,
        run_id=run_id,
        session_id=new_id(),
        tenant=MASTER_TENANT,
        key=key,
        session_kind="direct",
        channel="ws",
        label="",
        max_concurrent=1,
        agent_id=None,  # type: ignore[arg-type]  # a session without an agent is fine with the schema
        agent_key="default",
        user="lan",
        kind="chat",
        lane="main",
        timeout=60,
        request=RunRequest(message="x"),
        request_hash="0" * 64,
        node=node,
    )
    return run_id


@transaction
async def tamper(db: Connection, /, statement: str, **params: object) -> None:
    await db.execute(statement, params)


async def test_the_turns_of_others_are_counted_from_their_rows(database: Database) -> None:
    async with desk(database) as house:
        await start(house, CALM)
        house.turns_offered += 5
        house.turns_refused += 1
        for key in ("a", "b", "c", "d"):
            await accepted(database, f"{KEY}{key}", house.node_id)
        done, failed, stopped, _ = await database.run(run_claims.owned, node=house.node_id, lane="main")
        result = RunResult(run_id=done.run_id, session_key=KEY)
        await database.run(run_ends.succeed, done, result=result, messages=[])
        await database.run(run_ends.fail, failed, result=result, reason="X", error="x", messages=[])
        await database.run(run_ends.cancel, stopped, result=result, reason="X", messages=[])
        report = await stop(house)

        expected = Turns(offered=5, accepted=4, refused=1, answered=1, failed=1, cancelled=1, pending=1)
        assert report.turns == expected
        before = report.latency_ms["before"]
        assert before.n == 1
        assert before.p50 == before.p99 == before.max
        assert report.head_repair == 0
        assert (report.latency_ms["during"].n, report.latency_ms["after"].n) == (0, 0)


async def test_what_nothing_will_ever_end_is_lost(database: Database) -> None:
    async with desk(database) as house:
        await start(house, CALM)
        await accepted(database)
        waits = await accepted(database, KEY + "2")
        await database.run(
            tamper, "UPDATE session_heads SET queued = 0, head_at = NULL WHERE session_key = %(key)s", key=KEY
        )
        report = await stop(house)

        assert waits
        assert (report.turns.pending, report.turns.lost, report.head_repair) == (2, 1, 1)
        assert {check.name for check in report.checks if not check.ok} == {"lost", "head_repair"}
        assert report.verdict == "fail"


async def test_an_answer_that_was_given_twice_is_found(database: Database) -> None:
    async with desk(database) as house:
        await start(house, CALM)
        await accepted(database, node=house.node_id)
        (run,) = await database.run(run_claims.owned, node=house.node_id, lane="main")
        result = RunResult(run_id=run.run_id, session_key=KEY)
        await database.run(run_ends.succeed, run, result=result, messages=[])
        await database.run(
            tamper,
            """INSERT INTO run_events (run_id, tenant_id, session_key, session_seq, type)
            VALUES (%(run)s, %(tenant)s, %(key)s, 99, 'task.succeeded')""",
            run=run.run_id,
            tenant=MASTER_TENANT,
            key=KEY,
        )
        report = await stop(house)

        assert report.turns.duplicate_answers == 1
        assert {check.name for check in report.checks if not check.ok} == {"duplicate_answers"}


async def test_restarts_are_counted_by_class(database: Database) -> None:
    crash = Item(path="/target", what="crash", when=When(every=1), times=2)
    async with desk(database) as house:
        await start(house, replace(QUICK, items=(crash,)))
        with trio.fail_after(PATIENCE):
            while len(house.system.crashes.records) < 2:
                house.system.tell(TARGET, Say(text="x"))
                await trio.sleep(0.01)
        await house.system.ask(TARGET, Say(text="alive"), within=5)
        report = await stop(house)

        assert report.restarts == {"total": 2, "by_class": {"Scribe": 2}, "most_in_5s": 2}
        assert report.faults["fired"] == {"crash": 2}
        assert report.recovery_ms.n >= 1
        assert {crash.injected for crash in house.system.crashes.records} == {report.id}


# --- parts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "safe"),
    [
        ("/", True),
        ("/system", True),
        ("/system/chaos/x", True),
        ("/infra/stores/pg.pool", True),
        ("/infra/cluster", True),
        ("/infra/tracing/audit_writer", True),
        ("/infra/activity", True),
        ("/infra/actor_log", True),
        ("/infra/tracing/metrics", False),
        ("/engine/policy/rbac", True),
        ("/engine/lanes/main", False),
        ("/edge/listener", True),
        ("/edge/listener.ws", True),
        ("/sessions/t/agent:a:b", False),
    ],
)
def test_what_is_protected(path: str, safe: bool) -> None:
    assert protected(Address.parse(path)) is safe


def test_two_plans_draw_alike_for_their_sessions() -> None:
    ids = [new_id() for _ in range(2)]
    load = Load(turns_per_sec=1, sessions=3)
    names = [[known_as(id, Address("sessions", "t", key)) for key in load_sessions(load, id)] for id in ids]

    assert names[0] == names[1]
    assert len(set(names[0])) == 3


def test_the_agent_of_a_plan_can_be_found_again() -> None:
    id = new_id()

    assert agent_id(id) == agent_id(id) != id
    assert len(agent_id(id)) == 36


def test_an_error_share_needs_enough_turns() -> None:
    before = Turns(offered=100, refused=50)

    assert error_share(Turns(offered=119, refused=69), before) == 0
    assert error_share(Turns(offered=140, refused=60, failed=10), before) == 0.5


@pytest.mark.parametrize(
    ("times", "most"), [([], 0), ([1], 1), ([0, 1, 2, 6], 3), ([0, 5, 10], 1), ([0, 4.9, 5, 9, 9.8], 4)]
)
def test_the_most_within_five_seconds(times: list[float], most: int) -> None:
    assert most_within(5, times) == most


def test_a_spread() -> None:
    assert spread([]) == Spread()
    assert spread([3.0]) == Spread(n=1, p50=3.0, p99=3.0, max=3.0)
    assert spread([float(n) for n in range(200, 0, -1)]) == Spread(n=200, p50=100, p99=198, max=200)


@pytest.mark.parametrize(
    ("before", "after", "expected", "ok"),
    [
        (100.0, 120.0, True, True),
        (100.0, 120.1, True, False),
        (None, 500.0, True, True),
        (100.0, None, False, True),
        (100.0, None, True, False),
        (None, None, False, True),
    ],
)
def test_the_second_quiet_window_is_as_quick_as_the_first(
    before: float | None, after: float | None, expected: bool, ok: bool
) -> None:
    latency = {"before": Spread(p99=before), "during": Spread(), "after": Spread(p99=after)}
    checks = checks_of("ended", None, Turns(), latency, 0, well=True, expected=expected)

    assert {check.name: check.ok for check in checks}["p99_after"] is ok


def test_a_plan_is_stored_as_it_was_read() -> None:
    plan = replace(QUICK, before_sec=5.0, after_sec=5.0, load=Load(turns_per_sec=1, sessions=1))

    assert decode(encode(plan), type=Plan) == plan
