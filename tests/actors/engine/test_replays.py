"""Runs of kind `replay` beside the runs they repeat, on a real database. Contract: durability.md §16.3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from goclaw.agent.compare import Comparison
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.address import session
from goclaw.domain.ids import new_id
from goclaw.domain.run import Replay, RunRequest
from goclaw.domain.session import Send
from goclaw.operations.feed import listening
from goclaw.runtime.system import System
from goclaw.settings.record import Record
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


async def replayed(system: System, database: Database, ask: Replay) -> Comparison:
    plain = await turn(database)
    send: Send = msgspec.structs.replace(plain, kind="replay", request=RunRequest(message="", replay=ask))
    place = session(MASTER_TENANT, f"agent:default:replay:{new_id()[-8:]}")
    with trio.fail_after(10), listening(system, send.run_id, only_result=True) as feed:
        await system.ask(place, send, within=5)
        result = await feed.result()
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
