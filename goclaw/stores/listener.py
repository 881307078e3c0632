"""A connection of its own that hears NOTIFY. Rules of use: durability.md §10."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

from psycopg import Notify, OperationalError
from psycopg.sql import SQL, Identifier

from goclaw.domain.errors import StoreError
from goclaw.stores.connection import Connection, connect


@asynccontextmanager
async def listen(dsn: str, *channels: str) -> AsyncIterator[AsyncIterator[Notify]]:
    """Hear `channels` from the moment the block begins: `channel`, `payload`, `pid` of each notification.

    Nothing is replayed. Raises StoreError("unavailable") when the connection cannot be opened or is lost: what
    was missed in between must be looked up (W5).
    """
    try:
        db = await connect(dsn)
    except OperationalError as error:
        raise _lost(error) from error
    try:
        for channel in channels:
            await db.execute(SQL("LISTEN {}").format(Identifier(channel)))
        async with aclosing(_notes(db)) as notes:
            yield notes
    finally:
        db.close_now()


async def _notes(db: Connection) -> AsyncGenerator[Notify, None]:
    try:
        async with aclosing(db.notifies()) as notes:
            async for note in notes:
                yield note
    except OperationalError as error:
        raise _lost(error) from error


def _lost(error: OperationalError) -> StoreError:
    return StoreError("unavailable", str(error).partition("\n")[0])
