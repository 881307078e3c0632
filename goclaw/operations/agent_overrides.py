"""What is different when an agent answers one user: provider, model and a few settings. Contract: agent-loop.md §19.5.

Who manages the agent sets it; limits and policies are the same for everybody.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from msgspec import Meta, Struct

from goclaw.domain.access import Role, valid_user_id
from goclaw.domain.agent import AGENTS, AgentChanged
from goclaw.domain.errors import Rejected, exhausted, invalid, not_found
from goclaw.operations.activity import record, recorded
from goclaw.operations.agent_changes import check_provider
from goclaw.operations.agent_instances import managed
from goclaw.operations.agent_shapes import Level
from goclaw.operations.context import Context
from goclaw.operations.operation import Http, Rpc, operation
from goclaw.stores import agent_shares
from goclaw.stores.agent_shares import Override


class ListOverrides(Struct, kw_only=True):
    ALIASES: ClassVar = {"agent_id": "id"}

    id: str


class OverrideList(Struct, kw_only=True):
    overrides: list[Override]


class OfUser(ListOverrides, kw_only=True):
    user_id: str


class SetOverride(OfUser, kw_only=True):
    """Replaces what was set before. A model alone is one of the agent's own provider."""

    provider: Annotated[str, Meta(max_length=50)] | None = None
    model: Annotated[str, Meta(max_length=200)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    thinking_level: Level | None = None
    language: Annotated[str, Meta(max_length=64)] | None = None


class Cleared(Struct, kw_only=True):
    deleted: bool = True


SETTINGS = ("temperature", "max_tokens", "thinking_level", "language")


@operation(Rpc("agents.overrides.list", Role.VIEWER), Http("GET /v1/agents/{id}/overrides", Role.VIEWER))
async def list_overrides(ctx: Context, ask: ListOverrides) -> OverrideList:
    """List what is different for whom."""
    agent = await managed(ctx, ask.id)
    rows = await ctx.db(agent_shares.listed_overrides, tenant=ctx.caller.tenant_id, agent=agent.id)
    return OverrideList(overrides=rows)


@operation(Rpc("agents.overrides.set", Role.OPERATOR), Http("PUT /v1/agents/{id}/overrides/{user_id}", Role.OPERATOR))
@recorded
async def set_override(ctx: Context, ask: SetOverride) -> Override:
    """Have an agent answer a user in another way, from his next turn on."""
    if not valid_user_id(ask.user_id):
        raise Rejected(invalid("user_id", "not a user id"))
    if ask.language is not None and not ask.language.isprintable():
        raise Rejected(invalid("language", "not a language"))
    agent = await managed(ctx, ask.id)
    if ask.provider:
        await check_provider(ctx, ask.provider)
    settings: dict[str, Any] = {name: value for name in SETTINGS if (value := getattr(ask, name)) is not None}
    row = await ctx.db(
        agent_shares.put_override,
        tenant=ctx.caller.tenant_id,
        agent=agent.id,
        user=ask.user_id,
        provider=ask.provider,
        model=ask.model,
        settings=settings,
    )
    if row is None:
        raise Rejected(exhausted("overrides"))
    ctx.system.publish(AGENTS, AgentChanged(tenant_id=ctx.caller.tenant_id))
    await record(ctx, "agent.override", "agent", agent.id, user=ask.user_id, provider=ask.provider, model=ask.model)
    return row


@operation(
    Rpc("agents.overrides.clear", Role.OPERATOR), Http("DELETE /v1/agents/{id}/overrides/{user_id}", Role.OPERATOR)
)
@recorded
async def clear_override(ctx: Context, ask: OfUser) -> Cleared:
    """Have an agent answer a user like everybody."""
    agent = await managed(ctx, ask.id)
    if not await ctx.db(agent_shares.drop_override, tenant=ctx.caller.tenant_id, agent=agent.id, user=ask.user_id):
        raise Rejected(not_found("override", ask.user_id[:100]))
    ctx.system.publish(AGENTS, AgentChanged(tenant_id=ctx.caller.tenant_id))
    await record(ctx, "agent.override_cleared", "agent", agent.id, user=ask.user_id)
    return Cleared()
