"""What befalls an approval, written down: for people in the activity, for good in the audit.

Contract: tools.md §12.3, security.md §11.2.
"""

from __future__ import annotations

from typing import Literal

from msgspec.structs import replace

from goclaw.domain.activity import RecordActivity
from goclaw.domain.address import ACTIVITY
from goclaw.domain.approval import Pending
from goclaw.domain.ids import new_id
from goclaw.runtime.actor import Context
from goclaw.runtime.values import FrozenMap
from goclaw.security.audit import Act
from goclaw.stores.approvals import Standing
from goclaw.tools.gates import Audit

ACTIONS: dict[str, str] = {  # by what became of it; of security.md §11.2
    "allow_once": "exec.approved",
    "allow_always": "exec.approved",
    "deny": "exec.denied",
    "orphaned": "exec.denied",
    "timeout": "exec.expired",
}
DECIDED: dict[str, Literal["allow", "deny"]] = {
    "exec.approved": "allow",
    "exec.denied": "deny",
    "exec.expired": "deny",
}
LATE = "answered_before"


class ApprovalRecord:
    """`audit` None: there is only the activity."""

    def __init__(self, audit: Audit | None) -> None:
        self._audit = audit

    async def asked(self, ctx: Context, pending: Pending) -> None:
        self._tell(ctx, "exec.requested", pending, "")
        await self._write("exec.requested", pending, "")

    async def allows(self, pending: Pending, by: str) -> bool:
        """Before it is allowed. False: the audit did not take it, so it is not."""
        return await self._write("exec.approved", pending, by)

    async def too_late(self, pending: Pending, by: str, first: Standing | None) -> None:
        """What `allows` wrote did not come to pass: another answer was first, or its time or its run was over."""
        won = {"answer": first.status, "answered_by": first.by} if first is not None else {}
        if self._audit is not None:
            act = _act("exec.approved", pending, by)
            await self._audit.write(replace(act, decision="info", reason=LATE, details={**act.details, **won}))

    async def ended(self, ctx: Context, over: Standing) -> None:
        """Of one that was allowed the audit knows."""
        action = ACTIONS[over.status]
        self._tell(ctx, action, over, over.by)
        if action != "exec.approved":
            await self._write(action, over, over.by)

    async def _write(self, action: str, pending: Pending, by: str) -> bool:
        return self._audit is None or await self._audit.write(_act(action, pending, by))

    def _tell(self, ctx: Context, action: str, pending: Pending, by: str) -> None:
        done = RecordActivity(
            id=new_id(),
            at=ctx.clock.now(),
            tenant_id=pending.tenant_id,
            actor_type="user" if by else "agent",
            actor_id=by or pending.agent_key,
            action=action,
            entity_type="approval",
            entity_id=pending.id,
            details=FrozenMap(_details(pending)),
        )
        ctx.tell(ACTIVITY, done)


def _act(action: str, pending: Pending, by: str) -> Act:
    return Act(
        action=action,
        decision=DECIDED.get(action, "info"),
        tenant_id=pending.tenant_id,
        actor_type="user" if by else "agent",
        actor_id=by or pending.agent_key,
        subject=f"approval:{pending.id}",
        run_id=pending.run_id or None,
        details=_details(pending),
    )


def _details(pending: Pending) -> dict[str, str]:
    return {"sha256": pending.digest, "command": pending.command[:200], "session": pending.session_key}
