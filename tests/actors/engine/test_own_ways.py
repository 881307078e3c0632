"""What an agent's own record makes of its runs: loops, forms of answers. Contract: agent-loop.md §15, §16."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio
from msgspec import Struct

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.agent import AGENTS, AgentChanged
from goclaw.domain.run import RunRequest, RunResult
from goclaw.stores import sessions as rows
from goclaw.stores.database import Database
from goclaw.stores.unit import Connection, Json, many, transaction
from tests.actors.talk import HOLD, Talk, talking
from tests.e2e.gateway import ObedientVendor
from tests.fakes.vendor import Ask

SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}


class Reader(ObedientVendor):
    """Says what is written, one line after the other; then it obeys."""

    lines: list[str]

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.lines = []
        self.heard: list[str] = []  # what it was asked last, each time

    async def _complete(self, to: trio.SocketStream, ask: Ask) -> None:
        self.heard.append(ask.last("user"))
        if self.lines:
            next(one for one in reversed(ask.messages) if one.role == "user").content = self.lines.pop(0)
        await super()._complete(to, ask)


def reader(talk: Talk, *lines: str) -> Reader:
    vendor = talk.vendor
    assert isinstance(vendor, Reader)
    vendor.lines = list(lines)
    return vendor


@transaction
async def configure(db: Connection, other: dict[str, Any]) -> None:
    await db.execute("UPDATE agents SET other_config = %s, version = version + 1", [Json(other)])


class Checkpoint(Struct):
    current_step: int
    max_steps: int
    paid: bool
    max_duration_ms: int
    status: str


@transaction(readonly=True)
async def checkpoints(db: Connection) -> list[Checkpoint]:
    query = "SELECT current_step, max_steps, tokens_used > 0 AS paid, max_duration_ms, status FROM loop_checkpoints"
    return await many(Checkpoint, db.execute(query))


async def own(talk: Talk, **other: Any) -> None:
    await talk.database.run(configure, other)
    talk.system.publish(AGENTS, AgentChanged(tenant_id=MASTER_TENANT))


def value(result: RunResult) -> Any:
    return json.loads(bytes(result.structured or b"null"))


def types(talk: Talk, begin: str) -> list[str]:
    return [event.type for event in talk.events if event.type.startswith(begin)]


async def test_al40_a_loop_ends_completed_and_its_word_is_not_shown(database: Database, tmp_path: Path) -> None:
    """AL-40. Also §15.2: its counters are kept; what it told itself is in nobody's history."""
    async with talking(database, tmp_path, vendor=Reader) as talk:
        await own(talk, loop={"enabled": True, "max_steps": 5})
        vendor = reader(talk, "first", "second", "third TASK_COMPLETE")
        (result,) = await talk.ended((await talk.say("do it all")).run_id)
        said = await database.run(rows.history, tenant=MASTER_TENANT, key=talk.key, limit=10)

        assert [text.partition(".")[0] for text in vendor.heard] == [f"[Step {n} of 5" for n in (1, 2, 3)]
        assert types(talk, "loop.") == ["loop.started", *["loop.step"] * 3, "loop.completed"]
        assert (result.content, result.stop_reason) == ("echo third", "final")
        assert "TASK_COMPLETE" not in "".join(event.text for event in talk.events)
        assert [row.content for row in said] == ["do it all", "echo first", "echo second", "echo third"]
        assert await database.run(checkpoints) == [
            Checkpoint(current_step=2, max_steps=5, paid=True, max_duration_ms=1_800_000, status="completed")
        ]


async def test_a_loop_ends_when_its_steps_are_used_up(database: Database, tmp_path: Path) -> None:
    async with talking(database, tmp_path, vendor=Reader) as talk:
        await own(talk, loop={"enabled": True, "max_steps": 2})
        reader(talk, "first", "second")
        (result,) = await talk.ended((await talk.say("do it all")).run_id)

        assert types(talk, "loop.")[-1] == "loop.budget_exceeded"
        assert (result.content, result.finish_reason, result.stop_reason) == ("echo second", "max_iterations", "budget")
        assert [row.status for row in await database.run(checkpoints)] == ["budget_exceeded"]


