"""Coming back to a run: what it said meanwhile, how it stands, how it ended. Contract: edge-websocket.md §6.4, §7.2."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, Struct

from goclaw.domain.access import Role
from goclaw.domain.errors import Rejected, not_found
from goclaw.domain.run import RunResult, RunState
from goclaw.domain.texts import text_of
from goclaw.operations.chat import SentChat, answer
from goclaw.operations.context import Context
from goclaw.operations.operation import Rpc, operation
from goclaw.operations.replay_buffer import Replay
from goclaw.operations.sessions import session_seen
from goclaw.stores import standing

Status = Literal["running", "completed", "failed", "cancelled"]
STATES: dict[RunState, Status] = {
    "SUCCEEDED": "completed",
    "FAILED": "failed",
    "DEAD_LETTER": "failed",
    "CANCELED": "cancelled",
}  # in the others it goes on
ENDS: dict[str, Status] = {"run.completed": "completed", "run.failed": "failed", "run.cancelled": "cancelled"}


class ResumeChat(Struct, kw_only=True):
    ALIASES: ClassVar = {"session_id": "session_key"}

    session_key: str
    run_id: str | None = None
    after_run_seq: Annotated[int, Meta(ge=0)] = 0


class ResumedChat(Struct, rename="camel", kw_only=True):
    run_id: str
    status: Status
    replayed: int
    last_run_seq: int
    gap: bool
    text: str | None = None  # with a gap: the answer so far, in place of what the client has
    final: SentChat | None = None  # of a run that ended well
    error: dict[str, Any] | None = None  # of one that did not


@operation(Rpc("chat.resume", Role.VIEWER))
async def resume(ctx: Context, ask: ResumeChat) -> ResumedChat:
    """Hear a run, or the session's newest, from an event on: what was missed, then this answer, then the rest live."""
    kept = await session_seen(ctx, ask.session_key) is not None
    run = await ctx.db(standing.find, tenant=ctx.caller.tenant_id, key=ask.session_key, run_id=ask.run_id)
    if run is None or not (kept or ctx.caller.is_admin or run.user_id == ctx.user_id):
        raise Rejected(not_found("run", ask.run_id or ask.session_key))
    # from here on nothing waits, so no live event comes between what is replayed and the answer
    status: Status = STATES.get(run.state, "running")
    result = run.result
    heard = ctx.house.replays.since(run.run_id, ask.after_run_seq)
    if heard is None:
        heard = Replay((), ask.after_run_seq, True, "")
    elif status == "running":
        status, result = _ended_since(heard) or (status, result)
    guest = ctx.house.connections.get(ctx.connection_id)
    replayed = guest.replay(heard.events) if guest is not None and not heard.gap else 0
    err = result.error if result is not None else None
    return ResumedChat(
        run_id=run.run_id,
        status=status,
        replayed=replayed,
        last_run_seq=heard.last,
        gap=heard.gap,
        text=(result.content if result is not None else heard.text) if heard.gap else None,
        final=answer(ctx, result) if result is not None and err is None else None,
        error=None if err is None else {"code": err.code, "message": text_of(err, "en"), "details": err.details},
    )


def _ended_since(heard: Replay) -> tuple[Status, RunResult | None] | None:
    """How it ended, if it did after the database was asked."""
    for event in reversed(heard.events):
        if event.type in ENDS and event.result is not None:
            return ENDS[event.type], event.result
    return None
