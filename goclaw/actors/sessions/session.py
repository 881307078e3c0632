"""One conversation: takes turns in, in order, and knows what runs and what waits.

Address   /sessions/{tenant}/{session key}
Contract  sessions-lanes-cron.md §3; edge-websocket.md §7.2; durability.md §3
"""

from __future__ import annotations

from typing import Any

import msgspec

from goclaw.actors.sessions.taking import Taking
from goclaw.actors.sessions.window import Window
from goclaw.domain.errors import Err, Rejected, StoreError, failed_precondition, not_found
from goclaw.domain.ids import new_id
from goclaw.domain.session import (
    OPEN_WINDOWS,
    Accepted,
    Activity,
    FlushWindows,
    GetActivity,
    Inject,
    Injected,
    RunEnded,
    RunLost,
    Send,
)
from goclaw.domain.tokens import estimate
from goclaw.runtime.actor import Context, handles
from goclaw.runtime.faults import RuntimeFault
from goclaw.runtime.message import Message
from goclaw.stores import ingress
from goclaw.stores import sessions as rows
from goclaw.stores.sessions import NewMessage

LABEL = 100  # characters of an injected message's label; edge-websocket.md §7.2
AWAY = 1.0  # seconds before another try when the database is away


class WindowOver(Message[None]):
    """A sender has said nothing more for long enough."""

    sender: str


class Session(Taking):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.windows: dict[str, Window] = {}  # by sender; sessions-lanes-cron.md §3.3

    @handles
    async def send(self, ctx: Context, ask: Send) -> Accepted | Err | None:
        if ask.fresh:
            self.remembered = self.own.company
        else:
            await self._remember(ctx)
        if not self._may(ask.user_id, ask.as_admin):
            return not_found("session", self.text_key)
        if ask.idempotency_key:
            first = await ctx.db(ingress.find, tenant=self.tenant, key=ask.idempotency_key)
            if first is not None:
                return await self._again(ctx, ask, first)
        await self._obey(ctx, ask.queue)
        ask = msgspec.structs.replace(ask, debounce_ms=self._window(ask))
        window = self.windows.get(ask.user_id)
        if window is not None and (twin := window.twin(ask)) is not None:
            if twin.ask.digest(self.text_key) != ask.digest(self.text_key):
                return failed_precondition("idempotency_conflict")
            self._hold_back(ctx, ask)
            return None
        if window is not None and not (ask.debounce_ms and window.takes(ask)):
            await self._close(ctx, ask.user_id)
            await self._remember(ctx)  # what went wrong there is forgotten
        if ask.debounce_ms:
            self._hold_back(ctx, ask)
            return None
        return await self._take(ctx, ask)

    @handles
    async def window_over(self, ctx: Context, news: WindowOver) -> None:
        await self._over(ctx, news.sender)

    @handles
    async def flush_windows(self, ctx: Context, _news: FlushWindows) -> None:
        for sender in list(self.windows):
            await self._over(ctx, sender)

    async def on_stop(self, ctx: Context, reason: str) -> None:
        """What is still held back waits for the next start: the house is closing."""
        self.closing = True
        for sender in list(self.windows):
            await self._close(ctx, sender)

    @handles
    async def inject(self, ctx: Context, ask: Inject) -> Injected | Err:
        await self._remember(ctx)
        if not self._known_to(ask.user_id, ask.as_admin):
            return not_found("session", self.text_key)
        label = ask.label[:LABEL]
        text = f"[{label}]\n\n{ask.text}" if label else ask.text
        message = NewMessage(
            id=new_id(),
            role=ask.role,
            content=text,
            payload={"label": label} if label else {},
            token_estimate=estimate(text),
        )
        await ctx.db(rows.inject, tenant=self.tenant, key=self.text_key, message=message)
        self._updated(ctx)
        return Injected(message_id=message.id)

    @handles
    async def activity(self, ctx: Context, _ask: GetActivity) -> Activity:
        await self._remember(ctx)
        waiting = self._waiting(ctx)
        return Activity(running=tuple(r for r in self.open if r not in waiting), waiting=tuple(waiting))

    @handles
    async def ended(self, ctx: Context, news: RunEnded) -> None:
        if self.open.pop(news.run_id, None) is not None or self.remembered is None:
            await self._remember(ctx)
            self._updated(ctx)
            await self._throttle(ctx)
        self._look_after(ctx, news)

    @handles
    async def lost(self, ctx: Context, _news: RunLost) -> None:
        self._forget()

    # --- windows ------------------------------------------------------------------------------

    def _window(self, ask: Send) -> int:
        """Milliseconds this turn waits for more of its sender: what it asks for, or what its channel does (§3.3)."""
        asked = ask.debounce_ms
        if asked is None:
            asked = self.policy.debounce_ms if ask.kind == "channel" else 0
        return max(0, asked)

    def _hold_back(self, ctx: Context, ask: Send) -> None:
        """Answer when the window closes: nothing is stored yet, so nothing is acknowledged."""
        now = ctx.clock.monotonic()
        if ask.user_id not in self.windows:
            self.windows[ask.user_id] = Window(now)
            ctx.hold()
            ctx.join(OPEN_WINDOWS)
        window = self.windows[ask.user_id]
        left = window.add(ask, ctx.defer(), now)
        if window.timer is not None:
            window.timer.cancel()
        window.timer = ctx.after(left, WindowOver(sender=ask.user_id))

    async def _over(self, ctx: Context, sender: str) -> None:
        """A window that cannot be closed now is closed when the database is back."""
        try:
            await self._remember(ctx)
        except StoreError:
            ctx.after(AWAY, WindowOver(sender=sender))
            return
        await self._close(ctx, sender)

    async def _close(self, ctx: Context, sender: str) -> None:
        """Take in what one sender said as one turn, and answer every part of it."""
        window = self.windows.pop(sender, None)
        if window is None:
            return
        if window.timer is not None:
            window.timer.cancel()
        if not self.windows:
            ctx.let_go()
            ctx.leave(OPEN_WINDOWS)
        *earlier, last = window.said
        try:
            answer = await self._take(ctx, window.turn(), tuple(self._aside(said.ask) for said in earlier))
        except Rejected as refusal:
            answer = refusal.err
        except (StoreError, RuntimeFault) as trouble:
            for said in window.said:
                for reply in said.replies:
                    reply.fail(trouble)
            return
        merged = answer if isinstance(answer, Err) else msgspec.structs.replace(answer, merged=True)
        for said in window.said:
            for reply in said.replies:
                reply.answer(answer if said is last else merged)

    def snapshot(self) -> dict[str, object]:
        held_back = sum(len(window.said) for window in self.windows.values())
        return {**super().snapshot(), "held_back": held_back}
