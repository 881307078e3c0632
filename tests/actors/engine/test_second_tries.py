"""What a second try of a run may do again, and what it is told instead. durability.md §4 (T15), §6.5, §7.2."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec import Struct

from goclaw.actors.engine.calls import CallLog
from goclaw.actors.engine.journal import KnownBlobs, RunJournal
from goclaw.agent.recorder import Recorder
from goclaw.agent.turn import Draft
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.chat import ChatMessage, ToolCall, Usage
from goclaw.domain.cluster import Ownership
from goclaw.domain.ids import new_id
from goclaw.domain.run import RunResult
from goclaw.runtime.actor import Context
from goclaw.runtime.clock import Clock
from goclaw.security.box import Box
from goclaw.security.paths import Workspace
from goclaw.stores import run_ends, run_recovery, run_retries, sessions
from goclaw.stores.database import Database
from goclaw.stores.runs import Claimed
from goclaw.tools.ledger import LedgerConflict, Place, ToolResult
from goclaw.tools.pipeline import Toolbox, effect_of
from goclaw.tools.tool import Effect, Tool, ToolContext, tool
from tests.stores.test_run_lives import rows
from tests.stores.test_runs import KEY, accept, claim, said

DEAD = "DEAD_LETTER_MAX_ATTEMPTS"
sent: list[str] = []
keys: list[str] = []


class Mail(Struct):
    to: str
    fails: bool = False


@tool(group="test", effect=Effect.UNSAFE)
async def send(ctx: ToolContext, ask: Mail) -> str:
    """Send a mail."""
    sent.append(ask.to)
    if ask.fails:
        raise OSError("no line")
    return f"sent to {ask.to}"


@tool(group="test", effect=Effect.KEYED)
async def order(ctx: ToolContext, ask: Mail) -> str:
    """Order something; who takes the order knows its key."""
    keys.append(ctx.key)
    return f"ordered for {ask.to}"


TOOLS: dict[str, Tool] = {fn.__tool__.name: fn.__tool__ for fn in (send, order)}  # type: ignore[attr-defined]


class Store:
    """All that a journal needs of its context."""

    def __init__(self, database: Database) -> None:
        self.db = database.run
        self.clock = Clock()


class Try:
    """A life of a run, as far as its tools and its steps see it."""

    def __init__(self, database: Database, run: Claimed, workspace: Path) -> None:
        effects = lambda wanted: effect_of(TOOLS, wanted)  # noqa: E731
        self.database, self.run, self.draft = database, run, Draft()
        self.journal = RunJournal(
            cast("Context", Store(database)),
            run,
            Recorder("off"),
            KnownBlobs(),
            effects,
            Ownership(),
            CallLog(Clock(), {}),
            Box(),
        )
        now = lambda: datetime(2026, 11, 21, tzinfo=UTC)  # noqa: E731
        self.hands = Toolbox(TOOLS, ToolContext(Workspace(workspace), now, "UTC"), self.journal)

    async def calls(self, tool: str, to: str, *, ends: bool = True, **more: Any) -> str:
        """The model asks for a call, which is made; without `ends` the run dies before that is stored."""
        wanted = ToolCall(id=new_id(), name=tool, arguments={"to": to, **more})
        step, self.draft.step = self.draft.step, self.draft.step + 1
        message = ChatMessage(role="assistant", content="", tool_calls=(wanted,))
        await self.journal.thought(self.draft, step, message, Usage(prompt_tokens=10, completion_tokens=1))
        return await self.makes(step, wanted, ends=ends)

    async def makes(self, step: int, wanted: ToolCall, *, ends: bool = True) -> str:
        result: ToolResult = await self.hands.act(wanted, Place(step, 0))
        if ends:
            self.draft.step += 1
            await self.journal.acted(self.draft, step, [(0, wanted, result)])
        return result.text

    async def fails(self, dead: str | None = None, tokens: int = 0) -> None:
        usage = Usage(prompt_tokens=tokens, completion_tokens=tokens // 10)
        result = RunResult(run_id=self.run.run_id, session_key=KEY, usage=usage)
        how: dict[str, Any] = {"reason": "FAILED_PROVIDER", "error": "no", "dead": dead}
        await self.database.run(run_ends.fail, self.run, result=result, messages=said(self.run, "do it"), **how)

    async def again(self, workspace: Path, *, fresh: bool) -> Try:
        more: dict[str, Any] = {"tenant": MASTER_TENANT, "run_id": self.run.run_id, "kind": "chat", "by": "op"}
        assert await self.database.run(run_retries.try_again, new_id=new_id(), fresh=fresh, **more) is not None
        (run,) = await claim(self.database)
        second = Try(self.database, run, workspace)
        second.draft = await second.journal.resume()
        return second


@pytest.fixture
async def first(database: Database, tmp_path: Path) -> Try:
    sent.clear()
    keys.clear()
    await accept(database, "do it")
    (run,) = await claim(database)
    return Try(database, run, tmp_path)


@pytest.mark.parametrize("dead", [None, DEAD])
async def test_a_fresh_try_may_ask_for_something_else_and_repeats_nothing_unawares(
    first: Try, tmp_path: Path, dead: str | None
) -> None:
    await first.calls("send", "ann")
    await first.calls("send", "bob")
    await first.fails(dead)

    second = await first.again(tmp_path, fresh=True)
    assert second.draft.step == 0
    told = [await second.calls("send", to) for to in ("cid", "bob", "ann", "ann")]

    assert sent == ["ann", "bob", "cid", "ann"], "the last one knew that it was the second"
    assert told[0] == "sent to cid"
    assert told[1].startswith("[Done at 20")
    assert told[1].endswith("not repeated. Call it again to repeat it.]\nsent to bob")
    assert told[2].endswith("\nsent to ann")
    assert told[3] == "sent to ann"

    await second.fails(dead)
    third = await second.again(tmp_path, fresh=True)
    more = [await third.calls("send", "ann") for _ in range(3)]
    assert [text.startswith("[Done at") for text in more] == [True, True, False], "as often as it was done"


async def test_what_failed_is_tried_again_and_what_is_unknown_is_said_to_be(first: Try, tmp_path: Path) -> None:
    await first.calls("send", "ann", ends=False)
    await first.calls("order", "bob", ends=False)
    await first.fails()

    second = await first.again(tmp_path, fresh=True)
    assert (await second.calls("order", "bob")) == "ordered for bob"
    assert (await second.calls("send", "ann")).startswith("Outcome unknown: send was called at")
    assert sent == ["ann"]
    assert await second.calls("send", "ann") == "sent to ann"
    assert keys == [f"{first.run.run_id}:1:0"] * 2, "its target knows the order by the key of the first try"


async def test_a_life_that_died_over_a_call_of_an_earlier_try_still_knows_it(first: Try, tmp_path: Path) -> None:
    await first.calls("send", "ann")
    await first.fails()
    second = await first.again(tmp_path, fresh=True)
    await second.calls("send", "ann", ends=False)
    await second.database.run(run_recovery.recover, second.run, "restart")

    (run,) = await claim(second.database)
    third = Try(second.database, run, tmp_path)
    third.draft = await third.journal.resume()
    ((_, wanted),) = third.draft.unanswered

    assert (await third.makes(0, wanted)).endswith("\nsent to ann")
    assert sent == ["ann"]


@pytest.mark.parametrize("dead", [None, DEAD])
async def test_a_try_that_goes_on_knows_its_places_and_repeats_what_it_wants(
    first: Try, tmp_path: Path, dead: str | None
) -> None:
    await first.calls("send", "ann")
    await first.calls("send", "ann", ends=False)
    await first.fails(dead)

    second = await first.again(tmp_path, fresh=False)
    ((_, wanted),) = second.draft.unanswered
    assert (await second.makes(2, wanted)).startswith("Outcome unknown"), "not the first one's answer"
    assert await second.calls("send", "ann") == "sent to ann", "it knows of the others"
    assert sent == ["ann", "ann", "ann"]
    other = ToolCall(id="x", name="send", arguments={"to": "eve"})
    with pytest.raises(LedgerConflict):
        await second.makes(2, other)


async def test_steps_that_retention_took_leave_their_effects(first: Try, tmp_path: Path) -> None:
    await first.calls("send", "ann")
    await first.fails()
    await first.database.run(rows, "DELETE FROM run_steps WHERE step_no = 0 RETURNING ''")

    second = await first.again(tmp_path, fresh=False)
    assert second.draft.step == 0
    assert await second.calls("send", "bob") == "sent to bob"
    assert (await second.calls("send", "ann")).startswith("[Done at")
    assert sent == ["ann", "bob"]


@pytest.mark.parametrize(
    ("dead", "fresh", "counted"),
    [
        (None, False, 50),
        (None, True, 70),
        (DEAD, False, 50),
        (DEAD, True, 70),
    ],
)
async def test_tokens_of_a_second_try_are_counted_once(
    first: Try, tmp_path: Path, dead: str | None, fresh: bool, counted: int
) -> None:
    """Two steps of 10 tokens; the second try answers with 30 more, or with 50 when it begins anew."""
    await first.calls("send", "ann")
    await first.calls("send", "bob")
    await first.fails(dead, tokens=20)

    second = await first.again(tmp_path, fresh=fresh)
    spent = second.draft.usage.prompt_tokens + (50 if fresh else 30)
    result = RunResult(run_id=second.run.run_id, session_key=KEY, usage=Usage(prompt_tokens=spent))
    await second.database.run(run_ends.succeed, second.run, result=result, messages=said(second.run, "do it"))

    session = await second.database.run(sessions.find, tenant=MASTER_TENANT, key=KEY)
    assert session is not None
    assert session.input_tokens == counted
    assert spent == (50 if fresh or not dead else 30), "a run of its own has its own tokens"
