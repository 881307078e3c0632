"""A conversation with real lanes, a real database and a vendor that obeys: what tests of sessions share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from msgspec.structs import replace

from goclaw.actors.engine.spending import Spending
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.address import session
from goclaw.domain.events import RunEvent, of_admins
from goclaw.domain.ids import new_id
from goclaw.domain.run import RunRequest, RunResult, RunState
from goclaw.domain.session import Abort, Aborted, Accepted
from goclaw.runtime.address import Address
from goclaw.runtime.cell import Cell
from goclaw.runtime.inbox import inbox
from goclaw.runtime.message import Message, Told
from goclaw.runtime.system import System
from goclaw.settings.compaction import Compaction
from goclaw.settings.providers import Provider, Providers
from goclaw.settings.queue import Queue
from goclaw.stores.database import Database
from goclaw.stores.unit import Connection, many, transaction
from tests.actors.house import KEY, Weather, house, turn
from tests.e2e.gateway import ObedientVendor, VendorPlace

HOLD = "!hold-1"  # said to the vendor: begin an answer and wait for `release`
PATIENCE = 15.0


class Row(Message[None]):
    run_id: str
    state: RunState
    reason_code: str | None
    merged_into: str | None
    text: str


@transaction(readonly=True)
async def stored(db: Connection, key: str = KEY) -> list[Row]:
    query = """
    SELECT run_id, state, reason_code, merged_into, request->>'message' AS text FROM runs WHERE session_key = %s
    ORDER BY run_id
    """
    return await many(Row, db.execute(query, [key]))


class Talk:
    """Whoever talks, and everything that is heard of it."""

    def __init__(self, database: Database, system: System, vendor: ObedientVendor | None, key: str) -> None:
        self.database = database
        self.system = system
        self._vendor = vendor
        self.key = key
        self.events: list[RunEvent] = []
        self._news = trio.Event()
        self._like: Any = None

    def hear(self, message: Message[Any]) -> Told:
        if isinstance(message, RunEvent):
            self.events.append(message)
            self._news.set()
            self._news = trio.Event()
        return Told.ACCEPTED

    @property
    def vendor(self) -> ObedientVendor:
        assert self._vendor is not None
        return self._vendor

    @property
    def here(self) -> Address:
        return session(MASTER_TENANT, self.key)

    async def say(self, text: str, user: str = "lan", **more: Any) -> Accepted:
        if self._like is None:
            self._like = await turn(self.database)
        sent = replace(
            self._like,
            run_id=more.pop("run_id", None) or new_id(),
            user_id=user,
            as_admin=more.pop("as_admin", user != "lan"),
            request=more.pop("request", None) or RunRequest(message=text),
            **more,
        )
        with trio.fail_after(PATIENCE):
            return await self.system.ask(self.here, sent, within=PATIENCE)

    async def holds_back(self, texts: int) -> None:
        """Until so many texts wait in a window."""
        with trio.fail_after(PATIENCE):
            while True:
                session = self.system.members.get(self.here)
                actor = session.actor if isinstance(session, Cell) else None
                if actor is not None and actor.snapshot()["held_back"] == texts:
                    return
                await trio.lowlevel.checkpoint()

    async def abort(self, **how: Any) -> Aborted:
        with trio.fail_after(PATIENCE):
            return await self.system.ask(self.here, Abort(user_id="lan", as_admin=False, **how), within=PATIENCE)

    async def until(self, found: Callable[[], Any]) -> Any:
        """What `found` returns as soon as it is true; looked at whenever an event comes."""
        with trio.fail_after(PATIENCE):
            while not (value := found()):
                await self._news.wait()
            return value

    async def ended(self, *run_ids: str) -> list[RunResult]:
        """How these runs ended, once they have."""
        await self.until(lambda: {e.run_id for e in self.events if e.terminal} >= set(run_ids))
        results = {e.run_id: e.result for e in self.events if e.result is not None}
        return [result for run_id in run_ids if (result := results[run_id]) is not None]

    def story(self) -> list[tuple[str, str]]:
        """Who began and who ended, in that order."""
        kinds = {"run.started": "began", "run.completed": "ended", "run.failed": "failed", "run.cancelled": "ended"}
        return [(kinds[e.type], e.run_id) for e in self.events if e.type == "run.started" or e.terminal]

    async def rows(self) -> list[Row]:
        return await self.database.run(stored, self.key)


@asynccontextmanager
async def talking(
    database: Database,
    tmp_path: Path,
    queue: Queue = Queue(),  # noqa: B008 - frozen
    key: str = KEY,
    weather: Weather | None = None,
    spending: Spending | None = None,
    vendor: type[ObedientVendor] = ObedientVendor,
    compaction: Compaction = Compaction(),  # noqa: B008 - frozen
    **more: Any,
) -> AsyncIterator[Talk]:
    place = VendorPlace(vendor)
    row = Provider(api_base=f"http://127.0.0.1:{place.port}/v1", models=("echo",))
    try:
        async with (
            place.open() as heard,
            house(
                weather or database,
                tmp_path,
                queue,
                Providers(named={"fake": row}),
                spending=spending,
                compaction=compaction,
                **more,
            ) as system,
        ):
            talk = Talk(database, system, heard, key)
            with inbox(system, Address("edge", "http", "ear"), "Ear", talk.hear) as ear:
                ear.join(of_admins(MASTER_TENANT))
                yield talk
    finally:
        place.close()
