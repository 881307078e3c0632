"""Hooks as admins write them. Contract: edge-websocket.md §7.14."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from goclaw.domain.access import MASTER_TENANT, Caller, Role
from goclaw.domain.errors import Rejected
from goclaw.domain.ids import new_id
from goclaw.operations.context import Context, House
from goclaw.operations.hook_shapes import AskHooks, OneHook, UpdateHook, Wanted
from goclaw.operations.hook_shapes import ToggleHook as Toggle
from goclaw.operations.hook_trials import TestHook, try_hook
from goclaw.operations.hooks import AskHistory, create, delete, history, list_hooks, toggle, update
from goclaw.operations.params import decode
from goclaw.runtime.child import child
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import open_system
from goclaw.security.box import Box
from goclaw.settings.settings import Settings
from goclaw.stores import tenants
from goclaw.stores.database import Database

ADMIN = Caller(user_id="an", role=Role.ADMIN, is_owner=True, tenant_id=MASTER_TENANT)
HOOK: dict[str, Any] = {
    "event": "pre_tool_use",
    "handlerType": "command",
    "scope": "tenant",
    "matcher": "exec",
    "config": {"command": ["guard", "--strict"], "secrets": {"TOKEN": "s3cret-s3cret"}},
}


async def asked(database: Database, place: Path, work: Any, caller: Caller = ADMIN) -> Any:
    async with open_system(database) as system:
        await system.start(child("", Supervisor))
        house = House(Settings(data_dir=place), system, "0", new_id(), 0, box=Box(bytes(range(32))))
        return await work(Context(house, caller))


async def test_a_hook_is_made_shown_changed_switched_and_deleted(database: Database, tmp_path: Path) -> None:
    async def work(ctx: Context) -> None:
        id = (await create(ctx, decode(Wanted, HOOK))).hook_id
        (made,) = (await list_hooks(ctx, AskHooks(event="pre_tool_use"))).hooks
        assert (made.id, made.timeout_ms, made.on_timeout, made.source) == (id, 5000, "block", "user")
        assert made.secret_names == ["TOKEN"]
        assert b"s3cret" not in msgspec.json.encode(made)

        await update(ctx, UpdateHook(hook_id=id, updates={"priority": 5, "config": {"command": "true"}}))
        (changed,) = (await list_hooks(ctx, AskHooks())).hooks
        assert (changed.priority, changed.matcher, changed.secret_names, changed.version) == (5, "exec", ["TOKEN"], 2)

        await toggle(ctx, Toggle(hook_id=id, enabled=False))
        assert (await list_hooks(ctx, AskHooks(enabled=True))).hooks == []
        await delete(ctx, OneHook(hook_id=id))
        with pytest.raises(Rejected) as gone:
            await delete(ctx, OneHook(hook_id=id))
        assert gone.value.err.code == "NOT_FOUND"

    await asked(database, tmp_path, work)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"matcher": "("}, "matcher"),
        ({"ifExpr": "tool_name =="}, "if_expr"),
        ({"config": {}}, "config.command"),
        ({"config": {"command": "x", "shell": True}}, "config"),
        ({"config": {"command": "rm -rf /"}}, "config.command"),
        ({"config": {"command": "x", "env": ["LD_PRELOAD"]}}, "config.env"),
        ({"config": {"command": "x", "env": ["GOCLAW_ENCRYPTION_KEY"]}}, "config.env"),
        ({"config": {"command": "x", "secrets": {"PATH": "/tmp"}}}, "config.secrets"),
        ({"scope": "agent"}, "agent_ids"),
        ({"timeoutMs": 10_001}, "timeout_ms"),
        ({"event": "delegation.completed"}, "event"),
        ({"handlerType": "http", "config": {"url": "http://127.0.0.1:9/"}}, "config.url"),
        (
            {"handlerType": "http", "config": {"url": "http://169.254.169.254/", "allow_private_network": True}},
            "config.url",
        ),
        ({"handlerType": "prompt", "config": {"prompt": "no"}, "matcher": ""}, "matcher"),
        ({"handlerType": "prompt", "config": {"prompt": "no"}, "event": "stop"}, "event"),
    ],
)
async def test_what_could_never_work_is_refused_by_its_field(
    database: Database, tmp_path: Path, changes: dict[str, Any], field: str
) -> None:
    async def work(ctx: Context) -> None:
        with pytest.raises(Rejected) as refused:
            await create(ctx, decode(Wanted, {**HOOK, **changes}))
        assert refused.value.err.details["field"] == field
        assert (await list_hooks(ctx, AskHooks())).hooks == []

    await asked(database, tmp_path, work)


async def test_only_an_owner_makes_hooks_for_every_tenant(database: Database, tmp_path: Path) -> None:
    async def work(ctx: Context) -> None:
        with pytest.raises(Rejected) as refused:
            await create(ctx, decode(Wanted, {**HOOK, "scope": "global"}))
        assert refused.value.err.details["reason"] == "owner"

    await asked(database, tmp_path, work, Caller(user_id="bo", role=Role.ADMIN, tenant_id=MASTER_TENANT))


async def test_with_a_second_tenant_hooks_are_no_commands(database: Database, tmp_path: Path) -> None:
    await database.run(tenants.add, id=new_id(), slug="acme", name="Acme")

    async def work(ctx: Context) -> None:
        with pytest.raises(Rejected) as refused:
            await create(ctx, decode(Wanted, HOOK))
        assert refused.value.err.details["reason"] == "hook_command"

    await asked(database, tmp_path, work)


async def test_a_hook_is_tried_and_nothing_is_recorded(database: Database, tmp_path: Path) -> None:
    tried = TestHook(
        config={"handlerType": "command", "config": {"command": "cat; echo no >&2; exit 2"}},
        sample_event={"toolName": "exec", "toolInput": {"command": "ls"}},
    )

    async def work(ctx: Context) -> None:
        result = (await try_hook(ctx, tried)).result
        assert (result.decision, result.reason) == ("block", "no")
        assert '"toolInput":{"command":"ls"}' in result.stdout
        assert (await history(ctx, AskHistory())).total == 0

    await asked(database, tmp_path, work)

    async def as_operator(ctx: Context) -> None:
        with pytest.raises(Rejected) as refused:
            await try_hook(ctx, tried)
        assert refused.value.err.details["reason"] == "role"

    await asked(database, tmp_path, as_operator, Caller(user_id="bo", role=Role.OPERATOR, tenant_id=MASTER_TENANT))
