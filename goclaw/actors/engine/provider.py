"""One provider: opens its client with the first call, lets so many calls in at a time, knows which models rest.

Address   /engine/providers/{name}
Contract  providers.md §1, §3 P3.8, §9
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.cooldown import Cooldowns, Rest
from goclaw.domain.errors import ProviderError, Rejected, StoreError, exhausted
from goclaw.domain.events import ProviderStatus, body, of_admins
from goclaw.domain.model import BorrowProvider, Enter, Entered, GetRests, Left, Resting
from goclaw.providers.provider import Provider
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.faults import ActorStopped
from goclaw.runtime.message import Message
from goclaw.runtime.reply import Reply
from goclaw.stores import cooldowns as stored

WAITING = 10_000  # askers in line


class RestOver(Message[None]):
    """A rest may have ended."""


class ProviderActor(Actor):
    """The caller streams in its own task, so a stuck stream holds nobody up."""

    capacity: ClassVar[int] = 2 * WAITING  # a `Left` that found no room would keep its place for ever
    weather = (ProviderError, StoreError)  # a key that is none, a database that is away: no reason to forget who is in

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
        self._down: set[str] = set()  # models that were told to rest
        self._line: deque[tuple[Reply, Enter]] = deque()

    async def on_start(self, ctx: Context) -> None:
        try:
            self._rows = await ctx.db(stored.load, tenant=self.tenant, provider=self.name)
        except StoreError as outage:  # a needless question is better than no answer
            ctx.log.warning("provider.cooldowns_unread", provider=self.name, error=str(outage))

    @handles
    async def lend(self, ctx: Context, ask: BorrowProvider) -> Any:
        return self._client()

    @handles
    async def rests(self, ctx: Context, ask: GetRests) -> tuple[Rest, ...]:
        self._client()
        return tuple(self._cooldowns.rows(self._now(ctx)))

    @handles
    async def enter(self, ctx: Context, ask: Enter) -> Entered | Resting | None:
        verdict = self._verdict(ctx, ask)
        if isinstance(verdict, Resting):
            return verdict
        if self.inside >= self.at_once and len(self._line) >= WAITING:
            raise Rejected(exhausted("provider_busy", 1.0, provider=self.name))
        if (reply := ctx.defer()) is None:
            return None  # nobody would say that he left
        if self.inside < self.at_once:
            self.inside += reply.answer(verdict)
        else:
            self._line.append((reply, ask))
        return None

    @handles
    async def left(self, ctx: Context, call: Left) -> None:
        self.inside = max(0, self.inside - 1)
        ended: list[tuple[str, int]] = []
        rest: Rest | None = None
        if call.answered:
            ended = self._cooldowns.succeeded(call.model, call.slot)
        elif call.trouble is not None:
            ctx.system.meter.count("provider_errors_total", self.name, call.trouble)
            rest = self._cooldowns.failed(call.model, call.slot, call.trouble, self._now(ctx), call.retry_after)
        self._let_in(ctx)
        if ended:
            self._tell_who_is_back(ctx)
            slots = [slot for _, slot in ended]
            await ctx.db(stored.forget, tenant=self.tenant, provider=self.name, model=call.model, slots=slots)
        elif rest is not None:
            self._tell_of_rest(ctx, call.model)
            await ctx.db(stored.keep, tenant=self.tenant, provider=self.name, rest=rest)

    def _let_in(self, ctx: Context) -> None:
        """Whoever waits, as long as there is room; what he asks for may have begun to rest meanwhile."""
        while self._line and self.inside < self.at_once:
            reply, ask = self._line.popleft()
            if reply.over:
                continue
            try:
                verdict = self._verdict(ctx, ask)
            except ProviderError as error:  # it has changed since
                reply.fail(error)
                continue
            self.inside += reply.answer(verdict) and isinstance(verdict, Entered)

    def _verdict(self, ctx: Context, ask: Enter) -> Entered | Resting:
        client, now = self._client(), self._now(ctx)
        slot = self._cooldowns.pick(ask.model, ask.tried, now)
        if slot is None and ask.probe:
            slot = self._cooldowns.probe(ask.model, now)
        if slot is not None:
            return Entered(client, slot, client.kind)
        rest = self._cooldowns.until(ask.model, now)
        return Resting(rest.until, rest.reason) if rest else Resting(now, "unknown")

    @handles
    async def look(self, ctx: Context, tick: RestOver) -> None:
        self._tell_who_is_back(ctx)

    def _tell_of_rest(self, ctx: Context, model: str) -> None:
        rest = self._cooldowns.until(model, self._now(ctx))
        if rest is None:
            return  # other keys are left
        self._down.add(model)
        self._publish(ctx, model, usable=False, cooldown_until=int(rest.until * 1000), reason=rest.reason)
        ctx.after(max(0.0, rest.until - self._now(ctx)) + 0.001, RestOver())

    def _tell_who_is_back(self, ctx: Context) -> None:
        for model in sorted(self._down):
            if self._cooldowns.until(model, self._now(ctx)) is None:
                self._down.remove(model)
                self._publish(ctx, model, usable=True)

    def _publish(self, ctx: Context, model: str, **news: Any) -> None:
        said = body(provider=self.name, model=model, **news)
        ctx.publish(of_admins(self.tenant), ProviderStatus(body=said))

    async def on_stop(self, ctx: Context, reason: str) -> None:
        if self._provider is not None:
            await self._provider.aclose()

    def release(self) -> None:
        for reply, _ in self._line:
            reply.fail(ActorStopped(f"{self.name} stopped"))

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
