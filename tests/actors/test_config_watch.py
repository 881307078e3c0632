"""The configuration of a running gateway and its files. Contract: config-cli.md §6.1."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from goclaw.actors.config import Configuration
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.address import CONFIG
from goclaw.domain.config import ConfigEvent, LastReload, Reload, Reloaded
from goclaw.domain.events import of_admins
from goclaw.domain.run import LANES, SetLimit
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.child import child
from goclaw.runtime.inbox import inbox
from goclaw.runtime.message import Message, Told
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import System, open_system
from goclaw.settings.load import load, undecided
from goclaw.stores.database import Database

PATIENCE = 10.0


class Lane(Actor):
    """Writes down how large it shall be."""

    def __init__(self, name: str, sizes: dict[str, list[int]]) -> None:
        self.sizes = sizes.setdefault(name, [])

    @handles
    async def limit(self, _ctx: Context, ask: SetLimit) -> None:
        self.sizes.append(ask.limit)


class Watched:
    def __init__(self, system: System, path: Path, sizes: dict[str, list[int]]) -> None:
        self.system, self.path, self.sizes = system, path, sizes
        self.heard: list[tuple[str, Any]] = []
        self._came = trio.Event()

    def hear(self, message: Message[Any]) -> Told:
        if isinstance(message, ConfigEvent):
            self.heard.append((message.type, json.loads(bytes(message.body))))
            self._came.set()
            self._came = trio.Event()
        return Told.ACCEPTED

    async def told(self, type: str) -> Any:
        """The first such event."""
        with trio.fail_after(PATIENCE):
            while not (found := [body for name, body in self.heard if name == type]):
                await self._came.wait()
        await wait_all_tasks_blocked()  # the lanes are told by messages, too
        return found[0]

    async def asked(self) -> Reloaded:
        return await self.system.ask(CONFIG, Reload(), PATIENCE)

    async def last(self) -> Reloaded:
        return await self.system.ask(CONFIG, LastReload(), PATIENCE)


@asynccontextmanager
async def watched(database: Database, home: Path, text: str = "{}") -> AsyncIterator[Watched]:
    path = home / "config.json"
    path.write_text(text)
    loaded = undecided(load(path, {"GOCLAW_HOME": str(home)}, {}))
    sizes: dict[str, list[int]] = {}

    def lanes() -> Supervisor:
        return Supervisor(children=[child(name, Lane, name, sizes) for name in LANES])

    def tree() -> Supervisor:
        infra = child("infra", lambda: Supervisor(children=[child("config", Configuration, loaded)]))
        return Supervisor(children=[child("engine", lambda: Supervisor(children=[child("lanes", lanes)])), infra])

    async with open_system(database) as system:
        here = Watched(system, path, sizes)
        with inbox(system, Address("listener"), "Listener", here.hear) as box:
            box.join(of_admins(MASTER_TENANT))
            await system.start(child("", tree))
            yield here


async def test_ten_edits_in_a_row_are_read_once(database: Database, tmp_path: Path) -> None:
    """CF-11."""
    async with watched(database, tmp_path) as here:
        for size in range(1, 11):
            here.path.write_text(f"{{queue: {{lanes: {{main: {size}}}}}}}")

        assert await here.told("config.reloaded") == {"applied": ["queue.lanes.main"], "restart": []}
        assert here.sizes["main"] == [10]


async def test_a_broken_edit_keeps_what_runs_and_tells_of_it(database: Database, tmp_path: Path) -> None:
    """CF-10. What is right again is news."""
    async with watched(database, tmp_path, "{queue: {lanes: {main: 3}}}") as here:
        here.path.write_text("{queue: {lanes: {main: 0}}, gateway: {prot: 1}}")

        assert len((await here.told("config.rejected"))["errors"]) == 2
        assert here.sizes == {name: [] for name in LANES}
        assert len((await here.last()).errors) == 2

        here.path.write_text("{queue: {lanes: {main: 3}}}")
        assert await here.told("config.reloaded") == {"applied": [], "restart": []}
        assert (await here.last()).errors == ()


async def test_another_port_waits_for_a_start(database: Database, tmp_path: Path) -> None:
    """CF-12."""
    async with watched(database, tmp_path) as here:
        here.path.write_text("{gateway: {port: 1}}")

        assert await here.told("config.restart_needed") == {"keys": ["gateway.port"]}
        assert (await here.last()).restart == ("gateway.port",)


async def test_an_edit_that_says_the_same_is_no_news(database: Database, tmp_path: Path) -> None:
    async with watched(database, tmp_path, "{queue: {lanes: {main: 3}}}") as here:
        here.path.write_text("{queue: {lanes: {main: 3}}} // as it was")

        assert await here.asked() == Reloaded()
        assert here.heard == []


async def test_the_secrets_beside_it_are_watched_too(database: Database, tmp_path: Path) -> None:
    async with watched(database, tmp_path) as here:
        (tmp_path / ".env.local").write_text("GOCLAW_LANE_MAIN=4\n")

        await here.told("config.reloaded")
        assert here.sizes["main"] == [4]
