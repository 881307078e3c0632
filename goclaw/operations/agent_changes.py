"""Agents made, changed and taken away. Contract: edge-http.md §5, edge-websocket.md §7.3, wire-compat.md C2."""

from __future__ import annotations

import re
import shutil
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar

import msgspec
import structlog
import trio
from msgspec import UNSET, Meta, Struct, UnsetType

from goclaw.domain.access import Role, valid_user_id
from goclaw.domain.address import BUDGETS, session
from goclaw.domain.agent import AGENTS, DEFAULT_KEY, EDITORS, MANAGERS, AgentChanged, AgentRole
from goclaw.domain.budget import LimitsChanged
from goclaw.domain.errors import (
    Rejected,
    already_exists,
    failed_precondition,
    forbidden,
    invalid,
    required,
)
from goclaw.domain.events import AgentEvent, body, of_admins, of_user
from goclaw.domain.session import Abort
from goclaw.domain.summoning import SUMMONER, Summon, Unsummon
from goclaw.knowledge import templates
from goclaw.knowledge.context_files import IDENTITY
from goclaw.knowledge.identity import renamed
from goclaw.operations.activity import by, record, recorded
from goclaw.operations.agent_shapes import Agent, Wanted, columns_of
from goclaw.operations.agents import active_runs, found_agent, shown
from goclaw.operations.context import Context
from goclaw.operations.operation import Http, Rpc, operation
from goclaw.operations.provider_health import everybody
from goclaw.settings.providers import OFFLINE, programs
from goclaw.stores import agents, context_files
from goclaw.stores.agents import AgentRow

KEY = re.compile(r"[a-z0-9][a-z0-9-]{0,99}\Z")
RESERVED = frozenset({"import", "sync-workspace", "links", DEFAULT_KEY})
WITHIN = 5.0  # seconds the sessions of an agent that is gone have to stop

log = structlog.get_logger()


class CreateAgent(Wanted, kw_only=True):
    ALIASES: ClassVar = {**Wanted.ALIASES, "name": "agent_key"}

    agent_key: str | None = None
    owner_ids: Annotated[tuple[str, ...], Meta(max_length=20)] = ()


class UpdateAgent(Wanted, kw_only=True):
    ALIASES: ClassVar = {**Wanted.ALIASES, "agent_id": "id"}

    id: str
    agent_key: str | UnsetType = UNSET


class DeleteAgent(Struct, kw_only=True):
    ALIASES: ClassVar = {"agent_id": "id"}

    id: str
    delete_files: bool = False


class Deleted(Struct, kw_only=True):
    deleted: bool = True
    agent_id: str
    removed_bindings: int  # shares that ended with it


def _created(agent: Agent) -> dict[str, Any]:
    facts = {"agentId": agent.agent_key, "name": agent.display_name, "workspace": agent.workspace}
    return {"ok": True, **facts, "agent": agent}


def _updated(agent: Agent) -> dict[str, Any]:
    return {"ok": True, "agentId": agent.agent_key, "agent": agent}


def _removed(gone: Deleted) -> dict[str, Any]:
    return {"ok": True, "agentId": gone.agent_id, "removedBindings": gone.removed_bindings}


@operation(Rpc("agents.create", Role.ADMIN, reply=_created), Http("POST /v1/agents", Role.OPERATOR, status=201))
@recorded
async def create(ctx: Context, ask: CreateAgent) -> Agent:
    """Make an agent. A predefined one with a description gets its files written by a model."""
    key, values = _key(ask), columns_of(ask)
    owner = _owner(ctx, ask)
    values = {"provider": "", "model": "", "workspace": key, **values}
    await _check(ctx, values)
    if values.get("is_default") is False:
        del values["is_default"]
    name, description = values.get("display_name") or key, values.get("description") or ""
    texts: dict[str, str] = {}
    summoned = values.get("agent_type") == "predefined" and bool(description.strip())
    if summoned:
        values["status"] = "summoning"
    elif values.get("agent_type") == "predefined":
        texts = templates.of_agent(name, description)
    id = ctx.new_id()
    made = await ctx.db(
        agents.add,
        id=id,
        tenant=ctx.caller.tenant_id,
        agent_key=key,
        owner_id=owner,
        values=values,
        texts=texts,
        by=by(ctx),
    )
    if made is None:
        raise Rejected(already_exists("agent", key))
    changed(ctx, made, sorted(values))
    if summoned:
        ctx.system.tell(SUMMONER, Summon())
    await record(ctx, "agent.created", "agent", made.id, key=key)
    await _switched(ctx, made, None)
    return await _view(ctx, made, "owner" if owner == ctx.caller.user_id else "admin")


