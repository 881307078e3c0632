"""A message for a chat, from whoever may send one. Contract: edge-websocket.md §7.12, durability.md §7.3."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from goclaw.domain.access import Role
from goclaw.domain.address import OUTBOX
from goclaw.domain.delivery import Post
from goclaw.operations.context import Context
from goclaw.operations.once import scoped
from goclaw.operations.operation import Rpc, operation
from goclaw.operations.platforms import courier_of
from goclaw.stores import outbox


class SendMessage(Struct, kw_only=True):
    channel: Annotated[str, Meta(min_length=1, max_length=100)]
    to: Annotated[str, Meta(min_length=1, max_length=255)]
    message: Annotated[str, Meta(min_length=1, max_length=32_000)]


@operation(Rpc("send", Role.OPERATOR))
async def send(ctx: Context, ask: SendMessage) -> dict[str, Any]:
    """Send a text to a chat of a channel. Answered when it is stored; it leaves in its turn."""
    tenant = ctx.caller.tenant_id
    courier_of(ctx.house, tenant, ask.channel)
    key = scoped(ctx, "send", ctx.idempotency_key) or f"send:{ctx.new_id()}"
    await ctx.db(
        outbox.put,
        tenant=tenant,
        run_id=None,
        seq=0,
        channel_instance=ask.channel,
        chat_id=ask.to,
        local_key=ask.to,
        kind="block",
        payload={"text": ask.message},
        dedupe_key=key,
    )
    ctx.system.tell(OUTBOX, Post())
    id = await ctx.db(outbox.id_of, tenant=tenant, dedupe_key=key)
    return {"ok": True, "channel": ask.channel, "to": ask.to, "messageId": id}
