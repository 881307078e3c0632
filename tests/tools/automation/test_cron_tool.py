"""Jobs that agents make. Contract: tools.md §10, sessions-lanes-cron.md §5.3, durability.md §7.2."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from goclaw.actors.engine.guards import of_kind
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.chat import ToolCall
from goclaw.domain.cron import NAME
from goclaw.domain.run import RunKind
from goclaw.stores import cron as jobs
from goclaw.stores.database import Database
from goclaw.tools.ledger import Place
from goclaw.tools.pipeline import effect_of
from tests.agent.notebook import Notebook
from tests.tools.automation.desk import OWNER, TOOLS, Desk, open_desk

DAILY = {"kind": "cron", "expr": "0 9 * * *"}
JOB = {"name": "morning", "schedule": DAILY, "message": "say\tgood morning"}


@pytest.fixture
async def desk(database: Database, tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(database, tmp_path) as desk:
        yield desk


async def add(desk: Desk, user: str = "lan", *, agent: str = "", **more: Any) -> dict[str, Any]:
    said = await desk.said("cron", user, agent=agent, action="add", job={**JOB, **more})
    return dict(said["job"])


async def names(desk: Desk, user: str, agent: str = "") -> list[str]:
    found = await desk.said("cron", user, agent=agent, action="list", includeDisabled=True)
    return [job["name"] for job in found["jobs"]]


async def test_a_job_is_added_changed_looked_at_and_removed(desk: Desk) -> None:
    job = await add(desk)
    of = {"jobId": job["id"]}

    assert (job["userId"], job["agentId"]) == ("lan", desk.agent)
    assert job["payload"] == {
        "kind": "agent_turn",
        "message": "say good morning",  # without the tab
        "deliver": False,
        "channel": "",
        "to": "",
        "stateless": False,
        "wake_heartbeat": False,
    }
    changed = await desk.said("cron", action="update", patch={"enabled": False, "message": "be\tquiet"}, **of)
    assert (changed["job"]["enabled"], changed["job"]["payload"]["message"]) == (False, "be quiet")
    assert (await desk.said("cron", action="list"))["jobs"] == []
    assert await names(desk, "lan") == ["morning"]
    assert (await desk.said("cron", action="status"))["jobs"] == 1
    assert await desk.said("cron", action="status", **of) == {}, "it neither ran nor will it"
    assert await desk.said("cron", action="runs", **of) == {"entries": [], "total": 0}
    assert await desk.said("cron", action="remove", **of) == {"deleted": True}
    assert await names(desk, "lan") == []


async def test_an_agent_sees_jobs_of_its_own_user_and_its_own_only(desk: Desk) -> None:
    mine = await add(desk, "lan")
    await add(desk, "minh", name="his")
    await add(desk, "minh", agent=desk.other, name="elsewhere")

    assert await names(desk, "lan") == ["morning"]
    assert await names(desk, "minh") == ["his"]
    assert await names(desk, "minh", desk.other) == ["elsewhere"]
    assert (await desk.said("cron", "minh", action="status"))["jobs"] == 1
    assert await names(desk, OWNER) == ["elsewhere", "his", "morning"], "an owner sees all"
    for stranger in ({"user": "minh"}, {"user": "lan", "agent": desk.other}):
        for asked in (
            {"action": "update", "patch": {"message": "mine now"}},
            {"action": "remove"},
            {"action": "run"},
            {"action": "runs"},
            {"action": "status"},
        ):
            assert (await desk.refused("cron", jobId=mine["id"], **stranger, **asked))[0] == "not_found"
    code, _ = await desk.refused("cron", "minh", action="add", job={**JOB, "agentId": "other"})
    assert code == "not_found", "nor does it work for another one"


async def test_a_name_that_is_taken_gets_a_number(desk: Desk) -> None:
    long = "a" * NAME

    assert [(await add(desk))["name"] for _ in range(3)] == ["morning", "morning-2", "morning-3"]
    assert [(await add(desk, name=long))["name"] for _ in range(2)] == [long, f"{long[:-2]}-2"]


async def test_what_is_asked_twice_under_one_key_is_made_once(desk: Desk) -> None:
    """The gateway died after the effect and before it was written down: the call is made again."""
    await add(desk)

    first = await desk.said("cron", action="add", job=JOB, call_key="run:1:0")
    second = await desk.said("cron", action="add", job=JOB, call_key="run:1:0", again=True)
    ran = [
        await desk.said("cron", action="run", jobId=first["job"]["id"], runMode="force", call_key="r") for _ in range(2)
    ]
    gone = [
        await desk.said("cron", action="remove", jobId=first["job"]["id"], call_key="x", again=again)
        for again in (False, True)
    ]

    assert second["job"]["id"] == first["job"]["id"]
    assert ran[0] == ran[1]
    assert ran[0]["ran"]
    assert gone == [{"deleted": True}, {"deleted": True}]
    assert await names(desk, "lan") == ["morning"]
    assert (await desk.refused("cron", action="remove", jobId=first["job"]["id"]))[0] == "not_found"


async def test_a_call_whose_end_nobody_wrote_down_is_made_again_under_its_key(desk: Desk) -> None:
    book = Notebook()  # nobody notes ends in it
    added, gone = [], []

    for _ in range(2):
        added.append(await desk.said("cron", action="add", job=JOB, place=Place(1, 0), ledger=book))
    await desk.said("cron", action="list", place=Place(2, 0), ledger=book)
    id = added[0]["job"]["id"]
    for _ in range(2):
        gone.append(await desk.said("cron", action="remove", jobId=id, place=Place(3, 0), ledger=book))

    assert [one["job"]["id"] for one in added] == [id, id]
    assert gone == [{"deleted": True}] * 2
    assert list(book.begun) == [Place(1, 0), Place(3, 0)], "what only reads is not written down"


async def test_another_key_runs_a_job_again_and_due_waits_for_its_time(desk: Desk, database: Database) -> None:
    job = await add(desk)

    assert await desk.said("cron", action="run", jobId=job["id"]) == {"ok": True, "ran": False}
    first = await desk.said("cron", action="run", jobId=job["id"], runMode="force")
    assert (await desk.said("cron", action="run", jobId=job["id"], runMode="force"))["ran"] is False, "it still runs"

    row = await database.run(jobs.get, tenant=MASTER_TENANT, id=job["id"])
    assert row is not None
    assert row.active_run_id == first["runId"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"action": "add", "name": "x", "schedule": DAILY, "message": "m"}, "job is missing"),
        ({"action": "add", "job": {**JOB, "expr": "0 9 * * *"}}, "expr does not belong into job"),
        ({"action": "add", "job": {**JOB, "payload": {"message": "m"}}}, "payload does not belong into job"),
        ({"action": "add", "job": {**JOB, "schedule": {**DAILY, "message": "m"}}}, "schedule.message does not belong"),
        ({"action": "update", "jobId": "7", "message": "m"}, "patch is missing"),
        ({"action": "update", "jobId": "7", "patch": {"atMs": 5}}, "atMs does not belong into patch"),
        ({"action": "update", "patch": {"message": "m"}}, "jobId is missing"),
        ({"action": "remove"}, "jobId is missing"),
        ({"action": "run"}, "jobId is missing"),
    ],
)
async def test_what_stands_at_the_wrong_place_is_told_the_right_shape(
    desk: Desk, arguments: dict[str, Any], named: str
) -> None:
    code, text = await desk.refused("cron", **arguments)

    assert code == "invalid_args"
    assert named in text
    assert f'{{"action":"{arguments["action"]}"' in text


async def test_a_time_that_is_over_is_told_what_time_it_is(desk: Desk) -> None:
    now = int(desk.house.system.clock.now().timestamp() * 1000)

    code, text = await desk.refused("cron", action="add", job={**JOB, "schedule": {"kind": "at", "atMs": now - 1000}})

    assert code == "invalid_args"
    assert "schedule.atMs: at time is in the past; now is " in text
    assert abs(int(text.partition("now is ")[2].split()[0]) - now) < 60_000


@pytest.mark.parametrize(
    ("job", "field"),
    [
        ({"name": "Not A Slug"}, "name"),
        ({"message": " "}, "message"),
        ({"schedule": {"kind": "cron", "expr": "0 0 9 * * *"}}, "schedule.expr"),
        ({"schedule": {"kind": "every", "everyMs": 1000}}, "schedule.everyMs"),
        ({"schedule": "daily"}, "schedule"),
    ],
)
async def test_what_cannot_be_is_refused_by_name(desk: Desk, job: dict[str, Any], field: str) -> None:
    code, text = await desk.refused("cron", action="add", job={**JOB, **job})

    assert code == "invalid_args"
    assert text.startswith(f"Error: {field} ")


async def test_seconds_are_for_owners(desk: Desk) -> None:
    assert (await add(desk, OWNER, schedule={"kind": "every", "everyMs": 1000}))["schedule"]["everyMs"] == 1000


async def test_a_job_made_in_a_chat_answers_there_unless_told_otherwise(desk: Desk) -> None:
    chat = ("tg", "-100")
    here = (await desk.said("cron", action="add", job=JOB, chat=chat))["job"]["payload"]
    nowhere = (await desk.said("cron", action="add", job={**JOB, "deliver": False}, chat=chat))["job"]["payload"]

    assert (here["deliver"], here["channel"], here["to"]) == (True, "tg", "-100")
    assert nowhere["deliver"] is False


def test_only_what_changes_something_is_written_down_before_it_is_done() -> None:
    def effect(**arguments: Any) -> str:
        return effect_of(TOOLS, ToolCall(id="c", name="cron", arguments=arguments))

    assert {effect(action=action) for action in ("status", "list", "runs")} == {"pure"}
    assert {effect(action=action) for action in ("add", "update", "remove", "run")} == {"keyed"}
    assert {effect(), effect(action=["list"])} == {"keyed"}


def test_a_job_makes_no_jobs() -> None:
    kinds: tuple[RunKind, ...] = ("cron", "subagent", "chat", "heartbeat")
    assert {kind for kind in kinds if "cron" in of_kind(TOOLS, kind)} == {"chat", "heartbeat"}
    assert "datetime" in of_kind(TOOLS, "cron")