@operation(Rpc("agents.update", Role.ADMIN, reply=_updated), Http("PUT /v1/agents/{id}", Role.OPERATOR))
@recorded
async def update(ctx: Context, ask: UpdateAgent) -> Agent:
    """Change an agent. The next turn sees it, those that work end as they began."""
    row, role = await found_agent(ctx, ask.id)
    if role not in EDITORS:
        raise Rejected(forbidden("not_yours"))
    if row.status == "summoning":
        raise Rejected(failed_precondition("summoning"))
    if ask.agent_key not in (UNSET, row.agent_key):
        raise Rejected(invalid("agent_key", "cannot be changed"))
    values = columns_of(ask)
    values = {name: value for name, value in values.items() if value != getattr(row, name)}
    await _check(ctx, values)
    if values.get("is_default") is False:
        raise Rejected(invalid("is_default", "make another agent the default instead"))
    texts = {}
    if values.get("display_name"):
        own = await ctx.db(context_files.of_agent, tenant=ctx.caller.tenant_id, agent=row.id)
        texts = {text.name: renamed(text.content, values["display_name"]) for text in own if text.name == IDENTITY}
    saved = row
    if values:
        saved = await _save(ctx, row, values, texts)
        changed(ctx, saved, sorted(values))
        await record(ctx, "agent.updated", "agent", row.id, key=row.agent_key, changes=", ".join(sorted(values)))
        await _switched(ctx, saved, row.shell_deny_groups)
    return await _view(ctx, saved, role)


@operation(Rpc("agents.delete", Role.ADMIN, reply=_removed), Http("DELETE /v1/agents/{id}", Role.OPERATOR))
@recorded
async def delete(ctx: Context, ask: DeleteAgent) -> Deleted:
    """Take an agent away: nobody can talk to it, what it does is stopped, its history stays."""
    row, role = await found_agent(ctx, ask.id)
    if row.is_default:
        raise Rejected(forbidden("default_agent"))
    if role not in MANAGERS:
        raise Rejected(forbidden("not_yours"))
    tenant = ctx.caller.tenant_id
    shares = await ctx.db(agents.delete, tenant=tenant, id=row.id, files=ask.delete_files)
    changed(ctx, row, [], deleted=True)
    ctx.system.tell(SUMMONER, Unsummon(agent_id=row.id))
    for key in await ctx.db(agents.open_sessions, tenant=tenant, id=row.id):
        stop = Abort(user_id=by(ctx), as_admin=True, drain=True, reason="agent_deleted")
        ctx.system.tell(session(tenant, key), stop)
    if ask.delete_files:
        await _delete_workspace(ctx, row)
    await record(ctx, "agent.deleted", "agent", row.id, key=row.agent_key, files=ask.delete_files)
    return Deleted(agent_id=row.agent_key, removed_bindings=shares or 0)


def changed(ctx: Context, row: AgentRow, changes: list[str], *, deleted: bool = False) -> None:
    """It is stored: the next turn sees it, whoever watches hears of it."""
    ctx.system.publish(AGENTS, AgentChanged(tenant_id=ctx.caller.tenant_id))
    facts = {"agentId": row.id, "agentKey": row.agent_key, "changes": changes}
    event = AgentEvent(type="agent.updated", body=body(**facts, **({"deleted": True} if deleted else {})))
    for group in (of_user(ctx.caller.tenant_id, row.owner_id), of_admins(ctx.caller.tenant_id)):
        ctx.system.publish(group, event)
    if "budget_monthly_cents" in changes or deleted:
        ctx.system.tell(BUDGETS, LimitsChanged())


# --- parts ----------------------------------------------------------------------------------------


