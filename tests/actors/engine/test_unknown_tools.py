"""Names in rules that mean no tool are told once. Contract: tools.md §4."""

from __future__ import annotations

from pathlib import Path

from structlog.testing import capture_logs

from goclaw.actors.engine.guards import Guards
from goclaw.actors.engine.shelf import TakeStock
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.address import SHELF
from goclaw.settings.tools import Tools
from goclaw.stores.database import Database
from goclaw.stores.unit import Connection, transaction
from tests.actors.house import house
from tests.file_tools import FILE_TOOLS

RULES = Tools(deny=("exce", "group:nope", "group:fs", "edit", "greet", "read_file"))


@transaction
async def make_greet(db: Connection) -> None:
    await db.execute(
        "INSERT INTO custom_tools (id, tenant_id, name, description, command, created_by)"
        " VALUES (gen_random_uuid(), %s, 'greet', 'Says hello.', 'echo hello', 'lan')",
        [MASTER_TENANT],
    )


async def test_a_name_that_no_tool_has_is_told_once(database: Database, tmp_path: Path) -> None:
    """Tools, groups, aliases and custom tools are known."""
    await database.run(make_greet)
    with capture_logs() as lines:
        async with house(database, tmp_path, tools=FILE_TOOLS, guards=Guards(RULES)) as system:
            for agent in ("a", "b"):
                await system.ask(SHELF, TakeStock(tenant_id=MASTER_TENANT, agent_id=agent), within=5)

    told = [line["names"] for line in lines if line["event"] == "tools.unknown_names"]
    assert told == [["exce", "group:nope"]]
