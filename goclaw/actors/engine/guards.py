"""What stands before and behind every tool call of a run. Contract: tools.md §2, §4, §7."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec

from goclaw.actors.engine.kit import Kit
from goclaw.actors.engine.leakless import Leakless
from goclaw.actors.engine.receipted import Receipted
from goclaw.domain.address import RATES
from goclaw.domain.agent import AgentProfile
from goclaw.domain.rates import TakeCall
from goclaw.domain.run import RunKind
from goclaw.domain.tool_rules import Rules
from goclaw.providers.provider import Model
from goclaw.runtime.actor import Context
from goclaw.security.audit import Act
from goclaw.security.estop import Brake
from goclaw.security.injection import Action
from goclaw.security.known import Known
from goclaw.security.leaks import Mode
from goclaw.security.policy_book import PolicyBook
from goclaw.security.receipts import Receipts
from goclaw.settings.tools import Tools
from goclaw.stores.runs import Claimed
from goclaw.tools.clean import marking, scrubbing
from goclaw.tools.gates import Audit, Capabilities, Estop, Hooks, Pinned, stopped
from goclaw.tools.ledger import Ledger
from goclaw.tools.pipeline import Gate, Heard, Through, Toolbox, Work, here
from goclaw.tools.policy import Situation, allowed
from goclaw.tools.tool import Answer, Effect, Tool, ToolContext, ToolFailed

LOOPING = frozenset({"checkpoint_now", "set_loop_status"})  # for agents that go on by themselves


@dataclass(frozen=True)
class Guards:
    settings: Tools = field(default_factory=Tools)
    known: Known = field(default_factory=Known)
    injection: Action = "warn"
    leaks: Mode = "registered"
    policy: Capabilities = field(default_factory=PolicyBook)
    estop: Estop = field(default_factory=Brake)
    audit: Audit | None = None  # None: a house of tests, which nobody has to answer for

    def box(
        self,
        ctx: Context,
        kit: Kit,
        run: Claimed,
        agent: AgentProfile,
        reach: ToolContext,
        ledger: Ledger | None = None,
        *,
        hooks: Hooks | None = None,
        through: Through = here,
        heard: Heard | None = None,
    ) -> Toolbox:
        """The tools of a run: those its kind has, as far as gateway, provider, agent and request allow them."""
        names, pinned = self.allowed(kit.tools, run, agent), self.policy.pin(run.tenant_id, run.policy_version)
        reach = replace(reach, host=lambda host: self.estop.host(host) or pinned.host(host).reason)
        permits, made = permit(pinned), through
        if self.audit is not None:
            book = Book(self.audit, run, pinned.version)
            permits, made = book.permit(pinned), book.made(through)
        return Toolbox(
            {name: kit.tools[name] for name in names},
            reach,
            ledger,
            hidden=(kit.absent | kit.tools.keys()) - set(names),
            before=(permits, unless_stopped(self.estop)),
            after=(rate(ctx, run),),
            finish=(
                *((scrubbing(self.known),) if self.settings.scrub_credentials else ()),
                marking(self.known, self.injection),
            ),
            hooks=hooks,
            through=made,
            heard=heard,
            receipts=Receipts(run.run_id) if ledger is not None and self.settings.receipts != "off" else None,
        )

    def clean(self, model: Model, box: Toolbox, run: Claimed) -> Model:
        """A model that says neither our secrets nor what no tool said."""
        clean: Model = Leakless(model, self.leaks, self.known, run=run.run_id)
        if box.receipts is None:
            return clean
        return Receipted(clean, box.receipts, self.settings.receipts, session=run.session_key)

    def ended(self, run_id: str) -> None:
        """A life of a run is over."""
        if self.audit is not None:
            self.audit.run_ended(run_id)

    def allowed(self, tools: Mapping[str, Tool], run: Claimed, agent: AgentProfile) -> tuple[str, ...]:
        if not run.request.use_tools:
            return ()
        mine = of_kind(tools, run.kind)
        there = {name: tool.groups for name, tool in mine.items() if agent.loop is not None or name not in LOOPING}
        below = run.request.child_of
        situation = Situation(
            provider=agent.provider,
            request=run.request.tool_allow,
            subagent=run.kind == "subagent" or below is not None,
            leaf=below is not None and below.leaf,
        )
        return allowed(there, rules_of(self.settings), own_rules(agent), situation)


def of_kind(tools: Mapping[str, Tool], kind: RunKind) -> dict[str, Tool]:
    return {name: tool for name, tool in tools.items() if kind not in tool.not_in}


def rules_of(settings: Tools) -> Rules:
    return Rules(
        profile=settings.profile,
        allow=settings.allow,
        deny=settings.deny,
        also_allow=settings.also_allow,
        by_provider={
            name: Rules(profile=row.profile, allow=row.allow, deny=row.deny)
            for name, row in settings.by_provider.named.items()
        },
    )


def own_rules(agent: AgentProfile) -> Rules:
    """What an agent's record says. One that cannot be read leaves it next to nothing."""
    try:
        return msgspec.json.decode(agent.tools, type=Rules)
    except msgspec.ValidationError:
        return Rules(profile="minimal")


