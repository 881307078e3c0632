"""Whom a message of a chat is for: whom it names, else whom its sender has chosen there, else the chat's own agent.

Contract: orchestration.md §10, §10.2. A choice that leads nowhere any more is forgotten.
"""

from __future__ import annotations

import uuid
from difflib import get_close_matches
from typing import NamedTuple

from goclaw.domain.agent import DEFAULT_KEY, AgentProfile
from goclaw.domain.errors import Rejected, invalid
from goclaw.domain.mention import CHATS, EVERYBODY, Mention, mention_in, place_of
from goclaw.domain.session import SessionKey, key_of
from goclaw.operations.command_reply import CommandReply, say
from goclaw.operations.context import Context
from goclaw.operations.turns import fresh_key, resolve_agent
from goclaw.stores import agents, routes

ALIKE = 3  # names that are proposed for one that nobody has


class Aim(NamedTuple):
    key: SessionKey | None  # None: a conversation that has not begun
    agent: AgentProfile
    text: str
    named: bool = False  # the message itself says so


async def aimed(ctx: Context, message: str, key: SessionKey | None, agent_id: str | None) -> Aim | CommandReply:
    """Where a message goes; a reply if it was only a choice, or names somebody who is not there."""
    own = await resolve_agent(ctx, agent_id or (key.agent_key if key else None))
    if key is not None and own.key != key.agent_key:
        raise Rejected(invalid("session_key", f"it belongs to agent {key.agent_key}"))
    if key is not None and key.kind not in CHATS:
        return Aim(key, own, message)
    mention = mention_in(message)
    if mention is None:
        return await _unnamed(ctx, message, key, own)
    if mention.key == EVERYBODY:
        return _reply(ctx, key, own, "for_all")
    agent = await found(ctx, mention.key)
    if agent is None:
        if key is not None and key.group:
            return await _unnamed(ctx, message, key, own)  # people are named there, too
        return _reply(ctx, key, own, *await unknown(ctx, mention.key))
    return await _named(ctx, mention, key, own, agent)


async def current(ctx: Context, key: SessionKey) -> SessionKey:
    """The session that answers in a chat: that of the agent its user has chosen, else the one that was named."""
    agent = await _chosen(ctx, key) if key.kind in CHATS else None
    return key if agent is None else SessionKey(agent.key, key.rest)


async def choose(ctx: Context, key: SessionKey, agent: AgentProfile | None) -> None:
    """The messages to come in this chat are for this agent; None: for the chat's own again. Durable when it returns."""
    tenant, place, user = ctx.caller.tenant_id, place_of(key), ctx.user_id
    if agent is None:
        await ctx.db(routes.unstick, tenant=tenant, place=place, user=user)
    else:
        await ctx.db(routes.stick, tenant=tenant, place=place, user=user, agent=agent.key)


async def found(ctx: Context, name: str) -> AgentProfile | None:
    """None for one the caller may not see, too."""
    try:
        return await resolve_agent(ctx, name)
    except Rejected as refusal:
        if refusal.err.code != "NOT_FOUND":
            raise
        return None


async def unknown(ctx: Context, name: str) -> tuple[str, dict[str, str]]:
    """What is said of a name nobody has, and the names that look like it."""
    caller = ctx.caller
    rows = await ctx.db(agents.visible, tenant=caller.tenant_id, user=caller.user_id, everything=caller.is_admin)
    alike = get_close_matches(name, [row.agent_key for row in rows], ALIKE)
    if not alike:
        return "no_agent", {"agent": name}
    return "no_agent_but", {"agent": name, "alike": ", ".join(f"@{key}" for key in alike)}


async def _named(
    ctx: Context, mention: Mention, key: SessionKey | None, own: AgentProfile, agent: AgentProfile
) -> Aim | CommandReply:
    if mention.sticks:
        key = key or fresh_key(ctx, lambda: key_of(own.key, "ws", "direct", str(uuid.uuid4())))
        home = mention.key == DEFAULT_KEY
        await choose(ctx, key, None if home else agent)
        if not mention.text:
            return (
                _reply(ctx, key, own, "agent_home") if home else _reply(ctx, key, agent, "agent", {"agent": agent.key})
            )
        agent = own if home else agent
    return Aim(SessionKey(agent.key, key.rest) if key else None, agent, mention.text, named=True)


async def _unnamed(ctx: Context, message: str, key: SessionKey | None, own: AgentProfile) -> Aim:
    agent = await _chosen(ctx, key) if key else None
    if key is None or agent is None:
        return Aim(key, own, message)
    return Aim(SessionKey(agent.key, key.rest), agent, message)


async def _chosen(ctx: Context, key: SessionKey) -> AgentProfile | None:
    name = await ctx.db(routes.sticky, tenant=ctx.caller.tenant_id, place=place_of(key), user=ctx.user_id)
    agent = await found(ctx, name) if name else None
    if name and agent is None:
        await choose(ctx, key, None)
    return agent


def _reply(
    ctx: Context, key: SessionKey | None, agent: AgentProfile, what: str, facts: dict[str, str] | None = None
) -> CommandReply:
    at = str(SessionKey(agent.key, key.rest)) if key else ""
    return CommandReply(command="agent", session_key=at, content=say(ctx, what, **(facts or {})))
