"""Is the database there?"""

from __future__ import annotations

from goclaw.stores.unit import Connection, one, transaction


@transaction(readonly=True)
async def probe(db: Connection) -> int:
    """Any answer is a good one. Raises StoreError when there is none."""
    return await one(int, db.execute("SELECT 1"))
