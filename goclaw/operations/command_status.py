"""`/status`: how a conversation, its runs and the gateway are. Contract: channels.md §10, nodes-autonomy.md §11."""

from __future__ import annotations

import trio

from goclaw.domain.address import lane
from goclaw.domain.errors import Rejected, invalid, not_found
from goclaw.domain.run import GetLoad
from goclaw.domain.session import GetActivity
from goclaw.operations.command_reply import say
from goclaw.operations.context import Context
from goclaw.operations.feed import listening
from goclaw.operations.gateway import status_of
from goclaw.operations.session_changes import ask_session
from goclaw.operations.sessions import session_seen
from goclaw.operations.turns import checked_key, resolve_agent
from goclaw.stores import locks, session_queue
from goclaw.stores.session_queue import RunFacts

WAIT = 60.0  # seconds of `/status wait`
LONGEST_WAIT = 600.0
LANE = 2.0  # seconds a lane has to say how busy it is


async def status(ctx: Context, key: str, words: list[str]) -> str:
    match [word.lower() for word in words]:
        case []:
            return await _session_status(ctx, key)
        case ["run", *rest] if len(rest) <= 1:
            return _told(ctx, await _run(ctx, key, rest[0] if rest else "latest"))
        case ["wait", which, *rest] if len(rest) <= 1:
            return await _wait(ctx, key, which, rest[0] if rest else "")
    raise Rejected(invalid("message", "/status, /status run [id|latest] or /status wait <id|latest> [seconds]"))


async def _session_status(ctx: Context, key: str) -> str:
    row = await session_seen(ctx, key)
    activity = await ask_session(ctx, key, GetActivity())
    messages, tokens = (row.message_count, row.input_tokens + row.output_tokens) if row else (0, 0)
    told = say(
        ctx,
        "status",
        messages=messages,
        tokens=tokens,
        running=len(activity.running),
        waiting=len(activity.waiting),
        seconds=ctx.house.uptime_ms // 1000,
    )
    own = row.model if row else None
    return "\n".join([told, await _answering(ctx, key, own), await _house(ctx, key), *await _keys(ctx, key)])


async def _answering(ctx: Context, key: str, model: str | None) -> str:
    agent = await resolve_agent(ctx, checked_key(key).agent_key)
    return say(ctx, "answering", agent=agent.key, provider=agent.provider, model=model or agent.model)


async def _house(ctx: Context, key: str) -> str:
    load = await ctx.ask(lane(checked_key(key).lane), GetLoad(), within=LANE)
    facts = {"lane": load.name, "active": load.active, "limit": load.limit, "queued": load.queued}
    return say(ctx, "house", **facts, health=status_of(ctx.house))


async def _keys(ctx: Context, key: str) -> list[str]:
    """What runs of this session have for themselves, or wait for (sessions-lanes-cron.md §11)."""
    lines = []
    for run in await ctx.db(locks.of_session, tenant=ctx.caller.tenant_id, key=key):
        facts = {"run": run.run_id, "keys": ", ".join(run.resource_keys)}
        lines.append(say(ctx, "waits_for", **facts) if run.waits else say(ctx, "holds", **facts))
    return lines


async def _wait(ctx: Context, key: str, which: str, given: str) -> str:
    if given and not (given.isdecimal() and 1 <= int(given) <= LONGEST_WAIT):
        raise Rejected(invalid("seconds", f"1 to {LONGEST_WAIT:g}"))
    run = await _run(ctx, key, which)
    if run is None:
        return _told(ctx, run)
    with listening(ctx.system, run.run_id, only_result=True) as feed:
        run = await _run(ctx, key, run.run_id)  # it may have ended before we listened
        if run is not None and not run.ended:
            with trio.move_on_after(float(given or WAIT)):
                await feed.result()
            run = await _run(ctx, key, run.run_id)
    return _told(ctx, run)


async def _run(ctx: Context, key: str, which: str) -> RunFacts | None:
    found = await ctx.db(
        session_queue.run_facts, tenant=ctx.caller.tenant_id, key=key, run_id=None if which == "latest" else which
    )
    if found is None and which != "latest":
        raise Rejected(not_found("run", which[:100]))
    return found


def _told(ctx: Context, run: RunFacts | None) -> str:
    if run is None:
        return say(ctx, "no_run")
    facts = {"state": run.state, "attempt": run.attempt, "seconds": f"{run.seconds:.0f}", "event": run.event}
    return say(ctx, "run", run=run.run_id, **facts)
