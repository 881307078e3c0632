"""One provider: opens its client with the first call, lets so many calls in at a time, knows which models rest.

Address   /engine/providers/{name}
Contract  providers.md §1, §3 P3.8, §9
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.cooldown import Cooldowns, Rest
from goclaw.domain.errors import Rejected, StoreError, exhausted
from goclaw.domain.model import BorrowProvider, Enter, Entered, Left, Resting
from goclaw.providers.provider import Provider
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.reply import Reply
from goclaw.stores import cooldowns as stored

WAITING = 10_000  # askers in line


class ProviderActor(Actor):
    """The caller streams in its own task, so a stuck stream holds nobody up."""

    def __init__(
        self,
        name: str,
        open_provider: Callable[[], Provider],
        *,
        at_once: int = 64,
        threshold: int = 5,
        open_for: float = 300.0,
        tenant: str = MASTER_TENANT,
    ) -> None:
        self.name = name
        self.tenant = tenant
        self.at_once = at_once
        self.inside = 0
        self._open = open_provider
        self._provider: Provider | None = None
        self._threshold, self._open_for = threshold, open_for
        self._cooldowns = Cooldowns()
        self._rows: list[Rest] = []
        self._line: deque[tuple[Reply, Entered]] = deque()

    async def on_start(self, ctx: Context) -> None:
        try:
            self._rows = await ctx.db(stored.load, tenant=self.tenant, provider=self.name)
        except StoreError as outage:  # a needless question is better than no answer
            ctx.log.warning("provider.cooldowns_unread", provider=self.name, error=str(outage))

    @handles
    async def lend(self, ctx: Context, ask: BorrowProvider) -> Any:
        return self._client()

    @handles
    async def enter(self, ctx: Context, ask: Enter) -> Entered | Resting:
        client, now = self._client(), self._now(ctx)
        slot = self._cooldowns.pick(ask.model, ask.tried, now)
        if slot is None and ask.probe:
            slot = self._cooldowns.probe(ask.model, now)
        if slot is None:
            rest = self._cooldowns.until(ask.model, now)
            return Resting(rest.until, rest.reason) if rest else Resting(now, "unknown")
        granted = Entered(client, slot)
        if self.inside < self.at_once:
            self.inside += 1
        elif len(self._line) >= WAITING:
            raise Rejected(exhausted("provider_busy", 1.0, provider=self.name))
        elif (reply := ctx.defer()) is not None:
            self._line.append((reply, granted))
        return granted

    @handles
    async def left(self, ctx: Context, call: Left) -> None:
        self.inside = max(0, self.inside - 1)
        while self._line and self.inside < self.at_once:
            reply, granted = self._line.popleft()
            self.inside += reply.answer(granted)
        if call.answered:
            ended = self._cooldowns.succeeded(call.model, call.slot)
            if ended:
                slots = [slot for _, slot in ended]
                await ctx.db(stored.forget, tenant=self.tenant, provider=self.name, model=call.model, slots=slots)
        elif call.trouble is not None:
            rest = self._cooldowns.failed(call.model, call.slot, call.trouble, self._now(ctx), call.retry_after)
            if rest is not None:
                await ctx.db(stored.keep, tenant=self.tenant, provider=self.name, rest=rest)

    async def on_stop(self, ctx: Context, reason: str) -> None:
        if self._provider is not None:
            await self._provider.aclose()

    def snapshot(self) -> dict[str, Any]:
        return {"inside": self.inside, "at_once": self.at_once, "waiting": len(self._line)}

    def _client(self) -> Provider:
        if self._provider is None:
            self._provider = self._open()
            self._cooldowns = Cooldowns(
                self._provider.slots, threshold=self._threshold, open_for=self._open_for, rows=self._rows
            )
        return self._provider

    def _now(self, ctx: Context) -> float:
        return ctx.clock.epoch_ms() / 1000
