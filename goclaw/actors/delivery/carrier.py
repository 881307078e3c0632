"""One attempt to bring one message to its chat.

Address   /delivery/outbox/{outbox id}.{attempt}
Contract  durability.md §7.3
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio

from goclaw.actors.delivery.files import with_files
from goclaw.domain.delivery import Courier, Delivery, DeliveryDied, LooksUp, NotDelivered
from goclaw.domain.errors import StoreError
from goclaw.domain.events import of_operators
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.crashpoint import crash_point
from goclaw.runtime.message import Message
from goclaw.stores import outbox
from goclaw.stores.outbox import LEASE

PAUSES = (2.0, 5.0, 11.0, 26.0, 60.0)  # seconds before each of the five retries; durability.md §7.3
WITHIN = 20.0  # seconds the platform has, well below the lease
LATEST = 600.0  # seconds a platform may make us wait
AGAIN_UNKNOWN = "sent twice, and nobody knows whether it arrived"
AGAIN = 0.5  # seconds between two tries to write down what became of it


class Go(Message[None]):
    """Bring it."""


class Carrier(Actor):
    def __init__(self, delivery: Delivery, courier: Courier, node_id: str, barred: Sequence[Path] = ()) -> None:
        self.barred = barred
        self.delivery = delivery
        self.courier = courier
        self.node_id = node_id

    async def on_start(self, ctx: Context) -> None:
        self.until = ctx.clock.monotonic() + LEASE
        ctx.tell(ctx.address, Go())

    @handles
    async def go(self, ctx: Context, _go: Go) -> None:
        crash_point("outbox.claimed")
        retries = self.delivery.attempt - 1
        if retries > len(PAUSES):  # those who tried before did not live to say so
            await self._give_up(ctx, "no attempt came to an end")
        elif self.delivery.spent and not self._sure:
            await self._give_up(ctx, AGAIN_UNKNOWN)
        else:
            await self._try(ctx, PAUSES[retries] if retries < len(PAUSES) else None)
        ctx.stop()

    async def _try(self, ctx: Context, pause: float | None) -> None:
        """Once. Without a pause for the next time it is the last."""
        try:
            with trio.fail_after(WITHIN):
                external, doubtful = await self._carry()
        except trio.TooSlowError:
            trouble = NotDelivered(f"no answer within {WITHIN:g} s", unknown=True)
        except NotDelivered as error:
            trouble = error
        else:
            crash_point("outbox.sent")
            return await self._write(ctx, outbox.sent, external_id=external, doubtful=doubtful)
        if trouble.unknown and self.delivery.doubtful and not self._sure:
            return await self._give_up(ctx, f"{AGAIN_UNKNOWN}: {trouble}")
        if trouble.final or pause is None:
            return await self._give_up(ctx, str(trouble))
        pause = max(pause, min(trouble.retry_after or 0.0, LATEST))
        return await self._write(ctx, outbox.later, error=str(trouble), pause=pause, doubtful=trouble.unknown)

    @property
    def _sure(self) -> bool:
        """Whether the platform keeps a second copy from its chat, or can tell. Else one is sent again once (§7.3)."""
        return self.courier.takes_nonce or isinstance(self.courier, LooksUp)

    async def _carry(self) -> tuple[str, bool]:
        """The platform's id, and whether the message may be there twice."""
        delivery, courier = self.delivery, self.courier
        doubtful = delivery.doubtful and not courier.takes_nonce
        if doubtful and isinstance(courier, LooksUp):
            if (found := await courier.find(delivery.nonce)) is not None:
                return found, False
            doubtful = False
        if not delivery.payload.get("media"):
            return await courier.send(delivery), doubtful
        return await with_files(courier, delivery, self.barred), doubtful

    async def _give_up(self, ctx: Context, error: str) -> None:
        delivery = self.delivery
        await self._write(ctx, outbox.give_up, error=error)
        ctx.log.warning("channel.outbound_dead", channel=delivery.channel_instance, error=error)
        news = DeliveryDied(
            tenant_id=delivery.tenant_id,
            outbox_id=delivery.outbox_id,
            channel_instance=delivery.channel_instance,
            chat_id=delivery.chat_id,
            run_id=delivery.run_id,
            error=error,
        )
        ctx.publish(of_operators(delivery.tenant_id), news)

    async def _write(self, ctx: Context, work: Any, **more: Any) -> None:
        """What became of it, as long as it is ours to say. A database that stays away leaves it to who claims next."""
        while True:
            try:
                if not await ctx.db(work, self.delivery, node=self.node_id, **more):
                    ctx.log.warning("outbox.stale", delivery=self.delivery.outbox_id)
                return
            except StoreError as trouble:
                if ctx.clock.monotonic() + AGAIN >= self.until:
                    ctx.log.warning("outbox.not_written", delivery=self.delivery.outbox_id, error=str(trouble))
                    return
            await trio.sleep(AGAIN)
