"""Who asks people before a command runs, and hears the answer.

Address   /engine/policy/approvals
Contract  tools.md §12.2, §12.3

Who waits is remembered here and nowhere else: a broker that ends says no to all of them, and the next one writes that
down.
"""

from __future__ import annotations

import secrets
from collections import Counter
from typing import Any, Literal

from msgspec import Struct

from goclaw.domain.activity import RecordActivity
from goclaw.domain.address import ACTIVITY, APPROVALS, run
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
    fate,
    row_of,
)
from goclaw.domain.errors import Err, StoreError, approval_gone, approvals_off, unavailable
from goclaw.domain.events import body, of_admins, of_user
from goclaw.domain.ids import new_id
from goclaw.domain.run import Awaiting
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.faults import Rejected, RuntimeFault
from goclaw.runtime.message import Message
from goclaw.runtime.reply import Reply
from goclaw.runtime.system import System
from goclaw.runtime.values import FrozenMap
from goclaw.security.allowlist import broad, known
from goclaw.security.audit import Act
from goclaw.security.scrub import scrubbed
from goclaw.settings.approval import ExecApproval
from goclaw.stores import approvals as rows
from goclaw.tools.gates import Audit
from goclaw.tools.tool import ToolFailed

OF_AGENT, OF_ALL = 20, 200  # pending at once; tools.md §12.3
RULES = 10_000  # that last as long as the process; our decision
PARTS, PART = 50, 200  # simple commands that are shown, and characters of each; our decision
LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
CODE = 6  # of them
MARGIN = 10.0  # seconds its asker gives the broker beyond the time people have
ACTIONS: dict[Decision, str] = {  # of security.md §11.2
    "allow_once": "exec.approved",
    "allow_always": "exec.approved",
    "deny": "exec.denied",
    "timeout": "exec.expired",
}
DECIDED: dict[str, Literal["allow", "deny"]] = {
    "exec.approved": "allow",
    "exec.denied": "deny",
    "exec.expired": "deny",
}
UNHEARD = "nobody could be asked; try later"


class Expire(Message[None]):
    id: str


class Waiting(Struct):
    """One that is asked about, and who waits for it."""

    pending: Pending
    row: str
    reply: Reply


