"""The fs tools over the texts that agents have in the database. Contract: tools.md §9.2, T10 and T11."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.agent import AGENTS, AgentChanged
from goclaw.stores import context_files
from goclaw.stores.database import Database
from goclaw.stores.unit import Connection, transaction
from tests.tools.automation.desk import Desk, open_desk


@pytest.fixture
async def desk(database: Database, tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(database, tmp_path) as opened:
        yield opened


async def test_a_text_of_an_open_agent_is_each_users_own_and_no_file(desk: Desk) -> None:
    """T10. A row and no file; another user sees the template."""
    of = {"tenant": MASTER_TENANT, "agent": desk.agent}
    await desk.house.system.database.run(context_files.write, **of, name="SOUL.md", content="the template", by="minh")

    written = await desk.use("write_file", "lan", path="SOUL.md", content="mine")
    appended = await desk.use("write_file", "lan", path="./SOUL.md", content=", and more", append=True)
    edited = await desk.use("edit_file", "lan", path="SOUL.md", old_string="more", new_string="less")

    assert [result.text for result in (written, appended, edited) if result.is_error] == []
    assert (await desk.use("read_file", "lan", path="SOUL.md")).text == "mine, and less"
    assert (await desk.use("read_file", "minh", path="SOUL.md")).text == "the template"
    assert "[FILE] SOUL.md (14)" in (await desk.use("list_files", "lan")).text
    assert os.listdir(desk.workspace) == []
    assert await desk.house.system.database.run(rows) == [("lan", "SOUL.md", "mine, and less")]


async def test_a_predefined_agent_keeps_its_identity_and_ends_first_contact(desk: Desk) -> None:
    """T11. What is refused leaves no row, and the row of first contact is gone with its end."""
    await desk.house.system.database.run(predefine, id=desk.agent)
    desk.house.system.publish(AGENTS, AgentChanged(tenant_id=MASTER_TENANT))
    first = {"user": "lan", "name": "BOOTSTRAP.md", "content": "hello", "by": "lan"}
    await desk.house.system.database.run(
        context_files.write_own, tenant=MASTER_TENANT, agent=desk.agent, **first, columns={}
    )
    assert (await desk.use("read_file", path="BOOTSTRAP.md")).text == "hello"

    refused = await desk.refused("write_file", path="IDENTITY.md", content="somebody else")
    ended = await desk.use("write_file", path="BOOTSTRAP.md", content="")

    assert refused[0] == "denied_policy"
    assert "managed by the administrator" in refused[1]
    assert not ended.is_error
    assert await desk.house.system.database.run(rows) == []
    assert (await desk.refused("read_file", path="BOOTSTRAP.md"))[0] == "not_found"


async def test_what_the_gateway_says_itself_is_a_hint(desk: Desk) -> None:
    assert "in your instructions already" in (await desk.use("read_file", path="TEAM.md")).text
    assert (await desk.refused("write_file", path="TEAM.md", content="x"))[0] == "denied_policy"
    assert not (await desk.use("write_file", path="sub/TEAM.md", content="x")).is_error


async def test_memory_that_is_not_there_yet_is_begun_by_adding_to_it(desk: Desk) -> None:
    assert "does not exist yet" in (await desk.use("read_file", path="MEMORY.md")).text
    await desk.use("write_file", path="MEMORY.md", content="tea", append=True)
    assert (await desk.use("read_file", path="MEMORY.md")).text == "tea"


@transaction
async def predefine(db: Connection, *, id: str) -> None:
    await db.execute("UPDATE agents SET agent_type = 'predefined' WHERE id = %(id)s", {"id": id})


@transaction(readonly=True)
async def rows(db: Connection) -> list[tuple[str, str, str]]:
    found = await db.execute("SELECT user_id, file_name, content FROM user_context_files ORDER BY 1, 2")
    return list(await found.fetchall())
