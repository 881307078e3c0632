"""Runs that work, then their heads: held together, so that none of them is claimed or ends meanwhile.

Whoever comes to a run that works while holding a head waits for a run that ends, which waits for the head. A run may
be claimed before its head is held, so what runs is read again then, and if there is more, everything is let go.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from goclaw.stores.unit import Connection, many, transaction

TRIES = 5  # a run must be claimed in the same instant for each

BY_SESSION = "session_key = %(key)s::text"
BY_ID = "run_id = ANY(%(runs)s::uuid[])"
THEIR_HEADS = f"session_key IN (SELECT session_key FROM runs WHERE tenant_id = %(tenant)s::uuid AND {BY_ID})"

WORKING = """
SELECT run_id FROM runs WHERE tenant_id = %(tenant)s::uuid AND {which} AND state IN ('CLAIMED', 'RUNNING')
ORDER BY run_id
"""

HEADS = """
SELECT 1 FROM session_heads WHERE tenant_id = %(tenant)s::uuid AND {which} ORDER BY session_key FOR UPDATE
"""


class _OneMore(Exception):
    """A run was claimed before its head was held."""


@transaction
async def hold_session(db: Connection, *, tenant: str, key: str) -> None:
    """What works in a session, and its head."""
    await _hold(db, BY_SESSION, BY_SESSION, {"tenant": tenant, "key": key})


@transaction
async def hold_runs(db: Connection, *, tenant: str, run_ids: Sequence[str]) -> None:
    """Those of these runs that work, and the heads of all their sessions."""
    await _hold(db, BY_ID, THEIR_HEADS, {"tenant": tenant, "runs": list(run_ids)})


async def _hold(db: Connection, runs: str, heads: str, params: dict[str, Any]) -> None:
    working, locking = WORKING.format(which=runs), HEADS.format(which=heads)
    for last in (*[False] * (TRIES - 1), True):
        with suppress(_OneMore):
            async with db.transaction():
                held = await many(str, db.execute(f"{working} FOR UPDATE", params))
                await db.execute(locking, params)
                if not last and not set(await many(str, db.execute(working, params))) <= set(held):
                    raise _OneMore
            return