async def test_a_loop_ends_when_its_time_is_over(database: Database, tmp_path: Path) -> None:
    async with talking(database, tmp_path, vendor=Reader) as talk:
        await own(talk, loop={"enabled": True, "max_duration": 1})
        reader(talk, "first", HOLD)
        (result,) = await talk.ended((await talk.say("do it all")).run_id)

        assert types(talk, "loop.")[-1] == "loop.timeout"
        assert result.error is not None
        assert result.error.code == "AGENT_TIMEOUT"
        assert [row.status for row in await database.run(checkpoints)] == ["timeout"]


async def test_a_caller_who_wants_a_form_gets_one_answer(database: Database, tmp_path: Path) -> None:
    async with talking(database, tmp_path, vendor=Reader) as talk:
        await own(talk, loop={"enabled": True})
        reader(talk, '{"age": 3}')
        form = json.dumps({"type": "json_object"})
        sent = await talk.say("", request=RunRequest(message="how old", response_format=form))
        (result,) = await talk.ended(sent.run_id)

        assert (result.content, value(result)) == ('{"age": 3}', {"age": 3})
        assert types(talk, "loop.") == []


@pytest.mark.parametrize("where", ["schema", "file"])
async def test_al23_an_agents_own_schema_is_asked_for_until_it_fits(
    database: Database, tmp_path: Path, where: str
) -> None:
    """AL-23. Two answers that do not fit, the third sets `structured`."""
    (tmp_path / "age.json").write_text(json.dumps(SCHEMA))
    form: dict[str, Any] = {"schema": SCHEMA} if where == "schema" else {"schema_file": "age.json"}
    async with talking(database, tmp_path, vendor=Reader) as talk:
        await own(talk, structured_output=form)
        vendor = reader(talk, "old", '{"age": "old"}', 'So: {"age": 36}')
        (result,) = await talk.ended((await talk.say("how old is Ada?")).run_id)

        assert (result.content, value(result)) == ('{"age": 36}', {"age": 36})
        assert "$.age: 'old' is not of type 'integer'" in vendor.heard[2]
        done = json.loads(bytes(next(event.body for event in talk.events if event.type == "run.completed")))
        assert done["structured"] == {"age": 36}


async def test_al24_a_strict_agent_fails_after_three_answers_that_do_not_fit(
    database: Database, tmp_path: Path
) -> None:
    """AL-24. Strict, always invalid: an error after 3 calls."""
    async with talking(database, tmp_path, vendor=Reader) as talk:
        await own(talk, structured_output={"schema": SCHEMA, "strict_mode": True})
        vendor = reader(talk, "one", "two", "three")
        (result,) = await talk.ended((await talk.say("how old is Ada?")).run_id)

        assert result.error is not None
        assert result.error.details["reason"] == "response_format_failed"
        assert len(vendor.heard) == 3


async def test_one_that_is_not_strict_says_what_it_has(database: Database, tmp_path: Path) -> None:
    async with talking(database, tmp_path, vendor=Reader) as talk:
        await own(talk, structured_output={"schema": SCHEMA, "max_retries": 1})
        vendor = reader(talk, "one", "two")
        (result,) = await talk.ended((await talk.say("how old is Ada?")).run_id)

        assert (result.content, result.structured, result.error) == ("echo two", None, None)
        assert len(vendor.heard) == 2
        done = json.loads(bytes(next(event.body for event in talk.events if event.type == "run.completed")))
        assert done["structured"] is None


async def test_a_schema_file_that_is_none_is_named(database: Database, tmp_path: Path) -> None:
    async with talking(database, tmp_path, vendor=Reader) as talk:
        await own(talk, structured_output={"schema_file": "../age.json"})
        (result,) = await talk.ended((await talk.say("how old is Ada?")).run_id)

        assert result.error is not None
        assert result.error.details["field"] == "structured_output.schema_file"
