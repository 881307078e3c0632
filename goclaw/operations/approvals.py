"""Commands that wait for somebody's yes, and rules that save asking.

Contract: edge-websocket.md §7.10, tools.md §12.3. The HTTP routes are ours: what waits can be answered with curl.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from goclaw.domain.access import Role
from goclaw.domain.address import APPROVALS
from goclaw.domain.approval import Answer, Decision, DropRule, ListPending, ListRules, Rule, row_of
from goclaw.domain.errors import Rejected, approval_gone, forbidden, not_found
from goclaw.operations.context import Context
from goclaw.operations.gateway import Nothing
from goclaw.operations.operation import Http, Rpc, operation

ASK = 10.0  # seconds the broker has

Id = Annotated[str, Meta(min_length=1, max_length=64)]


class PendingApproval(Struct, rename="camel", kw_only=True):
    """Times are epoch milliseconds."""

    id: str
    tool_name: str
    command: str
    detail: dict[str, Any]
    agent_id: str
    session_key: str
    run_id: str
    user_id: str
    created_at: int
    expires_at: int


class PendingList(Struct, kw_only=True):
    pending: list[PendingApproval]


class Approve(Struct, kw_only=True):
    """`always`: make a rule, so that the agent is not asked again; `persist`: one that outlives the gateway."""

    id: Id
    always: bool = False
    persist: bool = False


class Deny(Struct, kw_only=True):
    id: Id
    reason: Annotated[str, Meta(max_length=2000)] | None = None


class Resolved(Struct, kw_only=True):
    resolved: bool
    decision: Decision


class AllowRule(Struct, kw_only=True):
    """`kept`: it outlives the gateway."""

    id: str
    agent_id: str
    pattern: str
    match_kind: Literal["basename", "exact_hash"]
    created_by: str
    created_at: datetime
    kept: bool


class AllowRules(Struct, kw_only=True):
    rules: list[AllowRule]


class OneRule(Struct, kw_only=True):
    rule_id: Id


class Deleted(Struct, kw_only=True):
    deleted: bool


@operation(Rpc("exec.approval.list", Role.OPERATOR), Http("GET /v1/approvals", Role.OPERATOR))
async def list_pending(ctx: Context, ask: Nothing) -> PendingList:
    """List what waits for an answer, oldest first: of your own runs, or all for those who may answer for others."""
    message = ListPending(tenant_id=ctx.caller.tenant_id, user_id=whose(ctx))
    found = await ctx.ask(APPROVALS, message, within=ASK)
    return PendingList(pending=[msgspec.convert(row_of(one), PendingApproval) for one in found])


@operation(Rpc("exec.approval.approve", Role.OPERATOR), Http("POST /v1/approvals/{id}/approve", Role.OPERATOR))
async def approve(ctx: Context, ask: Approve) -> Resolved:
    """Let a command run, once or from now on. The first answer counts."""
    if ask.persist and not ctx.caller.is_admin:
        raise Rejected(forbidden("role"))
    return await answered(ctx, ask.id, allow=True, always=ask.always or ask.persist, keep=ask.persist)


@operation(Rpc("exec.approval.deny", Role.OPERATOR), Http("POST /v1/approvals/{id}/deny", Role.OPERATOR))
async def deny(ctx: Context, ask: Deny) -> Resolved:
    """Refuse a command; the agent reads the reason."""
    return await answered(ctx, ask.id, allow=False, reason=ask.reason or "")


@operation(Http("GET /v1/approvals/rules", Role.ADMIN))
async def list_rules(ctx: Context, ask: Nothing) -> AllowRules:
    """List what agents may do without being asked about again."""
    found = await ctx.ask(APPROVALS, ListRules(tenant_id=ctx.caller.tenant_id), within=ASK)
    return AllowRules(rules=[rule_of(rule) for rule in found])


@operation(Http("DELETE /v1/approvals/rules/{rule_id}", Role.ADMIN))
async def delete_rule(ctx: Context, ask: OneRule) -> Deleted:
    """Have the agent asked about again."""
    message = DropRule(tenant_id=ctx.caller.tenant_id, id=ask.rule_id)
    if not await ctx.ask(APPROVALS, message, within=ASK):
        raise Rejected(not_found("approval_rule", ask.rule_id))
    return Deleted(deleted=True)


# --- parts ----------------------------------------------------------------------------------------


async def answered(ctx: Context, id: str, **answer: Any) -> Resolved:
    approvers = ctx.house.settings.tools.exec_approval.approvers
    if approvers and not ctx.caller.is_admin and ctx.user_id not in approvers:
        raise Rejected(approval_gone(id))
    message = Answer(id=id, tenant_id=ctx.caller.tenant_id, user_id=whose(ctx), by=ctx.user_id, **answer)
    return Resolved(resolved=True, decision=await ctx.ask(APPROVALS, message, within=ASK))


def whose(ctx: Context) -> str | None:
    """For whose runs the caller may answer; None for all. An agent answers for nobody, least of all for itself."""
    if ctx.caller.agent_id:
        raise Rejected(forbidden("agent"))
    approvers = ctx.house.settings.tools.exec_approval.approvers
    return None if ctx.caller.is_admin or ctx.user_id in approvers else ctx.user_id


def rule_of(rule: Rule) -> AllowRule:
    return AllowRule(
        id=rule.id,
        agent_id=rule.agent_id,
        pattern=rule.pattern,
        match_kind=rule.match_kind,
        created_by=rule.created_by,
        created_at=datetime.fromtimestamp(rule.created_at / 1000, UTC),
        kept=rule.kept,
    )