def _key(ask: CreateAgent) -> str:
    """The key that is asked for, else one made of the name."""
    key = ask.agent_key
    if key is None and isinstance(ask.display_name, str):
        key = re.sub(r"[^a-z0-9]+", "-", ask.display_name.lower()).strip("-")[:100]
    if not key:
        raise Rejected(required("agent_key"))
    if not KEY.match(key):
        raise Rejected(invalid("agent_key", "small letters, digits and dashes, at most 100"))
    if key in RESERVED:
        raise Rejected(invalid("agent_key", "is reserved"))
    return key


def _owner(ctx: Context, ask: CreateAgent) -> str:
    owner = ask.owner_ids[0] if ask.owner_ids else ctx.user_id
    if not valid_user_id(owner):
        raise Rejected(invalid("owner_ids", "not a user id"))
    if owner != ctx.caller.user_id and not ctx.caller.is_admin:
        raise Rejected(forbidden("owner_ids"))
    return owner


async def _check(ctx: Context, values: dict[str, Any]) -> None:
    """Refuses what only admins may, and who does not exist."""
    if not ctx.caller.is_admin:
        if values.get("is_default"):
            raise Rejected(forbidden("is_default"))
        if values.get("restrict_to_workspace") is False:
            raise Rejected(forbidden("restrict_to_workspace"))
        if "shell_deny_groups" in values:
            raise Rejected(forbidden("shell_deny_groups"))
    if values.get("status") not in (None, "active", "inactive"):
        raise Rejected(invalid("status", "active or inactive"))
    if "workspace" in values:
        values["workspace"] = _workspace(ctx, values["workspace"])
    if provider := values.get("provider"):
        await check_provider(ctx, provider)


async def _switched(ctx: Context, row: agents.AgentRow, old: dict[str, bool] | None) -> None:
    """Says in the audit which safety groups of commands an agent has of its own now, and had (security.md §3.4)."""
    if (row.shell_deny_groups or {}) != (old or {}):
        before, now = (
            msgspec.json.encode(each or {}, order="sorted").decode() for each in (old, row.shell_deny_groups)
        )
        await record(ctx, "deny_groups.changed", "agent", row.id, key=row.agent_key, old=before, new=now)


async def check_provider(ctx: Context, name: str) -> None:
    """Refuses a provider that nobody configured or added."""
    there = await everybody(ctx)
    if name not in (OFFLINE, *there.named, *programs(there)):
        raise Rejected(invalid("provider", "there is none of that name"))


def _workspace(ctx: Context, given: str) -> str:
    """Relative to the directory of all workspaces; only admins lead anywhere else."""
    path = PurePosixPath(given.strip() or ".")
    if not given.isprintable() or ".." in path.parts:
        raise Rejected(invalid("workspace", "not a plain path"))
    if path.is_absolute() and not ctx.caller.is_admin:
        raise Rejected(forbidden("workspace"))
    return str(path)


async def _save(ctx: Context, row: AgentRow, values: dict[str, Any], texts: dict[str, str]) -> AgentRow:
    saved = await ctx.db(
        agents.change,
        tenant=ctx.caller.tenant_id,
        id=row.id,
        version=row.version,
        values=values,
        texts=texts,
        by=by(ctx),
    )
    if saved is None:
        raise Rejected(failed_precondition("changed_meanwhile"))
    return saved


async def _view(ctx: Context, row: AgentRow, role: AgentRole) -> Agent:
    return shown(ctx, row, role, await active_runs(ctx), await everybody(ctx))


async def _delete_workspace(ctx: Context, row: AgentRow) -> None:
    """Only a directory of its own below all workspaces: never that of somebody else, nor one around it."""
    root = ctx.house.settings.agents.defaults.workspace.resolve()
    others = await ctx.db(agents.working_in, tenant=ctx.caller.tenant_id)

    def work() -> bool:
        place = (root / row.workspace).resolve()
        taken = [(root / other).resolve() for other in others]
        inside = root in place.parents and not any(place == one or place in one.parents for one in taken)
        if inside:
            shutil.rmtree(place, ignore_errors=True)
        return inside

    if not await trio.to_thread.run_sync(work):
        log.info("agent.workspace_kept", agent=row.agent_key, workspace=str(Path(row.workspace)))