class ApprovalBroker(Actor):
    weather = (StoreError,)

    def __init__(self, settings: ExecApproval, node: str, audit: Audit | None = None) -> None:
        self.settings = settings
        self.audit = audit
        self.node = node  # what this gateway is called in rows
        self.asked = 0
        self.waiting: dict[str, Waiting] = {}
        self.rules: dict[tuple[str, str, str], Rule] = {}  # by tenant, agent and pattern

    async def on_start(self, ctx: Context) -> None:
        for orphan in await ctx.db(rows.orphans, node=self.node):
            members = {"id": orphan.name, "decision": "deny", "userId": orphan.user_id, "agentId": orphan.agent_key}
            self._publish(ctx, "exec.approval.resolved", orphan.tenant_id, orphan.user_id, members)

    def release(self) -> None:
        """Whoever waits is told no, however this ends."""
        for waiting in self.waiting.values():
            waiting.reply.answer(Answered(allowed=False, decision="deny", reason=UNHEARD))
        self.waiting.clear()

    @handles
    async def ask(self, ctx: Context, ask: AskApproval) -> Answered | None:
        wish = ask.wish
        match await self._fate(ctx, wish):
            case "run":
                return Answered(allowed=True)
            case "deny":
                return Answered(allowed=False, reason="commands that are not on the allow-list are refused here")
        crowd = Counter(waiting.pending.wish.agent_id for waiting in self.waiting.values())
        if crowd[wish.agent_id] >= OF_AGENT or crowd.total() >= OF_ALL:
            return Answered(allowed=False, decision="deny", reason="too many commands wait for an answer already")
        pending, row = self._pending(ctx, wish), new_id()
        await ctx.db(rows.request, pending, id=row, node=self.node)
        if (reply := ctx.defer()) is None:
            return None
        self.waiting[pending.id] = Waiting(pending, row, reply)
        ctx.after(self.settings.timeout_sec, Expire(id=pending.id))
        self._publish(ctx, "exec.approval.requested", wish.tenant_id, wish.user_id, row_of(pending))
        if wish.lane:
            ctx.tell(run(wish.lane, wish.run_id), Awaiting(what="waiting_approval", tool=wish.tool))
        await self._audit(ctx, "exec.requested", pending, "")
        ctx.system.meter.set("approvals_pending", len(self.waiting))
        return None

    @handles
    async def answer(self, ctx: Context, ask: Answer) -> Decision | Err:
        if not self.settings.asks:
            return approvals_off()
        waiting = self.waiting.get(ask.id)
        if waiting is None or waiting.reply.over or not seen(waiting.pending, ask.tenant_id, ask.user_id):
            return approval_gone(ask.id)
        decision: Decision = ("allow_always" if ask.always else "allow_once") if ask.allow else "deny"
        if ask.allow and not await self._audit(ctx, ACTIONS[decision], waiting.pending, ask.by):
            return unavailable("audit_unavailable")
        if waiting.reply.over or ask.id not in self.waiting:
            return approval_gone(ask.id)  # meanwhile
        rule = self._rule(ctx, waiting.pending.wish, ask) if decision == "allow_always" else None
        await self._close(ctx, waiting, decision, by=ask.by, reason=ask.reason, rule=rule)
        return decision

    @handles
    async def expire(self, ctx: Context, due: Expire) -> None:
        if (waiting := self.waiting.get(due.id)) is not None:
            await self._close(ctx, waiting, "timeout", reason="")

    @handles
    async def withdraw(self, ctx: Context, news: Withdraw) -> None:
        for waiting in list(self.waiting.values()):
            wish = waiting.pending.wish
            if (wish.run_id, wish.call_id) == (news.run_id, news.call_id):
                await self._close(ctx, waiting, "deny", reason="the run has ended")

    @handles
    def pending(self, _ctx: Context, ask: ListPending) -> tuple[Pending, ...] | Err:
        """Oldest first."""
        if not self.settings.asks:
            return approvals_off()
        all_ = (waiting.pending for waiting in self.waiting.values())
        return tuple(pending for pending in all_ if seen(pending, ask.tenant_id, ask.user_id))

    @handles
    async def list_rules(self, ctx: Context, ask: ListRules) -> tuple[Rule, ...]:
        """Those of this process, then those that are kept, newest first."""
        ours = [rule for rule in self.rules.values() if rule.tenant_id == ask.tenant_id]
        return (*reversed(ours), *await ctx.db(rows.rules, tenant=ask.tenant_id))

    @handles
    async def drop_rule(self, ctx: Context, ask: DropRule) -> bool:
        for key, rule in self.rules.items():
            if (rule.id, rule.tenant_id) == (ask.id, ask.tenant_id):
                del self.rules[key]
                return True
        return await ctx.db(rows.drop, tenant=ask.tenant_id, id=ask.id)

    # --- parts --------------------------------------------------------------------------------

    async def _fate(self, ctx: Context, wish: Wish) -> str:
        """By the settings and the rules of the agent; what is forced is asked about, or refused where nobody asks."""
        settings = self.settings
        if wish.forced or settings.security == "deny":
            return "ask" if settings.asks else "deny"
        ours = [rule for rule in self.rules.values() if (rule.tenant_id, rule.agent_id) == whose(wish)]
        kept = await ctx.db(rows.rules, tenant=wish.tenant_id, agent=wish.agent_id) if wish.agent_id else []
        patterns = {(rule.match_kind, rule.pattern) for rule in (*ours, *kept)}
        names = {pattern for kind, pattern in patterns if kind == "basename"}
        exact = ("exact_hash", wish.exact) in patterns
        level = "listed" if exact else known(wish.commands, settings.allowlist, names)
        return fate(settings.security, "on-miss" if settings.ask == "risky" else settings.ask, level)

    def _pending(self, ctx: Context, wish: Wish) -> Pending:
        self.asked += 1
        taken = {waiting.pending.code for waiting in self.waiting.values()}
        while (code := "".join(secrets.choice(LETTERS) for _ in range(CODE))) in taken:
            pass
        now = ctx.clock.epoch_ms()
        return Pending(
            id=f"exec-{self.asked}",
            code=code,
            wish=wish,
            shown=str(scrubbed(wish.command))[:SHOWN],
            commands=tuple(str(scrubbed(one.text))[:PART] for one in wish.commands[:PARTS]),
            rule=_program(wish),
            created_at=now,
            expires_at=now + int(self.settings.timeout_sec * 1000),
        )

    def _rule(self, ctx: Context, wish: Wish, ask: Answer) -> Rule:
        """One program, or exactly this line (§12.3)."""
        one = _program(wish)
        return Rule(
            id=new_id(),
            tenant_id=wish.tenant_id,
            agent_id=wish.agent_id,
            pattern=one or wish.exact,
            match_kind="basename" if one else "exact_hash",
            created_by=ask.by,
            created_at=ctx.clock.epoch_ms(),
            kept=ask.keep,
        )

    async def _close(
        self, ctx: Context, waiting: Waiting, decision: Decision, *, by: str = "", reason: str, rule: Rule | None = None
    ) -> None:
        """Stored, then said. Whoever comes later finds nothing: the first answer wins."""
        pending, wish = waiting.pending, waiting.pending.wish
        kept = rule if rule is not None and rule.kept else None
        await ctx.db(
            rows.resolve, id=waiting.row, tenant=wish.tenant_id, status=decision, by=by, reason=reason, rule=kept
        )
        del self.waiting[pending.id]
        if rule is not None and kept is None and len(self.rules) < RULES:
            self.rules[*whose(wish), rule.pattern] = rule
        allowed = decision in ("allow_once", "allow_always")
        if not allowed:
            await self._audit(ctx, ACTIONS[decision], pending, by)
        waiting.reply.answer(Answered(allowed=allowed, decision=decision, reason=reason))
        members = {"id": pending.id, "decision": decision, "userId": wish.user_id, "agentId": wish.agent_key}
        self._publish(ctx, "exec.approval.resolved", wish.tenant_id, wish.user_id, members | ({"by": by} if by else {}))
        ctx.system.meter.count("approvals_total", decision)
        waited = (ctx.clock.epoch_ms() - pending.created_at) / 1000
        ctx.system.meter.observe("approval_wait_seconds", waited)
        ctx.system.meter.set("approvals_pending", len(self.waiting))

    async def _audit(self, ctx: Context, action: str, pending: Pending, by: str) -> bool:
        """The one place where what befalls an approval is written down. False: the audit did not take it."""
        wish = pending.wish
        details = {"sha256": wish.digest, "command": pending.shown[:200], "session": wish.session_key}
        done = RecordActivity(
            id=new_id(),
            at=ctx.clock.now(),
            tenant_id=wish.tenant_id,
            actor_type="user" if by else "agent",
            actor_id=by or wish.agent_key,
            action=action,
            entity_type="approval",
            entity_id=pending.id,
            details=FrozenMap(details),
        )
        ctx.tell(ACTIVITY, done)
        act = Act(
            action=action,
            decision=DECIDED.get(action, "info"),
            tenant_id=wish.tenant_id,
            actor_type=done.actor_type,
            actor_id=done.actor_id,
            subject=f"approval:{pending.id}",
            run_id=wish.run_id or None,
            details=details,
        )
        return self.audit is None or await self.audit.write(act)

    def _publish(self, ctx: Context, type: str, tenant: str, user: str, members: dict[str, Any]) -> None:
        event = ApprovalEvent(type=type, body=body(**members))
        for group in (of_user(tenant, user), of_admins(tenant)):
            ctx.publish(group, event)

    def snapshot(self) -> dict[str, object]:
        return {"pending": len(self.waiting), "asked": self.asked, "rules": len(self.rules)}


