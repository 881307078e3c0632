"""What is written down about the gateway itself: what people did, what happened to actors.

Address   /infra/activity, /infra/actor_log
Contract  observability.md §13; data-model.md §14 (`actor_restart_log`), §18; dashboard.md §7.4

Nobody waits for it. While the database is away the newest lines are kept and the rest is counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar
from urllib.parse import unquote
from uuid import UUID

from goclaw.domain.activity import RecordActivity
from goclaw.domain.errors import StoreError
from goclaw.domain.ids import new_id
from goclaw.operations.bulletin import Owner
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.crash import MESSAGE, TRACEBACK, Crash
from goclaw.runtime.mailbox import Overflow
from goclaw.runtime.message import Message
from goclaw.runtime.news import EVENTS, LifeNews
from goclaw.stores.actor_log import Entry, Event
from goclaw.stores.trim import TRIMMED
from goclaw.stores.unit import Work
from goclaw.stores.values import cut

PERIOD = 1.0  # seconds between two writes
KEPT = 2000  # lines that wait for the database
AT_ONCE = 500  # lines in one statement
TELL_EVERY = 60.0  # seconds between two warnings that lines are lost
TRIM_EVERY = 3600.0
TRIM_FIRST = 60.0  # seconds after the start
TRIM_PAUSE = 0.05  # data-model.md §18

T = TypeVar("T")


class Write(Message[None]):
    """Time to write what has come together."""


class Trim(Message[None]):
    """Time to forget what is old."""


class Pages(Generic[T]):
    """Lines on their way to the database: bounded, the oldest lost first. They outlive the actor that writes them."""

    def __init__(self, write: Work[[Sequence[T]], None], trim: Work[[], int] | None = None) -> None:
        self._write = write
        self._trim = trim
        self._lines: deque[T] = deque()
        self.written = 0
        self.lost = 0
        self._told = 0, -TELL_EVERY  # how many were lost when that was said last, and when

    def add(self, line: T) -> None:
        if len(self._lines) == KEPT:
            self._lines.popleft()
            self.lost += 1
        self._lines.append(line)

    def warn(self, ctx: Context) -> None:
        """Once a minute at most that lines are lost (agent-loop.md §18)."""
        told, at = self._told
        if self.lost > told and (now := ctx.clock.monotonic()) - at >= TELL_EVERY:
            self._told = self.lost, now
            ctx.log.warning("history.full", lost=self.lost)

    async def write(self, ctx: Context) -> None:
        """All there is. What the database does not take now waits for the next time; what it never will is lost."""
        while self._lines:
            batch = list(islice(self._lines, AT_ONCE))
            try:
                await ctx.db(self._write, batch)
            except StoreError as trouble:
                ctx.log.warning("history.not_written", lines=len(self._lines), error=str(trouble))
                return
            except Exception as trouble:
                self.lost += len(batch)
                ctx.log.error("history.lost", lines=len(batch), error=f"{type(trouble).__name__}: {trouble}")
            else:
                self.written += len(batch)
            for _ in batch:
                self._lines.popleft()

    async def trim(self, ctx: Context) -> int:
        """Forget what is old, unless others see to it. Returns how many lines."""
        if self._trim is None:
            return 0
        try:
            return await ctx.db(self._trim)
        except StoreError as trouble:
            ctx.log.warning("history.not_trimmed", error=str(trouble))
            return 0

    def snapshot(self) -> dict[str, Any]:
        return {"waiting": len(self._lines), "written": self.written, "lost": self.lost}


class Writer(Actor):
    """Writes now and then what has come together, and forgets what is old."""

    overflow = Overflow.DROP_OLD
    pages: Pages[Any]

    async def on_start(self, ctx: Context) -> None:
        ctx.every(PERIOD, Write())
        ctx.after(TRIM_FIRST, Trim())

    async def on_stop(self, ctx: Context, reason: str) -> None:
        await self.pages.write(ctx)

    @handles
    async def write(self, ctx: Context, _tick: Write) -> None:
        self.pages.warn(ctx)
        await self.pages.write(ctx)

    @handles
    async def trim(self, ctx: Context, _tick: Trim) -> None:
        gone = await self.pages.trim(ctx)
        ctx.after(TRIM_PAUSE if gone == TRIMMED else TRIM_EVERY, Trim())

    def snapshot(self) -> dict[str, Any]:
        return self.pages.snapshot()


class Activity(Writer):
    """Writes what people did."""

    def __init__(self, pages: Pages[RecordActivity]) -> None:
        self.pages = pages

    @handles
    def record(self, ctx: Context, done: RecordActivity) -> None:
        self.pages.add(done)


class ActorLog(Writer):
    """Writes what went wrong with actors, and what operators did to them. Orderly starts and ends are no news."""

    capacity = 10_000

    def __init__(self, node_id: str, owner_of: Callable[[str], Owner], pages: Pages[Entry]) -> None:
        self.node_id = node_id
        self.owner_of = owner_of  # who lives at a path, or did lately
        self.pages = pages

    async def on_start(self, ctx: Context) -> None:
        await super().on_start(ctx)
        ctx.join(EVENTS)

    @handles
    def happened(self, ctx: Context, news: LifeNews) -> None:
        if (event := _event(news)) is not None:
            tenant = tenant_of(news.path) or _uuid(self.owner_of(news.path)[0])
            self.pages.add(entry_of(news, event, self.node_id, tenant))


def _event(news: LifeNews) -> Event | None:
    """What a line calls it; None if it is none."""
    match news.event:
        case "actor.stopped" if news.reason == "killed":
            return "killed"
        case "actor.stopped":
            return "stopped" if news.by else None
        case "actor.crashed":
            return "crashed"
        case "actor.restarted":
            return "restarted"
        case "actor.quarantined":
            return "quarantined"
        case "actor.escalated":
            return "escalated"
    return None


def entry_of(news: LifeNews, event: Event, node_id: str, tenant: str | None) -> Entry:
    return Entry(
        id=new_id(),
        at=news.at,
        node_id=node_id,
        tenant_id=tenant,
        path=str(news.path),
        kind=cut(news.kind, 30),
        of_class=cut(news.of_class, 80),
        incarnation=news.incarnation,
        event=event,
        reason=cut(news.reason, 40) or None,
        strategy=news.strategy or None,
        supervisor=str(news.supervisor) or None,
        restarts_in_window=news.restarts_window,
        backoff_ms=news.backoff_ms,
        by=cut(news.by, 255) or None,
        **(_trouble(news.crash) if news.crash is not None else {}),
    )


def _trouble(crash: Crash) -> dict[str, Any]:
    return {
        "error_type": cut(crash.type, 200),
        "error_message": cut(crash.message, MESSAGE),
        "fingerprint": crash.fingerprint,
        "traceback": cut(crash.traceback, TRACEBACK),
        "in_hand_type": cut(crash.in_hand, 120) or None,
        "mailbox_depth": crash.queued,
        "uptime_ms": int(crash.lived * 1000),
        "note": f"injected by {crash.injected}" if crash.injected else None,
    }


def tenant_of(path: str) -> str | None:
    """Whose actor it is, as far as its path says."""
    match path.split("/")[1:]:
        case ["sessions" | "agents", tenant, _, *_]:
            return _uuid(unquote(tenant))
    return None


def _uuid(text: str) -> str | None:
    try:
        return str(UUID(text))
    except ValueError:
        return None
