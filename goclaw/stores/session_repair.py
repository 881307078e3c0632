"""Messages of a history that no model will ever see, put away. Tables `sessions`, `session_messages`.

Contract: agent-loop.md §8.2. Each is archived with a marker of its own, as whatever leaves a history.
"""

from __future__ import annotations

from collections.abc import Sequence

from goclaw.stores.session_changes import LOCK
from goclaw.stores.unit import Connection, many, transaction

DROP = """
WITH gone AS (
  UPDATE session_messages m SET archived_at = now()
  FROM sessions s
  WHERE s.tenant_id = %(tenant)s::uuid AND s.session_key = %(key)s AND m.session_id = s.id
    AND m.generation = s.generation AND m.id = ANY(%(ids)s::uuid[]) AND m.archived_at IS NULL
  RETURNING m.id, m.seq, m.session_id
), changed AS (
  UPDATE sessions s SET last_seq = s.last_seq + n.n, message_count = s.message_count - n.n
  FROM (SELECT session_id, count(*)::int AS n FROM gone GROUP BY session_id) AS n WHERE s.id = n.session_id
  RETURNING s.id, s.tenant_id, s.last_seq - n.n AS before, s.generation
), marker AS (
  INSERT INTO session_messages (session_id, seq, tenant_id, id, role, payload, generation, hidden)
  SELECT c.id, c.before + row_number() OVER (ORDER BY gone.seq), c.tenant_id, gen_random_uuid(), 'system',
    jsonb_build_object('marker', 'truncated', 'covered', jsonb_build_array(gone.seq, gone.seq)), c.generation, true
  FROM changed c, gone
)
SELECT id FROM gone
"""


@transaction
async def drop(db: Connection, *, tenant: str, key: str, ids: Sequence[str]) -> list[str]:
    """Archive these messages. Returns those that were still there: of two who find the same, one does it."""
    params = {"tenant": tenant, "key": key, "ids": list(ids)}
    await db.execute(LOCK, params)
    return await many(str, db.execute(DROP, params))
