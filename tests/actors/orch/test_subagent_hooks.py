"""Hooks before a subagent begins and after it ended. Contract: orchestration.md §13.4, tools.md §22."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import trio

from goclaw.actors.engine.hooks import HookWorks
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.hook import Decision
from goclaw.domain.ids import new_id
from goclaw.security.box import Box
from goclaw.settings.hooks import Hooks
from goclaw.stores import hooks as rows
from goclaw.stores.database import Database
from goclaw.tools.hooks.handlers import Handlers
from tests.actors.orch.boss import bossing, call, spoken
from tests.actors.orch.test_subagent_runs import announced, content, states


def works(place: Path, **settings: Any) -> HookWorks:
    box = Box(bytes(range(32)))
    return HookWorks(Handlers(box, place / "hooks", os.environ), Hooks(**settings), box=box)


async def hook(database: Database, event: str, command: str, if_expr: str | None = None) -> None:
    await database.run(
        rows.add,
        id=new_id(),
        tenant=MASTER_TENANT,
        created_by="an",
        event=event,
        scope="tenant",
        handler_type="command",
        name="guard",
        matcher=None,
        if_expr=if_expr,
        timeout_ms=5000,
        on_timeout="block",
        priority=0,
        enabled=True,
        config={"command": command},
        secrets=None,
        agents=[],
    )


async def decided(database: Database, event: str, *wanted: Decision) -> None:
    """Waits for history, which is written behind the run."""
    asked: dict[str, Any] = {"tenant": MASTER_TENANT, "hook": None, "limit": 10, "offset": 0}

    async def there() -> bool:
        found = await database.run(rows.history, **asked)
        return [one.decision for one in found if one.event == event] == list(wanted)

    await until(there)


async def until(there: Callable[[], Any]) -> None:
    with trio.fail_after(10):
        while not await there():  # noqa: ASYNC110 - rows and files have no event
            await trio.sleep(0.02)


async def test_a_hook_keeps_a_subagent_from_being_born(database: Database, tmp_path: Path) -> None:
    async with bossing(database, tmp_path, hooks=works(tmp_path)) as talk:
        await hook(database, "subagent_start", "echo no copies >&2; exit 2", 'tool_input.task == "hello" && depth == 0')

        said = await content(talk, call(task="hello"))

        assert "hook_blocked" in said
        assert "no copies" in said
        assert await database.run(states) == ["chat SUCCEEDED"]
        await decided(database, "subagent_start", "block")
        assert spoken(await content(talk, call(task="other", mode="sync")))["content"] == "echo other"


async def test_a_hook_that_cannot_decide_keeps_it_from_being_born_too(database: Database, tmp_path: Path) -> None:
    async with bossing(database, tmp_path, hooks=works(tmp_path, allow_command=False)) as talk:
        await hook(database, "subagent_start", "true")

        assert "could not decide" in await content(talk, call(task="hello"))
        assert await database.run(states) == ["chat SUCCEEDED"]


async def test_a_hook_is_told_how_a_subagent_ended_and_may_not_block_that(database: Database, tmp_path: Path) -> None:
    async with bossing(database, tmp_path, hooks=works(tmp_path)) as talk:
        await hook(database, "subagent_stop", "cat > ended.json; exit 2")

        await content(talk, call(task="hello", label="greeter"))
        await announced(talk)

        await decided(database, "subagent_stop", "block")
        told = msgspec.json.decode((tmp_path / "hooks" / "ended.json").read_bytes())
        assert told["result"] == "completed"
        assert told["isError"] is False
        assert told["sessionKey"].startswith("agent:default:subagent:greeter")
        assert await database.run(states) == ["chat SUCCEEDED", "subagent SUCCEEDED", "announce SUCCEEDED"]
