"""Heartbeats: an agent looks after its checklist by itself. Contract: edge-websocket.md §7.13, wire-compat.md E8."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, ClassVar, TypeVar

import trio
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace

from goclaw.domain.access import Role
from goclaw.domain.address import HEARTBEAT
from goclaw.domain.agent import AgentProfile
from goclaw.domain.errors import Rejected, invalid, not_found, required, unavailable
from goclaw.domain.heartbeat import SPAN, Beat, Terms, TryHeartbeat, first_offset
from goclaw.domain.schedule import Unscheduled, zone_of
from goclaw.knowledge import checklist
from goclaw.operations.activity import record, recorded
from goclaw.operations.context import Context
from goclaw.operations.operation import Rpc, operation
from goclaw.operations.turns import resolve_agent
from goclaw.stores import heartbeats
from goclaw.stores.heartbeats import Chat, Heartbeat, LoggedBeat

T = TypeVar("T")
PAGE = 200  # rows of a log, at most
YEAR = 31_536_000  # seconds, the longest interval
Hours = Annotated[str, Meta(max_length=5)]


class OfAgent(Struct, kw_only=True):
    agent_id: str


class FoundHeartbeat(Struct, kw_only=True):
    heartbeat: Heartbeat | None


class SetHeartbeat(OfAgent, kw_only=True):
    """Absent members keep what they are; null clears hours, zone, prompt, provider, model, channel and chat."""

    enabled: bool | UnsetType = UNSET
    interval_sec: Annotated[int, Meta(ge=300, le=YEAR)] | UnsetType = UNSET
    prompt: Annotated[str, Meta(max_length=8000)] | UnsetType | None = UNSET
    provider_name: Annotated[str, Meta(max_length=50)] | UnsetType | None = UNSET
    model: Annotated[str, Meta(max_length=200)] | UnsetType | None = UNSET
    isolated_session: bool | UnsetType = UNSET
    light_context: bool | UnsetType = UNSET
    ack_max_chars: Annotated[int, Meta(ge=0, le=100_000)] | UnsetType = UNSET
    max_retries: Annotated[int, Meta(ge=0, le=10)] | UnsetType = UNSET
    active_hours_start: Hours | UnsetType | None = UNSET
    active_hours_end: Hours | UnsetType | None = UNSET
    timezone: Annotated[str, Meta(max_length=64)] | UnsetType | None = UNSET
    channel: Annotated[str, Meta(max_length=100)] | UnsetType | None = UNSET
    chat_id: Annotated[str, Meta(max_length=255)] | UnsetType | None = UNSET


class ToggleHeartbeat(OfAgent, kw_only=True):
    enabled: bool


class ToggledHeartbeat(Struct, rename="camel", kw_only=True):
    agent_id: str
    enabled: bool


class Begun(Struct, kw_only=True):
    ok: bool = True


class ListBeats(OfAgent, kw_only=True):
    limit: Annotated[int, Meta(ge=1)] = 20
    offset: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0


class BeatPage(Struct, kw_only=True):
    logs: list[LoggedBeat]
    total: int


class Checklist(Struct, kw_only=True):
    content: str


class SetChecklist(OfAgent, kw_only=True):
    ALIASES: ClassVar = {"data": "content"}

    content: Annotated[str, Meta(max_length=checklist.LARGEST)]


class WrittenChecklist(Struct, kw_only=True):
    ok: bool = True
    length: int


class TargetList(Struct, kw_only=True):
    targets: list[Chat]


@operation(Rpc("heartbeat.get", Role.VIEWER))
async def get(ctx: Context, ask: OfAgent) -> FoundHeartbeat:
    """Show the heartbeat of an agent; null if it has none."""
    return FoundHeartbeat(heartbeat=await _find(ctx, await resolve_agent(ctx, ask.agent_id)))


@operation(Rpc("heartbeat.set", Role.ADMIN))
@recorded
async def set(ctx: Context, ask: SetHeartbeat) -> FoundHeartbeat:
    """Give an agent a heartbeat, or change the one it has."""
    agent = await resolve_agent(ctx, ask.agent_id)
    before = await _find(ctx, agent)
    given = {name: getattr(ask, name) for name in Terms.__struct_fields__}
    changes = {name: value for name, value in given.items() if value is not UNSET}
    terms = replace(_terms(before) if before is not None else _defaults(ctx), **changes)
    _check(terms)
    return FoundHeartbeat(heartbeat=await _put(ctx, agent, before, terms))


@operation(Rpc("heartbeat.toggle", Role.ADMIN))
@recorded
async def toggle(ctx: Context, ask: ToggleHeartbeat) -> ToggledHeartbeat:
    """Switch a heartbeat on or off."""
    agent = await resolve_agent(ctx, ask.agent_id)
    before = await _need(ctx, agent)
    await _put(ctx, agent, before, replace(_terms(before), enabled=ask.enabled))
    return ToggledHeartbeat(agent_id=agent.id, enabled=ask.enabled)


@operation(Rpc("heartbeat.test", Role.ADMIN))
async def test(ctx: Context, ask: OfAgent) -> Begun:
    """Run a heartbeat now, whatever the hour. Its outcome comes as an event and in the log."""
    agent = await resolve_agent(ctx, ask.agent_id)
    await _need(ctx, agent)
    if ctx.house.draining:
        raise Rejected(unavailable("shutting_down"))
    order = TryHeartbeat(tenant_id=ctx.caller.tenant_id, agent_id=agent.id, key=ctx.idempotency_key)
    ctx.system.tell(HEARTBEAT, order)
    return Begun()


@operation(Rpc("heartbeat.logs", Role.VIEWER))
async def logs(ctx: Context, ask: ListBeats) -> BeatPage:
    """Read what came of an agent's heartbeats, newest first."""
    agent = await resolve_agent(ctx, ask.agent_id)
    tenant, limit = ctx.caller.tenant_id, min(ask.limit, PAGE)
    rows = await ctx.db(heartbeats.log, tenant=tenant, agent=agent.id, limit=limit, offset=ask.offset)
    return BeatPage(logs=rows, total=await ctx.db(heartbeats.logged, tenant=tenant, agent=agent.id))


