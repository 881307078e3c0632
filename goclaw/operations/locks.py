"""Resource locks: who has what for himself, who waits for it. Contract: edge-http.md §23, nodes-autonomy.md §3.4."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from goclaw.domain.access import Role
from goclaw.operations.context import Context
from goclaw.operations.gateway import Nothing
from goclaw.operations.operation import Http, operation
from goclaw.stores import locks


class LockWaiter(Struct, kw_only=True):
    run_id: str
    since: datetime


class Lock(Struct, kw_only=True):
    """`key` ends with `!r` where several may share it."""

    key: str
    holder_run_id: str
    since: datetime
    waiters: list[LockWaiter]


class Locks(Struct, kw_only=True):
    locks: list[Lock]


@operation(Http("GET /v1/locks", Role.OPERATOR))
async def list_locks(ctx: Context, ask: Nothing) -> Locks:
    """List the keys that runs hold, longest held first, and the runs that wait for them; at most 1,000 keys."""
    found = await ctx.db(locks.listed, tenant=ctx.caller.tenant_id)
    return Locks(
        locks=[
            Lock(
                key=lock.key,
                holder_run_id=lock.holder_run_id,
                since=lock.since,
                waiters=[LockWaiter(run_id=waiter.run_id, since=waiter.since) for waiter in lock.waiters],
            )
            for lock in found
        ]
    )
