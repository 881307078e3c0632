"""Sending a turn, whichever door it came through: who answers, in which session, stored before anything else."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from goclaw.domain.address import agent as agent_address
from goclaw.domain.address import session
from goclaw.domain.agent import DEFAULT_KEY, AgentProfile, AgentRole, GetProfile, SharedRole
from goclaw.domain.errors import Rejected, agent_rests, forbidden, invalid, not_found, unavailable
from goclaw.domain.loop import ALONE
from goclaw.domain.queue_policy import QueueMode
from goclaw.domain.run import KINDS, RunKind, RunRequest
from goclaw.domain.session import WINDOWS, Accepted, Earlier, Send, SessionKey, Terms, parse_key
from goclaw.operations.context import Context
from goclaw.operations.once import scoped
from goclaw.operations.resource_keys import wanted
from goclaw.security import injection
from goclaw.security.injection import guarded
from goclaw.stores import agent_shares

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,99}\Z")  # of an agent, or its id; nothing else becomes an address
TRIES = 100  # keys made for one conversation; a node that owns one shard in 20 finds its own in 99 cases of 100
ACCEPT_WITHIN = 10.0  # seconds for the commit that accepts a turn
METADATA = 64 * 1024  # bytes of a caller's metadata; edge-http.md §5


async def resolve_agent(ctx: Context, name: str | None) -> AgentProfile:
    """The agent with this key or id; without a name, or for `default`, the tenant's default agent.

    Refused with not_found when there is none, or the caller may not see it.
    """
    name = name or DEFAULT_KEY
    if not NAME.match(name):
        raise Rejected(not_found("agent", name[:100]))
    ask = GetProfile(user_id=ctx.caller.user_id)
    profile = await ctx.ask(agent_address(ctx.caller.tenant_id, name), ask, within=10)
    if not profile.visible_to(ctx.caller) and await _share(ctx, profile) is None:
        raise Rejected(not_found("agent", name))
    return profile


async def role_of(ctx: Context, profile: AgentProfile) -> AgentRole:
    """What the caller is to an agent he may see; the first that says something decides (data-model.md §2)."""
    caller = ctx.caller
    if profile.owner_id == caller.user_id:
        return "owner"
    if caller.is_admin:
        return "admin"
    return "user" if profile.is_default else await _share(ctx, profile) or "user"


async def _share(ctx: Context, profile: AgentProfile) -> SharedRole | None:
    return await ctx.db(agent_shares.role, tenant=ctx.caller.tenant_id, agent=profile.id, user=ctx.caller.user_id)


def checked_key(text: str) -> SessionKey:
    try:
        return parse_key(text)
    except ValueError as error:
        raise Rejected(invalid("session_key", str(error))) from None


def fresh_key(ctx: Context, make: Callable[[], SessionKey]) -> SessionKey:
    """The key of a new conversation, on this node if the choice allows: its text can be streamed to the caller."""
    for _ in range(TRIES):
        key = make()
        if ctx.house.ownership.has(ctx.caller.tenant_id, str(key)):
            break
    return key


async def send(
    ctx: Context,
    *,
    run_id: str,
    agent: AgentProfile,
    key: SessionKey,
    kind: RunKind,
    request: RunRequest,
    earlier: Sequence[Earlier] = (),
    idempotency_key: str = "",
    fresh: bool = False,
    mode: QueueMode | Literal["inject"] | None = None,
    debounce_ms: int | None = None,
    terms: Terms | None = None,
) -> Accepted:
    """Have the turn accepted by its session. When this returns it is in the database.

    With an idempotency key, or one in the request's header, that was used before the answer names the run of the
    first time. It names another run, too, when the turn became part of one.
    """
    with ctx.house.counting_a_turn():
        if ctx.house.draining:
            raise Rejected(unavailable("shutting_down"))
        if not ctx.house.ownership.held:
            raise Rejected(unavailable("quarantined", 2.0))
        if agent.status != "active":
            raise Rejected(agent_rests(agent.status))
        wants = wanted(ctx, kind, request.message, terms.resource_keys if terms is not None else ())
        if wants.keys:
            terms = terms or Terms(priority=KINDS[kind].priority, max_attempts=KINDS[kind].attempts)
            terms = replace(terms, resource_keys=wants.keys, keys_inferred=wants.inferred)
        ask = Send(
            run_id=run_id,
            user_id=ctx.user_id,
            as_admin=ctx.caller.is_admin,
            agent_id=agent.id,
            agent_key=agent.key,
            kind=kind,
            request=replace(request, message=wants.text, locale=ctx.caller.locale, role=ctx.caller.role.label),
            earlier=tuple(earlier),
            idempotency_key=scoped(ctx, "" if fresh else str(key), idempotency_key or ctx.idempotency_key),
            fresh=fresh,
            mode=mode,
            debounce_ms=debounce_ms,
            queue=agent.queue,
            timeout=agent.loop.max_duration if agent.loop is not None and kind not in ALONE else None,
            received_at=ctx.received_at,
            terms=terms,
            provider=request.provider or agent.provider,
            unmetered=ctx.caller.is_owner,
            asked_by=ctx.connection_id,
            request_id=ctx.request_id,
        )
        within = ACCEPT_WITHIN + WINDOWS * (debounce_ms or 0) / 1000
        accepted = await ctx.ask(session(ctx.caller.tenant_id, str(key)), ask, within=within)
        ctx.replayed = accepted.run_id != run_id and not (accepted.merged or accepted.injected)
        return accepted


async def heard(ctx: Context, text: str) -> tuple[str, bool]:
    """A user's message as it goes on: scanned, cut to its longest with a line that says so, and whether it was.

    Refused as FORBIDDEN `injection_blocked` where orders in it are to be refused (security.md §2).
    """
    gateway, known = ctx.house.settings.gateway, ctx.house.known.forms
    scanned = await guarded(text, gateway.injection_action, known=known, by=ctx.user_id)
    if scanned.refused:
        raise Rejected(forbidden("injection_blocked"))
    short = injection.cut(scanned.text, gateway.max_message_chars, by=ctx.user_id)
    return short.text, short.shortened


def metadata_text(given: dict[str, Any]) -> str:
    """A caller's metadata as JSON, empty for none. Refused when it is longer than `METADATA`."""
    text = msgspec.json.encode(given).decode() if given else ""
    if len(text.encode()) > METADATA:
        raise Rejected(invalid("metadata", f"longer than {METADATA} bytes"))
    return text
