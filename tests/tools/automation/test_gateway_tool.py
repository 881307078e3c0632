"""The gateway as an agent of its owner sees it. Contract: tools.md §10."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from goclaw.actors.config import Configuration
from goclaw.runtime.child import child
from goclaw.runtime.supervisor import Supervisor
from goclaw.settings.gateway import Gateway
from goclaw.settings.load import load, undecided
from goclaw.settings.section import Secret
from goclaw.settings.settings import Settings
from goclaw.stores.database import Database
from tests.tools.automation.desk import OWNER, Desk, open_desk


@pytest.fixture
async def desk(database: Database, tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(database, tmp_path) as desk:
        yield desk


async def test_only_an_owners_agent_has_it(desk: Desk) -> None:
    for action in ("status", "config_get", "config_patch", "restart", "reload", "actors", "logs_tail"):
        assert (await desk.refused("gateway", "lan", action=action))[0] == "denied_policy", action
    assert "subagent" in desk.tools["gateway"].not_in


async def test_the_actors_are_shown_and_one_of_them(desk: Desk) -> None:
    assert await desk.said("gateway", OWNER, action="actors")
    assert (await desk.said("gateway", OWNER, action="actors", actor="/cron"))["path"] == "/cron"
    assert (await desk.refused("gateway", OWNER, action="actors", actor="/nobody"))[0] == "not_found"


async def test_the_configuration_is_shown_without_its_secrets(desk: Desk) -> None:
    desk.house.settings = Settings(gateway=Gateway(token=Secret("very-secret-token"), port=1))
    whole = await desk.use("gateway", OWNER, action="config_get")
    assert "very-secret-token" not in whole.text
    assert (await desk.said("gateway", OWNER, action="config_get", path="gateway.token")) == {"gateway.token": "***"}
    assert (await desk.said("gateway", OWNER, action="config_get", path="gateway"))["gateway.port"] == 1
    assert (await desk.refused("gateway", OWNER, action="config_get", path="gate"))[0] == "not_found"


async def test_the_configuration_is_read_again(database: Database, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    loaded = undecided(load(tmp_path / "config.json", {"GOCLAW_HOME": str(tmp_path)}, {}))
    config = child("infra", lambda: Supervisor([child("config", Configuration, loaded)]))
    async with open_desk(database, tmp_path, config) as desk:
        assert await desk.said("gateway", OWNER, action="reload") == {"applied": [], "restart": [], "errors": []}
        (tmp_path / "config.json").write_text("{nonsense: 1}")
        assert "nonsense" in str((await desk.said("gateway", OWNER, action="reload"))["errors"])


async def test_what_needs_an_approval_says_what_to_do_instead(desk: Desk) -> None:
    for action in ("config_patch", "restart"):
        code, text = await desk.refused("gateway", OWNER, action=action, path="gateway.port", value=1)
        assert (code, "operator" in text) == ("denied_approval", True)
