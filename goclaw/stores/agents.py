"""Agents. Table `agents` (migration 0003)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct

from goclaw.stores.unit import Connection, many, maybe, transaction

LISTED = 1_000  # rows of a list that nobody pages; wire-compat.md A12


class AgentRow(Struct, frozen=True, kw_only=True):
    """Empty `provider` or `model` means the gateway's default at the time of the run."""

    id: str
    agent_key: str
    display_name: str | None
    owner_id: str
    description: str | None
    emoji: str | None
    agent_type: str
    status: str
    is_default: bool
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
    other_config: dict[str, Any]
    tools_config: dict[str, Any]
    created_at: datetime
    updated_at: datetime


COLUMNS = """id, agent_key, display_name, owner_id, description, emoji, agent_type, status, is_default, provider,
model, context_window, fallback_models, thinking_level, reasoning_config, max_tokens, temperature,
max_tool_iterations, workspace, restrict_to_workspace, other_config, tools_config, created_at,
updated_at"""

FIND = f"""
SELECT {COLUMNS} FROM agents
WHERE tenant_id = %(tenant)s AND deleted_at IS NULL AND (agent_key = %(name)s OR id::text = %(name)s)
ORDER BY agent_key = %(name)s DESC LIMIT 1
"""

DEFAULT = f"""
SELECT {COLUMNS} FROM agents WHERE tenant_id = %(tenant)s AND is_default AND deleted_at IS NULL
"""

VISIBLE = f"""
SELECT {COLUMNS} FROM agents
WHERE tenant_id = %(tenant)s AND deleted_at IS NULL AND (%(everything)s OR is_default OR owner_id = %(user)s)
ORDER BY is_default DESC, agent_key LIMIT %(limit)s
"""

SEED = """
INSERT INTO agents (id, tenant_id, agent_key, display_name, owner_id, is_default, provider, model, workspace)
VALUES (%(id)s, %(tenant)s, %(key)s, %(name)s, %(owner)s, true, '', '', '.')
ON CONFLICT DO NOTHING
"""

CHOOSE = """
UPDATE agents SET provider = %(provider)s, model = %(model)s, updated_at = now()
WHERE tenant_id = %(tenant)s AND id = %(id)s AND deleted_at IS NULL
"""


@transaction(readonly=True)
async def find(db: Connection, *, tenant: str, name: str) -> AgentRow | None:
    """The living agent with this key or id."""
    return await maybe(AgentRow, db.execute(FIND, {"tenant": tenant, "name": name}))


@transaction(readonly=True)
async def default(db: Connection, *, tenant: str) -> AgentRow | None:
    return await maybe(AgentRow, db.execute(DEFAULT, {"tenant": tenant}))


@transaction(readonly=True)
async def visible(db: Connection, *, tenant: str, user: str, everything: bool) -> list[AgentRow]:
    """What a user may talk to: the default agent and his own; `everything` for admins."""
    params = {"tenant": tenant, "user": user, "everything": everything, "limit": LISTED}
    return await many(AgentRow, db.execute(VISIBLE, params))


@transaction(retry_safe=True)
async def seed(db: Connection, *, id: str, tenant: str, key: str, name: str, owner: str) -> None:
    """Make the starter agent of a tenant that has no default agent yet. Doing it twice is the same as once."""
    await db.execute(SEED, {"id": id, "tenant": tenant, "key": key, "name": name, "owner": owner})


@transaction
async def choose(db: Connection, *, tenant: str, id: str, provider: str, model: str) -> None:
    """Who answers for an agent from the next turn on; an empty `model` is the provider's own."""
    await db.execute(CHOOSE, {"tenant": tenant, "id": id, "provider": provider, "model": model})
