"""Waking an agent from outside: one message, one answer. Contract: sessions-lanes-cron.md §6.4, edge-http.md §5."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

import msgspec
import trio
from msgspec import Meta, Struct

from goclaw.domain.address import session
from goclaw.domain.agent import AgentProfile
from goclaw.domain.errors import Rejected, agent_timeout, invalid
from goclaw.domain.run import RunRequest, RunResult
from goclaw.domain.session import Abort, SessionKey
from goclaw.operations.context import Context
from goclaw.operations.feed import listening
from goclaw.operations.turns import checked_key, heard, metadata_text, resolve_agent, send
from goclaw.stores import runs

TEXT = "You were woken. Look after whatever is due."  # of a wake without a body; wire-compat.md D4
KEY = 200  # characters of an idempotency key


class Wake(Struct, kw_only=True):
    message: Annotated[str, Meta(min_length=1)]
    session_key: str | None = None
    user_id: str | None = None
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)
    timeout_sec: Annotated[float, Meta(ge=1, le=3600)] = 600.0


class Woken(Struct, kw_only=True):
    """The wake is stored. `again`: it was, before, under its idempotency key."""

    run_id: str
    session_key: str
    again: bool = False
    result: RunResult | None = None


async def wake(ctx: Context, agent_id: str, ask: Wake, *, idempotency_key: str, wait: bool) -> Woken:
    """Give the agent a turn. With `wait` its result, else as soon as it is stored.

    Whoever leaves while he waits takes his run with him, unless a key lets him come back for it.
    Refuses with a timeout, and stops the run, when there is no result within `timeout_sec`.
    """
    if len(idempotency_key) > KEY:
        raise Rejected(invalid("Idempotency-Key", f"longer than {KEY} characters"))
    metadata = metadata_text(ask.metadata)
    agent = await resolve_agent(ctx, agent_id)
    key = _session(ctx, ask, agent, idempotency_key)
    text, truncated = await heard(ctx, ask.message)
    request = RunRequest(
        message=text,
        stream=False,
        truncated=truncated,
        instructions=f"Metadata of the caller, as JSON: {metadata}" if metadata else "",
    )
    run_id = ctx.new_id()
    with listening(ctx.system, run_id, only_result=True) as feed:
        accepted = await send(
            ctx,
            run_id=run_id,
            agent=agent,
            key=key,
            kind="wake",
            request=request,
            idempotency_key=idempotency_key,
            fresh=ask.session_key is None and not idempotency_key,
        )
        woken = Woken(run_id=accepted.run_id, session_key=accepted.session_key, again=accepted.run_id != run_id)
        if not wait:
            return woken
        ended = False
        try:
            with trio.move_on_after(ask.timeout_sec):
                woken.result = await (_first_time(ctx, woken.run_id) if woken.again else feed.result())
                ended = True
            if not ended:
                raise Rejected(agent_timeout(ask.timeout_sec))
        except trio.Cancelled:
            ended = bool(idempotency_key)  # he may come back for it
            raise
        finally:
            if not ended:
                stop = Abort(user_id=ctx.user_id, as_admin=True, run_id=woken.run_id, reason="client_gone")
                ctx.system.tell(session(ctx.caller.tenant_id, woken.session_key), stop)
    if woken.result is not None and woken.result.error is not None:
        raise Rejected(woken.result.error)
    return woken


async def _first_time(ctx: Context, run_id: str) -> RunResult:
    """The outcome of a wake that was asked for before, waiting for it if it has none yet."""
    with listening(ctx.system, run_id, only_result=True) as feed:
        ended = await ctx.db(runs.result, tenant=ctx.caller.tenant_id, run_id=run_id)
        return ended if ended is not None else await feed.result()


def _session(ctx: Context, ask: Wake, agent: AgentProfile, idempotency_key: str) -> SessionKey:
    """The session that was named, or a fresh one: each wake its own, the same for the same idempotency key."""
    if ask.session_key is not None:
        key = checked_key(ask.session_key)
        if key.agent_key != agent.key:
            raise Rejected(invalid("session_key", f"it belongs to agent {key.agent_key}"))
        return key
    if idempotency_key:
        name = hashlib.sha256(msgspec.json.encode([ctx.user_id, idempotency_key])).hexdigest()
    else:
        name = ctx.new_id().replace("-", "")
    return SessionKey(agent.key, f"wake:direct:{name[-8:]}")
