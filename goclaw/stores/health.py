"""Is the database there, and has it room?"""

from __future__ import annotations

import secrets
from contextlib import suppress

from goclaw.stores.unit import Connection, one, transaction

ROOM = 64 * 1024  # bytes


@transaction(readonly=True)
async def probe(db: Connection) -> int:
    """Any answer is a good one. Raises StoreError when there is none."""
    return await one(int, db.execute("SELECT 1"))


class _Undone(Exception):
    pass


@transaction
async def room(db: Connection) -> None:
    """Whether the database can grow by what a turn may need. Leaves nothing behind. Raises StoreError if not."""
    query = "INSERT INTO record_blobs (hash, body) VALUES (%(hash)s, %(body)s)"
    with suppress(_Undone):
        async with db.transaction():
            await db.execute(query, {"hash": secrets.token_hex(32), "body": secrets.token_hex(ROOM // 2)})
            raise _Undone
