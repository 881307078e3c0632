"""An agent among its own conversations, and nowhere else. Contract: tools.md §10."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from goclaw.stores import run_ends
from goclaw.stores.database import Database
from goclaw.stores.unit import Connection, many, transaction
from tests.stores.test_runs import accept, claim, result, said
from tests.tools.automation.desk import OWNER, Desk, open_desk

MINE = "agent:default:ws:direct:mine"
HIS = "agent:default:ws:direct:his"
GROUP = "agent:default:telegram:group:7"
FOREIGN = "agent:other:ws:direct:1"


@pytest.fixture
async def desk(database: Database, tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(database, tmp_path) as desk:
        yield desk


async def talk(database: Database, key: str, *texts: str, user: str = "lan") -> None:
    await accept(database, texts[0], key=key, user=user)
    (run,) = await claim(database, key)
    await database.run(run_ends.succeed, run, result=result(run), messages=said(run, *texts))


@transaction(readonly=True)
async def turns(db: Connection, key: str) -> list[str]:
    query = "SELECT request->>'message' FROM runs WHERE session_key = %s AND state = 'QUEUED' ORDER BY run_id"
    return await many(str, db.execute(query, [key]))


async def test_an_agent_sees_its_own_conversations_with_this_user(desk: Desk, database: Database) -> None:
    await talk(database, MINE, "a", "b")
    await talk(database, GROUP, "c")
    await talk(database, HIS, "secret", user="minh")
    await talk(database, FOREIGN, "elsewhere")

    listed = await desk.said("sessions_list")

    assert [(row["key"], row["messages"]) for row in listed] == [(GROUP, 1), (MINE, 2)]
    assert set(listed[0]) == {"key", "label", "updated_at", "messages", "channel"}
    assert [row["key"] for row in await desk.said("sessions_list", kinds=["group"])] == [GROUP]
    assert [row["key"] for row in await desk.said("sessions_list", query="mine")] == [MINE]
    assert len(await desk.said("sessions_list", limit=1)) == 1
    assert len(await desk.said("sessions_list", active_minutes=5)) == 2
    assert [row["key"] for row in await desk.said("sessions_list", OWNER)] == [], "an owner's agent works for him alone"


async def test_history_is_read_from_any_place(desk: Desk, database: Database) -> None:
    await talk(database, MINE, *(f"m{n}" for n in range(10)))

    async def read(**more: Any) -> list[str]:
        return [row["content"] for row in await desk.said("sessions_history", key=MINE, **more)]

    whole = await desk.said("sessions_history", key=MINE)
    assert [row["content"] for row in whole] == [f"m{n}" for n in range(10)]
    first, fifth = whole[0]["n"], whole[4]["n"]
    assert await read(limit=3) == ["m7", "m8", "m9"]
    assert await read(limit=3, before=fifth) == ["m1", "m2", "m3"]
    assert await read(limit=2, after=fifth) == ["m5", "m6"]
    assert await read(limit=3, around=fifth) == ["m3", "m4", "m5"]
    assert await read(limit=3, around=first) == ["m0", "m1", "m2"]
    assert await read(role="assistant") == []
    assert (await desk.refused("sessions_history", key=MINE, before=1, after=2))[0] == "invalid_args"


@pytest.mark.parametrize("tool", ["sessions_history", "sessions_send", "session_status"])
async def test_what_is_not_ones_own_is_not_there_and_is_not_made(desk: Desk, database: Database, tool: str) -> None:
    await talk(database, HIS, "secret", user="minh")
    await talk(database, FOREIGN, "elsewhere")
    more = {"message": "hello"} if tool == "sessions_send" else {}

    for key in (HIS, FOREIGN, "agent:default:ws:direct:nobody"):
        code, text = await desk.refused(tool, key=key, **more)
        assert (code, "secret" in text) == ("not_found", False), key
    assert (await desk.refused(tool, key="nonsense", **more))[0] == "invalid_args"
    assert {row["key"] for row in await desk.said("sessions_list", "minh")} == {HIS}
    assert await database.run(turns, HIS) == []


async def test_a_run_of_no_agent_has_no_sessions(desk: Desk) -> None:
    for tool, more in (("sessions_list", {}), ("sessions_history", {"key": MINE}), ("session_status", {})):
        assert (await desk.refused(tool, nameless=True, **more))[0] == "unavailable"


async def test_a_word_in_another_conversation_is_a_turn_there(desk: Desk, database: Database) -> None:
    await talk(database, MINE, "a")

    first = await desk.said("sessions_send", key=MINE, message="/reset", call_key="k1")
    again = await desk.said("sessions_send", key=MINE, message="/reset", call_key="k1", again=True)

    assert first == again == {"status": "queued"}
    assert await database.run(turns, MINE) == ["[from your session agent:default:x]\n/reset"], "once, and no command"
    code, _ = await desk.refused("sessions_send", key=MINE, message="x", session=MINE)
    assert code == "conflict"


async def test_a_reply_that_does_not_come_in_time_is_told(desk: Desk, database: Database) -> None:
    await talk(database, MINE, "a")
    code, text = await desk.refused("sessions_send", key=MINE, message="x", wait=True, timeout=1)
    assert (code, "sessions_history" in text) == ("timeout", True)
    assert len(await database.run(turns, MINE)) == 1


async def test_status_tells_what_was_used(desk: Desk, database: Database) -> None:
    await talk(database, MINE, "a")
    await accept(database, "more", key=MINE)

    status = await desk.said("session_status", key=MINE)

    assert status["key"] == MINE
    assert status["agent"] == "default"
    assert (status["queue_len"], status["running"]) == (1, False)
    assert {"model", "provider", "tokens_in", "tokens_out", "context_used_pct"} < set(status)
    assert (await desk.said("session_status", session=MINE))["key"] == MINE, "its own, if none is named"