@operation(Rpc("heartbeat.checklist.get", Role.VIEWER))
async def get_checklist(ctx: Context, ask: OfAgent) -> Checklist:
    """Read the checklist of an agent: HEARTBEAT.md in its workspace."""
    agent = await resolve_agent(ctx, ask.agent_id)
    return Checklist(content=await _in_workspace(ctx, agent, checklist.read))


@operation(Rpc("heartbeat.checklist.set", Role.ADMIN))
@recorded
async def set_checklist(ctx: Context, ask: SetChecklist) -> WrittenChecklist:
    """Replace the checklist of an agent."""
    if len(ask.content.encode("utf-8", "surrogatepass")) > checklist.LARGEST:
        raise Rejected(invalid("content", f"longer than {checklist.LARGEST} bytes"))
    agent = await resolve_agent(ctx, ask.agent_id)

    def write(root: Path, workspace: str) -> None:
        checklist.write(root, workspace, ask.content)

    await _in_workspace(ctx, agent, write)
    await record(ctx, "heartbeat.checklist", "agent", agent.id, length=len(ask.content))
    return WrittenChecklist(length=len(ask.content))


@operation(Rpc("heartbeat.targets", Role.VIEWER))
async def targets(ctx: Context, ask: OfAgent) -> TargetList:
    """Where a heartbeat may speak up: chats its agent was talked to in."""
    agent = await resolve_agent(ctx, ask.agent_id)
    return TargetList(targets=await ctx.db(heartbeats.targets, tenant=ctx.caller.tenant_id, agent=agent.id))


# --- parts ----------------------------------------------------------------------------------------


async def _find(ctx: Context, agent: AgentProfile) -> Heartbeat | None:
    return await ctx.db(heartbeats.get, tenant=ctx.caller.tenant_id, agent=agent.id)


async def _need(ctx: Context, agent: AgentProfile) -> Heartbeat:
    found = await _find(ctx, agent)
    if found is None:
        raise Rejected(not_found("heartbeat", agent.key))
    return found


async def _put(ctx: Context, agent: AgentProfile, before: Heartbeat | None, terms: Terms) -> Heartbeat:
    """Stored; and due for the first time soon after it was switched on."""
    next_run_at = before.next_run_at if before is not None else None
    if not terms.enabled:
        next_run_at = None
    elif before is None or not before.enabled:
        next_run_at = ctx.now() + first_offset(agent.id, terms.interval_sec)
    tenant = ctx.caller.tenant_id
    saved = await ctx.db(heartbeats.put, tenant=tenant, agent=agent.id, terms=terms, next_run_at=next_run_at)
    ctx.system.tell(HEARTBEAT, Beat())
    await record(ctx, "heartbeat.set", "agent", agent.id, enabled=terms.enabled)
    return saved


def _terms(row: Heartbeat) -> Terms:
    return Terms(**{name: getattr(row, name) for name in Terms.__struct_fields__})


def _defaults(ctx: Context) -> Terms:
    given = ctx.house.settings.agents.defaults.heartbeat
    return Terms(
        enabled=given.enabled,
        interval_sec=int(given.every_sec),
        prompt=given.prompt_template or None,
        ack_max_chars=given.ack_max_chars,
    )


def _check(terms: Terms) -> None:
    hours = {"active_hours_start": terms.active_hours_start, "active_hours_end": terms.active_hours_end}
    for name, hour in hours.items():
        if hour is not None and not SPAN.fullmatch(hour):
            raise Rejected(invalid(name, "expected HH:MM"))
    missing = [name for name, hour in hours.items() if hour is None]
    if len(missing) == 1:
        raise Rejected(required(missing[0]))
    try:
        zone_of(terms.timezone or "")
    except Unscheduled as refusal:
        raise Rejected(invalid("timezone", refusal.reason)) from None


async def _in_workspace(ctx: Context, agent: AgentProfile, work: Callable[[Path, str], T]) -> T:
    root = ctx.house.settings.agents.defaults.workspace
    try:
        return await trio.to_thread.run_sync(work, root, agent.workspace)
    except (OSError, UnicodeError):
        raise Rejected(unavailable("workspace")) from None
