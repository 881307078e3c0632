"""The emergency stop that every node obeys: the row `estop` of table `operator_state` (migration 0026).

Contract: security.md §13, data-model.md §14.
"""

from __future__ import annotations

from msgspec import Struct

from goclaw.domain.estop import Change, Stopped
from goclaw.stores.unit import Connection, maybe, one, transaction


class Kept(Struct, frozen=True):
    value: Stopped
    version: int


READ = "SELECT value, version FROM operator_state WHERE name = 'estop'"

BEGIN = "INSERT INTO operator_state (name) VALUES ('estop') ON CONFLICT DO NOTHING"

LOCK = "SELECT value, version FROM operator_state WHERE name = 'estop' FOR UPDATE"

WRITE = """
UPDATE operator_state SET value = %(value)s, version = version + 1, set_by = %(by)s, updated_at = now()
WHERE name = 'estop' RETURNING value, version
"""


@transaction(readonly=True)
async def read(db: Connection) -> Kept | None:
    return await maybe(Kept, db.execute(READ))


@transaction
async def change(db: Connection, change: Change) -> Kept:
    """Levels add up, whoever engaged them where."""
    await db.execute(BEGIN)
    known = await one(Kept, db.execute(LOCK))
    value = known.value.after(change)
    return await one(Kept, db.execute(WRITE, {"value": value, "by": value.by}))
