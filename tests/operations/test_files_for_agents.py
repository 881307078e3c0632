"""An agent's own texts in the hands of its tools. Contract: agent-loop.md §7.4, tools.md §9.2."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from goclaw.domain.access import MASTER_TENANT, Caller, Role
from goclaw.domain.address import agent as agent_address
from goclaw.domain.agent import GetProfile
from goclaw.operations.agent_changes import CreateAgent, create
from goclaw.operations.context import Context, House
from goclaw.operations.files_for_agents import FilesForAgents
from goclaw.operations.params import decode
from goclaw.security.paths import Workspace
from goclaw.settings.settings import Settings
from goclaw.stores import agent_shares, context_files
from goclaw.stores.database import Database
from goclaw.stores.unit import Connection, transaction
from goclaw.tools.methods import Asker
from goclaw.tools.tool import ToolContext, ToolFailed
from tests.actors.house import house as open_house

NOW = datetime(2026, 3, 7, 12, tzinfo=UTC)


class Desk:
    """The texts of an agent, as its runs for a user reach them."""

    def __init__(self, house: House, workspace: Path) -> None:
        self.house = house
        self.files = FilesForAgents(house)
        self.workspace = workspace

    async def agent(self, **given: Any) -> None:
        ask = decode(CreateAgent, {"agent_key": "ada", "display_name": "Ada", **given})
        made = await create(Context(self.house, Caller(user_id="lan", role=Role.ADMIN)), ask)
        self.asker = Asker(tenant_id=MASTER_TENANT, user_id="lan", agent_id=made.id, agent_key="ada")

    def of(self, user: str = "lan", **more: Any) -> ToolContext:
        asker = Asker(
            tenant_id=MASTER_TENANT,
            user_id=user,
            agent_id=self.asker.agent_id,
            agent_key="ada",
            channel=more.pop("channel", ""),
            chat_id=more.pop("chat_id", ""),
        )
        return ToolContext(Workspace(self.workspace), lambda: NOW, "UTC", asker, **more)

    async def text(self, ctx: ToolContext, path: str) -> str | None:
        kept = await self.files.read(ctx, path)
        return kept.text if kept is not None else None

    async def refused(self, asked: Any) -> str:
        with pytest.raises(ToolFailed) as failed:
            await asked
        return f"{failed.value.code}: {failed.value}"


@pytest.fixture
async def desk(database: Database, tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_house(database, tmp_path) as system:
        yield Desk(House(Settings(), system, "0", "node", 0), tmp_path)


async def test_each_user_of_an_open_agent_writes_his_own_soul(desk: Desk, tmp_path: Path) -> None:
    """AL-25, T10: nothing on disk."""
    await desk.agent()

    assert await desk.files.write(desk.of("lan"), "SOUL.md", "mine\0") is not None

    assert await desk.text(desk.of("lan"), "SOUL.md") == "mine"
    assert await desk.refused(desk.files.read(desk.of("minh"), "SOUL.md")) == "not_found: SOUL.md does not exist yet"
    assert await desk.files.listed(desk.of("lan"), "") == (("SOUL.md", 4),)
    assert await desk.files.listed(desk.of("minh"), "") == ()
    assert not any(tmp_path.rglob("SOUL.md"))  # noqa: ASYNC240 - a directory of three files


async def test_users_of_a_predefined_agent_write_only_what_is_about_them(desk: Desk) -> None:
    """AL-26."""
    await desk.agent(agent_type="predefined")
    lan = desk.of("lan")

    for name in ("SOUL.md", "AGENTS.md", "IDENTITY.md", "TOOLS.md", "USER_PREDEFINED.md", "BOOTSTRAP.md"):
        assert (await desk.refused(desk.files.write(lan, name, "mine"))).startswith(f"denied_policy: {name} is managed")
    for name in ("USER.md", "MEMORY.md", "memory.md"):
        assert await desk.files.write(lan, name, "about me") is not None
    assert await desk.text(lan, "MEMORY.md") == "about me"
    assert "does not exist yet" in (await desk.text(desk.of("minh"), "memory.md") or "")
    assert "You are Ada" in (await desk.text(lan, "SOUL.md") or "")


async def test_an_agent_that_evolves_writes_its_soul_for_everybody(desk: Desk) -> None:
    await desk.agent(agent_type="predefined", other_config={"self_evolve": True})

    await desk.files.write(desk.of("lan"), "SOUL.md", "grown")

    assert await desk.text(desk.of("minh"), "SOUL.md") == "grown"
    assert "managed" in await desk.refused(desk.files.write(desk.of("lan"), "IDENTITY.md", "- Name: Eve"))


async def test_an_empty_bootstrap_ends_first_contact(desk: Desk) -> None:
    await desk.agent(agent_type="predefined")
    named = {"tenant": MASTER_TENANT, "agent": desk.asker.agent_id, "user": "lan"}
    await desk.house.system.database.run(context_files.meet, **named, seeds={"BOOTSTRAP.md": "ask"})
    assert await desk.text(desk.of(), "BOOTSTRAP.md") == "ask"

    for _ in range(2):  # a repeated call does no harm
        assert await desk.files.write(desk.of(), "BOOTSTRAP.md", "\n") is not None

    assert "not_found" in await desk.refused(desk.files.read(desk.of(), "BOOTSTRAP.md"))


async def test_what_the_owner_calls_his_agent_is_its_name(desk: Desk) -> None:
    await desk.agent()

    async def name() -> str:
        return (await desk.house.system.ask(agent_address(MASTER_TENANT, "ada"), GetProfile(), within=5)).name

    await desk.files.write(desk.of("minh"), "IDENTITY.md", "- Name: Minh's\n")
    assert await name() == "Ada"
    await desk.files.write(desk.of("lan"), "IDENTITY.md", "- Name: Eve\n")
    assert await name() == "Eve"


async def test_virtual_files_and_others(desk: Desk) -> None:
    await desk.agent()

    assert "made by the gateway" in (await desk.text(desk.of(), "TEAM.md") or "")
    assert "denied_policy" in await desk.refused(desk.files.write(desk.of(), "TEAM.md", "x"))
    assert await desk.text(desk.of(), "notes.md") is None
    assert await desk.files.write(desk.of(), "HEARTBEAT.md", "x") is None
    assert await desk.files.write(desk.of(), "USER_PREDEFINED.md", "x") is None, "an open agent has none"
    assert await desk.text(desk.of(), "TOOLS.md") is None, "that of the workspace, if it has one"
    assert "too_large" in await desk.refused(desk.files.write(desk.of(), "SOUL.md", "x" * 270_000))


async def test_in_a_group_only_file_writers_write(desk: Desk) -> None:
    """SEC-38."""
    await desk.agent()
    await desk.files.write(desk.of("lan"), "SOUL.md", "mine")
    group: dict[str, Any] = {"peer_kind": "group", "channel": "tg", "chat_id": "7"}
    stranger, writer = desk.of("lan", sender_id="minh", **group), desk.of("lan", sender_id="ann", **group)
    await desk.house.system.database.run(
        agent_shares.permit,
        tenant=MASTER_TENANT,
        agent=desk.asker.agent_id,
        scope="group:tg:7",
        type="file_writer",
        user="ann",
        permission="allow",
        by="lan",
        metadata={},
    )

    for asked in (
        desk.files.write(stranger, "SOUL.md", "his"),
        desk.files.write(stranger, "USER.md", "his"),
        desk.files.write(stranger, "BOOTSTRAP.md", ""),
        desk.files.read(stranger, "SOUL.md"),
        desk.files.permit(stranger, "notes.md"),
    ):
        assert "file writers of this group" in await desk.refused(asked)
    assert await desk.files.listed(stranger, "") == ()
    assert await desk.files.write(writer, "SOUL.md", "hers") is not None
    await desk.files.permit(writer, "notes.md")
    assert await desk.text(writer, "SOUL.md") == "hers"


async def test_who_cannot_be_looked_up_does_not_write(desk: Desk, database: Database) -> None:
    """SEC-38. The store fails between the question and its answer: nobody in a group writes, nor reads."""
    await desk.agent()
    await desk.files.write(desk.of("lan"), "SOUL.md", "mine")
    group: dict[str, Any] = {"peer_kind": "group", "channel": "tg", "chat_id": "7"}
    await database.run(renamed, "agent_config_permissions", "away")
    try:
        for asked in (
            desk.files.write(desk.of("lan", sender_id="ann", **group), "SOUL.md", "hers"),
            desk.files.permit(desk.of("lan", sender_id="ann", **group), "notes.md"),
        ):
            with pytest.raises(Exception, match=r"agent_config_permissions|writers|again"):
                await asked
    finally:
        await database.run(renamed, "away", "agent_config_permissions")
    assert await desk.text(desk.of("lan"), "SOUL.md") == "mine"


@transaction
async def renamed(db: Connection, old: str, new: str) -> None:
    await db.execute(f"ALTER TABLE {old} RENAME TO {new}")
