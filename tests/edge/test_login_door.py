"""A browser on this machine ends a login by itself. Contract: providers.md §7.3."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from goclaw.actors.engine.added import Opening
from goclaw.domain.access import Caller, Role
from goclaw.domain.ids import new_id
from goclaw.edge.login import LoginDoor
from goclaw.operations import openai_login as login
from goclaw.operations.context import Context, House
from goclaw.runtime.address import Address
from goclaw.runtime.child import Strategy, child
from goclaw.runtime.supervisor import StartChild, Supervisor
from goclaw.security.box import Box
from goclaw.settings.settings import Settings
from goclaw.stores.database import Database
from tests.actors.house import house as open_house
from tests.fakes.authority import Authority, open_authority

NOBODY = login.AskStatus()


@pytest.fixture
async def authority() -> AsyncIterator[Authority]:
    async with open_authority() as authority:
        yield authority


async def test_a_browser_comes_back_and_the_account_is_a_provider(
    database: Database, tmp_path: Path, authority: Authority
) -> None:
    box = Box(b"k" * 32)
    edge = [child("edge", partial(Supervisor, strategy=Strategy.DYNAMIC))]
    opening = Opening(box, authority=authority.url)
    async with open_house(database, tmp_path, opening=opening, more=edge) as system:
        house = House(Settings(), system, "0", new_id(), 0, box=box, auth_base=authority.url)
        ctx = Context(house, Caller(user_id="lan", role=Role.ADMIN))
        doors: list[LoginDoor] = []

        def door() -> LoginDoor:
            doors.append(LoginDoor(house, 0))
            return doors[-1]

        await system.ask(Address("edge"), StartChild(child=child("login", door)), within=5)
        begun = await login.start(ctx, NOBODY)
        assert begun.auth_url is not None
        here = f"http://127.0.0.1:{doors[0].port}"
        async with httpx.AsyncClient() as browser:
            assert (await browser.get(f"{here}/elsewhere")).status_code == 404
            assert (await browser.get(f"{here}/auth/callback?state=other&code=x")).status_code == 400
            assert not (await login.status(ctx, NOBODY)).authenticated
            back = authority.browser(begun.auth_url).removeprefix("http://localhost:1455")

            ended = await browser.get(here + back)

            assert (ended.status_code, "You are logged in" in ended.text) == (200, True)
            assert (await login.status(ctx, NOBODY)).provider_name == "openai-codex"
