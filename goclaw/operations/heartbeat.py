"""Heartbeats: an agent looks after its checklist by itself. Contract: edge-websocket.md §7.13, wire-compat.md E8."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

import trio
from msgspec import UNSET, Meta, Struct, UnsetType

from goclaw.domain.access import Role
from goclaw.domain.address import HEARTBEAT
from goclaw.domain.agent import AgentProfile
from goclaw.domain.errors import Rejected, invalid, not_found, required, unavailable
from goclaw.domain.heartbeat import SPAN, Beat, Status, TryHeartbeat, first_offset
from goclaw.domain.schedule import Unscheduled, zone_of
from goclaw.knowledge import checklist
from goclaw.operations.activity import record
from goclaw.operations.context import Context
from goclaw.operations.operation import Rpc, operation
from goclaw.operations.turns import resolve_agent
from goclaw.stores import heartbeats
from goclaw.stores.heartbeats import BeatRow

T = TypeVar("T")
PAGE = 200  # rows of a log, at most
YEAR = 31_536_000  # seconds, the longest interval
Hours = Annotated[str, Meta(max_length=5)]


class Heartbeat(Struct, rename="camel", kw_only=True):
    """E-Heartbeat (wire-compat.md E8)."""

    id: str
    agent_id: str
    agent_key: str
    enabled: bool
    interval_sec: int
    prompt: str | None
    provider_id: str | None
    provider_name: str | None
    model: str | None
    isolated_session: bool
    light_context: bool
    ack_max_chars: int
    max_retries: int
    active_hours_start: str | None
    active_hours_end: str | None
    timezone: str | None
    channel: str | None
    chat_id: str | None
    next_run_at: datetime | None
    last_run_at: datetime | None
    last_status: Status | None
    last_error: str | None
    run_count: int
    suppress_count: int


class OfAgent(Struct, kw_only=True):
    agent_id: str


class FoundHeartbeat(Struct, kw_only=True):
    heartbeat: Heartbeat | None


class SetHeartbeat(OfAgent, kw_only=True):
    """Absent members keep what they are; "" clears hours, zone, prompt, model, channel and chat."""

    enabled: bool | UnsetType = UNSET
    interval_sec: Annotated[int, Meta(ge=300, le=YEAR)] | UnsetType = UNSET
    prompt: Annotated[str, Meta(max_length=8000)] | UnsetType = UNSET
    provider_name: Annotated[str, Meta(max_length=50)] | UnsetType = UNSET
    model: Annotated[str, Meta(max_length=200)] | UnsetType = UNSET
    isolated_session: bool | UnsetType = UNSET
    light_context: bool | UnsetType = UNSET
    ack_max_chars: Annotated[int, Meta(ge=0, le=100_000)] | UnsetType = UNSET
    max_retries: Annotated[int, Meta(ge=0, le=10)] | UnsetType = UNSET
    active_hours_start: Hours | UnsetType = UNSET
    active_hours_end: Hours | UnsetType = UNSET
    timezone: Annotated[str, Meta(max_length=64)] | UnsetType = UNSET
    channel: Annotated[str, Meta(max_length=100)] | UnsetType = UNSET
    chat_id: Annotated[str, Meta(max_length=255)] | UnsetType = UNSET


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


class LoggedBeat(Struct, rename="camel", omit_defaults=True, kw_only=True):
    id: str
    status: Status
    ran_at: datetime
    input_tokens: int
    output_tokens: int
    summary: str | None = None
    error: str | None = None
    duration_ms: int | None = None
    skip_reason: str | None = None


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


class Target(Struct, rename="camel", kw_only=True):
    channel: str
    chat_id: str
    title: str
    kind: str


class TargetList(Struct, kw_only=True):
    targets: list[Target]


@operation(Rpc("heartbeat.get", Role.VIEWER))
async def get(ctx: Context, ask: OfAgent) -> FoundHeartbeat:
    """Show the heartbeat of an agent; null if it has none."""
    return FoundHeartbeat(heartbeat=_shown(await _find(ctx, await resolve_agent(ctx, ask.agent_id))))


@operation(Rpc("heartbeat.set", Role.ADMIN))
async def set(ctx: Context, ask: SetHeartbeat) -> FoundHeartbeat:
    """Give an agent a heartbeat, or change the one it has."""
    agent = await resolve_agent(ctx, ask.agent_id)
    before = await _find(ctx, agent)
    given = {name: getattr(ask, name) for name in SetHeartbeat.__struct_fields__ if name != "agent_id"}
    given["provider"] = given.pop("provider_name")
    values = {
        name: kept if given[name] is UNSET else (given[name] if given[name] != "" else None)
        for name, kept in (_kept(before) if before is not None else _defaults(ctx)).items()
    }
    _check(values)
    saved = await _put(ctx, agent, before, values)
    return FoundHeartbeat(heartbeat=_shown(saved))


@operation(Rpc("heartbeat.toggle", Role.ADMIN))
async def toggle(ctx: Context, ask: ToggleHeartbeat) -> ToggledHeartbeat:
    """Switch a heartbeat on or off."""
    agent = await resolve_agent(ctx, ask.agent_id)
    before = await _need(ctx, agent)
    await _put(ctx, agent, before, {**_kept(before), "enabled": ask.enabled})
    return ToggledHeartbeat(agent_id=agent.id, enabled=ask.enabled)


@operation(Rpc("heartbeat.test", Role.ADMIN))
async def test(ctx: Context, ask: OfAgent) -> Begun:
    """Run a heartbeat now, whatever the hour. Its outcome comes as an event and in the log."""
    agent = await resolve_agent(ctx, ask.agent_id)
    await _need(ctx, agent)
    if ctx.house.draining:
        raise Rejected(unavailable("shutting_down"))
    ctx.system.tell(HEARTBEAT, TryHeartbeat(tenant_id=ctx.caller.tenant_id, agent_id=agent.id))
    return Begun()


@operation(Rpc("heartbeat.logs", Role.VIEWER))
async def logs(ctx: Context, ask: ListBeats) -> BeatPage:
    """Read what came of an agent's heartbeats, newest first."""
    agent = await resolve_agent(ctx, ask.agent_id)
    tenant, limit = ctx.caller.tenant_id, min(ask.limit, PAGE)
    rows = await ctx.db(heartbeats.log, tenant=tenant, agent=agent.id, limit=limit, offset=ask.offset)
    return BeatPage(
        logs=[_logged(row) for row in rows], total=await ctx.db(heartbeats.logged, tenant=tenant, agent=agent.id)
    )


