"""What a run may is what the policy said when it began, less what was taken away since. Contract: security.md §9."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
import trio

from goclaw.actors.engine.guards import Guards
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.address import session
from goclaw.domain.chat import ToolCall
from goclaw.operations.feed import listening
from goclaw.runtime.system import System
from goclaw.security.audit import Act
from goclaw.security.paths import PathRefused
from goclaw.security.policy import Policy
from goclaw.security.policy_book import PolicyBook
from goclaw.security.policy_text import read
from goclaw.stores.database import Database
from goclaw.tools.groups import GROUPS
from goclaw.tools.tool import Effect, Tool, ToolContext, collect, tool
from tests.actors.house import KEY, house, turn


class Nothing(msgspec.Struct):
    """No arguments."""


@dataclass
class Lines:
    """An audit that is read by the test."""

    acts: list[Act] = field(default_factory=list)

    def note(self, act: Act) -> None:
        self.acts.append(act)

    async def write(self, act: Act) -> bool:
        self.acts.append(act)
        return True

    def count(self, run_id: str, action: str, *, tenant_id: str, actor_id: str, policy_version: str | None) -> None:
        self.acts.append(Act(action=action, decision="allow", policy_version=policy_version))

    def run_ended(self, run_id: str) -> None: ...

    @property
    def decided(self) -> list[tuple[str, str, str | None]]:
        return [(act.action, act.decision, act.policy_version) for act in self.acts]


def allowing(*names: str, **more: Any) -> Policy:
    text = msgspec.json.encode({"allow_capabilities": [f"tools.{name}" for name in names], **more}).decode()
    return read(text, {"list_files", "second"})


class Runs:
    """Runs whose model calls `then`, which does what the test says with the calls of its own run."""

    def __init__(self, database: Database, place: Path, book: PolicyBook, lines: Lines | None = None) -> None:
        self.database, self.place, self.book, self.lines = database, place, book, lines
        self.story: Callable[[ToolContext], Awaitable[None]]
        self.results: list[str] = []

    def tools(self) -> Mapping[str, Tool]:
        @tool(group="fs", effect=Effect.UNSAFE, name="list_files")
        async def then(ctx: ToolContext, ask: Nothing) -> str:
            """The test's."""
            await self.story(ctx)
            return "done"

        @tool(group="fs", effect=Effect.UNSAFE)
        async def second(ctx: ToolContext, ask: Nothing) -> str:
            """What the policy is about."""
            return "second"

        return {one.__tool__.name: one.__tool__ for one in (then, second)}  # type: ignore[attr-defined]

    @asynccontextmanager
    async def living(self) -> AsyncIterator[System]:
        guards = Guards(policy=self.book, audit=self.lines)
        async with house(self.database, self.place, tools=self.tools(), guards=guards) as system:
            yield system

    async def begin(self, system: System, story: Callable[[ToolContext], Awaitable[None]]) -> str:
        self.story = story
        send = await turn(self.database, "list files")
        with trio.fail_after(10), listening(system, send.run_id) as feed:
            await system.ask(session(MASTER_TENANT, KEY), send, within=5)
            while await feed.next():
                pass
        return send.run_id


async def call(ctx: ToolContext) -> str:
    assert ctx.calls is not None
    result = await ctx.calls.act(ToolCall(id="c", name="second", arguments={}))
    return result.error_code or result.text


def pinned(dsn: str, run_id: str) -> str | None:
    with psycopg.connect(dsn) as db:
        row = db.execute("SELECT policy_version FROM runs WHERE run_id = %s", [run_id]).fetchone()
    assert row is not None
    version: str | None = row[0]
    return version


async def test_a_run_keeps_its_version_and_loses_what_is_taken_away(
    database: Database, tmp_path: Path, dsn: str
) -> None:
    """SEC-36. Begun under v1; v2 removes: the next call is denied. The audit shows both versions."""
    broad, narrow = allowing("list_files", "second"), allowing("list_files")
    runs = Runs(database, tmp_path, PolicyBook(broad), Lines())
    said: list[str] = []

    async def story(ctx: ToolContext) -> None:
        said.append(await call(ctx))
        runs.book.swap(narrow)
        said.append(await call(ctx))

    async with runs.living() as system:
        first = await runs.begin(system, story)

    assert said == ["second", "denied_policy"]
    assert pinned(dsn, first) == broad.version
    assert runs.lines is not None
    assert runs.lines.decided[1:] == [
        ("tools.second", "allow", broad.version),
        ("tools.second", "deny", broad.version),
    ]
    assert runs.lines.acts[-1].details["current_policy"] == narrow.version


async def test_what_a_new_version_adds_is_for_new_runs(database: Database, tmp_path: Path, dsn: str) -> None:
    """SEC-36. v2 adds: denied in the run that began under v1, allowed in the next one."""
    broad, narrow = allowing("list_files", "second"), allowing("list_files")
    runs = Runs(database, tmp_path, PolicyBook(narrow), Lines())
    said: list[str] = []

    async def story(ctx: ToolContext) -> None:
        runs.book.swap(broad)
        said.append(await call(ctx))

    async with runs.living() as system:
        first = await runs.begin(system, story)
        second = await runs.begin(system, story)

    assert said == ["denied_policy", "second"]
    assert [pinned(dsn, run) for run in (first, second)] == [narrow.version, broad.version]


async def test_without_a_policy_a_run_has_no_version(database: Database, tmp_path: Path, dsn: str) -> None:
    """SEC-34. No file: tools work."""
    runs, said = Runs(database, tmp_path, PolicyBook()), list[str]()

    async def story(ctx: ToolContext) -> None:
        said.append(await call(ctx))

    async with runs.living() as system:
        assert pinned(dsn, await runs.begin(system, story)) is None
    assert said == ["second"]


async def test_a_directory_that_is_taken_away_is_out_of_reach_at_once(database: Database, tmp_path: Path) -> None:
    """SEC-36, for paths: in all versions that count, and only as each of them says."""
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "a").write_text("x")
    book = PolicyBook(allowing("list_files", allow_paths=[str(docs)]))
    runs, said = Runs(database, tmp_path / "ws", book), list[str]()

    def tried(ctx: ToolContext) -> None:
        for what in (lambda: os.read(_opened(ctx, f"{docs}/a"), 1), lambda: ctx.workspace.write(f"{docs}/b", b"y")):
            try:
                what()
            except PathRefused:
                said.append("refused")
            else:
                said.append("done")

    async def story(ctx: ToolContext) -> None:
        tried(ctx)
        book.swap(allowing("list_files", allow_paths=[{"path": str(docs), "mode": "ro"}]))
        tried(ctx)
        book.swap(allowing("list_files"))
        tried(ctx)

    async with runs.living() as system:
        await runs.begin(system, story)
    assert said == ["done", "done", "done", "refused", "refused", "refused"]


def _opened(ctx: ToolContext, path: str) -> int:
    with ctx.workspace.open(path) as file:
        return os.dup(file)


@pytest.mark.parametrize("name", sorted({*collect("goclaw.tools"), *(name for all in GROUPS.values() for name in all)}))
def test_an_empty_file_denies_every_tool(name: str) -> None:
    """SEC-34. Nothing is listed, so nothing is allowed."""
    decision = PolicyBook(read("", set())).pin(MASTER_TENANT).tool(name)

    assert not decision.allowed
    assert name in decision.reason
