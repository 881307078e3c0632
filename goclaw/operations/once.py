"""Requests with an idempotency key. Contract: edge-http.md §0.1, sessions-lanes-cron.md §9.6.

A turn takes its key along and stores both together (`stores/ingress.py`); here is what creates anything else.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Awaitable, Callable

import msgspec
from msgspec import Struct

from goclaw.domain.errors import Rejected, failed_precondition, unavailable
from goclaw.operations.context import Context
from goclaw.stores import ingress

LONGEST = 60.0  # seconds a request that starts no run may take
Answer = tuple[int, bytes]  # status and body


def scoped(ctx: Context, session_key: str, key: str) -> str:
    """The key with whose it is and where it was used, hashed because the parts are long.

    On the socket a key belongs to a session, over HTTP to a route (edge-websocket.md §7.2.1, edge-http.md §0.1).
    """
    if not key:
        return ""
    surface, where = ("http", ctx.route) if ctx.route else ("ws", session_key)
    return f"{surface}:{hashlib.sha256(msgspec.json.encode([ctx.user_id, where, key])).hexdigest()}"


def id_of(ctx: Context) -> str:
    """The id of what a request makes: always the same one under an idempotency key, so that it is made once."""
    if not ctx.idempotency_key:
        return ctx.new_id()
    return str(uuid.uuid5(uuid.UUID(ctx.caller.tenant_id), f"{ctx.user_id}/{ctx.idempotency_key}"))


async def once(ctx: Context, asked: Struct, work: Callable[[], Awaitable[Answer]]) -> Answer:
    """Do `work` unless its key says that it was done: then the answer of that time.

    A refusal frees the key. A request that died keeps it for its day, because nobody knows how far it came.
    """
    tenant, key = ctx.caller.tenant_id, scoped(ctx, "", ctx.idempotency_key)
    digest = hashlib.sha256(msgspec.json.encode(asked)).hexdigest()
    before = await ctx.db(ingress.hold, tenant=tenant, key=key, request_hash=digest)
    if before is not None:
        if before.request_hash != digest:
            raise Rejected(failed_precondition("idempotency_conflict"))
        if before.status is None or before.body is None:
            alive = before.age < LONGEST
            raise Rejected(unavailable("in_progress") if alive else failed_precondition("outcome_unknown"))
        ctx.replayed = True
        return before.status, before.body.encode()
    try:
        status, body = await work()
    except Rejected:
        await ctx.db(ingress.let_go, tenant=tenant, key=key)
        raise
    await ctx.db(ingress.answered, tenant=tenant, key=key, status=status, body=body.decode())
    return status, body
