"""Runs of kind `replay` beside the runs they repeat, on a real database. Contract: durability.md §16.3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from goclaw.agent.compare import Comparison
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.address import lane, session
from goclaw.domain.ids import new_id
from goclaw.domain.run import Replay, RunQueued, RunRequest, RunResult
from goclaw.domain.session import Send
from goclaw.domain.session_change import CompactSession
from goclaw.operations.feed import listening
from goclaw.runtime.system import System
from goclaw.settings.record import Record
from goclaw.stores import run_retries, run_steps
from goclaw.stores.database import Database
from goclaw.stores.unit import Connection, many, transaction
from goclaw.tools.tool import collect
from tests.actors.house import KEY, house, turn

TOOLS = collect("goclaw.tools")


@transaction
async def counts(db: Connection) -> list[str]:
    """What a replay must not touch."""
    query = """
    SELECT 'messages ' || count(*) FROM session_messages UNION ALL
    SELECT 'steps ' || count(*) FROM run_steps UNION ALL SELECT 'records ' || count(*) FROM run_records UNION ALL
    SELECT 'effects ' || count(*) FROM tool_effects UNION ALL SELECT 'outbox ' || count(*) FROM outbox
    """
    return await many(str, db.execute(query))


async def say(system: System, database: Database, text: str) -> str:
    send = await turn(database, text)
    with trio.fail_after(10), listening(system, send.run_id, only_result=True) as feed:
        await system.ask(session(MASTER_TENANT, KEY), send, within=5)
        assert (await feed.result()).error is None
    return send.run_id


async def outcome(system: System, database: Database, ask: Replay) -> RunResult:
    plain = await turn(database)
    send: Send = msgspec.structs.replace(plain, kind="replay", request=RunRequest(message="", replay=ask))
    place = session(MASTER_TENANT, f"agent:default:replay:{new_id()[-8:]}")
    with trio.fail_after(10), listening(system, send.run_id, only_result=True) as feed:
        await system.ask(place, send, within=5)
        return await feed.result()


async def replayed(system: System, database: Database, ask: Replay) -> Comparison:
    result = await outcome(system, database, ask)
    assert result.error is None
    assert result.comparison is not None
    return msgspec.json.decode(result.comparison, type=Comparison)


@pytest.mark.parametrize("level", ["steps", "full"])
async def test_a_run_with_tools_and_a_past_is_the_same_again(database: Database, tmp_path: Path, level: Any) -> None:
    (tmp_path / "user_lan").mkdir()
    async with house(database, tmp_path, tools=TOOLS, record=Record(level=level)) as system:
        await say(system, database, "hello there")
        run_id = await say(system, database, "what time is it?")
        await say(system, database, "and what did I say first?")
        before = await database.run(counts)
        found = await replayed(system, database, Replay(of=run_id))

    assert found.first_difference is None
    assert (found.verdict, found.identical) == ("identical", True)
    assert found.log["recorded"] == found.log["replayed"]
    assert found.totals["recorded"].tool_calls >= 1
    assert found.totals["replayed"].cost_usd == 0.0, "the offline model is free"
    assert await database.run(counts) == before, "it leaves nothing behind but its row"


async def test_records_of_level_full_are_sealed_each_for_its_place(database: Database, tmp_path: Path) -> None:
    @transaction
    async def stored(db: Connection) -> list[str]:
        return await many(str, db.execute("SELECT body::text || encode(body_enc, 'escape') FROM run_records"))

    @transaction
    async def swap(db: Connection) -> None:
        query = """
        UPDATE run_records a SET body_enc = b.body_enc FROM run_records b
        WHERE a.seq = 1 AND b.seq = 2 AND a.run_id = b.run_id
        """
        await db.execute(query)

    async with house(database, tmp_path, tools=TOOLS, record=Record(level="full")) as system:
        run_id = await say(system, database, "what time is it in Hanoi?")
        before = await database.run(stored)
        assert (await replayed(system, database, Replay(of=run_id))).verdict == "identical"
        await database.run(swap)
        refused = await outcome(system, database, Replay(of=run_id))

    assert before
    assert all(text.startswith('{"log": "') and text.index("}") == 74 for text in before), "nothing but a hash is clear"
    assert not [text for text in before if "Hanoi" in text or "offline" in text]
    assert refused.error is not None
    assert refused.error.details["reason"] == "secret_unreadable"


async def test_a_run_of_a_compacted_session_is_the_same_again(database: Database, tmp_path: Path) -> None:
    async with house(database, tmp_path, tools=TOOLS) as system:
        for text in ("hello there", "my name is Lan", "what time is it?", "good"):
            await say(system, database, text)
        compact = CompactSession(user_id="lan", as_admin=False, keep=2)
        with trio.fail_after(10):
            compacted = await system.ask(session(MASTER_TENANT, KEY), compact, within=10)
        run_id = await say(system, database, "and what is my name?")
        found = await replayed(system, database, Replay(of=run_id))

    assert not compacted.skipped
    assert (found.verdict, found.first_difference) == ("identical", None)


async def test_what_was_gone_from_the_history_when_a_run_began_stays_gone(database: Database, tmp_path: Path) -> None:
    @transaction
    async def archive(db: Connection, of: str) -> None:
        await db.execute("UPDATE session_messages SET archived_at = now() WHERE run_id = %s", [of])

    async with house(database, tmp_path, tools=TOOLS) as system:
        await say(system, database, "hello there")
        middle = await say(system, database, "my name is Lan")
        last = await say(system, database, "what time is it?")
        await database.run(archive, middle)  # as a try that an operator asked for leaves it
        run_id = await say(system, database, "and what is my name?")
        await database.run(archive, last)
        found = await replayed(system, database, Replay(of=run_id))

    assert (found.verdict, found.first_difference) == ("identical", None)


async def test_a_requeued_run_is_the_same_again_with_the_steps_it_was_given(database: Database, tmp_path: Path) -> None:
    @transaction
    async def die(db: Connection, of: str) -> list[str]:
        """As a run leaves it whose process ended after its first call, and that was buried."""
        await db.execute("UPDATE runs SET state = 'DEAD_LETTER', result = NULL WHERE run_id = %s", [of])
        return await many(
            str, db.execute("DELETE FROM run_steps WHERE run_id = %s AND step_no > 1 RETURNING kind", [of])
        )

    async with house(database, tmp_path, tools=TOOLS) as system:
        first = await say(system, database, "what time is it?")
        assert await database.run(die, first) == ["llm"]
        second: dict[str, Any] = {"run_id": first, "new_id": new_id(), "kind": "chat", "by": "op"}
        again = await database.run(run_retries.try_again, tenant=MASTER_TENANT, **second)
        assert again is not None
        with trio.fail_after(10), listening(system, again.run_id, only_result=True) as feed:
            system.tell(lane("main"), RunQueued(tenant_id=MASTER_TENANT, session_key=KEY))
            assert (await feed.result()).error is None
        steps = await database.run(run_steps.of_run, tenant=MASTER_TENANT, run_id=again.run_id)
        found = await replayed(system, database, Replay(of=again.run_id))

    assert [step.kind for step in steps] == ["llm", "tool", "llm"]
    assert (found.verdict, found.first_difference) == ("identical", None)
    assert found.totals["replayed"].llm_calls == 1, "the rest was done before"


async def test_what_somebody_changed_in_a_record_is_found(database: Database, tmp_path: Path) -> None:
    @transaction
    async def forge(db: Connection) -> None:
        query = "UPDATE run_records SET body = jsonb_set(body, '{content}', '\"forged\"') WHERE kind = 'end'"
        await db.execute(query)

    async with house(database, tmp_path, tools=TOOLS) as system:
        run_id = await say(system, database, "hello there")
        await database.run(forge)
        found = await replayed(system, database, Replay(of=run_id))

    assert found.verdict == "different"
    assert found.first_difference is not None
    assert (found.first_difference["kind"], found.first_difference["path"]) == ("end", "/content")


async def test_a_run_goes_on_with_other_words_from_a_step_on(database: Database, tmp_path: Path) -> None:
    async with house(database, tmp_path, tools=TOOLS) as system:
        run_id = await say(system, database, "hello there")
        before = await database.run(counts)
        found = await replayed(system, database, Replay(of=run_id, mode="what_if", user="calculate 6 * 7"))

    assert "42" in found.final.replayed
    assert found.final.recorded != found.final.replayed
    assert found.verdict == "different"
    assert await database.run(counts) == before
