"""Who asks people before a command runs, and hears the answer.

Address   /engine/policy/approvals
Contract  tools.md §12.2, §12.3; durability.md K17, §10

An approval is a row before anybody is asked, and the row is answered: here, or at any other node. What is remembered
here is who waits, and what people here were shown; a broker that begins anew is asked again by whoever waits.
"""

from __future__ import annotations

import secrets
from typing import Any

from msgspec import Struct

from goclaw.actors.engine.approval_record import ApprovalRecord
from goclaw.domain.address import APPROVALS, lane, run
from goclaw.domain.approval import (
    SHOWN,
    Answer,
    Answered,
    ApprovalEvent,
    AskApproval,
    Decision,
    DropRule,
    ListPending,
    ListRules,
    Pending,
    Rule,
    Wish,
    Withdraw,
    approval_topic,
    approvals_in,
    detail_of,
    fate,
    row_of,
)
from goclaw.domain.cluster import HEARD, MARKS, Marked, Missed, Ownership, Woken
from goclaw.domain.errors import Err, StoreError, approval_gone, approvals_off, unavailable
from goclaw.domain.events import body, of_admins, of_user
from goclaw.domain.ids import new_id
from goclaw.domain.run import Awaiting, LendSlot
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.crashpoint import crash_point
from goclaw.runtime.faults import ActorStopped
from goclaw.runtime.message import Message
from goclaw.runtime.reply import Reply
from goclaw.security.allowlist import broad, known
from goclaw.security.scrub import scrubbed
from goclaw.settings.approval import ExecApproval
from goclaw.stores import approvals as rows
from goclaw.stores.approvals import Standing
from goclaw.tools.gates import Audit

OF_AGENT, OF_ALL = 20, 200  # pending at once; tools.md §12.3
PARTS, PART = 50, 200  # simple commands that are shown, and characters of each; our decision
LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
CODE, CODES = 6, 3  # letters of one, and how many are tried
LOOK = 1.0  # seconds between two looks at what other nodes may have answered when nobody rings; durability.md W4
SWEEP = 60.0  # seconds between two looks for those whose asker is gone …
MARGIN = 5.0  # … and by how many it must be late: its asker says so himself if he can
UNHEARD = "nobody could be asked; try later"


class Expire(Message[None]):
    row: str


class Look(Message[None]):
    """Was one asked or answered elsewhere?"""


class Sweep(Message[None]):
    """Is there one whose asker is gone?"""


class Waiting(Struct):
    """One that somebody here waits for."""

    wish: Wish
    reply: Reply


