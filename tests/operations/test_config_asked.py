"""The configuration for those who may ask. Contract: edge-websocket.md §7.5, wire-compat.md C20 and §D."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from goclaw.actors.config import Configuration
from goclaw.domain.access import MASTER_TENANT, Caller, Role
from goclaw.domain.errors import Rejected
from goclaw.operations import config
from goclaw.operations.config import ApplyConfig, GetConfig, PatchConfig
from goclaw.operations.context import Context, House
from goclaw.operations.gateway import Nothing
from goclaw.operations.params import decode
from goclaw.runtime.child import child
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import open_system
from goclaw.settings.document import parse
from goclaw.settings.load import load, undecided
from goclaw.settings.writer import ConfigFile
from goclaw.stores.audit_book import AuditBook
from goclaw.stores.database import Database

ADMIN = Caller(user_id="lan", role=Role.ADMIN)


class Place:
    def __init__(self, house: House, path: Path) -> None:
        self.house, self.path = house, path
        self.ctx = Context(house, ADMIN)

    @property
    def value(self) -> Any:
        return parse(self.path.read_text()).value

    async def patch(self, **params: Any) -> config.Applied:
        return await config.patch(self.ctx, decode(PatchConfig, params))

    async def refused(self, **params: Any) -> dict[str, Any]:
        with pytest.raises(Rejected) as no:
            await self.patch(**params)
        return {"code": no.value.err.code, **no.value.err.details}


@asynccontextmanager
async def place(database: Database, home: Path, text: str, **variables: str) -> AsyncIterator[Place]:
    path = home / "config.json"
    path.write_text(text)
    loaded = undecided(load(path, {"GOCLAW_HOME": str(home), **variables}, {}))

    def tree() -> Supervisor:
        return Supervisor([child("infra", lambda: Supervisor([child("config", Configuration, loaded)]))])

    async with open_system(database) as system:
        await system.start(child("", tree))
        house = House(loaded.settings, system, "0", "node", 0)
        house.config = ConfigFile(loaded)
        yield Place(house, path)


@pytest.fixture
async def here(database: Database, tmp_path: Path) -> AsyncIterator[Place]:
    async with place(database, tmp_path, "{gateway: {port: 1}} // ours", GOCLAW_HOST="127.0.0.1") as here:
        yield here


async def test_it_is_for_admins_of_the_master_tenant(here: Place) -> None:
    calls = (
        (config.get, GetConfig()),
        (config.apply, ApplyConfig(raw="{}")),
        (config.patch, PatchConfig(raw="{}")),
        (config.schema, Nothing()),
        (config.defaults, Nothing()),
        (config.reload, Nothing()),
    )
    others = (Caller(user_id="lan", role=Role.OPERATOR), Caller(user_id="lan", role=Role.ADMIN, tenant_id="other"))
    for caller in others:
        for call, ask in calls:
            with pytest.raises(Rejected) as no:
                await call(Context(here.house, caller), ask)  # type: ignore[arg-type]  # each its own
            assert no.value.err.code == "FORBIDDEN"
    assert ADMIN.tenant_id == MASTER_TENANT


async def test_both_dialects_say_what_they_want(here: Place) -> None:
    """wire-compat.md §D: a dotted key and its value; the configuration itself as the parameters; one part alone."""
    by_key = await here.patch(key="queue.lanes.main", value=7)
    null = await here.patch(key="queue.lanes.main", value=None)
    whole = await config.apply(here.ctx, decode(ApplyConfig, {"gateway": {"port": 3}}))
    part = await config.get(here.ctx, decode(GetConfig, {"key": "gateway.port"}))

    assert (by_key.changed, null.changed) == (("queue.lanes.main",), ("queue.lanes.main",))
    assert (whole.restart, here.value) == (True, {"gateway": {"port": 3}})
    assert part == config.Part(key="gateway.port", value=3)


async def test_what_is_set_elsewhere_is_said(here: Place) -> None:
    shown = await config.get(here.ctx, GetConfig())
    done = await here.patch(raw="{gateway: {host: '0.0.0.0'}}")

    assert isinstance(shown, config.Config)
    assert shown.set_elsewhere == {"gateway.host": "env:GOCLAW_HOST"}
    assert (done.changed, done.overridden) == ((), ("gateway.host",))


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"raw": "{"}, "raw"),
        ({"raw": "[]"}, "raw"),
        ({"raw": "null"}, "raw"),
        ({"raw": "{a: 1, a: 2}"}, "raw"),
        ({"raw": "{gateway: {prot: 1}}"}, "gateway.prot"),
        ({"raw": "{gateway: {port: 'x'}}"}, "gateway.port"),
        ({"key": "gateway.port"}, "raw"),
        ({"value": 1}, "raw"),
        ({}, "raw"),
    ],
)
async def test_a_mistake_names_its_place(here: Place, params: dict[str, Any], field: str) -> None:
    told = await here.refused(**params)
    assert (told["code"], told["field"]) == ("INVALID_REQUEST", field)
    assert here.path.read_text() == "{gateway: {port: 1}} // ours"


async def test_of_two_at_once_one_wins(here: Place) -> None:
    """CF-16."""
    shown = await config.get(here.ctx, GetConfig())
    assert isinstance(shown, config.Config)
    came: list[str] = []

    async def write(port: int) -> None:
        try:
            await here.patch(raw=json.dumps({"gateway": {"port": port}}), baseHash=shown.hash)
        except Rejected as no:
            came.append(no.err.code)
        else:
            came.append("ok")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write, 2)
        nursery.start_soon(write, 3)
    assert sorted(came) == ["FAILED_PRECONDITION", "ok"]


async def test_what_the_gateway_does_not_take_is_taken_back(here: Place, tmp_path: Path) -> None:
    """CF-15. Here somebody breaks the other file at the same time."""
    broken = tmp_path / ".env.local"
    file = here.house.config
    assert file is not None
    draft = file.patched({"queue": {"lanes": {"main": 9}}})
    file.write(draft)
    broken.write_text("nonsense")
    with pytest.raises(Rejected) as no:
        await config._taken_over(here.ctx, file, draft)

    assert no.value.err.code == "FAILED_PRECONDITION"
    assert here.path.read_text() == "{gateway: {port: 1}} // ours"


async def test_a_change_that_cannot_be_audited_is_not_made(here: Place, database: Database, tmp_path: Path) -> None:
    """OB-22."""

    class Mute(AuditBook):
        async def write(self, act: Any) -> bool:
            return False

    here.house.audit = Mute(database, tmp_path / "audit", "node", here.house.system.clock.now)
    with pytest.raises(Rejected) as no:
        await here.patch(key="gateway.port", value=2)

    assert no.value.err.code == "UNAVAILABLE"
    assert here.value == {"gateway": {"port": 1}}


async def test_the_shape_and_the_defaults_are_shown(here: Place) -> None:
    schema = await config.schema(here.ctx, Nothing())
    defaults = await config.defaults(here.ctx, Nothing())

    assert schema["json"]["properties"]["gateway"]["properties"]["port"]["default"] == 18790
    assert defaults["config"]["gateway"]["port"] == 18790
