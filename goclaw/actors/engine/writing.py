"""One agent's files, written by a model from a description; by a template where no model can be asked.

Address   /engine/summoning/summoner/{agent id}.{fence}
Contract  agent-loop.md §19.6
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import trio

from goclaw.actors.engine.calls import CallLog, Logged
from goclaw.actors.engine.desk import models_of
from goclaw.actors.engine.engine import Engine
from goclaw.actors.engine.purse import CallPurse
from goclaw.actors.engine.settling import pay
from goclaw.agent.summoning import FILES, IN_TWO, WITHIN, About, Unfit, Written, write
from goclaw.domain.address import agent
from goclaw.domain.agent import AGENTS, AgentChanged, AgentProfile, GetProfile
from goclaw.domain.budget import payers_of
from goclaw.domain.errors import ProviderError, Rejected, StoreError
from goclaw.domain.events import of_admins, of_user
from goclaw.domain.ids import new_id
from goclaw.domain.session import key_of
from goclaw.domain.summoning import DESCRIPTION, Step, step
from goclaw.domain.texts import text_of
from goclaw.knowledge import templates
from goclaw.knowledge.context_files import SOUL
from goclaw.providers.provider import Model
from goclaw.runtime.actor import Actor, Context
from goclaw.runtime.faults import RuntimeFault
from goclaw.settings.providers import OFFLINE
from goclaw.stores import context_files, summonings
from goclaw.stores.summonings import Summoning


class Writing(Actor):
    """Whatever goes wrong here, the summoner takes it again when the lease is over."""

    def __init__(self, of: Summoning, engine: Engine) -> None:
        self.of = of
        self.engine = engine

    async def live(self, ctx: Context) -> None:
        try:
            await self._write(ctx)
        except (StoreError, RuntimeFault, Rejected) as trouble:
            ctx.log.warning("summoning.left", agent=self.of.agent_key, error=str(trouble))

    async def _write(self, ctx: Context) -> None:
        of = self.of
        tell(ctx, of, "started")
        profile = await ctx.ask(agent(of.tenant_id, of.agent_id), GetProfile(), within=10)
        rows = await ctx.db(context_files.of_agent, tenant=of.tenant_id, agent=of.agent_id)
        there = {row.name: row.content for row in rows if row.name in FILES}
        if profile.provider == OFFLINE:
            return await self._from_templates(ctx, there, "", offline=True)
        about = About(
            name=of.name,
            description=of.description[:DESCRIPTION],
            there=there if of.wish is not None else {},
            wish=of.wish or "",
        )
        try:
            written = await self._ask(ctx, profile, about)
        except (ProviderError, Unfit, Rejected) as trouble:
            said = text_of(trouble.err, "en") if isinstance(trouble, Rejected) else str(trouble)
            ctx.log.warning("summoning.not_written", agent=of.agent_key, error=said)
            return await self._from_templates(ctx, there, said)
        await self._finish(ctx, written)

    async def _ask(self, ctx: Context, profile: AgentProfile, about: About) -> Written:
        """All in one call; where that does not fit, its character first and then the rest."""
        of = self.of
        payers = payers_of(of.requested_by, of.agent_key, str(key_of(of.agent_key, "summoning")))
        calls = CallLog(ctx.clock, self.engine.spending.pricing)
        purse = CallPurse(
            ctx,
            self.engine.spending,
            calls,
            tenant=of.tenant_id,
            payers=payers,
            run_id=new_id(),
            fence=0,
            within=WITHIN,
        )
        model: Model = Logged(models_of(ctx, profile.candidates, purse, of.tenant_id), calls)
        try:
            try:
                return await write(model, profile.model, about, FILES, within=WITHIN)
            except (Unfit, ProviderError) as trouble:
                if isinstance(trouble, ProviderError) and not trouble.retryable:
                    raise
                ctx.log.info("summoning.in_two", agent=of.agent_key, error=str(trouble))
            return await self._in_two(ctx, model, profile.model, about)
        finally:
            with trio.CancelScope(shield=True):
                await pay(ctx, of.tenant_id, payers, calls)

    async def _in_two(self, ctx: Context, model: Model, named: str, about: About) -> Written:
        until = trio.current_time() + IN_TWO
        soul = await write(model, named, about, (SOUL,), within=IN_TWO)
        if await ctx.db(summonings.keep, self.of, texts=soul.texts):
            self._generated(ctx, soul.texts)
        rest = tuple(name for name in FILES if name != SOUL)
        left = max(1.0, until - trio.current_time())
        return await write(model, named, about, rest, within=left)

    async def _from_templates(self, ctx: Context, there: dict[str, str], error: str, *, offline: bool = False) -> None:
        """What is there already stays as it is: a template is no improvement."""
        of = self.of
        if there and error:
            if await ctx.db(summonings.fail, of, error=error):
                self._changed(ctx)
                tell(ctx, of, "failed", error=error)
            return
        texts = templates.of_agent(of.name or of.agent_key, of.description)
        missing = {name: text for name, text in texts.items() if name not in there}
        await self._finish(ctx, Written(texts=missing), error=error, template=True, offline=offline)

    async def _finish(self, ctx: Context, written: Written, *, error: str = "", **marks: Any) -> None:
        ours = await ctx.db(
            summonings.finish,
            self.of,
            texts=written.texts,
            name=written.name,
            emoji=written.emoji,
            summary=written.summary,
            error=error,
        )
        if not ours:
            ctx.log.info("summoning.overtaken", agent=self.of.agent_key)
            return
        self._generated(ctx, tuple(written.texts))
        self._changed(ctx)
        tell(ctx, self.of, "completed", error=error, **marks)

    def _generated(self, ctx: Context, names: Sequence[str] | dict[str, str]) -> None:
        for name in names:
            tell(ctx, self.of, "file_generated", file=name)

    def _changed(self, ctx: Context) -> None:
        ctx.publish(AGENTS, AgentChanged(tenant_id=self.of.tenant_id))


def tell(ctx: Context, of: Summoning, type: Step, **more: Any) -> None:
    """The agent's owner and the admins."""
    for group in (of_user(of.tenant_id, of.owner_id), of_admins(of.tenant_id)):
        ctx.publish(group, step(of.agent_id, type, **more))
