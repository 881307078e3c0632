"""Models as clients choose them: agents under OpenAI's names, and what the providers offer.

Contract: edge-http.md §4, edge-websocket.md §7.1.
"""

from __future__ import annotations

from typing import Annotated, Any

import structlog
import trio
from msgspec import Meta, Struct

from goclaw.domain.access import Role
from goclaw.domain.errors import Err, ProviderError, Rejected, not_found
from goclaw.domain.model import PROVIDERS, ProvidersChanged
from goclaw.operations.activity import record, recorded
from goclaw.operations.agents import ListAgents, list_agents
from goclaw.operations.context import Context
from goclaw.operations.operation import Cli, Http, Rpc, operation
from goclaw.operations.provider_health import borrow, everybody
from goclaw.operations.turns import resolve_agent
from goclaw.providers.choose import default_model, usable
from goclaw.settings.providers import OFFLINE, programs
from goclaw.stores import agents

ANY_AGENT = "goclaw-v1"
VENDOR = 10.0  # seconds a vendor has to list its models

log = structlog.get_logger()


class ListModels(Struct, kw_only=True):
    provider: str | None = None


class ChooseModel(Struct, kw_only=True):
    provider: Annotated[str, Meta(min_length=1, max_length=50)]
    model: Annotated[str, Meta(max_length=200)] = ""
    agent_id: str | None = None


class Chosen(Struct, kw_only=True):
    agent: str
    provider: str
    model: str


class GetModel(Struct, kw_only=True):
    id: str


@operation(Http("GET /v1/models", Role.VIEWER))
async def openai_models(ctx: Context, ask: ListModels) -> dict[str, Any]:
    """List the names a chat completion may be asked of: one per agent."""
    return {"object": "list", "data": await _names(ctx)}


@operation(Http("GET /v1/models/{id}", Role.VIEWER))
async def openai_model(ctx: Context, ask: GetModel) -> dict[str, Any]:
    """Show one of the names of the list."""
    for model in await _names(ctx):
        if model["id"] == ask.id:
            return model
    raise Rejected(model_not_found(ask.id))


@operation(Rpc("models.list", Role.VIEWER), Cli("models list"))
async def models(ctx: Context, ask: ListModels) -> dict[str, Any]:
    """List the models of the configured providers. A vendor that does not answer is left out."""
    there = await everybody(ctx)
    names = [OFFLINE, *(name for name, _, _ in usable(there)), *programs(there)]
    rows: list[dict[str, Any]] = []
    for name in names:
        if ask.provider in (None, name):
            rows += [{"id": model, "name": model, "provider": name} for model in await _models_of(ctx, name)]
    return {"models": rows}


@operation(Rpc("models.set", Role.ADMIN), Cli("providers use"))
@recorded
async def choose(ctx: Context, ask: ChooseModel) -> Chosen:
    """Let a provider answer for an agent from its next turn on; without `agent_id` for the default agent."""
    there = await everybody(ctx)
    if ask.provider not in (OFFLINE, *there.named, *programs(there)):
        raise Rejected(not_found("provider", ask.provider))
    profile = await resolve_agent(ctx, ask.agent_id)
    tenant = ctx.caller.tenant_id
    await ctx.db(agents.choose, tenant=tenant, id=profile.id, provider=ask.provider, model=ask.model)
    ctx.system.publish(PROVIDERS, ProvidersChanged())
    await record(ctx, "agent.updated", "agent", profile.id, provider=ask.provider, model=ask.model)
    model = ask.model or default_model(ask.provider, there, ctx.house.settings.agents.defaults)
    return Chosen(agent=profile.key, provider=ask.provider, model=model)


async def _models_of(ctx: Context, name: str) -> list[str]:
    try:
        client = await borrow(ctx, name)
        with trio.fail_after(VENDOR):
            return await client.models()
    except (ProviderError, trio.TooSlowError) as error:
        log.warning("models.list_failed", provider=name, error=str(error))
        return []


def model_not_found(name: str) -> Err:
    return Err("NOT_FOUND", "not_found", {"kind": "model", "id": name, "reason": "model_not_found"})


async def _names(ctx: Context) -> list[dict[str, Any]]:
    started = int(ctx.now().timestamp()) - ctx.house.uptime_ms // 1000
    listed = (await list_agents(ctx, ListAgents())).agents
    named = [(ANY_AGENT, "Default agent")]
    for agent in listed:
        named += [(f"goclaw:{agent.agent_key}", agent.display_name), (f"agent:{agent.agent_key}", agent.display_name)]
    return [
        {"id": id, "object": "model", "created": started, "owned_by": "goclaw", "display_name": title}
        for id, title in named
    ]
