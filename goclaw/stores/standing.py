"""How a run stands, for those who come back to it. Table `runs`."""

from __future__ import annotations

import uuid

from msgspec import Struct

from goclaw.domain.run import RunResult, RunState
from goclaw.stores.unit import Connection, maybe, transaction


class Standing(Struct, frozen=True, kw_only=True):
    run_id: str
    user_id: str
    state: RunState
    result: RunResult | None


FIND = """
SELECT run_id, user_id, state, result FROM runs
WHERE tenant_id = %(tenant)s AND session_key = %(key)s AND NOT discarded
  AND (%(run)s::uuid IS NULL OR run_id = %(run)s::uuid)
ORDER BY state IN ('CLAIMED', 'RUNNING') DESC, created_at DESC, run_id DESC LIMIT 1
"""


@transaction(readonly=True)
async def find(db: Connection, *, tenant: str, key: str, run_id: str | None) -> Standing | None:
    """A run of a session; without an id the one that runs, else the newest. None if there is none."""
    if run_id is not None:
        try:
            run_id = str(uuid.UUID(run_id))
        except ValueError:
            return None
    return await maybe(Standing, db.execute(FIND, {"tenant": tenant, "key": key, "run": run_id}))
