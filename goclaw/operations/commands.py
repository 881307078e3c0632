"""Slash words: what a message that starts with `/` does instead of going to the agent.

Contract: sessions-lanes-cron.md §10, §12; channels.md §10. An unknown word is text for the agent.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import get_args

import trio
from msgspec import Struct
from msgspec.structs import asdict

from goclaw.domain.access import Role
from goclaw.domain.address import session
from goclaw.domain.command_texts import sentence
from goclaw.domain.errors import Rejected, invalid, not_found, role_too_low
from goclaw.domain.queue_policy import NOTHING, Override, QueueMode, resolved
from goclaw.domain.session import FlushWindows, GetActivity
from goclaw.operations.context import Context
from goclaw.operations.feed import listening
from goclaw.operations.session_changes import (
    ChangeSession,
    SessionName,
    Shorten,
    ask_session,
    compact,
    patch,
    reset,
)
from goclaw.operations.session_context import SessionContext, context
from goclaw.operations.sessions import session_seen
from goclaw.operations.turns import checked_key, resolve_agent
from goclaw.stores import locks, session_changes, session_queue
from goclaw.stores.session_queue import RunFacts

WORD = re.compile(r"/(?P<name>[a-z]+)(?:\s+(?P<rest>.*))?\Z", re.DOTALL | re.IGNORECASE)
WAIT = 60.0  # seconds of `/status wait`
LONGEST_WAIT = 600.0
REST = 200  # characters of a command's arguments; longer texts are for the agent
MODES: tuple[QueueMode, ...] = get_args(QueueMode)


class CommandReply(Struct, rename="camel", kw_only=True):
    """What a command says. It is shown to its sender and stored nowhere."""

    command: str
    session_key: str
    content: str
    kind: str = "command_reply"


async def run_command(ctx: Context, text: str, key: str) -> CommandReply | None:
    """Do what a slash word asks for. None if `text` is no command of ours."""
    found = WORD.match(text.strip())
    command = COMMANDS.get(found["name"].lower()) if found else None
    if found is None or command is None or len(found["rest"] or "") > REST:
        return None
    await session_seen(ctx, key)
    ctx.system.tell(session(ctx.caller.tenant_id, key), FlushWindows())  # what was said before it comes before it
    content = await command(ctx, key, (found["rest"] or "").split())
    return CommandReply(command=found["name"].lower(), session_key=key, content=content)


async def _reset(ctx: Context, key: str, _words: list[str]) -> str:
    if await session_seen(ctx, key) is not None:
        await reset(ctx, SessionName(key=key))
    return _say(ctx, "reset")


async def _compact(ctx: Context, key: str, _words: list[str]) -> str:
    if await session_seen(ctx, key) is None:
        return _say(ctx, "empty")
    done = await compact(ctx, Shorten(key=key))
    if done.skipped:
        return _say(ctx, "short", before=done.before)
    return _say(ctx, "compacted", gone=done.before - done.after, after=done.after)


async def _context(ctx: Context, key: str, _words: list[str]) -> str:
    use = await context(ctx, SessionContext(key=key))
    low = f"\n{_say(ctx, 'context_low')}" if use.low else ""
    facts = {name: value for name, value in asdict(use).items() if name not in ("key", "low")}
    return _say(ctx, "context", **facts) + low


async def _queue(ctx: Context, key: str, words: list[str]) -> str:
    if not words:
        known = await ctx.db(session_changes.known, tenant=ctx.caller.tenant_id, key=key)
        own = Override(mode=(known.queue_config or {}).get("mode")) if known else NOTHING
        name, queue = checked_key(key), ctx.house.settings.queue
        agent = await resolve_agent(ctx, name.agent_key)
        return _say(ctx, "queue", mode=resolved(own, agent.queue, queue.of_channel(name.channel), queue).mode)
    if not ctx.caller.is_admin:
        raise Rejected(role_too_low("/queue", Role.ADMIN.label))
    mode = next((mode for mode in MODES if mode == words[0].lower()), None)
    if mode is None:
        raise Rejected(invalid("mode", f"one of {', '.join(MODES)}"))
    await patch(ctx, ChangeSession(key=key, queue_mode=mode))
    return _say(ctx, "queue", mode=mode)


async def _status(ctx: Context, key: str, words: list[str]) -> str:
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
    return _say(
        ctx,
        "status",
        messages=messages,
        tokens=tokens,
        running=len(activity.running),
        waiting=len(activity.waiting),
        seconds=ctx.house.uptime_ms // 1000,
    ) + await _keys(ctx, key)


async def _keys(ctx: Context, key: str) -> str:
    """What runs of this session have for themselves, or wait for (sessions-lanes-cron.md §11)."""
    lines = []
    for run in await ctx.db(locks.of_session, tenant=ctx.caller.tenant_id, key=key):
        facts = {"run": run.run_id, "keys": ", ".join(run.resource_keys)}
        lines.append(_say(ctx, "waits_for", **facts) if run.waits else _say(ctx, "holds", **facts))
    return "".join(f"\n{line}" for line in lines)


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
        return _say(ctx, "no_run")
    facts = {"state": run.state, "attempt": run.attempt, "seconds": f"{run.seconds:.0f}", "event": run.event}
    return _say(ctx, "run", run=run.run_id, **facts)


def _say(ctx: Context, key: str, **facts: object) -> str:
    """In the language of whoever asked."""
    return sentence(key, ctx.caller.locale, **facts)


COMMANDS: dict[str, Callable[[Context, str, list[str]], Awaitable[str]]] = {
    "reset": _reset,
    "compact": _compact,
    "context": _context,
    "queue": _queue,
    "status": _status,
}
