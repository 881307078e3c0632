"""A policy file that changes while the gateway runs. Contract: security.md §9.2, SEC-34."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
import trio

from goclaw.actors.engine.policy import PolicyFile
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.address import POLICY
from goclaw.domain.events import of_admins
from goclaw.domain.policy import PolicyEvent, PolicyState, ReloadPolicy
from goclaw.runtime.address import Address
from goclaw.runtime.child import child
from goclaw.runtime.inbox import inbox
from goclaw.runtime.message import Message, Told
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import System, open_system
from goclaw.security.policy_book import PolicyBook
from goclaw.security.policy_file import load, shape
from goclaw.stores.database import Database

PATIENCE = 10.0
TOOLS = frozenset({"exec", "read_file"})
EXEC, READ = '{"allow_capabilities": ["tools.exec"]}', '{"allow_capabilities": ["tools.read_file"]}'


class News:
    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []
        self._came = trio.Event()

    def hear(self, message: Message[Any]) -> Told:
        if isinstance(message, PolicyEvent):
            self.events.append((message.type, msgspec.json.decode(message.body)))
            self._came.set()
            self._came = trio.Event()
        return Told.ACCEPTED

    async def next(self) -> tuple[str, Any]:
        with trio.fail_after(PATIENCE):
            while not self.events:
                await self._came.wait()
        return self.events.pop(0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "policy.yaml"


def put(file: Path, text: str) -> None:
    """As editors do: another file takes its place."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.chmod(0o600)
    os.replace(new, file)


@asynccontextmanager
async def watching(database: Database, file: Path) -> AsyncIterator[tuple[System, PolicyBook, News]]:
    book = PolicyBook(load(file, TOOLS) if shape(file) else None)

    def tree() -> Supervisor:
        policy = child("policy", lambda: Supervisor([child("file", PolicyFile, (file, book, TOOLS, None))]))
        return Supervisor([child("engine", lambda: Supervisor([policy]))])

    async with open_system(database) as system:
        await system.start(child("", tree))
        news = News()
        with inbox(system, Address("listener"), "Listener", news.hear) as box:
            box.join(of_admins(MASTER_TENANT))
            yield system, book, news


async def reload(system: System) -> PolicyState:
    return await system.ask(POLICY, ReloadPolicy(), within=PATIENCE)


async def test_an_edit_counts_soon_and_is_told(database: Database, file: Path, dsn: str) -> None:
    put(file, EXEC)
    async with watching(database, file) as (_, book, news):
        old = book.version
        put(file, READ)

        event = await news.next()

        diff = {"capabilities": ["+tools.read_file", "-tools.exec"]}
        assert event == ("policy.reloaded", {"old": old, "new": book.version, "diff": diff})
        assert not book.pin(MASTER_TENANT).tool("exec").allowed
        assert book.version != old


async def test_what_cannot_be_used_changes_nothing(database: Database, file: Path) -> None:
    put(file, EXEC)
    async with watching(database, file) as (system, book, news):
        good = book.version
        put(file, "allow_all: true")
        assert await news.next() == ("policy.rejected", {"errors": ["line 1: unknown key 'allow_all' in the policy"]})
        assert book.version == good

        os.unlink(file)
        assert await news.next() == ("policy.rejected", {"errors": ["the file is gone"]})
        assert book.pin(MASTER_TENANT).tool("exec").allowed
        assert not book.pin(MASTER_TENANT).tool("read_file").allowed

        put(file, EXEC)
        state = await reload(system)
        assert (state.errors, state.changed, state.version) == ((), False, good)


async def test_a_file_that_others_may_write_is_no_policy(database: Database, file: Path) -> None:
    put(file, EXEC)
    async with watching(database, file) as (system, book, _):
        put(file, READ)
        os.chmod(file, 0o666)

        state = await reload(system)

        assert "chmod go-w" in state.errors[0]
        assert book.pin(MASTER_TENANT).tool("exec").allowed


async def test_a_policy_may_appear_later(database: Database, file: Path) -> None:
    async with watching(database, file) as (system, book, _):
        assert (await reload(system)).errors == ()
        assert book.pin(MASTER_TENANT).tool("exec").allowed

        put(file, "")
        await reload(system)

        assert not book.pin(MASTER_TENANT).tool("exec").allowed


async def test_versions_are_written_down(database: Database, file: Path, dsn: str) -> None:
    put(file, EXEC)
    async with watching(database, file) as (system, book, _):
        await reload(system)
        await reload(system)  # behind the message that writes it
        with psycopg.connect(dsn) as db:
            rows = db.execute("SELECT version, content->'allow_capabilities', source FROM policy_versions").fetchall()

    assert rows == [(book.version, ["tools.exec"], str(file))]
