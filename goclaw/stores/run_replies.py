"""A run's end and what its chat hears of it, in one commit. Contract: durability.md §3, §7.3."""

from __future__ import annotations

from typing import Any

from goclaw.domain.delivery import DeliveryKind
from goclaw.domain.run import ReplyTo
from goclaw.stores import outbox
from goclaw.stores.runs import Claimed, Depth
from goclaw.stores.unit import Connection, Work, transaction


@transaction
async def ended(
    db: Connection,
    end: Work[..., Depth],
    run: Claimed,
    to: ReplyTo,
    *,
    text: str,
    kind: DeliveryKind,
    ending: dict[str, Any],
) -> Depth:
    """End a run with `end`, and put `text` on its way to the chat that asked. What `end` raises undoes both."""
    depth = await end(db, run, **ending)
    await outbox.put(
        db,
        tenant=run.tenant_id,
        run_id=run.run_id,
        seq=run.fence,  # one of its lives ends it; an operator may give it another
        channel_instance=to.channel_instance,
        chat_id=to.chat_id,
        local_key=to.local_key or to.chat_id,
        kind=kind,
        payload={"text": text},
    )
    return depth
