"""One compaction: has a summary written and puts it in the place of the messages it covers.

Address   /sessions/{tenant}/{session key}/compaction-{id}
Contract  agent-loop.md §13.3
"""

from __future__ import annotations

from goclaw.actors.engine.desk import models_of
from goclaw.agent.compaction import summarise
from goclaw.domain.address import agent
from goclaw.domain.agent import GetProfile
from goclaw.domain.errors import Err, ProviderError, Rejected, StoreError, provider_failed, unavailable
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
    def __init__(self, tenant: str, key: str, agent_key: str, covered: tuple[Live, ...], before: int) -> None:
        self.tenant = tenant
        self.key = key
        self.agent_key = agent_key
        self.covered = covered
        self.before = before

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
        model = models_of(ctx, profile.candidates, self.tenant)
        summary = await summarise(self.covered, model, profile.model, session=self.key)
        crash_point("session.compacting")
        done = await ctx.db(
            session_changes.archive, tenant=self.tenant, key=self.key, covered=self.covered, summary=summary
        )
        after = self.before - len(self.covered) if done else self.before
        if done:
            ctx.log.info("session.compacted", removed=len(self.covered), kept=after)
        return Compacted(before=self.before, after=after, skipped=not done)