def permit(pinned: Pinned) -> Gate:
    """What the policy file allows (step 3)."""

    async def gate(tool: Tool, _: ToolContext) -> None:
        if not (decision := pinned.tool(tool.name, custom=tool.group == "custom")).allowed:
            raise ToolFailed("denied_policy", decision.reason)

    return gate


@dataclass(frozen=True)
class Book:
    """Writes down what the calls of a run were allowed and denied (security.md §9.1, observability.md §12)."""

    audit: Audit
    run: Claimed
    version: str | None

    def permit(self, pinned: Pinned) -> Gate:
        """As `permit`; what only reads is counted, and one line for all of it ends the run."""
        run = self.run

        async def gate(tool: Tool, ctx: ToolContext) -> None:
            action = f"tools.{tool.name}"
            decision = pinned.tool(tool.name, custom=tool.group == "custom")
            if not decision.allowed:
                await self.audit.write(self._act(tool, ctx, "deny", decision.reason, current_policy=decision.current))
                raise ToolFailed("denied_policy", decision.reason)
            if decision.version is None and decision.current is None:
                return  # there is no policy, so nobody decided
            if tool.effect is Effect.PURE:
                who = run.agent_key
                self.audit.count(run.run_id, action, tenant_id=run.tenant_id, actor_id=who, policy_version=self.version)
            else:
                self.audit.note(self._act(tool, ctx, "allow", ""))

        return gate

    def made(self, through: Through) -> Through:
        """What a tool itself refuses: a path, a command, an address, or for want of somebody's yes."""

        async def make(tool: Tool, ctx: ToolContext, work: Work) -> str | Answer:
            try:
                return await through(tool, ctx, work)
            except ToolFailed as failure:
                if failure.code.startswith("denied_"):
                    await self.audit.write(self._act(tool, ctx, "deny", f"{failure.code}: {failure}"))
                raise

        return make

    def _act(
        self, tool: Tool, ctx: ToolContext, decision: Literal["allow", "deny"], reason: str, **more: str | None
    ) -> Act:
        run = self.run
        return Act(
            action=f"tools.{tool.name}",
            decision=decision,
            tenant_id=run.tenant_id,
            actor_type="agent",
            actor_id=run.agent_key,
            subject=f"tool:{tool.name}",
            reason=reason,
            policy_version=self.version,
            run_id=run.run_id,
            details={"call": ctx.call_id, "user": run.user_id, "session": run.session_key, **more},
        )


def unless_stopped(estop: Estop) -> Gate:
    """What operators stopped (step 4)."""

    async def gate(tool: Tool, _: ToolContext) -> None:
        if why := stopped(estop, tool):
            raise ToolFailed("denied_policy", f"{tool.name} was {why}")

    return gate


def rate(ctx: Context, run: Claimed) -> Gate:
    """Counts calls of the session and of the user (step 7)."""
    take = TakeCall(
        session=f"{run.tenant_id}:{run.session_key}", payer=f"{run.tenant_id}:{run.agent_key}:{run.user_id}"
    )

    async def gate(tool: Tool, _: ToolContext) -> None:
        if much := await ctx.ask(RATES, take, within=10):
            text = f"tool rate limit reached ({much.limit}/hour); try again in {much.wait:.0f}s"
            raise ToolFailed("rate_limited", text)

    return gate
