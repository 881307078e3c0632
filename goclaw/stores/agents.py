"""Agents. Tables `agents` (migration 0003), `agent_summonings` (0028). Who else may use one is in `agent_shares.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from goclaw.domain.agent import AgentRole
from goclaw.domain.ids import new_id
from goclaw.domain.run_states import OPEN
from goclaw.stores import context_files, summonings
from goclaw.stores.unit import Connection, Json, many, maybe, one, transaction

LISTED = 1_000  # rows of a list that nobody pages; wire-compat.md A12


class AgentRow(Struct, frozen=True, kw_only=True):
    """Empty `provider` or `model` means the gateway's default at the time of the run."""

    id: str
    agent_key: str
    display_name: str | None
    owner_id: str
    description: str | None
    frontmatter: str | None
    emoji: str | None
    avatar: str | None
    agent_type: str
    status: str
    is_default: bool
    a2a_public: bool
    provider: str
    model: str
    context_window: int
    fallback_models: tuple[str, ...]
    thinking_level: str | None
    reasoning_config: dict[str, Any] | None
    max_tokens: int | None
    temperature: float | None
    max_tool_iterations: int
    workspace: str
    restrict_to_workspace: bool
    workspace_sharing: dict[str, Any] | None
    tools_config: dict[str, Any]
    subagents_config: dict[str, Any] | None
    sandbox_config: dict[str, Any] | None
    shell_deny_groups: dict[str, bool] | None
    memory_config: dict[str, Any] | None
    compaction_config: dict[str, Any] | None
    context_pruning: dict[str, Any] | None
    self_evolve: bool
    skill_evolve: bool
    skill_nudge_interval: int | None
    budget_monthly_cents: int | None
    other_config: dict[str, Any]
    version: int
    summon_error: str | None
    created_at: datetime
    updated_at: datetime


class ListedAgent(AgentRow, frozen=True, kw_only=True):
    """With what the one who asks may do with it."""

    my_role: AgentRole
    total: int  # agents that match, beyond this page


class Starter(Struct, frozen=True, kw_only=True):
    """An agent of a fresh store; `soul` is its own SOUL.md, if it has one."""

    key: str
    name: str
    description: str = ""
    emoji: str = ""
    workspace: str = "."
    soul: str = ""


OWN = (
    "agent_key, display_name, owner_id, description, frontmatter, emoji, avatar, agent_type, status, is_default, "
    "a2a_public, provider, model, context_window, fallback_models, thinking_level, reasoning_config, max_tokens, "
    "temperature, max_tool_iterations, workspace, restrict_to_workspace, workspace_sharing, tools_config, "
    "subagents_config, sandbox_config, shell_deny_groups, memory_config, compaction_config, context_pruning, "
    "self_evolve, skill_evolve, skill_nudge_interval, budget_monthly_cents, other_config"
)
WRITABLE = frozenset(OWN.split(", ")) - {"agent_key", "owner_id"}
JSON = frozenset({"reasoning_config", "workspace_sharing", "tools_config", "subagents_config", "sandbox_config"})
JSON |= {"shell_deny_groups", "memory_config", "compaction_config", "context_pruning", "other_config"}

ERROR = "(SELECT s.error FROM agent_summonings s WHERE s.agent_id = agents.id) AS summon_error"
COLUMNS = f"id, {OWN}, version, created_at, updated_at, {ERROR}"

FIND = f"""
SELECT {COLUMNS} FROM agents
WHERE tenant_id = %(tenant)s AND deleted_at IS NULL AND (agent_key = %(name)s OR id::text = %(name)s)
ORDER BY agent_key = %(name)s DESC LIMIT 1
"""

DEFAULT = f"""
SELECT {COLUMNS} FROM agents WHERE tenant_id = %(tenant)s AND is_default AND deleted_at IS NULL
"""

# the first that says something decides (data-model.md §2)
ROLE = """CASE WHEN %(everything)s THEN CASE WHEN owner_id = %(user)s THEN 'owner' ELSE 'admin' END
  WHEN owner_id = %(user)s THEN 'owner' WHEN is_default THEN 'user' ELSE (
    SELECT h.role FROM agent_shares h WHERE h.agent_id = agents.id AND h.user_id = %(user)s) END"""

