"""Takes results of subagents back to the session that asked for them, those that come together as one.

The run that asked is told while it works; else a run of its own tells the user. Which batch was handed over is known
by the id of its run, so that none is told twice.

Address   /orch/announcer
Contract  orchestration.md §5; agent-loop.md §9.4, §11.7
"""

from __future__ import annotations

from goclaw.actors.orch.subagents import Arrived, Look
from goclaw.domain.address import session
from goclaw.domain.cluster import Ownership
from goclaw.domain.errors import StoreError
from goclaw.domain.ids import new_id
from goclaw.domain.run import RunRequest
from goclaw.domain.session import Send
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.crashpoint import crash_point
from goclaw.runtime.faults import Rejected, RuntimeFault
from goclaw.settings.orchestration import Announce
from goclaw.stores import announcements
from goclaw.stores.announcements import Batch, Due, Item, Origin

LOOK = 1.0  # seconds
ASK = 10.0  # seconds a session has to take a batch in

GUIDANCE = (
    "Tell the user the results in your own words. If the rest belongs to the same job, you may wait for it. "
    "If he has them already, answer NO_REPLY alone."
)


class Announcer(Actor):
    weather = (StoreError,)

    def __init__(self, settings: Announce, ownership: Ownership) -> None:
        self.settings = settings
        self.own = ownership
        self.told = 0

    async def on_start(self, ctx: Context) -> None:
        ctx.every(LOOK, Look())

    @handles
    async def arrived(self, ctx: Context, _news: Arrived) -> None:
        ctx.after(self.settings.debounce_ms / 1000 + 0.01, Look())

    @handles
    async def look(self, ctx: Context, _tick: Look) -> None:
        if self.own.stopped or not self.own.held:
            return
        rules = self.settings
        try:
            found = await ctx.db(
                announcements.due, debounce=rules.debounce_ms / 1000, cap=rules.cap, hold=rules.max_hold_sec
            )
            for batch in found:
                if self.own.has(batch.tenant_id, batch.session_key):
                    await self._flush(ctx, batch)
        except StoreError as outage:
            ctx.log.warning("announcer.not_looked", error=str(outage))

    async def _flush(self, ctx: Context, due: Due) -> None:
        tenant, key = due.tenant_id, due.session_key
        run_id = due.run_id or new_id()
        if due.run_id is None:
            if not await ctx.db(announcements.take, tenant=tenant, key=key, run_id=run_id, cap=self.settings.cap):
                return
            crash_point("announce.taken")
        batch = await ctx.db(announcements.batch, tenant=tenant, key=key, run_id=run_id)
        if batch.origin is not None and batch.items:
            try:
                await ctx.ask(session(tenant, key), _turn(run_id, batch, batch.origin), within=ASK)
            except Rejected as refusal:
                if refusal.err.details.get("reason") != "idempotency_conflict":  # else it has it already
                    ctx.log.warning("announcer.refused", session=key, error=str(refusal.err.details))
                    return
            except RuntimeFault as fault:
                ctx.log.warning("announcer.not_heard", session=key, error=str(fault))
                return
            self.told += len(batch.items)
            crash_point("announce.sent")
        await ctx.db(announcements.injected, tenant=tenant, run_id=run_id)

    def snapshot(self) -> dict[str, object]:
        return {"told": self.told}


def _turn(run_id: str, batch: Batch, origin: Origin) -> Send:
    """The results as a turn of their session, with no more rights than the run that asked for them."""
    asked = origin.request
    request = RunRequest(
        message=_text(batch),
        tool_allow=asked.tool_allow,
        sender=asked.sender,
        max_cost_usd=asked.max_cost_usd,
        child_of=asked.child_of,
        reply_to=asked.reply_to,
    )
    return Send(
        run_id=run_id,
        user_id=origin.user_id,
        as_admin=True,
        agent_id=origin.agent_id,
        agent_key=origin.agent_key,
        kind="announce",
        request=request,
        idempotency_key=f"announce:{run_id}",
        mode="inject" if origin.working else "queue",
        unmetered=True,
    )


def _text(batch: Batch) -> str:
    """orchestration.md §5 A8."""
    parts = ["[Results of your subagents]", *map(_item, batch.items)]
    roster = "\n".join(f"- {one.label}: {one.status}" for one in batch.roster)
    return "\n\n".join([*parts, f"All of them:\n{roster}", GUIDANCE])


def _item(item: Item) -> str:
    used = f"{item.elapsed_ms / 1000:.1f} s, {item.input_tokens} + {item.output_tokens} tokens"
    said = item.content or "(no text)"
    trouble = f"\nIt failed: {item.error}" if item.error else ""
    return f"## {item.label}: {item.status} ({used}){trouble}\n{said}"
