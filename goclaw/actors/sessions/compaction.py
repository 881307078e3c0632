"""One compaction: has a summary written and puts it in the place of the messages it covers.

Address   /sessions/{tenant}/{session key}/compaction-{id}
Contract  agent-loop.md §13.3
"""

from __future__ import annotations

from goclaw.actors.engine.calls import CallLog, Logged
from goclaw.actors.engine.desk import models_of
from goclaw.actors.engine.purse import CallPurse
from goclaw.actors.engine.settling import pay
from goclaw.actors.engine.spending import Spending
from goclaw.agent.compaction import WITHIN, asking, summarise
from goclaw.domain.address import agent
from goclaw.domain.agent import GetProfile
from goclaw.domain.budget import Payer
from goclaw.domain.errors import Err, ProviderError, Rejected, StoreError, provider_failed, unavailable
from goclaw.domain.ids import new_id
from goclaw.domain.session_change import Compacted
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.crashpoint import crash_point
from goclaw.runtime.faults import RuntimeFault
from goclaw.runtime.message import Message
from goclaw.stores import session_changes
from goclaw.stores.session_changes import Live


class Work(Message[None]):
    """Begin."""


class Summarised(Message[None]):
    """To the session: it is done, or the history stays as it was."""

    outcome: Compacted | None = None
    refusal: Err | None = None


class Compaction(Actor):
    def __init__(
        self,
        tenant: str,
        key: str,
        agent_key: str,
        covered: tuple[Live, ...],
        before: int,
        payers: tuple[Payer, ...],
        spending: Spending,
    ) -> None:
        self.tenant = tenant
        self.key = key
        self.agent_key = agent_key
        self.covered = covered
        self.before = before
        self.payers = payers
        self.spending = spending

    async def on_start(self, ctx: Context) -> None:
        ctx.tell(ctx.address, Work())

    @handles
    async def work(self, ctx: Context, _go: Work) -> None:
        assert ctx.parent is not None
        try:
            news = Summarised(outcome=await self._compact(ctx))
        except ProviderError as error:
            news = Summarised(refusal=provider_failed(error))
        except Rejected as refusal:
            news = Summarised(refusal=refusal.err)
        except (StoreError, RuntimeFault) as trouble:
            ctx.log.warning("session.compaction_failed", error=str(trouble))
            news = Summarised(refusal=unavailable("store"))
        ctx.tell(ctx.parent, news)
        ctx.stop()

    async def _compact(self, ctx: Context) -> Compacted:
        profile = await ctx.ask(agent(self.tenant, self.agent_key), GetProfile(), within=10)
        calls = CallLog(ctx.clock, self.spending.pricing)
        purse = CallPurse(
            ctx,
            self.spending,
            calls,
            tenant=self.tenant,
            payers=self.payers,
            run_id=new_id(),
            fence=0,
            within=WITHIN,
        )
        model = Logged(models_of(ctx, profile.candidates, purse, self.tenant), calls)
        try:
            summary = await summarise(self.covered, asking(model), profile.model, session=self.key)
        finally:
            await pay(ctx, self.tenant, self.payers, calls)
        crash_point("session.compacting")
        done = await ctx.db(
            session_changes.archive, tenant=self.tenant, key=self.key, covered=self.covered, summary=summary
        )
        after = self.before - len(self.covered) if done else self.before
        if done:
            ctx.log.info("session.compacted", removed=len(self.covered), kept=after)
        return Compacted(before=self.before, after=after, skipped=not done)
