"""One agent as the engine needs it: its row, with provider and model resolved.

Address   /agents/{tenant}/{agent key or id}; `default` is the tenant's default agent if no other has that key
Contract  agent-loop.md §19; supervision.md §10
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import unquote

import msgspec

from goclaw.domain.agent import AGENTS, DEFAULT_KEY, AgentChanged, AgentProfile, GetProfile, TurnEnded, UserOverride
from goclaw.domain.answer_form import form_of
from goclaw.domain.errors import Rejected, StoreError, not_found, unavailable
from goclaw.domain.loop import loop_of
from goclaw.domain.model import PROVIDERS, Candidate, ProvidersChanged
from goclaw.domain.queue_policy import override_of
from goclaw.domain.workspace import sharing_of
from goclaw.knowledge.context import outgrow
from goclaw.providers.choose import accounts, default_model, default_provider, fallbacks
from goclaw.providers.registry import Model, model_named
from goclaw.providers.rows import lineup
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.virtual import Virtual
from goclaw.settings.agents import AgentDefaults
from goclaw.settings.failover import Failover
from goclaw.settings.providers import Provider, Providers, ReasoningDefaults
from goclaw.stores import agent_shares
from goclaw.stores import agents as stored
from goclaw.stores import providers as vendors

IDLE = 1800.0  # seconds; supervision.md §10
ACTIVE = 5_000
T = TypeVar("T")
WINDOW, ITERATIONS = 200_000, 20  # of a row that says nonsense; agent-loop.md §19.2
FRESH = 30.0  # seconds a profile is taken for true: another node may have changed it (durability.md §10 W6)


class Agent(Actor):
    def __init__(self, address: Address, defaults: AgentDefaults, providers: Providers, failover: Failover) -> None:
        _, _, tenant, key = address.split("/")
        self.tenant, self.key = unquote(tenant), unquote(key)
        self.defaults = defaults
        self.providers = providers
        self.failover = failover
        self.special: dict[str, AgentProfile] = {}  # by user
        self.stale = False
        self.asked = 0  # how often

    async def on_start(self, ctx: Context) -> None:
        ctx.join(PROVIDERS)
        ctx.join(AGENTS)
        await self._read(ctx)

    async def _read(self, ctx: Context) -> None:
        try:
            row = await ctx.db(stored.find, tenant=self.tenant, name=self.key)
            if row is None and self.key == DEFAULT_KEY:
                row = await ctx.db(stored.default, tenant=self.tenant)
            added = await ctx.db(vendors.page, tenant=self.tenant)
            special = await ctx.db(agent_shares.overrides, tenant=self.tenant, agent=row.id) if row is not None else ()
        except StoreError as outage:
            raise Rejected(unavailable("store", 2.0)) from outage
        if row is None:
            raise Rejected(not_found("agent", self.key))
        providers = lineup(self.providers, added)
        self.profile = self._profile(row, providers)
        self.special = {one.user_id: self._profile(row, providers, one) for one in special}
        self.read_at = ctx.clock.monotonic()
        self.stale = False

    def _profile(
        self, row: stored.AgentRow, providers: Providers, override: UserOverride | None = None
    ) -> AgentProfile:
        wanted = override.provider if override is not None else ""
        provider = wanted or row.provider or default_provider(providers, self.defaults)
        own = row.model if wanted in ("", row.provider) else ""  # a model is its own provider's
        model = (override.model if override is not None else "") or own
        named = providers.named.get(provider)
        effort, exact = self._effort(row, named.reasoning_defaults if named else ReasoningDefaults())
        model = model or default_model(provider, providers, self.defaults)
        first = Candidate(provider, model)
        profile = AgentProfile(
            id=row.id,
            key=row.agent_key,
            name=row.display_name or row.agent_key,
            owner_id=row.owner_id,
            provider=provider,
            model=model,
            agent_type=row.agent_type,
            status=row.status,
            is_default=row.is_default,
            workspace=row.workspace,
            restrict_to_workspace=row.restrict_to_workspace,
            max_tool_iterations=row.max_tool_iterations if row.max_tool_iterations > 0 else ITERATIONS,
            context_window=window_of(row.context_window, model, named),
            max_tokens=row.max_tokens,
            temperature=row.temperature,
            effort=effort,
            exact_effort=exact,
            description=row.description or "",
            self_evolve=row.self_evolve,
            sharing=sharing_of(row.workspace_sharing),
            queue=override_of(row.other_config),
            tools=msgspec.Raw(msgspec.json.encode(row.tools_config)),
            tool_settings=msgspec.Raw(msgspec.json.encode(row.other_config.get("builtin_tool_settings") or {})),
            compaction=msgspec.Raw(msgspec.json.encode(row.compaction_config or {})),
            deny_groups=tuple(sorted((row.shell_deny_groups or {}).items())),
            pruning=msgspec.Raw(msgspec.json.encode(row.context_pruning or {})),
            prompt_mode=str(row.other_config.get("prompt_mode") or "full"),
            loop=_fitting(loop_of, row.other_config),
            answer_form=msgspec.Raw(msgspec.json.encode(_fitting(form_of, row.other_config))),
            fallbacks=fallbacks(first, row.fallback_models, providers, self.failover, self.defaults),
            turns=accounts(provider, providers) if named and named.codex_pool.strategy == "round_robin" else (),
        )
        return override.on(profile) if override is not None else profile

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
    async def changed(self, ctx: Context, news: AgentChanged) -> None:
        """Ourselves, or who is the default agent."""
        self.stale = self.stale or news.tenant_id == self.tenant

    @handles
    async def get(self, ctx: Context, ask: GetProfile) -> AgentProfile:
        if self.stale:
            await self._read(ctx)
        elif ctx.clock.monotonic() - self.read_at > FRESH:
            await self._look(ctx)
        self.asked += 1
        return self.special.get(ask.user_id, self.profile).in_turn(self.asked)

    @handles
    async def turn_ended(self, ctx: Context, news: TurnEnded) -> None:
        """The third one ends first contact. What is missed here is made good when the next turn begins."""
        try:
            await outgrow(ctx.db, tenant=self.tenant, agent=self.profile.id, user=news.user_id)
        except StoreError as outage:
            ctx.log.warning("agent.first_contact_goes_on", error=str(outage))

    async def _look(self, ctx: Context) -> None:
        """Read again what nobody said was changed: while the store is away, what we know is good enough."""
        try:
            await self._read(ctx)
        except Rejected as refusal:
            if refusal.err.code == "NOT_FOUND":
                self.stale = True
                raise


def window_of(own: int, model: str, named: Provider | None) -> int:
    """The lower of what the agent says and what is known of its model (agent-loop.md §4)."""
    own = own if own > 0 else WINDOW
    known = model_named(model, named.model_info if named is not None else None)
    return own if known == Model() else min(own, known.window)


def _fitting(read: Callable[[Mapping[str, Any]], T], config: Mapping[str, Any]) -> T | None:
    """What a record says; nothing if that cannot be read any more."""
    try:
        return read(config)
    except msgspec.ValidationError:
        return None


def agents(defaults: AgentDefaults, providers: Providers, failover: Failover = Failover()) -> Virtual:  # noqa: B008 - frozen
    return Virtual(lambda address: Agent(address, defaults, providers, failover), idle=IDLE, most=ACTIVE)
