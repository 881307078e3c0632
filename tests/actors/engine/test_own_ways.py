"""What an agent's own record makes of its runs: loops, forms of answers. Contract: agent-loop.md §15, §16."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, LiteralString

import pytest
import trio
from msgspec import Raw, Struct
from msgspec.structs import replace

from goclaw.actors.agents import window_of
from goclaw.actors.engine.prepare import pruning_of
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.agent import AGENTS, AgentChanged
from goclaw.domain.run import RunRequest, RunResult
from goclaw.domain.texts import text_of
from goclaw.security.paths import Workspace
from goclaw.settings.agents import AgentDefaults
from goclaw.stores import sessions as rows
from goclaw.stores.database import Database
from goclaw.stores.unit import Connection, Json, many, transaction
from goclaw.tools.automation.checkpoint_now import CheckpointNow
from goclaw.tools.tool import ToolContext, ToolFailed, collect
from tests.actors.engine.test_engine import AGENT
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
        self.prompts: list[str] = []  # what it was told before everything else

    async def _complete(self, to: trio.SocketStream, ask: Ask) -> None:
        self.heard.append(ask.last("user"))
        self.prompts.append(str(ask.messages[0].content))
        if self.lines:
            next(one for one in reversed(ask.messages) if one.role == "user").content = self.lines.pop(0)
        await super()._complete(to, ask)


def reader(talk: Talk, *lines: str) -> Reader:
    vendor = talk.vendor
    assert isinstance(vendor, Reader)
    vendor.lines = list(lines)
    return vendor


@transaction
async def configure(db: Connection, column: LiteralString, said: dict[str, Any]) -> None:
    await db.execute(f"UPDATE agents SET {column} = %s, version = version + 1", [Json(said)])


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
    await talk.database.run(configure, "other_config", other)
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


async def test_an_agent_is_told_as_much_as_it_says(database: Database, tmp_path: Path) -> None:
    """§6.1: its `prompt_mode`, unless the run's kind is told less."""
    async with talking(database, tmp_path, vendor=Reader) as talk:
        told = []
        for mode in ("full", "minimal", "none", "loud"):
            await own(talk, prompt_mode=mode)
            await talk.ended((await talk.say("hello there")).run_id)
            told.append(len(reader(talk).prompts[-1]))

    assert min(told[0], told[3]) > told[1] > told[2], "what is no mode says nothing"


async def test_an_agent_prunes_as_it_says(database: Database, tmp_path: Path) -> None:
    """§19.2: `context_pruning` of its record, over everybody's."""
    defaults = AgentDefaults()
    pruned = pruning_of(defaults, replace(AGENT, pruning=Raw(b'{"mode": "off", "softTrim": {"maxChars": 900}}')))

    assert (pruned.mode, pruned.soft_trim.max_chars) == ("off", 900)
    assert pruned.keep_last_assistants == defaults.context_pruning.keep_last_assistants
    assert pruning_of(defaults, AGENT) == defaults.context_pruning


async def test_a_failure_is_told_in_the_language_of_who_asked(database: Database, tmp_path: Path) -> None:
    """§14: sentences for users in en, vi and zh."""
    async with talking(database, tmp_path, vendor=Reader) as talk:
        sent = await talk.say("", request=RunRequest(message="!fault-401", locale="vi"))
        (result,) = await talk.ended(sent.run_id)
        said = json.loads(bytes(next(event.body for event in talk.events if event.type == "run.failed")))

    assert result.error is not None
    assert said["error"] == text_of(result.error, "vi") != text_of(result.error, "en")


@pytest.mark.parametrize(
    ("window", "model", "holds"),
    [(200_000, "gpt-4o", 128_000), (50_000, "gpt-4o", 50_000), (200_000, "echo", 200_000), (0, "echo", 200_000)],
)
def test_a_window_is_never_larger_than_its_models(window: int, model: str, holds: int) -> None:
    """§4: the lower of what the agent says and what is known of the model."""
    assert window_of(window, model, None) == holds


class Teller(Reader):
    """Calls the tool it is offered once, with what it is to be called with, and then reads on."""

    calls_with = json.dumps({"status": "counting sheep"})

    async def _complete(self, to: trio.SocketStream, ask: Ask) -> None:
        if ask.tools and ask.messages[-1].role != "tool" and "Step 2" in ask.last("user"):
            self.offered = [tool.function["name"] for tool in ask.tools]
            ask.model, self.lines = "tool", [self.calls_with, *self.lines]
        await super()._complete(to, ask)


async def test_a_loop_says_what_it_is_at(database: Database, tmp_path: Path) -> None:
    """durability.md §8.3: `set_loop_status`, which nobody else is offered."""
    tools = collect("goclaw.tools.automation")
    wanted = {name: tools[name] for name in ("set_loop_status", "checkpoint_now", "datetime")}
    async with talking(database, tmp_path, vendor=Teller, tools=wanted) as talk:
        await own(talk, loop={"enabled": True})
        await database.run(allow, "set_loop_status")
        reader(talk, "first", "second TASK_COMPLETE")
        await talk.ended((await talk.say("do it all")).run_id)
        told = [json.loads(bytes(e.body)) for e in talk.events if e.type == "loop.status_update"]

        assert told == [{"status": "counting sheep"}]
        assert await database.run(status_texts) == ["counting sheep"]
        names = ToolContext(Workspace(tmp_path), lambda: datetime.now(UTC), "")
        with pytest.raises(ToolFailed, match="does not go on by itself"):
            await wanted["checkpoint_now"].fn(names, CheckpointNow())


@transaction
async def allow(db: Connection, tool: str) -> None:
    await db.execute("UPDATE agents SET tools_config = %s, version = version + 1", [Json({"allow": [tool]})])


@transaction(readonly=True)
async def status_texts(db: Connection) -> list[str]:
    return await many(str, db.execute("SELECT status_text FROM loop_checkpoints"))