VISIBLE = f"""
SELECT {COLUMNS}, {ROLE} AS my_role, count(*) OVER () AS total FROM agents
WHERE tenant_id = %(tenant)s AND deleted_at IS NULL AND {ROLE} IS NOT NULL
  AND (%(status)s::text IS NULL OR status = %(status)s)
  AND (%(search)s::text IS NULL OR strpos(lower(agent_key), lower(%(search)s)) > 0
    OR strpos(lower(coalesce(display_name, '')), lower(%(search)s)) > 0)
ORDER BY is_default DESC, agent_key LIMIT %(limit)s OFFSET %(offset)s
"""

SEED = """
INSERT INTO agents (id, tenant_id, agent_key, display_name, owner_id, is_default, provider, model, workspace)
VALUES (%(id)s, %(tenant)s, %(key)s, %(name)s, %(owner)s, true, '', '', '.')
ON CONFLICT DO NOTHING
"""

START = """
INSERT INTO agents (id, tenant_id, agent_key, display_name, owner_id, description, emoji, provider, model, workspace)
VALUES (%(id)s, %(tenant)s, %(key)s, %(name)s, %(owner)s, %(description)s, %(emoji)s, '', '', %(workspace)s)
ON CONFLICT DO NOTHING RETURNING id::text
"""

CHOOSE = """
UPDATE agents SET provider = %(provider)s, model = %(model)s, version = version + 1, updated_at = now()
WHERE tenant_id = %(tenant)s AND id = %(id)s AND deleted_at IS NULL
"""

SEEN = """
SELECT version FROM agents
WHERE tenant_id = %(tenant)s AND id = %(id)s AND version = %(version)s AND deleted_at IS NULL FOR UPDATE
"""

NO_OTHER_DEFAULT = """
UPDATE agents SET is_default = false, version = version + 1, updated_at = now()
WHERE tenant_id = %(tenant)s AND is_default AND id <> %(id)s AND deleted_at IS NULL
"""


@transaction(readonly=True)
async def find(db: Connection, *, tenant: str, name: str) -> AgentRow | None:
    """The living agent with this key or id."""
    return await maybe(AgentRow, db.execute(FIND, {"tenant": tenant, "name": name}))


@transaction(readonly=True)
async def default(db: Connection, *, tenant: str) -> AgentRow | None:
    return await maybe(AgentRow, db.execute(DEFAULT, {"tenant": tenant}))


@transaction(readonly=True)
async def visible(
    db: Connection,
    *,
    tenant: str,
    user: str,
    everything: bool,
    search: str | None = None,
    status: str | None = None,
    limit: int = LISTED,
    offset: int = 0,
) -> list[ListedAgent]:
    """What a user may talk to: the default agent, his own and those shared with him; `everything` for admins."""
    params = {"tenant": tenant, "user": user, "everything": everything, "search": search, "status": status}
    return await many(ListedAgent, db.execute(VISIBLE, {**params, "limit": limit, "offset": offset}))


@transaction(retry_safe=True)
async def seed(
    db: Connection, *, id: str, tenant: str, key: str, name: str, owner: str, more: Sequence[Starter] = ()
) -> None:
    """Make the starter agent of a tenant that has no default agent yet, and `more` if it never had any agent.

    Doing it twice is the same as once: who was deleted does not come back.
    """
    had = await one(bool, db.execute("SELECT EXISTS (SELECT FROM agents WHERE tenant_id = %s)", [tenant]))
    await db.execute(SEED, {"id": id, "tenant": tenant, "key": key, "name": name, "owner": owner})
    for starter in () if had else more:
        named = {"id": new_id(), "tenant": tenant, "owner": owner}
        said = {field: getattr(starter, field) for field in Starter.__struct_fields__}
        made = await maybe(str, db.execute(START, {**named, **said}))  # another node may begin at the same time
        if made is not None and starter.soul:
            await _write(db, tenant, made, {"SOUL.md": starter.soul}, owner)


@transaction
async def choose(db: Connection, *, tenant: str, id: str, provider: str, model: str) -> None:
    """Who answers for an agent from the next turn on; an empty `model` is the provider's own."""
    await db.execute(CHOOSE, {"tenant": tenant, "id": id, "provider": provider, "model": model})