class ApprovalBroker(Actor):
    weather = (StoreError,)

    def __init__(
        self,
        settings: ExecApproval,
        node: str,
        node_id: str,
        audit: Audit | None = None,
        ownership: Ownership | None = None,
    ) -> None:
        self.settings = settings
        self.record = ApprovalRecord(audit)
        self.node, self.node_id = node, node_id  # what this gateway is called in rows, and this process
        self.own = ownership or Ownership()
        self.waiting: dict[str, Waiting] = {}  # by row
        self.shown: dict[str, Pending] = {}  # those people here were told of and that are not answered, by row

    async def on_start(self, ctx: Context) -> None:
        ctx.join(HEARD)
        for orphan in await ctx.db(rows.orphans, node=self.node):
            await self._ended(ctx, orphan)
        await self._sweep(ctx)
        self.shown = {one.row: one for one in await ctx.db(rows.still_open)}
        ctx.every(LOOK, Look())
        ctx.every(SWEEP, Sweep())

    def release(self) -> None:
        """Whoever waits asks the next broker, which finds the same row."""
        for waiting in self.waiting.values():
            waiting.reply.fail(ActorStopped(str(APPROVALS)))
        self.waiting.clear()

    # --- those who ask ------------------------------------------------------------------------

    @handles
    async def ask(self, ctx: Context, ask: AskApproval) -> Answered | None:
        wish = ask.wish
        match await self._fate(ctx, wish):
            case "run":
                return Answered(allowed=True)
            case "deny":
                return Answered(allowed=False, reason="commands that are not on the allow-list are refused here")
        asked = await self._requested(ctx, wish)
        if asked is None:
            return Answered(allowed=False, decision="deny", reason="too many commands wait for an answer already")
        if asked.status == "pending" and asked.left <= 0:
            await self._expire(ctx, asked.row)
            (asked,) = await ctx.db(rows.look, ids=[asked.row])
        if asked.status != "pending":  # since an earlier life of the run asked
            return answered(asked)
        crash_point("approval.requested")
        if (reply := ctx.defer()) is None:
            return None
        if (former := self.waiting.get(asked.row)) is not None and not former.reply.over:
            former.reply.answer(Answered(allowed=False, decision="deny", reason="it is asked about twice"))
        self.waiting[asked.row] = Waiting(wish, reply)
        ctx.after(asked.left, Expire(row=asked.row))
        self._show(ctx, asked)
        if asked.fresh:
            self._ring(ctx, asked.row)
            await self.record.asked(ctx, asked)
        if wish.lane:
            ctx.tell(lane(wish.lane), LendSlot(run_id=wish.run_id))
            ctx.tell(run(wish.lane, wish.run_id), Awaiting(what="waiting_approval", tool=wish.tool))
        return None

    @handles
    async def expire_(self, ctx: Context, due: Expire) -> None:
        if due.row in self.waiting:
            await self._expire(ctx, due.row)

    @handles
    async def withdraw(self, ctx: Context, news: Withdraw) -> None:
        for row, waiting in list(self.waiting.items()):
            if (waiting.wish.run_id, waiting.wish.call_id) == (news.run_id, news.call_id):
                if (over := await ctx.db(rows.withdraw, id=row)) is not None:
                    await self._ended(ctx, over)
                self.waiting.pop(row, None)

    # --- those who answer ---------------------------------------------------------------------

    @handles
    async def answer(self, ctx: Context, ask: Answer) -> Decision | Err:
        """The first answer of all nodes counts."""
        if not self.settings.asks:
            return approvals_off()
        wanted = await ctx.db(rows.find, tenant=ask.tenant_id, name=ask.id)
        if wanted is None or ask.user_id not in (None, wanted.user_id):
            return approval_gone(ask.id)
        decision: Decision = ("allow_always" if ask.always else "allow_once") if ask.allow else "deny"
        if ask.allow and not await self.record.allows(wanted, ask.by):
            return unavailable("audit_unavailable")
        rule = rule_of(ctx, wanted, ask) if decision == "allow_always" else None
        done = await ctx.db(
            rows.resolve,
            id=wanted.row,
            tenant=wanted.tenant_id,
            status=decision,
            by=ask.by,
            reason=ask.reason,
            rule=rule,
        )
        if done is None:  # meanwhile
            if ask.allow:
                first = await ctx.db(rows.look, ids=[wanted.row])
                await self.record.too_late(wanted, ask.by, first[0] if first else None)
            return approval_gone(ask.id)
        await self._ended(ctx, done)
        return decision

    @handles
    async def pending(self, ctx: Context, ask: ListPending) -> tuple[Pending, ...] | Err:
        """Of all nodes, oldest first."""
        if not self.settings.asks:
            return approvals_off()
        return tuple(await ctx.db(rows.pending, tenant=ask.tenant_id, user=ask.user_id))

    @handles
    async def list_rules(self, ctx: Context, ask: ListRules) -> tuple[Rule, ...]:
        """Newest first: those that are kept, and those of living processes."""
        return tuple(await ctx.db(rows.rules, tenant=ask.tenant_id))

    @handles
    async def drop_rule(self, ctx: Context, ask: DropRule) -> bool:
        return await ctx.db(rows.drop, tenant=ask.tenant_id, id=ask.id)

    # --- other nodes --------------------------------------------------------------------------

    @handles
    async def woken(self, ctx: Context, news: Woken) -> None:
        if news.kind == "cache" and (told := approvals_in(news.topics)):
            await self._look(ctx, told)

    @handles
    async def missed(self, ctx: Context, _news: Missed) -> None:
        await self._look(ctx, list(self.shown))

    @handles
    async def look(self, ctx: Context, _tick: Look) -> None:
        if self.own.alone:
            return
        for found in await ctx.db(rows.still_open):
            if found.row not in self.shown:
                self._show(ctx, found)
        if self.shown:
            await self._look(ctx, list(self.shown))

    @handles
    async def sweep(self, ctx: Context, _tick: Sweep) -> None:
        await self._sweep(ctx)

    # --- parts --------------------------------------------------------------------------------

    async def _look(self, ctx: Context, told: list[str]) -> None:
        for found in await ctx.db(rows.look, ids=told):
            if found.status != "pending":
                if found.row in self.shown:
                    self._over(ctx, found)
            elif found.left > 0 and found.row not in self.shown:
                self._show(ctx, found)

    async def _sweep(self, ctx: Context) -> None:
        for over in await ctx.db(rows.sweep, node_id=self.node_id, margin=MARGIN):
            await self._ended(ctx, over)

    async def _expire(self, ctx: Context, row: str) -> None:
        if (over := await ctx.db(rows.expire, id=row)) is not None:
            await self._ended(ctx, over)
        else:
            await self._look(ctx, [row])

    async def _ended(self, ctx: Context, over: Standing) -> None:
        """By us: other nodes do not know."""
        self._over(ctx, over)
        self._ring(ctx, over.row)
        await self.record.ended(ctx, over)

    async def _fate(self, ctx: Context, wish: Wish) -> str:
        """By the settings and the rules of the agent; what is forced is asked about, or refused where nobody asks."""
        settings = self.settings
        if wish.forced or settings.security == "deny":
            return "ask" if settings.asks else "deny"
        found: list[Rule] = []
        if wish.agent_id:
            found = await ctx.db(rows.matching, tenant=wish.tenant_id, agent=wish.agent_id, node_id=self.node_id)
        names = {rule.pattern for rule in found if rule.match_kind == "basename"}
        exact = any(rule.match_kind == "exact_hash" and rule.pattern == wish.exact for rule in found)
        level = "listed" if exact else known(wish.commands, settings.allowlist, names)
        return fate(settings.security, "on-miss" if settings.ask == "risky" else settings.ask, level)

    async def _requested(self, ctx: Context, wish: Wish) -> Standing | None:
        rule = _program(wish)
        commands = [str(scrubbed(one.text))[:PART] for one in wish.commands[:PARTS]]
        return await ctx.db(
            rows.request,
            wish,
            id=new_id(),
            node_id=self.node_id,
            node=self.node,
            codes=["".join(secrets.choice(LETTERS) for _ in range(CODE)) for _ in range(CODES)],
            command=str(scrubbed(wish.command))[:SHOWN],
            detail=detail_of(wish, commands, rule),
            rule=rule,
            within=self.settings.timeout_sec,
            of_agent=OF_AGENT,
            of_all=OF_ALL,
        )

    def _show(self, ctx: Context, pending: Pending) -> None:
        self.shown[pending.row] = pending
        self._publish(ctx, "exec.approval.requested", pending, row_of(pending))
        ctx.system.meter.set("approvals_pending", len(self.waiting))

    def _over(self, ctx: Context, over: Standing) -> None:
        """Whoever waits here hears it, and people here."""
        if (waiting := self.waiting.pop(over.row, None)) is not None:
            waiting.reply.answer(answered(over))
            ctx.system.meter.count("approvals_total", over.status)
            waited = max(0.0, (ctx.clock.epoch_ms() - over.created_at) / 1000)
            ctx.system.meter.observe("approval_wait_seconds", waited)
        ctx.system.meter.set("approvals_pending", len(self.waiting))
        self.shown.pop(over.row, None)
        decision = "deny" if over.status == "orphaned" else over.status
        members = {"id": over.id, "decision": decision, "userId": over.user_id, "agentId": over.agent_key}
        self._publish(ctx, "exec.approval.resolved", over, members | ({"by": over.by} if over.by else {}))

    def _ring(self, ctx: Context, row: str) -> None:
        ctx.publish(MARKS, Marked(kind="cache", topic=approval_topic(row)))

    def _publish(self, ctx: Context, type: str, pending: Pending, members: dict[str, Any]) -> None:
        event = ApprovalEvent(type=type, body=body(**members))
        for group in (of_user(pending.tenant_id, pending.user_id), of_admins(pending.tenant_id)):
            ctx.publish(group, event)

    def snapshot(self) -> dict[str, object]:
        return {"waiting": len(self.waiting), "shown": len(self.shown)}


def answered(over: Standing) -> Answered:
    if over.status in ("allow_once", "allow_always", "deny", "timeout"):
        allowed = over.status in ("allow_once", "allow_always")
        return Answered(allowed=allowed, decision=over.status, reason=over.reason)
    return Answered(allowed=False, decision="deny", reason=UNHEARD)


def rule_of(ctx: Context, pending: Pending, ask: Answer) -> Rule:
    """One program, or exactly this line (§12.3)."""
    return Rule(
        id=new_id(),
        tenant_id=pending.tenant_id,
        agent_id=pending.agent_id,
        pattern=pending.rule or pending.exact,
        match_kind="basename" if pending.rule else "exact_hash",
        created_by=ask.by,
        created_at=ctx.clock.epoch_ms(),
        kept=ask.keep,
    )


def _program(wish: Wish) -> str:
    """The one program a line runs, if that does one thing; else nothing (§12.3)."""
    one = wish.commands[0].program if len(wish.commands) == 1 else ""
    return "" if broad(one) else one
