"""A run's end and what its chat hears of it, in one commit. Contract: durability.md §3, §6.5, §7.3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from goclaw.domain.delivery import DeliveryKind, Parcel
from goclaw.domain.errors import Err
from goclaw.domain.run import ReplyTo, RunResult
from goclaw.domain.texts import text_of
from goclaw.stores import outbox, run_ends, run_recovery, runs
from goclaw.stores.run_recovery import Cause, Recovered
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
    media: Sequence[Parcel] = (),
    ending: dict[str, Any],
) -> Depth:
    """End a run with `end`, and put `text` on its way to the chat that asked. What `end` raises undoes both."""
    depth = await end(db, run, **ending)
    await _put(db, run, to, text, kind, media)
    return depth


@transaction
async def lost(db: Connection, run: Claimed, *, err: Err, reason: str, error: str) -> None:
    """A run fails that has no actor any more to say so. Raises `StaleOwner`."""
    result = RunResult(run_id=run.run_id, session_key=run.session_key, error=err)
    await run_ends.fail(db, run, result=result, reason=reason, error=error, messages=runs.asked(run))
    await _notice(db, run, err)


@transaction
async def recover(db: Connection, run: Claimed, cause: Cause = "lease", *, delay: float = 0.0) -> Recovered:
    """As `run_recovery.recover`; the chat of a run that crashed too often hears that nothing will come."""
    outcome = await run_recovery.recover(db, run, cause, delay=delay)
    if outcome == "dead":
        await _notice(db, run, run_recovery.LOST)
    return outcome


async def _notice(db: Connection, run: Claimed, err: Err) -> None:
    try:
        to = run.request.reply_to
    except msgspec.MsgspecError:
        return  # nobody can tell who waits for the answer to a request that cannot be read
    if to is not None:
        await _put(db, run, to, text_of(err, "en"), "notice")


async def _put(
    db: Connection, run: Claimed, to: ReplyTo, text: str, kind: DeliveryKind, media: Sequence[Parcel] = ()
) -> None:
    await outbox.put(
        db,
        tenant=run.tenant_id,
        run_id=run.run_id,
        seq=run.fence,  # one of its lives ends it; an operator may give it another
        channel_instance=to.channel_instance,
        chat_id=to.chat_id,
        local_key=to.local_key or to.chat_id,
        kind=kind,
        payload={"text": text, "media": msgspec.to_builtins(media)} if media else {"text": text},
    )