@transaction
async def add(
    db: Connection,
    *,
    id: str,
    tenant: str,
    agent_key: str,
    owner_id: str,
    values: Mapping[str, Any],
    texts: Mapping[str, str],
    by: str,
) -> AgentRow | None:
    """Make an agent with its texts. None if its key is taken."""
    first, values = bool(values.get("is_default")), {**values, "is_default": False}
    names = ["id", "tenant_id", "agent_key", "owner_id", *_checked(values)]
    params = {"id": id, "tenant_id": tenant, "agent_key": agent_key, "owner_id": owner_id, **_params(values)}
    query = f"""
    INSERT INTO agents ({", ".join(names)}) VALUES ({", ".join(f"%({name})s" for name in names)})
    ON CONFLICT (tenant_id, agent_key) WHERE deleted_at IS NULL DO NOTHING
    RETURNING {COLUMNS}
    """
    made = await maybe(AgentRow, db.execute(query, params))
    if made is not None:
        await _write(db, tenant, id, texts, by)
        if made.status == "summoning":
            await summonings.ask(db, tenant=tenant, agent=id, wish=None, by=by)
        if first:
            return await change(db, tenant=tenant, id=id, version=1, values={"is_default": True}, texts={}, by=by)
    return made


@transaction
async def change(
    db: Connection,
    *,
    tenant: str,
    id: str,
    version: int,
    values: Mapping[str, Any],
    texts: Mapping[str, str],
    by: str,
) -> AgentRow | None:
    """Change columns and texts of an agent. None if it is not the `version` that was seen."""
    if values.get("is_default"):
        if await maybe(int, db.execute(SEEN, {"tenant": tenant, "id": id, "version": version})) is None:
            return None
        await db.execute(NO_OTHER_DEFAULT, {"tenant": tenant, "id": id})
    sets = "".join(f"{name} = %({name})s, " for name in _checked(values))
    query = f"""
    UPDATE agents SET {sets}version = version + 1, updated_at = now()
    WHERE tenant_id = %(tenant_id)s AND id = %(id)s AND version = %(version)s AND deleted_at IS NULL
    RETURNING {COLUMNS}
    """
    params = {"tenant_id": tenant, "id": id, "version": version, **_params(values)}
    changed = await maybe(AgentRow, db.execute(query, params))
    if changed is not None:
        await _write(db, tenant, id, texts, by)
    return changed


@transaction
async def delete(db: Connection, *, tenant: str, id: str, files: bool) -> int | None:
    """Take an agent away: its key is free, its history stays. How many shares it had; None if it was gone.

    With `files` its texts and its users' are gone for good.
    """
    named = {"tenant": tenant, "id": id}
    query = """
    UPDATE agents SET deleted_at = now(), is_default = false, version = version + 1, updated_at = now()
    WHERE tenant_id = %(tenant)s AND id = %(id)s AND deleted_at IS NULL RETURNING id::text
    """
    if await maybe(str, db.execute(query, named)) is None:
        return None
    gone = await many(
        str,
        db.execute(
            "DELETE FROM agent_shares WHERE tenant_id = %(tenant)s AND agent_id = %(id)s RETURNING id::text", named
        ),
    )
    for table in ("agent_summonings", *(("agent_context_files", "user_context_files") if files else ())):
        await db.execute(f"DELETE FROM {table} WHERE tenant_id = %(tenant)s AND agent_id = %(id)s", named)
    return len(gone)


@transaction(readonly=True)
async def working_in(db: Connection, *, tenant: str) -> list[str]:
    """The workspaces of living agents."""
    query = "SELECT DISTINCT workspace FROM agents WHERE tenant_id = %s AND deleted_at IS NULL ORDER BY 1 LIMIT 100000"
    return await many(str, db.execute(query, [tenant]))


@transaction(readonly=True)
async def open_sessions(db: Connection, *, tenant: str, id: str) -> list[str]:
    """Sessions in which runs of an agent wait or work."""
    query = """
    SELECT DISTINCT session_key FROM runs
    WHERE tenant_id = %(tenant)s AND agent_id = %(id)s AND state = ANY(%(open)s) ORDER BY 1 LIMIT 10000
    """
    return await many(str, db.execute(query, {"tenant": tenant, "id": id, "open": list(OPEN)}))


async def _write(db: Connection, tenant: str, agent: str, texts: Mapping[str, str], by: str) -> None:
    for name, content in texts.items():
        await context_files.write(db, tenant=tenant, agent=agent, name=name, content=content, by=by)


def _checked(values: Mapping[str, Any]) -> list[str]:
    if strange := values.keys() - WRITABLE:
        raise TypeError(f"no columns to write: {', '.join(sorted(strange))}")
    return list(values)


def _params(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _param(name, value) for name, value in values.items()}


def _param(name: str, value: Any) -> Any:
    if name in JSON and value is not None:
        return Json(value)
    return list(value) if isinstance(value, tuple) else value  # a tuple would be a row, not an array