class AtBroker:
    """Implements `tools.approvals.Approvals`."""

    def __init__(self, system: System, settings: ExecApproval) -> None:
        self._system = system
        self._settings = settings

    @property
    def asks(self) -> bool:
        return self._settings.asks

    async def ask(self, wish: Wish) -> None:
        settings = self._settings
        if settings.security == "full" and settings.ask == "off" and not wish.forced:
            return
        try:
            answered = await self._system.ask(APPROVALS, AskApproval(wish=wish), settings.timeout_sec + MARGIN)
        except StoreError:
            raise ToolFailed("unavailable", f"this needs an approval, and {UNHEARD}") from None
        except (RuntimeFault, Rejected):
            raise ToolFailed("denied_approval", f"this needs an approval, and {UNHEARD}") from None
        except BaseException:
            self._system.tell(APPROVALS, Withdraw(run_id=wish.run_id, call_id=wish.call_id))
            raise
        if answered.decision == "timeout":
            said = f"this needs an approval, and nobody answered within {settings.timeout_sec:g} s"
            raise ToolFailed("approval_timeout", f"{said}; do not repeat it unasked")
        if not answered.allowed:
            raise ToolFailed("denied_approval", f"this was not approved: {answered.reason or 'somebody said no'}")


def whose(wish: Wish) -> tuple[str, str]:
    return wish.tenant_id, wish.agent_id


def seen(pending: Pending, tenant: str, user: str | None) -> bool:
    return pending.wish.tenant_id == tenant and user in (None, pending.wish.user_id)


def _program(wish: Wish) -> str:
    """The one program a line runs, if that does one thing; else nothing (§12.3)."""
    one = wish.commands[0].name if len(wish.commands) == 1 else ""
    return "" if broad(one) else one
