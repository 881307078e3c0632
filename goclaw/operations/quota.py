"""The quota as its users and admins see it. Contract: sessions-lanes-cron.md §8.1, edge-websocket.md §7.12."""

from __future__ import annotations

from msgspec import Struct

from goclaw.domain.access import Role
from goclaw.domain.quota import Payer
from goclaw.operations.context import Context
from goclaw.operations.gateway import Nothing
from goclaw.operations.operation import Rpc, operation
from goclaw.stores import quota


class Used(Struct, kw_only=True):
    used: int
    limit: int  # 0 = none


class QuotaEntry(Struct, rename="camel", kw_only=True):
    """A user, or a group as `group:<channel>:<chat>`, in the last hour, 24 hours and 7 days."""

    user_id: str
    hour: Used
    day: Used
    week: Used


class QuotaUsage(Struct, rename="camel", kw_only=True):
    """Today is the day in UTC. The cost is null as long as no price is known."""

    enabled: bool
    requests_today: int
    input_tokens_today: int
    output_tokens_today: int
    cost_today: float | None = None
    unique_users_today: int
    entries: list[QuotaEntry]


@operation(Rpc("quota.usage", Role.VIEWER))
async def usage(ctx: Context, ask: Nothing) -> QuotaUsage:
    """Show how much of the quota is used. Who is no admin sees their own."""
    settings, tenant = ctx.house.settings.gateway.quota, ctx.caller.tenant_id
    user = None if ctx.caller.is_admin else ctx.user_id
    today = await ctx.db(quota.today, tenant=tenant, user=user)
    rows = await ctx.db(quota.entries, tenant=tenant, user=user) if settings.enabled else []
    entries = []
    for row in rows:
        payer = Payer(tenant, row.name, row.group)
        limits = settings.limits(payer, channel=row.name.partition(":")[0] if row.group else "")
        entries.append(
            QuotaEntry(
                user_id=payer.shown,
                hour=Used(used=row.hour, limit=limits.hour),
                day=Used(used=row.day, limit=limits.day),
                week=Used(used=row.week, limit=limits.week),
            )
        )
    return QuotaUsage(
        enabled=settings.enabled,
        requests_today=today.requests,
        input_tokens_today=today.input_tokens,
        output_tokens_today=today.output_tokens,
        unique_users_today=today.users,
        entries=entries,
    )
