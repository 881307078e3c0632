"""What everything rests on: the embedded database and the connections to it; and what is written about the house.

Address   /infra/…
Contract  supervision.md §12, §13; data-model.md §20
"""

from __future__ import annotations

import trio

from goclaw.actors.audit import AuditWriter
from goclaw.actors.cluster.node import Membership
from goclaw.actors.cluster.tree import cluster
from goclaw.actors.config import Configuration
from goclaw.actors.estop import EstopKeeper
from goclaw.actors.history import Activity, ActorLog, Pages
from goclaw.actors.retention import RetentionKeeper
from goclaw.actors.usage import UsageKeeper
from goclaw.domain.activity import RecordActivity
from goclaw.domain.errors import StoreError
from goclaw.operations.context import House
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.child import Backoff, Exhausted, Limit, Strategy, child
from goclaw.runtime.message import Message
from goclaw.runtime.supervisor import Supervisor
from goclaw.settings.load import Loaded
from goclaw.stores import activity, actor_log
from goclaw.stores.actor_log import Entry
from goclaw.stores.database import Database
from goclaw.stores.embedded import EmbeddedServer
from goclaw.stores.health import probe, room

PROBE = 2.0  # seconds between two questions to the database
LOG_LOOK = 60.0  # seconds between two looks at the size of the embedded server's log
LAST_LINES = 2.0  # seconds to write what has come together, at the end


class Check(Message[None]):
    """Ask the database."""


class DatabaseGone(Exception):
    """The embedded server's process ended."""


class EmbeddedDatabase(Actor):
    """Crashes with its server, and starts it again with the next incarnation."""

    start_within = 60.0

    def __init__(self, server: EmbeddedServer) -> None:
        self.server = server

    async def on_start(self, ctx: Context) -> None:
        if ctx.incarnation > 1:  # the first server was started before the tree, so that a bad start shows early
            await self.server.start()
            ctx.log.info("db.restarted")

    async def live(self, ctx: Context) -> None:
        while True:
            with trio.move_on_after(LOG_LOOK) as look:
                await self.server.exited()
            if not look.cancelled_caught:
                raise DatabaseGone("the embedded PostgreSQL ended")
            try:
                self.server.rotate_log()
            except OSError as trouble:
                ctx.log.warning("db.log_not_rotated", error=str(trouble))


class PoolWatch(Actor):
    """Asks the database now and then, so that health and operators know without asking."""

    def __init__(self, database: Database, house: House) -> None:
        self.database = database
        self.house = house
        self.ok = True

    async def on_start(self, ctx: Context) -> None:
        ctx.every(PROBE, Check())

    @handles
    async def check(self, ctx: Context, _tick: Check) -> None:
        before = self.ok
        try:
            await ctx.db(probe)
            if self.database.full:  # somebody's write was refused for want of space
                await ctx.db(room)
                self.database.full = False
            self.ok = True
        except StoreError as trouble:
            self.ok = False
            if before:
                ctx.log.warning("db.lost", error=str(trouble))
        if self.ok and not before:
            ctx.log.info("db.connected")
        self.house.database_lost = not self.ok

    def snapshot(self) -> dict[str, object]:
        pool = self.database
        return {"ok": self.ok, "size": pool.size, "in_use": pool.in_use, "waiting": pool.waiting}


def infra(
    loaded: Loaded, database: Database, server: EmbeddedServer | None, house: House, me: Membership
) -> Supervisor:
    owner_of = house.bulletin.owner_of
    done: Pages[RecordActivity] = Pages(activity.add)
    happened: Pages[Entry] = Pages(actor_log.append, actor_log.trim)
    rests = Exhausted.QUARANTINE  # nothing depends on what is written down
    return Supervisor(
        [
            child("stores", stores, database, server, house),
            child("cluster", cluster, me, house.settings.database.dsn.reveal()),
            child("estop", EstopKeeper, house.brake, house.ownership),
            *([child("audit", AuditWriter, house.audit, shutdown=LAST_LINES)] if house.audit is not None else []),
            child("config", Configuration, loaded, house.audit, on_exhausted=rests),
            child("activity", Activity, done, on_exhausted=rests, shutdown=LAST_LINES),
            child("actor_log", ActorLog, house.node_id, owner_of, happened, on_exhausted=rests, shutdown=LAST_LINES),
            child("retention", RetentionKeeper, house.node_id, house.settings.retention, on_exhausted=rests),
            child("usage", UsageKeeper, house.node_id, house.settings.retention, on_exhausted=rests),
        ],
        strategy=Strategy.REST_FOR_ONE,
        limit=Limit(restarts=3, within=30.0),
    )


def stores(database: Database, server: EmbeddedServer | None, house: House) -> Supervisor:
    children = [child("pg.pool", PoolWatch, database, house)]
    if server is not None:
        backoff = Backoff(first=0.1, longest=5.0)
        children.insert(0, child("pg.embedded", EmbeddedDatabase, server, backoff=backoff, critical=True))
    return Supervisor(children, limit=Limit(restarts=5, within=60.0))
