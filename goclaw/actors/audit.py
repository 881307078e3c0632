"""Brings the audit to the disk and to its table, and says once a day where its chain ends.

Address   /infra/audit
Contract  observability.md §12, §18

The lines outlive it: they are in the book, and in its file before anybody is told.
"""

from __future__ import annotations

from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.message import Message
from goclaw.stores.audit_book import AuditBook

SYNC = 0.2  # seconds a line may be on its way to the disk; with the next one observability.md §12
KEEP = 1.0  # seconds until it is in the table
ANCHOR = 86_400.0


class Sync(Message[None]):
    """To the disk."""


class Keep(Message[None]):
    """To the table."""


class Anchor(Message[None]):
    """A line of the log that shows later whether all of the audit was written anew."""


class AuditWriter(Actor):
    def __init__(self, book: AuditBook) -> None:
        self.book = book

    async def on_start(self, ctx: Context) -> None:
        ctx.every(SYNC, Sync())
        ctx.every(KEEP, Keep())
        ctx.every(ANCHOR, Anchor())

    async def on_stop(self, ctx: Context, reason: str) -> None:
        await self.book.keep()

    @handles
    async def sync(self, ctx: Context, _tick: Sync) -> None:
        await self.book.sync()

    @handles
    async def keep(self, ctx: Context, _tick: Keep) -> None:
        await self.book.keep()

    @handles
    async def anchor(self, ctx: Context, _tick: Anchor) -> None:
        ctx.log.info("audit.anchor", chain=self.book.chain, seq=self.book.seq, hash=self.book.hash)

    def snapshot(self) -> dict[str, object]:
        book = self.book
        return {"seq": book.seq, "waiting": book.waiting, "file_ok": book.file_ok, "table_ok": book.table_ok}
