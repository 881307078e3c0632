"""Models as clients choose them: agents under OpenAI's names, and what the providers offer.

Contract: edge-http.md §4, edge-websocket.md §7.1.
"""

from __future__ import annotations

from typing import Any

import structlog
import trio
from msgspec import Struct

from goclaw.domain.access import Role
from goclaw.domain.errors import Err, ProviderError, Rejected
from goclaw.operations.agents import ListAgents, list_agents
from goclaw.operations.context import Context
from goclaw.operations.operation import Cli, Http, Rpc, operation
from goclaw.operations.provider_health import borrow, everybody
from goclaw.providers.choose import usable
from goclaw.settings.providers import OFFLINE, programs

ANY_AGENT = "goclaw-v1"
VENDOR = 10.0  # seconds a vendor has to list its models

log = structlog.get_logger()


class ListModels(Struct, kw_only=True):
    provider: str | None = None


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


@operation(Rpc("models.list", Role.VIEWER), Cli("models"))
async def models(ctx: Context, ask: ListModels) -> dict[str, Any]:
    """List the models of the configured providers. A vendor that does not answer is left out."""
    there = await everybody(ctx)
    names = [OFFLINE, *(name for name, _, _ in usable(there)), *programs(there)]
    rows: list[dict[str, Any]] = []
    for name in names:
        if ask.provider in (None, name):
            rows += [{"id": model, "name": model, "provider": name} for model in await _models_of(ctx, name)]
    return {"models": rows}


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
    agents = (await list_agents(ctx, ListAgents())).agents
    named = [(ANY_AGENT, "Default agent")]
    for agent in agents:
        named += [(f"goclaw:{agent.agent_key}", agent.display_name), (f"agent:{agent.agent_key}", agent.display_name)]
    return [
        {"id": id, "object": "model", "created": started, "owned_by": "goclaw", "display_name": title}
        for id, title in named
    ]
