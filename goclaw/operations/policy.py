"""The policy in force: show it, read its file again. Contract: security.md §9.2."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from goclaw.domain.access import Role
from goclaw.domain.address import POLICY
from goclaw.domain.errors import Rejected, failed_precondition
from goclaw.domain.policy import PolicyState, ReloadPolicy
from goclaw.operations.context import Context
from goclaw.operations.operation import Cli, Rpc, operation

READ = 10.0  # seconds


class ShowPolicy(Struct, kw_only=True):
    """Nothing is asked."""


class Reread(Struct, kw_only=True):
    """Nothing is asked."""


class PolicyView(Struct, kw_only=True):
    """`active` false: there is no file, and the tool policy decides alone."""

    active: bool
    file: str
    version: str | None
    policy: dict[str, Any]


class PolicyRead(Struct, kw_only=True):
    version: str | None
    changed: bool


@operation(Rpc("policy.show", Role.ADMIN), Cli("policy show"))
async def show(ctx: Context, ask: ShowPolicy) -> PolicyView:
    """Show the policy in force."""
    edition = ctx.house.policy.edition
    return PolicyView(
        active=edition is not None,
        file=str(ctx.house.settings.policy.file),
        version=edition.version if edition else None,
        policy=edition.policy.canonical() if edition else {},
    )


@operation(Rpc("policy.reload", Role.ADMIN), Cli("policy reload"))
async def reload(ctx: Context, ask: Reread) -> PolicyRead:
    """Read the policy file now; one that cannot be used changes nothing and is refused with its mistakes."""
    state: PolicyState = await ctx.ask(POLICY, ReloadPolicy(), within=READ)
    if state.errors:
        raise Rejected(failed_precondition("policy_invalid", errors=list(state.errors)))
    return PolicyRead(version=state.version, changed=state.changed)
