"""The gateway as an agent of its owner sees it. Contract: tools.md §10."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from goclaw.actors.config import Configuration
from goclaw.runtime.child import child
from goclaw.runtime.supervisor import Supervisor
from goclaw.settings.gateway import Gateway
from goclaw.settings.load import load, undecided
from goclaw.settings.section import Secret
from goclaw.settings.settings import Settings
from goclaw.settings.writer import ConfigFile
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


@asynccontextmanager
async def configured(database: Database, home: Path, text: str) -> AsyncIterator[tuple[Desk, Path]]:
    """A desk whose house has a configuration file, and somebody who may be asked."""
    path = home / "config.json"
    path.write_text(text)
    loaded = undecided(load(path, {"GOCLAW_HOME": str(home)}, {}))
    config = child("infra", lambda: Supervisor([child("config", Configuration, loaded)]))
    async with open_desk(database, home, config) as desk:
        desk.house.settings, desk.house.config = loaded.settings, ConfigFile(loaded)
        desk.approvals.asks = True
        yield desk, path


async def test_a_change_of_the_configuration_is_approved_and_made(database: Database, tmp_path: Path) -> None:
    """tools.md §10, §12.3. What is asked about is what would change, without secrets."""
    async with configured(database, tmp_path, "{gateway: {port: 1}} // mine") as (desk, path):
        done = await desk.said("gateway", OWNER, action="config_patch", path="queue.lanes.main", value=7)
        secret = {"action": "config_patch", "path": "gateway.token", "value": "a-very-secret-token"}
        hidden = await desk.use("gateway", OWNER, **secret)
        gone = await desk.said("gateway", OWNER, action="config_patch", path="gateway.port", value=None)

    assert done == {"changed": ["queue.lanes.main"], "applied": ["queue.lanes.main"], "restart": [], "overridden": []}
    assert gone["restart"] == ["gateway.port"]
    assert [wish.command for wish in desk.approvals.wishes] == [
        "queue.lanes.main: 30 → 7",
        'gateway.token: "" → "***"',
        "gateway.port: 1 → 18790",
    ]
    assert all(wish.forced and wish.kind == "gateway.config_patch" for wish in desk.approvals.wishes)
    assert "a-very-secret-token" not in hidden.text + path.read_text()
    assert "// mine" in path.read_text()


async def test_nobody_is_asked_about_what_cannot_be_or_is(database: Database, tmp_path: Path) -> None:
    """A call that is repeated after a crash finds its change made."""
    async with configured(database, tmp_path, "{gateway: {port: 1}}") as (desk, path):
        patch = {"action": "config_patch"}
        wrong = [
            await desk.refused("gateway", OWNER, **patch, path="gateway.prot", value=1),
            await desk.refused("gateway", OWNER, **patch, path="gateway.port", value="abc"),
            await desk.refused("gateway", OWNER, **patch, path="gateway.port"),
            await desk.refused("gateway", OWNER, **patch, value=1),
        ]
        same = await desk.said("gateway", OWNER, **patch, path="gateway.port", value=1)

        assert {code for code, _ in wrong} == {"invalid_args"}
        assert "did you mean" in wrong[0][1]
        assert same == {"changed": []}
        assert desk.approvals.wishes == []
        assert path.read_text() == "{gateway: {port: 1}}"


async def test_a_no_leaves_everything_as_it_is(database: Database, tmp_path: Path) -> None:
    async with configured(database, tmp_path, "{}") as (desk, path):
        desk.approvals.yes = False
        desk.house.restart = path.unlink
        for call in ({"action": "config_patch", "path": "gateway.port", "value": 1}, {"action": "restart"}):
            assert (await desk.refused("gateway", OWNER, **call))[0] == "denied_approval"

        assert path.read_text() == "{}"


async def test_a_restart_is_begun_once(database: Database, tmp_path: Path) -> None:
    """Whoever asks again after a crash is told of the start that came since."""
    begun: list[bool] = []
    async with configured(database, tmp_path, "{}") as (desk, _):
        assert (await desk.refused("gateway", OWNER, action="restart"))[0] == "unavailable"
        desk.house.restart = partial(begun.append, True)
        first = await desk.said("gateway", OWNER, action="restart")
        later = await desk.use("gateway", OWNER, again=True, action="restart")

    assert first["restarting"] is True
    assert later.text == '{"restarted":true}'
    assert begun == [True]
