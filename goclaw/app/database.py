"""The database, ours or somebody else's, with its schema and its first rows. Contract: config-cli.md §10."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from goclaw.domain.access import MASTER_TENANT, SYSTEM_USER
from goclaw.domain.agent import DEFAULT_KEY
from goclaw.domain.ids import new_id
from goclaw.knowledge import templates
from goclaw.settings.settings import Settings
from goclaw.stores import agents as agent_rows
from goclaw.stores.connection import connect
from goclaw.stores.database import Database, open_database
from goclaw.stores.embedded import EmbeddedServer
from goclaw.stores.migrate import ensure_schema

log = structlog.get_logger()


@asynccontextmanager
async def open_stores(settings: Settings) -> AsyncIterator[tuple[Database, EmbeddedServer | None]]:
    """The database, ours or somebody else's, with its schema and its first rows. Raises StartupFatal."""
    wanted = settings.database
    server: EmbeddedServer | None = None
    dsn = wanted.dsn.reveal()
    if wanted.mode == "embedded":
        server = EmbeddedServer(
            wanted.embedded.dir,
            shared_buffers_mb=wanted.embedded.shared_buffers_mb,
            max_connections=wanted.embedded.max_connections,
            max_wal_size_mb=wanted.embedded.max_wal_size_mb,
        )
        dsn = await server.start()
    try:
        pool = open_database(
            dsn,
            pool_min=wanted.pool_min,
            pool_max=wanted.pool_max,
            statement_timeout_ms=int(wanted.statement_timeout_ms),
        )
        async with pool as database:
            await _prepare(dsn, database)
            yield database, server
    finally:
        if server is not None:
            await server.stop()


async def _prepare(dsn: str, database: Database) -> None:
    connection = await connect(dsn)
    try:
        for step in await ensure_schema(connection, upgrade=False):
            log.info("schema.applied", step=step.name)
            database.migrated.append(step.name)
    finally:
        await connection.close()
    named = {"id": new_id(), "tenant": MASTER_TENANT, "key": DEFAULT_KEY, "name": "GoClaw", "owner": SYSTEM_USER}
    await database.run(agent_rows.seed, **named, more=templates.starters())
