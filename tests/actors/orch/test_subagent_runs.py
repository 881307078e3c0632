"""Subagents with real lanes, sessions and a model that asks for them. Contract: orchestration.md §3, §5; L4.4."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from goclaw.domain.events import RunEvent
from goclaw.settings.orchestration import Subagents
from goclaw.settings.queue import Lanes
from goclaw.stores.database import Database
from goclaw.stores.unit import Connection, many, transaction
from tests.actors.orch.boss import bossing, call, spoken, use
from tests.actors.talk import Talk


@transaction(readonly=True)
async def states(db: Connection) -> list[str]:
    """Kind and state of every run, in order."""
    return await many(str, db.execute("SELECT kind || ' ' || state FROM runs ORDER BY run_id"))


@transaction(readonly=True)
async def notes(db: Connection) -> list[str]:
    return await many(str, db.execute("SELECT state FROM announcements ORDER BY created_at"))


def of_kind(talk: Talk, kind: str, type: str = "run.completed") -> list[RunEvent]:
    return [event for event in talk.events if event.kind == kind and event.type == type]


async def content(talk: Talk, text: str) -> str:
    (result,) = await talk.ended((await talk.say(text)).run_id)
    return result.content


async def announced(talk: Talk, times: int = 1) -> list[str]:
    """What was said when results came back."""
    events = await talk.until(lambda: found if len(found := of_kind(talk, "announce")) >= times else None)
    return [event.result.content for event in events]


async def test_async_returns_at_once_and_one_announcement_follows(database: Database, tmp_path: Path) -> None:
    async with bossing(database, tmp_path) as talk:
        accepted = spoken(await content(talk, call(task="hello", label="greeter")))
        (told,) = await announced(talk)

        assert {name: accepted[name] for name in ("status", "label", "active", "limit")} == {
            "status": "accepted",
            "label": "greeter",
            "active": 1,
            "limit": 5,
        }
        assert told.startswith("told: ## greeter: completed (")
        assert told.endswith("echo hello")
        assert await database.run(states) == ["chat SUCCEEDED", "subagent SUCCEEDED", "announce SUCCEEDED"]
        assert await database.run(notes) == ["INJECTED"]
        assert len(of_kind(talk, "announce", "run.queued")) == 1


async def test_sync_gives_the_result_and_nothing_is_announced(database: Database, tmp_path: Path) -> None:
    async with bossing(database, tmp_path) as talk:
        said = spoken(await content(talk, call(task="hello", mode="sync", role="greeter")))

        assert (said["status"], said["label"], said["content"], said["iterations"]) == (
            "completed",
            "greeter",
            "echo hello",
            1,
        )
        assert said["tokens"]["output"] > 0
        assert await database.run(notes) == []
        assert await database.run(states) == ["chat SUCCEEDED", "subagent SUCCEEDED"]


async def test_a_full_lane_cannot_wait_for_itself(database: Database, tmp_path: Path) -> None:
    """Parent, child and grandchild: the lane of subagents has one slot, which the child lends to its own child."""
    limits = Subagents(max_spawn_depth=2, max_concurrent=1)
    async with bossing(database, tmp_path, limits=limits, lanes=Lanes(main=1, subagent=1)) as talk:
        inner = call(task="hello", mode="sync", label="inner")

        outer = spoken(await content(talk, call(task=inner, mode="sync", label="outer")))

        assert spoken(outer["content"])["content"] == "echo hello"


async def test_several_results_within_the_window_are_told_at_once(database: Database, tmp_path: Path) -> None:
    async with bossing(database, tmp_path) as talk:
        for n in range(3):
            await content(talk, call(task=f"!hold-{n}", label=f"w{n}"))
        await talk.vendor.holds(3)
        talk.vendor.release()
        await announced(talk)

        (text,) = [text for text in talk.vendor.asked if text.startswith("[Results")]
        assert [f"## w{n}: completed" in text for n in range(3)] == [True] * 3
        assert await database.run(notes) == ["INJECTED"] * 3


async def test_a_parent_that_works_hears_the_result_itself(database: Database, tmp_path: Path) -> None:
    async with bossing(database, tmp_path) as talk:
        parent = await talk.say(call(task="hello").replace("call", "call then !hold-1"))
        await talk.vendor.holds(1)
        await talk.until(lambda: of_kind(talk, "subagent"))
        while await database.run(notes) != ["INJECTED"]:
            pass
        talk.vendor.release()
        (result,) = await talk.ended(parent.run_id)

        assert result.content.startswith("told: ## hello: completed")
        assert await database.run(states) == ["chat SUCCEEDED", "subagent SUCCEEDED", "announce CANCELED"]


async def test_who_stops_a_run_stops_its_children_and_hears_nothing_of_them(database: Database, tmp_path: Path) -> None:
    async with bossing(database, tmp_path) as talk:
        parent = await talk.say(call(task="!hold-1", mode="sync"))
        await talk.vendor.holds(1)

        await talk.abort(run_id=parent.run_id)

        await talk.until(lambda: of_kind(talk, "subagent", "run.cancelled"))
        assert await database.run(states) == ["chat CANCELED", "subagent CANCELED"]
        assert await database.run(notes) == []


async def test_a_detached_child_outlives_its_parent(database: Database, tmp_path: Path) -> None:
    async with bossing(database, tmp_path) as talk:
        text = call(task="!hold-1", detached=True).replace("call", "call then !hold-1")
        parent = await talk.say(text)
        await talk.vendor.holds(2)

        await talk.abort(run_id=parent.run_id)
        await talk.ended(parent.run_id)
        talk.vendor.release()

        assert (await announced(talk))[0].startswith("told: ## !hold-1: completed")


async def test_stopall_ends_the_children_of_turns_that_are_over(database: Database, tmp_path: Path) -> None:
    async with bossing(database, tmp_path) as talk:
        await content(talk, call(task="!hold-1"))
        await talk.vendor.holds(1)

        await talk.abort(drain=True, received_at=talk.system.clock.epoch_ms() + 1000)

        await talk.until(lambda: of_kind(talk, "subagent", "run.cancelled"))
        assert await database.run(notes) == []


async def test_they_are_listed_waited_for_and_cancelled(database: Database, tmp_path: Path) -> None:
    async with bossing(database, tmp_path) as talk:
        held = spoken(await content(talk, call(task="!hold-1", label="held")))
        await talk.vendor.holds(1)

        listed = spoken(await content(talk, use(action="list")))
        waited = spoken(await content(talk, use(action="wait", id="#1", timeout=1)))
        unknown = await content(talk, use(action="info", id="#9"))
        cancelled = spoken(await content(talk, use(action="cancel", id=held["id"][:8])))
        await talk.until(lambda: of_kind(talk, "subagent", "run.cancelled"))
        done = spoken(await content(talk, use(action="wait", id="last")))

        (row,) = listed["subagents"]
        assert (row["n"], row["id"], row["label"], row["status"]) == (1, held["id"], "held", "running")
        assert (listed["active"], listed["limit"]) == (1, 5)
        assert waited == {"done": [], "pending": [held["id"]], "timed_out": True}
        assert unknown == "Error: there is no subagent #9; list shows yours"
        assert cancelled == {"cancelled": [held["id"]], "not_running": []}
        assert [one["status"] for one in done["done"]] == ["cancelled"]
        assert await database.run(notes) == []


async def test_another_instruction_begins_the_work_again_under_the_same_id(database: Database, tmp_path: Path) -> None:
    async with bossing(database, tmp_path) as talk:
        held = spoken(await content(talk, call(task="!hold-1", label="held")))
        await talk.vendor.holds(1)

        steered = spoken(await content(talk, use(action="steer", id="last", message="say tea")))
        await talk.vendor.is_left()
        talk.vendor.release()
        (told,) = await announced(talk)

        assert steered == {"status": "steered", "id": held["id"], "generation": 2}
        assert told.startswith("told: ## held: completed")
        assert "[New instruction]" in next(text for text in talk.vendor.asked if text.endswith("say tea"))
        assert await database.run(states) == [
            "chat SUCCEEDED",
            "subagent CANCELED",
            "chat SUCCEEDED",
            "subagent SUCCEEDED",
            "announce SUCCEEDED",
        ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "Error: bad_request: task is missing"),
        ({"task": "x", "agent": "other"}, "Error: use_delegate: "),
        ({"task": "x", "pipeline_id": "p"}, "Error: there is no such pipeline"),
        ({"action": "steer", "id": "last"}, "Error: bad_request: message is missing"),
        ({"action": "cancel"}, "Error: bad_request: id is missing"),
    ],
)
async def test_a_call_that_makes_no_sense_says_what_would(
    database: Database, tmp_path: Path, arguments: dict[str, str], said: str
) -> None:
    async with bossing(database, tmp_path) as talk:
        assert (await content(talk, call(**arguments))).startswith(said)


async def test_a_child_has_no_spawn_where_the_depth_ends(database: Database, tmp_path: Path) -> None:
    async with bossing(database, tmp_path) as talk:
        said = spoken(await content(talk, call(task=call(task="x"), mode="sync")))

        assert said["content"] == "Error: tool not allowed by policy: spawn"


def test_these_tests_run_with_messages_that_are_checked() -> None:
    assert os.environ["GOCLAW_ACTOR_DEBUG"] == "1"
