"""Hooks in the life of a run: real commands, a real database. Contract: tools.md §22, orchestration.md §13.4."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from goclaw.actors.engine.hooks import HookWorks
from goclaw.domain.access import MASTER_TENANT, Caller, Role
from goclaw.domain.address import HOOKS, session
from goclaw.domain.events import RunEvent
from goclaw.domain.hook import Happening, HookEnded
from goclaw.domain.ids import new_id
from goclaw.domain.workspace import place_of
from goclaw.operations.context import Context, House
from goclaw.operations.feed import listening
from goclaw.operations.hook_shapes import AskHooks, Wanted
from goclaw.operations.hooks import AskHistory, create, history, list_hooks
from goclaw.runtime.system import System
from goclaw.security.box import Box
from goclaw.settings.hooks import Hooks
from goclaw.settings.settings import Settings
from goclaw.stores import agents, hooks
from goclaw.stores.database import Database
from goclaw.tools.hooks.handlers import Handlers
from tests.actors.house import KEY, house, turn
from tests.file_tools import FILE_TOOLS

BOX = Box(bytes(range(32)))
WRITE = 'write "hello" to notes.txt'


class Story:
    """One house, its admin, and what a user of it can do."""

    def __init__(self, system: System, database: Database, place: Path) -> None:
        self.system, self.database, self.place = system, database, place
        self.house = House(Settings(data_dir=place / "data"), system, "0", new_id(), 0, box=BOX)
        self.ctx = Context(self.house, Caller(user_id="an", role=Role.ADMIN, is_owner=True, tenant_id=MASTER_TENANT))

    async def hook(self, command: str, event: Any = "pre_tool_use", **more: Any) -> str:
        wanted = {"scope": "tenant", "handler_type": "command", "name": "guard", **more}
        return (await create(self.ctx, Wanted(event=event, config={"command": command}, **wanted))).hook_id

    async def says(self, text: str) -> list[RunEvent]:
        send, heard = await turn(self.database, text), list[RunEvent]()
        with trio.fail_after(20), listening(self.system, send.run_id) as feed:
            await self.system.ask(session(MASTER_TENANT, KEY), send, within=5)
            while events := await feed.next():
                heard += events
        return heard

    async def notes(self) -> str | None:
        profile = await self.database.run(agents.default, tenant=MASTER_TENANT)
        assert profile is not None
        file = place_of(self.place, profile.workspace, "lan") / "notes.txt"
        return file.read_text() if file.exists() else None

    async def decided(self, *wanted: str) -> None:
        """Waits until that is in history, whose rows are written behind the run."""

        async def there() -> list[str]:
            return sorted(one.decision for one in (await history(self.ctx, AskHistory())).executions)

        with trio.fail_after(10):
            while await there() != sorted(wanted):  # noqa: ASYNC110 - rows have no event
                await trio.sleep(0.02)


@asynccontextmanager
async def story(database: Database, place: Path, settings: Hooks = Hooks()) -> AsyncIterator[Story]:  # noqa: B008
    tools = FILE_TOOLS
    works = HookWorks(Handlers(BOX, place / "data" / "hooks", os.environ), settings, box=BOX)
    async with house(database, place, tools=tools, hooks=works) as system:
        yield Story(system, database, place)


async def test_without_hooks_a_call_is_made_as_it_was_asked_for(database: Database, tmp_path: Path) -> None:
    async with story(database, tmp_path) as house:
        await house.says(WRITE)
        assert await house.notes() == "hello"


async def test_a_hook_keeps_a_call_from_being_made(database: Database, tmp_path: Path) -> None:
    async with story(database, tmp_path) as house:
        await house.hook("echo no notes >&2; exit 2", matcher="^write_file$")
        heard = await house.says(WRITE)
        said = " ".join(bytes(event.body).decode() for event in heard if event.type == "tool.result")
        assert "does not allow it: no notes" in said
        assert await house.notes() is None
        await house.decided("block")


async def test_a_hook_changes_what_a_call_is_made_with(database: Database, tmp_path: Path) -> None:
    changed = """echo '{"updatedInput":{"path":"notes.txt","content":"goodbye"}}'"""
    async with story(database, tmp_path) as house:
        await house.hook(changed, if_expr='tool_input.content == "hello"')
        await house.says(WRITE)
        assert await house.notes() == "goodbye"


async def test_what_a_hook_makes_of_a_call_must_fit_the_tool(database: Database, tmp_path: Path) -> None:
    async with story(database, tmp_path) as house:
        await house.hook("""echo '{"updatedInput":{"path":5}}'""")
        heard = await house.says(WRITE)
        assert any("write_file: " in bytes(event.body).decode() for event in heard if event.type == "tool.result")
        assert await house.notes() is None


async def test_a_hook_keeps_a_message_from_being_answered(database: Database, tmp_path: Path) -> None:
    async with story(database, tmp_path) as house:
        await house.hook("exit 2", "user_prompt_submit")
        heard = await house.says(WRITE)
        assert heard[-1].type == "run.failed"
        assert await house.notes() is None
        await house.decided("block")


async def test_what_blocks_nothing_is_told_all_the_same(database: Database, tmp_path: Path) -> None:
    async with story(database, tmp_path) as house:
        for event in ("session_start", "post_tool_use", "stop"):
            await house.hook(f"cat > {event}.json; exit 2", event)
        await house.says(WRITE)
        assert await house.notes() == "hello"
        await house.decided("block", "block", "block")
        told = (tmp_path / "data" / "hooks" / "post_tool_use.json").read_text()
        assert '"toolName":"write_file"' in told
        assert '"isError":false' in told


async def test_where_commands_are_not_allowed_a_hook_that_is_one_blocks(database: Database, tmp_path: Path) -> None:
    async with story(database, tmp_path, Hooks(allow_command=False)) as house:
        await house.hook("true")
        await house.says(WRITE)
        assert await house.notes() is None
        await house.decided("error")


async def test_a_hook_of_an_agent_is_for_that_agent_alone(database: Database, tmp_path: Path) -> None:
    async with story(database, tmp_path) as house:
        await house.hook("exit 2", scope="agent", agent_ids=["default"])
        await house.says(WRITE)
        assert await house.notes() is None


async def test_a_hook_that_says_no_all_the_time_is_switched_off(database: Database, tmp_path: Path) -> None:
    async with story(database, tmp_path) as house:
        id = await house.hook("exit 2")
        hook = await database.run(hooks.get, id=id, tenant=MASTER_TENANT)
        assert hook is not None
        about = Happening(event="pre_tool_use", tenant_id=MASTER_TENANT, tool_name="exec")
        for _ in range(4):
            house.system.tell(HOOKS, HookEnded(hook=hook, about=about, decision="block", milliseconds=1))
        house.system.tell(HOOKS, HookEnded(hook=hook, about=about, decision="error", milliseconds=1))
        await house.decided(*["block"] * 4, "error")
        assert (await list_hooks(house.ctx, AskHooks())).hooks[0].enabled

        house.system.tell(HOOKS, HookEnded(hook=hook, about=about, decision="timeout", milliseconds=1))
        with trio.fail_after(10):
            while (await list_hooks(house.ctx, AskHooks())).hooks[0].enabled:  # noqa: ASYNC110 - nor has this one
                await trio.sleep(0.02)
        await house.says(WRITE)
        assert await house.notes() == "hello"
