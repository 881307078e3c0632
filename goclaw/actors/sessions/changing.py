"""What is done to a conversation besides talking: stopped, patched, reset, deleted, compacted, truncated.

Contract  sessions-lanes-cron.md §2, §10; edge-websocket.md §7.2.2, §7.4
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from goclaw.actors.sessions.compaction import Compaction, Job, Summarised
from goclaw.actors.sessions.conversation import Conversation
from goclaw.agent.compaction import head_of
from goclaw.domain.budget import payers_of
from goclaw.domain.errors import Err, not_found, unavailable
from goclaw.domain.ids import new_id
from goclaw.domain.session import Abort, Aborted
from goclaw.domain.session_change import (
    Cleared,
    Compacted,
    CompactSession,
    DeleteSession,
    Patched,
    PatchSession,
    ResetSession,
    TruncateSession,
)
from goclaw.runtime.actor import Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.child import ABNORMAL, Child, Restart
from goclaw.runtime.message import ChildEnded
from goclaw.runtime.reply import Reply
from goclaw.stores import session_changes, session_queue
from goclaw.stores.session_changes import Patch

SHOWN = ("label", "model")  # members of a patch that everybody hears of


class Changing(Conversation):
    compacting: tuple[Address, Reply | None] | None = None  # who writes a summary, and who waits for it

    @handles
    async def abort(self, ctx: Context, ask: Abort) -> Aborted | Err:
        """Answered when it is in the database: whatever dies now, the runs are stopped."""
        await self._remember(ctx)
        if not self._may(ask.user_id, ask.as_admin):
            return not_found("session", self.text_key)
        cutoff = max(self.cutoff, ask.received_at) if ask.drain and not ask.run_id else self.cutoff
        with self._forgetting():
            stopped = await ctx.db(
                session_queue.stop,
                tenant=self.tenant,
                key=self.text_key,
                by=ask.user_id,
                reason=ask.reason,
                only=ask.run_id or None,
                oldest=ask.oldest,
                drain=ask.drain,
                cutoff=moment(cutoff) if cutoff > self.cutoff else None,
            )
        self.cutoff = cutoff
        self._stopped(ctx, stopped, ask.reason, ask.user_id)
        if ask.run_id:
            gone = tuple(run.run_id for run in stopped.drained)
            return Aborted(run_ids=stopped.running or gone, drained=0)
        return Aborted(run_ids=stopped.running, drained=len(stopped.drained))

    @handles
    async def patch(self, ctx: Context, ask: PatchSession) -> Patched | Err:
        await self._remember(ctx)
        change = msgspec.json.decode(ask.change, type=Patch)
        found = self._known_to(ask.user_id, ask.as_admin) and await ctx.db(
            session_changes.patch, tenant=self.tenant, key=self.text_key, change=change
        )
        if not found:
            return not_found("session", self.text_key)
        given = msgspec.json.decode(ask.change)
        self._updated(ctx, **{name: given[name] for name in SHOWN if name in given})
        self._forget()  # the next message reads it as it is now
        return Patched()

    @handles
    async def reset(self, ctx: Context, ask: ResetSession) -> Cleared | Err:
        await self._remember(ctx)
        if not self._known_to(ask.user_id, ask.as_admin):
            return not_found("session", self.text_key)
        with self._forgetting():
            stopped = await ctx.db(
                session_changes.reset,
                tenant=self.tenant,
                key=self.text_key,
                by=ask.user_id,
                cutoff=moment(max(self.cutoff, ask.received_at)),
            )
        if stopped is None:
            return not_found("session", self.text_key)
        self.cutoff = max(self.cutoff, ask.received_at)
        self._stopped(ctx, stopped, "user", ask.user_id)
        await self._throttle(ctx)
        self._updated(ctx, reset=True)
        return Cleared(runs=len(stopped.drained) + len(stopped.running))

    @handles
    async def delete(self, ctx: Context, ask: DeleteSession) -> Cleared | Err:
        await self._remember(ctx)
        if not self._known_to(ask.user_id, ask.as_admin):
            return not_found("session", self.text_key)
        with self._forgetting():
            stopped = await ctx.db(session_changes.delete, tenant=self.tenant, key=self.text_key, by=ask.user_id)
        if stopped is None:
            return not_found("session", self.text_key)
        self._stopped(ctx, stopped, "user", ask.user_id)
        self._updated(ctx, deleted=True)
        self._forget()
        return Cleared(runs=len(stopped.drained) + len(stopped.running))

    @handles
    async def truncate(self, ctx: Context, ask: TruncateSession) -> Compacted | Err:
        await self._remember(ctx)
        if not self._known_to(ask.user_id, ask.as_admin):
            return not_found("session", self.text_key)
        rows = await ctx.db(session_changes.live, tenant=self.tenant, key=self.text_key)
        covered = head_of(rows, ask.keep)
        if not covered or not await ctx.db(
            session_changes.archive, tenant=self.tenant, key=self.text_key, covered=covered
        ):
            return Compacted(before=len(rows), after=len(rows), skipped=True)
        await self._throttle(ctx)
        self._updated(ctx, truncated=True)
        return Compacted(before=len(rows), after=len(rows) - len(covered), skipped=False)

    @handles
    async def compact(self, ctx: Context, ask: CompactSession) -> Compacted | Err | None:
        """A child writes the summary; meanwhile the conversation goes on. Who comes second is skipped."""
        await self._remember(ctx)
        if not self._known_to(ask.user_id, ask.as_admin):
            return not_found("session", self.text_key)
        if self.compacting is not None:
            rows = await ctx.db(session_changes.live, tenant=self.tenant, key=self.text_key)
            return Compacted(before=len(rows), after=len(rows), skipped=True)
        self._compact(ctx, ask.keep, reply=ctx.defer())
        return None

    def _compact(self, ctx: Context, keep: int | None, *, tokens: int = 0, reply: Reply | None = None) -> None:
        """Let a child do it, all but the last `keep` messages; None: as the agent has it, if it is due."""
        job = Job(
            tenant=self.tenant,
            key=self.text_key,
            agent_key=self.key.agent_key,
            user_id=self.owner or "",
            payers=payers_of(self.owner or "", self.key.agent_key, self.text_key),
            keep=keep,
            tokens=tokens,
        )
        child = Child(f"compaction-{new_id()}", Compaction, (job, self.engine), restart=Restart.TEMPORARY)
        self.compacting = ctx.child(child), reply

    @handles
    async def summarised(self, ctx: Context, news: Summarised) -> None:
        waiting, self.compacting = self.compacting, None
        if waiting is not None and waiting[1] is not None:
            waiting[1].answer(news.refusal or news.outcome)
        if news.outcome is not None and not news.outcome.skipped:
            await self._throttle(ctx)
            self._updated(ctx, compacted=True)

    @handles
    async def child_ended(self, ctx: Context, news: ChildEnded) -> None:
        if self.compacting is not None and self.compacting[0] == news.address and news.reason in ABNORMAL:
            _, reply = self.compacting
            self.compacting = None
            if reply is not None:
                reply.answer(unavailable("crashed"))

    def _known_to(self, user_id: str, as_admin: bool) -> bool:
        return self.owner is not None and self._may(user_id, as_admin)


def moment(epoch_ms: int) -> datetime:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)
