"""One agent as the engine needs it: its row, with provider and model resolved.

Address   /agents/{tenant}/{agent key}
Contract  agent-loop.md §19; supervision.md §10
"""

from __future__ import annotations

from urllib.parse import unquote

from goclaw.domain.agent import AgentProfile, GetProfile
from goclaw.domain.errors import Err, not_found
from goclaw.providers.choose import default_model, default_provider
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.virtual import Virtual
from goclaw.settings.agents import AgentDefaults
from goclaw.settings.providers import Providers
from goclaw.stores import agents as stored

IDLE = 1800.0  # seconds; supervision.md §10
ACTIVE = 5_000


class Agent(Actor):
    def __init__(self, address: Address, defaults: AgentDefaults, providers: Providers) -> None:
        _, _, tenant, key = address.split("/")
        self.tenant, self.key = unquote(tenant), unquote(key)
        self.defaults = defaults
        self.providers = providers
        self.profile: AgentProfile | None = None

    async def on_start(self, ctx: Context) -> None:
        row = await ctx.db(stored.find, tenant=self.tenant, name=self.key)
        if row is None:
            return
        provider = row.provider or default_provider(self.providers, self.defaults)
        self.profile = AgentProfile(
            id=row.id,
            key=row.agent_key,
            name=row.display_name or row.agent_key,
            provider=provider,
            model=row.model or default_model(provider, self.providers, self.defaults),
            agent_type=row.agent_type,
            status=row.status,
            is_default=row.is_default,
            workspace=row.workspace,
            restrict_to_workspace=row.restrict_to_workspace,
            max_tool_iterations=row.max_tool_iterations,
            context_window=row.context_window,
        )

    @handles
    async def get(self, ctx: Context, _ask: GetProfile) -> AgentProfile | Err:
        if self.profile is None:
            ctx.stop()  # an unknown key must not stay known
            return not_found("agent", self.key)
        return self.profile


def agents(defaults: AgentDefaults, providers: Providers) -> Virtual:
    return Virtual(lambda address: Agent(address, defaults, providers), idle=IDLE, most=ACTIVE)
