"""One agent as the engine needs it: its row, with provider and model resolved.

Address   /agents/{tenant}/{agent key or id}; `default` is the tenant's default agent if no other has that key
Contract  agent-loop.md §19; supervision.md §10
"""

from __future__ import annotations

from urllib.parse import unquote

from goclaw.domain.agent import DEFAULT_KEY, AgentProfile, GetProfile
from goclaw.domain.errors import Rejected, StoreError, not_found, unavailable
from goclaw.domain.model import PROVIDERS, ProvidersChanged
from goclaw.domain.queue_policy import override_of
from goclaw.providers.choose import default_model, default_provider, fallbacks
from goclaw.providers.rows import lineup
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.virtual import Virtual
from goclaw.settings.agents import AgentDefaults
from goclaw.settings.failover import Failover
from goclaw.settings.providers import Providers, ReasoningDefaults
from goclaw.stores import agents as stored
from goclaw.stores import providers as vendors

IDLE = 1800.0  # seconds; supervision.md §10
ACTIVE = 5_000


class Agent(Actor):
    def __init__(self, address: Address, defaults: AgentDefaults, providers: Providers, failover: Failover) -> None:
        _, _, tenant, key = address.split("/")
        self.tenant, self.key = unquote(tenant), unquote(key)
        self.defaults = defaults
        self.providers = providers
        self.failover = failover
        self.stale = False

    async def on_start(self, ctx: Context) -> None:
        ctx.join(PROVIDERS)
        self.profile = await self._read(ctx)

    async def _read(self, ctx: Context) -> AgentProfile:
        try:
            row = await ctx.db(stored.find, tenant=self.tenant, name=self.key)
            if row is None and self.key == DEFAULT_KEY:
                row = await ctx.db(stored.default, tenant=self.tenant)
            added = await ctx.db(vendors.page, tenant=self.tenant)
        except StoreError as outage:
            raise Rejected(unavailable("store", 2.0)) from outage
        if row is None:
            raise Rejected(not_found("agent", self.key))
        providers = lineup(self.providers, added)
        provider = row.provider or default_provider(providers, self.defaults)
        named = providers.named.get(provider)
        effort, exact = self._effort(row, named.reasoning_defaults if named else ReasoningDefaults())
        return AgentProfile(
            id=row.id,
            key=row.agent_key,
            name=row.display_name or row.agent_key,
            owner_id=row.owner_id,
            provider=provider,
            model=row.model or default_model(provider, providers, self.defaults),
            agent_type=row.agent_type,
            status=row.status,
            is_default=row.is_default,
            workspace=row.workspace,
            restrict_to_workspace=row.restrict_to_workspace,
            max_tool_iterations=row.max_tool_iterations,
            context_window=row.context_window,
            max_tokens=row.max_tokens,
            temperature=row.temperature,
            effort=effort,
            exact_effort=exact,
            queue=override_of(row.other_config),
            fallbacks=fallbacks(provider, row.fallback_models, providers, self.failover, self.defaults),
        )

    def _effort(self, row: stored.AgentRow, usual: ReasoningDefaults) -> tuple[str, bool]:
        """How hard it thinks, and whether only just so: its own wish, an older form of it, its provider's, everybody's.

        A wish of mode `inherit` is none.
        """
        wish = row.reasoning_config or {}
        if wish.get("override_mode") == "inherit":
            wish = {}
        own = wish.get("effort") or row.thinking_level or row.other_config.get("thinking_level")
        effort = own or usual.effort or self.defaults.thinking_level
        return str(effort), wish.get("fallback", "downgrade" if own else usual.fallback) != "downgrade"

    @handles
    async def others(self, ctx: Context, news: ProvidersChanged) -> None:
        """The next turn is answered by whoever is there now."""
        self.stale = True

    @handles
    async def get(self, ctx: Context, _ask: GetProfile) -> AgentProfile:
        if self.stale:
            self.profile = await self._read(ctx)
            self.stale = False
        return self.profile


def agents(defaults: AgentDefaults, providers: Providers, failover: Failover = Failover()) -> Virtual:  # noqa: B008 - frozen
    return Virtual(lambda address: Agent(address, defaults, providers, failover), idle=IDLE, most=ACTIVE)