@operation(Rpc("heartbeat.checklist.get", Role.VIEWER))
async def get_checklist(ctx: Context, ask: OfAgent) -> Checklist:
    """Read the checklist of an agent: HEARTBEAT.md in its workspace."""
    agent = await resolve_agent(ctx, ask.agent_id)
    return Checklist(content=await _in_workspace(ctx, agent, checklist.read))


@operation(Rpc("heartbeat.checklist.set", Role.ADMIN))
async def set_checklist(ctx: Context, ask: SetChecklist) -> WrittenChecklist:
    """Replace the checklist of an agent."""
    if len(ask.content.encode("utf-8", "surrogatepass")) > checklist.LARGEST:
        raise Rejected(invalid("content", f"longer than {checklist.LARGEST} bytes"))
    agent = await resolve_agent(ctx, ask.agent_id)

    def write(root: Path, workspace: str) -> None:
        checklist.write(root, workspace, ask.content)

    await _in_workspace(ctx, agent, write)
    record(ctx, "heartbeat.checklist", "agent", agent.id, length=len(ask.content))
    return WrittenChecklist(length=len(ask.content))


@operation(Rpc("heartbeat.targets", Role.VIEWER))
async def targets(ctx: Context, ask: OfAgent) -> TargetList:
    """Where a heartbeat may speak up: chats its agent was talked to in."""
    agent = await resolve_agent(ctx, ask.agent_id)
    rows = await ctx.db(heartbeats.targets, tenant=ctx.caller.tenant_id, agent=agent.id)
    found = [Target(channel=row.channel, chat_id=row.chat_id, title=row.label or "", kind=row.peer) for row in rows]
    return TargetList(targets=found)


