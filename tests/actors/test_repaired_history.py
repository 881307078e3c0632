"""Histories with faults, as imports leave them, and the turns that find them. Contract: agent-loop.md §8.2."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from goclaw.actors.engine import run as engine_run
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.hint_texts import hint
from goclaw.domain.ids import new_id
from goclaw.stores import session_repair
from goclaw.stores import sessions as rows
from goclaw.stores.database import Database
from goclaw.stores.unit import Connection, Json, many, one, transaction
from tests.actors.house import KEY
from tests.actors.talk import Talk, talking

HERE = {"tenant": MASTER_TENANT, "key": KEY}
CALL = {"tool_calls": [{"id": "1", "name": "look", "arguments": {}}]}


@transaction
async def imported(db: Connection, said: list[tuple[str, str, dict[str, Any]]]) -> None:
    """Behind what is there."""
    for role, content, payload in said:
        query = """
        WITH s AS (
          UPDATE sessions SET last_seq = last_seq + 1, message_count = message_count + 1
          RETURNING id, last_seq, generation
        )
        INSERT INTO session_messages
          (session_id, seq, tenant_id, id, role, content, payload, generation, token_estimate)
        SELECT s.id, s.last_seq, %(tenant)s, %(id)s, %(role)s, %(content)s, %(payload)s, s.generation, 1 FROM s
        """
        more = {"id": new_id(), "role": role, "content": content, "payload": Json(payload)}
        await db.execute(query, {"tenant": MASTER_TENANT, **more})


@transaction(readonly=True)
async def counted(db: Connection) -> int:
    return await one(int, db.execute("SELECT message_count FROM sessions"))


@transaction(readonly=True)
async def covered(db: Connection) -> list[int]:
    query = "SELECT (payload->'covered'->>0)::int FROM session_messages WHERE hidden ORDER BY seq"
    return await many(int, db.execute(query))


FAULTY: list[tuple[str, str, dict[str, Any]]] = [
    ("tool", "of nothing", {"tool_call_id": "0", "name": "look"}),
    ("assistant", "let me see", CALL),
    ("tool", "seen", {"tool_call_id": "1", "name": "look"}),
    ("tool", "seen again", {"tool_call_id": "1", "name": "look"}),
    ("assistant", "", {}),
    ("assistant", "a picture", {}),
]


async def turn(talk: Talk, text: str) -> list[dict[str, Any]]:
    """What is said of repairs meanwhile."""
    with capture_logs() as lines:
        (result,) = await talk.ended((await talk.say(text)).run_id)
    assert result.error is None
    return [dict(line) for line in lines if line["event"] == "history.repaired"]


async def contents(database: Database) -> list[str]:
    return [row.content for row in await database.run(rows.history, **HERE, limit=100)]


async def test_what_is_at_fault_is_put_away_and_said_once(database: Database, tmp_path: Path) -> None:
    """AL-21, as it is stored: a cleaned list stays clean, and the archive holds the rest."""
    async with talking(database, tmp_path) as talk:
        await turn(talk, "hello")
        await database.run(imported, FAULTY)
        (line,) = await turn(talk, "and now?")
        again = await turn(talk, "and then?")

    assert (line["session"], line["orphan_result"], line["second_result"], line["empty_answer"]) == (KEY, 1, 1, 1)
    assert again == []
    assert await contents(database) == [
        "hello", "echo hello", "let me see", "seen", "a picture", "and now?", "echo and now?", "and then?",
        "echo and then?",
    ]  # fmt: skip
    assert await database.run(counted) == 9
    assert await database.run(covered) == [3, 6, 7], "each left the history at its place in the journal"


async def test_a_history_without_fault_is_left_as_it_is(database: Database, tmp_path: Path) -> None:
    async with talking(database, tmp_path) as talk:
        await turn(talk, "hello")
        await database.run(imported, [FAULTY[1], ("user", "never mind", {})])
        assert await turn(talk, "and now?") == []

    assert "let me see" in await contents(database), "a missing result is made up for the model alone"
    assert await database.run(covered) == []


async def test_a_result_whose_call_is_too_old_to_be_read_is_no_fault(database: Database, tmp_path: Path) -> None:
    async with talking(database, tmp_path) as talk:
        await turn(talk, "hello")
        await database.run(imported, [FAULTY[1], FAULTY[2], *[("user", "x", {})] * (engine_run.HISTORY - 1)])
        assert await turn(talk, "and now?") == []


async def test_of_two_who_find_the_same_fault_one_puts_it_away(database: Database, tmp_path: Path) -> None:
    async with talking(database, tmp_path) as talk:
        await turn(talk, "hello")
    await database.run(imported, FAULTY[:1])
    wrong = [row.id for row in await database.run(rows.history, **HERE, limit=10) if row.role == "tool"]
    drop = partial(database.run, session_repair.drop, **HERE, ids=wrong)

    assert (await drop(), await drop()) == (wrong, [])
    assert await database.run(counted) == 2


@pytest.mark.parametrize(("locale", "word"), [("en", "remember"), ("vi", "nhớ"), ("zh", "记得")])
async def test_a_summary_is_acknowledged_in_the_language_that_is_spoken(
    database: Database, tmp_path: Path, locale: str, word: str
) -> None:
    async with talking(database, tmp_path) as talk:
        await turn(talk, "hello")

        @transaction
        async def summarised(db: Connection) -> None:
            await db.execute("UPDATE sessions SET summary = 'once'")

        await database.run(summarised)
        told = await database.run(rows.recall, **HERE, limit=9, understood=hint("understood", locale))

    assert [row.role for row in told[:2]] == ["user", "assistant"]
    assert word in told[1].content
