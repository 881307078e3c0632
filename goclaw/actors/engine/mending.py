"""What is wrong in a stored history is put away once, and said once. Contract: agent-loop.md §8.2."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from goclaw.agent.history import Remembered, faults
from goclaw.domain.errors import StoreError
from goclaw.runtime.actor import Context
from goclaw.stores import session_repair
from goclaw.stores.runs import Claimed
from goclaw.stores.sessions import MessageRow


async def mend(ctx: Context, run: Claimed, rows: Sequence[MessageRow], limit: int) -> None:
    """`rows` are the newest `limit` of the history: results whose calls stand before those are not at fault.

    A prompt leaves out what is at fault anyway, so weather here is nobody's trouble.
    """
    wrong = {rows[place].id: fault for place, fault in faults([_remembered(row) for row in rows]).items()}
    if sum(1 for row in rows if row.seq) >= limit:
        for row in (row for row in rows if row.seq):
            if row.role != "tool":
                break
            wrong.pop(row.id, None)
    if not wrong:
        return
    try:
        gone = await ctx.db(session_repair.drop, tenant=run.tenant_id, key=run.session_key, ids=tuple(wrong))
    except StoreError as weather:
        ctx.log.warning("history.not_repaired", session=run.session_key, error=str(weather))
        return
    if gone:
        counts = Counter[str](wrong[id] for id in gone)
        ctx.log.warning("history.repaired", session=run.session_key, **counts)


def _remembered(row: MessageRow) -> Remembered:
    return Remembered(role=row.role, content=row.content, payload=row.payload)
