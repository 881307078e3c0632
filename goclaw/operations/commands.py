"""Slash words: what a message that starts with `/` does instead of going to the agent.

Contract: sessions-lanes-cron.md §10, §12; channels.md §10; nodes-autonomy.md §11. An unknown word is text for the
agent.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import NamedTuple, get_args

from msgspec.structs import asdict

from goclaw.domain.access import Role
from goclaw.domain.address import session
from goclaw.domain.errors import Rejected, invalid, role_too_low
from goclaw.domain.queue_policy import NOTHING, Override, QueueMode, resolved
from goclaw.domain.session import FlushWindows
from goclaw.operations.command_agents import agent, agents, model
from goclaw.operations.command_house import approve, config, deny, estop, held, reload
from goclaw.operations.command_reply import CommandReply, say
from goclaw.operations.command_status import status
from goclaw.operations.context import Context
from goclaw.operations.session_changes import ChangeSession, SessionName, Shorten, compact, patch, reset
from goclaw.operations.session_context import SessionContext, context
from goclaw.operations.sessions import session_seen
from goclaw.operations.turns import checked_key, resolve_agent
from goclaw.stores import session_changes

WORD = re.compile(r"/(?P<name>[a-z]+)(?:\s+(?P<rest>.*))?\Z", re.DOTALL | re.IGNORECASE)
REST = 200  # characters of a command's arguments; longer texts are for the agent
MODES: tuple[QueueMode, ...] = get_args(QueueMode)


class Command(NamedTuple):
    work: Callable[[Context, str, list[str]], Awaitable[str]]
    role: Role = Role.OPERATOR
    to_change: Role = Role.OPERATOR  # with arguments

    def needs(self, words: list[str]) -> Role:
        return max(self.role, self.to_change if words else self.role)


async def run_command(ctx: Context, text: str, key: str) -> CommandReply | None:
    """Do what a slash word asks for. None if `text` is no command of ours."""
    found = WORD.match(text.strip())
    command = COMMANDS.get(found["name"].lower()) if found else None
    if found is None or command is None or len(found["rest"] or "") > REST:
        return None
    words, name = (found["rest"] or "").split(), found["name"].lower()
    await session_seen(ctx, key)
    if ctx.caller.role < command.needs(words):
        raise Rejected(role_too_low(f"/{name}", command.needs(words).label))
    ctx.system.tell(session(ctx.caller.tenant_id, key), FlushWindows())  # what was said before it comes before it
    return CommandReply(command=name, session_key=key, content=await command.work(ctx, key, words))


async def _reset(ctx: Context, key: str, _words: list[str]) -> str:
    if await session_seen(ctx, key) is not None:
        await reset(ctx, SessionName(key=key))
    return say(ctx, "reset")


async def _compact(ctx: Context, key: str, _words: list[str]) -> str:
    if await session_seen(ctx, key) is None:
        return say(ctx, "empty")
    done = await compact(ctx, Shorten(key=key))
    if done.skipped:
        return say(ctx, "short", before=done.before)
    return say(ctx, "compacted", gone=done.before - done.after, after=done.after)


async def _context(ctx: Context, key: str, _words: list[str]) -> str:
    use = await context(ctx, SessionContext(key=key))
    low = f"\n{say(ctx, 'context_low')}" if use.low else ""
    facts = {name: value for name, value in asdict(use).items() if name not in ("key", "low")}
    return say(ctx, "context", **facts) + low


async def _queue(ctx: Context, key: str, words: list[str]) -> str:
    if not words:
        known = await ctx.db(session_changes.known, tenant=ctx.caller.tenant_id, key=key)
        own = Override(mode=(known.queue_config or {}).get("mode")) if known else NOTHING
        name, queue = checked_key(key), ctx.house.settings.queue
        profile = await resolve_agent(ctx, name.agent_key)
        return say(ctx, "queue", mode=resolved(own, profile.queue, queue.of_channel(name.channel), queue).mode)
    mode = next((mode for mode in MODES if mode == words[0].lower()), None)
    if mode is None:
        raise Rejected(invalid("mode", f"one of {', '.join(MODES)}"))
    await patch(ctx, ChangeSession(key=key, queue_mode=mode))
    return say(ctx, "queue", mode=mode)


async def _help(ctx: Context, _key: str, _words: list[str]) -> str:
    mine = [f"/{name}" for name, command in COMMANDS.items() if ctx.caller.role >= command.role]
    return say(ctx, "help", commands=", ".join(["/stop", "/stopall", *mine]))


COMMANDS: dict[str, Command] = {
    "help": Command(_help),
    "reset": Command(_reset),
    "compact": Command(_compact),
    "context": Command(_context, Role.VIEWER),
    "queue": Command(_queue, to_change=Role.ADMIN),
    "status": Command(status),
    "agents": Command(agents),
    "agent": Command(agent),
    "model": Command(model, to_change=Role.ADMIN),
    "locks": Command(held),
    "approve": Command(approve),
    "deny": Command(deny),
    "config": Command(config, Role.ADMIN),
    "reload": Command(reload, Role.ADMIN),
    "estop": Command(estop, Role.ADMIN),
}
