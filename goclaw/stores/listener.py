"""A connection of its own that hears NOTIFY. Rules of use: durability.md §10."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

from psycopg import Notify, OperationalError
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from goclaw.domain.errors import StoreError
from goclaw.stores.connection import Connection, connect

KEEPALIVE = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}  # seconds; durability.md §12.4


@asynccontextmanager
async def listen(dsn: str, *channels: str, lock: int | None = None) -> AsyncIterator[AsyncIterator[Notify]]:
    """Hear `channels` from the moment the block begins: `channel`, `payload`, `pid` of each notification.

    The connection holds the advisory lock `lock` as long as it lives, so others see that we do; a dead machine is
    noticed after 11 s. Nothing is replayed.

    Raises StoreError("unavailable") when the connection cannot be opened or is lost: what was missed in between must
    be looked up (W5).
    """
    db = await _open(dsn)
    try:
        try:
            if lock is not None:
                await db.execute("SELECT pg_advisory_lock(%s)", [lock])
            for channel in channels:
                await db.execute(SQL("LISTEN {}").format(Identifier(channel)))
        except OperationalError as error:
            raise _lost(error) from error
        async with aclosing(_notes(db)) as notes:
            yield notes
    finally:
        db.close_now()


async def _open(dsn: str) -> Connection:
    try:
        return await connect(make_conninfo(dsn, **KEEPALIVE))
    except OperationalError as error:
        raise _lost(error) from error


async def _notes(db: Connection) -> AsyncGenerator[Notify, None]:
    try:
        async with aclosing(db.notifies()) as notes:
            async for note in notes:
                yield note
    except OperationalError as error:
        raise _lost(error) from error


def _lost(error: OperationalError) -> StoreError:
    return StoreError("unavailable", str(error).partition("\n")[0])