# --- parts ----------------------------------------------------------------------------------------


async def _find(ctx: Context, agent: AgentProfile) -> heartbeats.Heartbeat | None:
    return await ctx.db(heartbeats.get, tenant=ctx.caller.tenant_id, agent=agent.id)


async def _need(ctx: Context, agent: AgentProfile) -> heartbeats.Heartbeat:
    found = await _find(ctx, agent)
    if found is None:
        raise Rejected(not_found("heartbeat", agent.key))
    return found


async def _put(
    ctx: Context, agent: AgentProfile, before: heartbeats.Heartbeat | None, values: dict[str, Any]
) -> heartbeats.Heartbeat:
    """Stored; and due for the first time soon after it was switched on."""
    next_run_at = before.next_run_at if before is not None else None
    if not values["enabled"]:
        next_run_at = None
    elif before is None or not before.enabled:
        next_run_at = ctx.now() + first_offset(agent.id, values["interval_sec"])
    saved = await ctx.db(heartbeats.put, tenant=ctx.caller.tenant_id, agent=agent.id, next_run_at=next_run_at, **values)
    ctx.system.tell(HEARTBEAT, Beat())
    record(ctx, "heartbeat.set", "agent", agent.id, enabled=values["enabled"])
    return saved


def _kept(row: heartbeats.Heartbeat) -> dict[str, Any]:
    names = (
        "enabled interval_sec prompt provider model isolated_session light_context ack_max_chars max_retries "
        "active_hours_start active_hours_end timezone channel chat_id"
    )
    return {name: getattr(row, name) for name in names.split()}


def _defaults(ctx: Context) -> dict[str, Any]:
    given = ctx.house.settings.agents.defaults.heartbeat
    empty = ("provider", "model", "active_hours_start", "active_hours_end", "timezone", "channel", "chat_id")
    return {
        "enabled": given.enabled,
        "interval_sec": int(given.every_sec),
        "prompt": given.prompt_template or None,
        "isolated_session": True,
        "light_context": False,
        "ack_max_chars": given.ack_max_chars,
        "max_retries": 2,
        **dict.fromkeys(empty),
    }


def _check(values: dict[str, Any]) -> None:
    for name in ("active_hours_start", "active_hours_end"):
        if values[name] is not None and not SPAN.fullmatch(values[name]):
            raise Rejected(invalid(name, "expected HH:MM"))
    if (values["active_hours_start"] is None) != (values["active_hours_end"] is None):
        raise Rejected(required("active_hours_end" if values["active_hours_end"] is None else "active_hours_start"))
    try:
        zone_of(values["timezone"] or "")
    except Unscheduled as refusal:
        raise Rejected(invalid("timezone", refusal.reason)) from None


async def _in_workspace(ctx: Context, agent: AgentProfile, work: Callable[[Path, str], T]) -> T:
    root = ctx.house.settings.agents.defaults.workspace
    try:
        return await trio.to_thread.run_sync(work, root, agent.workspace)
    except (OSError, UnicodeError):
        raise Rejected(unavailable("workspace")) from None


def _shown(row: heartbeats.Heartbeat | None) -> Heartbeat | None:
    if row is None:
        return None
    same = {name: getattr(row, name) for name in Heartbeat.__struct_fields__ if not name.startswith("provider")}
    return Heartbeat(**same, provider_id=row.provider, provider_name=row.provider)


def _logged(row: BeatRow) -> LoggedBeat:
    return LoggedBeat(**{name: getattr(row, name) for name in LoggedBeat.__struct_fields__})
