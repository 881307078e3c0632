"""What a tool reads is clean before a model, a client or the history has it. Contract: security.md §6.1, SEC-22."""

from __future__ import annotations

from pathlib import Path

import trio

from goclaw.actors.engine.engine import place_of
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.address import session
from goclaw.operations.feed import listening
from goclaw.stores import agents
from goclaw.stores.database import Database
from goclaw.stores.unit import Connection, many, transaction
from tests.actors.house import KEY, house, turn
from tests.file_tools import FILE_TOOLS

SECRET = "gh\u0070_" + "a1B2" * 9


@transaction(readonly=True)
async def kept(db: Connection) -> list[str]:
    """All that is written down of what was said."""
    query = """
    SELECT content FROM session_messages UNION ALL SELECT message::text FROM run_steps
    """
    return await many(str, db.execute(query))


async def test_a_secret_in_a_file_is_read_by_nobody(database: Database, tmp_path: Path) -> None:
    tools = FILE_TOOLS
    async with house(database, tmp_path, tools=tools) as system:
        send = await turn(database, "read notes.txt")
        profile = await database.run(agents.default, tenant=MASTER_TENANT)
        assert profile is not None
        place = place_of(tmp_path, profile.workspace, send.user_id)
        place.mkdir(parents=True)
        (place / "notes.txt").write_text(f"the token is {SECRET}, keep it")
        heard: list[str] = []
        with trio.fail_after(10), listening(system, send.run_id) as feed:
            await system.ask(session(MASTER_TENANT, KEY), send, within=5)
            while events := await feed.next():
                heard += [f"{event.text} {bytes(event.body).decode()}" for event in events]

    said = " ".join([*heard, *await database.run(kept)])
    assert "the token is [REDACTED], keep it" in said
    assert SECRET not in said
