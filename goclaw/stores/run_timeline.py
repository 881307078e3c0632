"""A session's life as one line: the events of its runs and the steps between them, in the order they happened."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct

from goclaw.stores.unit import Connection, many, transaction


class Moment(Struct, frozen=True, kw_only=True):
    """An event, or a step: then `step_no` says which, `kind` what, and `body` is its message."""

    run_id: str
    session_key: str
    step_no: int | None
    seq: int
    kind: str
    state: str | None
    reason: str | None
    body: dict[str, Any]
    at: datetime


TIMELINE = """
WITH wanted AS (
  SELECT run_id, session_key FROM runs
  WHERE tenant_id = %(tenant)s AND session_key = %(key)s AND NOT discarded
    AND (%(run)s::uuid IS NULL OR run_id = %(run)s::uuid)
)
SELECT e.run_id, e.session_key, NULL::int AS step_no, e.session_seq AS seq, e.type AS kind, e.state_to AS state,
  e.reason_code AS reason, e.payload AS body, e.at
FROM run_events e JOIN wanted USING (run_id)
UNION ALL
SELECT s.run_id, wanted.session_key, s.step_no, s.step_no, s.kind, NULL, NULL, s.message, s.at
FROM run_steps s JOIN wanted USING (run_id)
ORDER BY at, run_id, step_no NULLS FIRST, seq LIMIT %(limit)s
"""


@transaction(readonly=True)
async def timeline(db: Connection, *, tenant: str, key: str, run_id: str | None, limit: int) -> list[Moment]:
    """What happened in a session, or in one of its runs, oldest first."""
    return await many(Moment, db.execute(TIMELINE, {"tenant": tenant, "key": key, "run": run_id, "limit": limit}))
