"""What a session does by itself when a run has ended: gets a name, gets shorter. Neither holds up the next turn.

It also tells how much of its model's window is used. Contract: agent-loop.md R3.4, §13.2, §20.
"""

from __future__ import annotations

from goclaw.actors.sessions.changing import Changing
from goclaw.actors.sessions.compaction import Summarised
from goclaw.actors.sessions.labelling import Labelling, Named
from goclaw.actors.sessions.measuring import measured
from goclaw.domain.address import agent
from goclaw.domain.agent import GetProfile
from goclaw.domain.budget import payers_of
from goclaw.domain.context_use import ContextUse, GetContextUse
from goclaw.domain.errors import Err, not_found
from goclaw.domain.ids import new_id
from goclaw.domain.session import RunEnded
from goclaw.domain.session_change import Compacted, TidySession
from goclaw.runtime.actor import Context, handles
from goclaw.runtime.child import Child, Restart

PROFILE = 2.0  # seconds its agent has to say who it is
REST = 300.0  # seconds after a compaction that failed, so that a vendor who is away is left alone; our decision


class Upkeep(Changing):
    rests_until = 0.0  # monotonic seconds

    @handles
    async def tidy(self, ctx: Context, _ask: TidySession) -> Compacted | None:
        await self._remember(ctx)
        if self.owner is None or self.compacting is not None:
            return Compacted(before=0, after=0, skipped=True)
        self._compact(ctx, None, reply=ctx.defer())
        return None

    @handles
    async def context_use(self, ctx: Context, ask: GetContextUse) -> ContextUse | Err:
        await self._remember(ctx)
        if not self._may(ask.user_id, ask.as_admin):
            return not_found("session", self.text_key)
        user = self.owner or ask.user_id
        profile = await ctx.ask(agent(self.tenant, self.key.agent_key), GetProfile(user_id=user), within=PROFILE)
        profile = profile.answering_with("", self.model)
        return await measured(ctx, self.engine, profile, tenant=self.tenant, key=self.text_key, user=user)

    @handles
    async def named(self, ctx: Context, news: Named) -> None:
        self._updated(ctx, label=news.label)

    def _look_after(self, ctx: Context, news: RunEnded) -> None:
        """A run of ours has ended, and what it did is stored."""
        if self.owner is None:
            return
        if news.first:
            payers = payers_of(self.owner, self.key.agent_key, self.text_key)
            given = (self.tenant, self.text_key, self.key.agent_key, self.owner, payers, self.spending)
            ctx.child(Child(f"label-{new_id()}", Labelling, given, restart=Restart.TEMPORARY))
        if news.long and self.compacting is None and ctx.clock.monotonic() >= self.rests_until:
            self._compact(ctx, None, tokens=news.tokens)

    @handles
    async def summarised(self, ctx: Context, news: Summarised) -> None:
        if news.refusal is not None:
            self.rests_until = ctx.clock.monotonic() + REST
        await super().summarised(ctx, news)
