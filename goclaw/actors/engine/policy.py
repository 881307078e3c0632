"""Keeps the policy in force what its file says. A file that cannot be used changes nothing.

Address   /engine/policy/file
Contract  security.md §9.2
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import trio

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.errors import StoreError
from goclaw.domain.events import body, of_admins
from goclaw.domain.policy import PolicyEvent, PolicyState, ReloadPolicy
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.message import Message
from goclaw.security.audit import Act, Decision
from goclaw.security.policy import difference
from goclaw.security.policy_book import PolicyBook
from goclaw.security.policy_file import Shape, load, shape
from goclaw.security.policy_text import PolicyInvalid
from goclaw.stores import policies
from goclaw.stores.audit_book import AuditBook

LOOK = 0.25  # seconds between two looks at the file; with the next ones §9.2
QUIET = 0.3  # seconds without a change before it is read
REMIND = 600.0  # seconds between two lines about a file that cannot be used
NAMES = 10.0  # seconds after which a new tenant is known, while the policy has rules of tenants
SHOWN = 20  # mistakes in an event

Watch = tuple[Path, PolicyBook, frozenset[str], AuditBook | None]  # the file, what is in force, names of tools


class Look(Message[None]):
    """Has the file changed?"""


class LearnNames(Message[None]):
    """Which tenants are there?"""


class PolicyFile(Actor):
    def __init__(self, watch: Watch) -> None:
        self.path, self.book, self.tools, self.audit = watch
        self.seen: Shape | None = None
        self.changed_at: float | None = None
        self.reminded_at = 0.0
        self.errors: tuple[str, ...] = ()
        self.kept: str | None = None  # the version that the database has

    async def on_start(self, ctx: Context) -> None:
        """The first edition was read before the tree, so that a bad one ends the start. Others read it again."""
        self.seen = shape(self.path)
        if ctx.incarnation > 1:
            await self._read(ctx, "watch")
        ctx.every(LOOK, Look())
        ctx.every(NAMES, LearnNames())
        ctx.tell(ctx.address, LearnNames())

    @handles
    async def look(self, ctx: Context, _tick: Look) -> None:
        now, found = ctx.clock.monotonic(), shape(self.path)
        if found != self.seen:
            self.seen, self.changed_at = found, now
        elif self.changed_at is not None and now - self.changed_at >= QUIET:
            await self._read(ctx, "watch")
        elif self.errors and now - self.reminded_at >= REMIND:
            self._remind(ctx)

    @handles
    async def reload(self, ctx: Context, _ask: ReloadPolicy) -> PolicyState:
        before = self.book.version
        self.seen = shape(self.path)
        await self._read(ctx, "reload")
        return PolicyState(
            path=str(self.path),
            version=self.book.version,
            changed=before != self.book.version,
            errors=self.errors,
        )

    @handles
    async def learn_names(self, ctx: Context, _tick: LearnNames) -> None:
        edition = self.book.edition
        if edition is None:
            return
        try:
            if edition.policy.tenants:
                self.book.slugs = await ctx.db(policies.slugs)
            if self.kept != edition.version:
                content = edition.policy.canonical()
                await ctx.db(policies.keep, version=edition.version, content=content, source=str(self.path), by="file")
                self.kept = edition.version
        except StoreError as trouble:
            ctx.log.warning("policy.not_kept", version=edition.version, error=str(trouble))

    async def _read(self, ctx: Context, why: str) -> None:
        """Swap the whole policy, or keep it whole."""
        self.changed_at = None
        if self.seen is None and self.book.edition is None:
            self.errors = ()  # there never was one
            return
        try:
            policy = await trio.to_thread.run_sync(load, self.path, self.tools)
        except PolicyInvalid as invalid:
            gone = self.seen is None
            self.errors = ("the file is gone",) if gone else tuple(map(str, invalid.mistakes[:SHOWN]))
            ctx.publish(of_admins(MASTER_TENANT), PolicyEvent(type="policy.rejected", body=body(errors=self.errors)))
            self._note("policy.rejected", "error", {"errors": self.errors})
            self._remind(ctx)
            return
        self.errors = ()
        before = self.book.edition
        if before is not None and before.version == policy.version:
            return
        self.book.swap(policy)
        old, new = before.version if before else None, self.book.version
        diff = difference(before.policy if before else None, policy)
        ctx.log.info("policy.reloaded", old=old, new=new, why=why)
        self._note("policy.reloaded", "info", {"old": old, "new": new, "diff": diff})
        news = PolicyEvent(type="policy.reloaded", body=body(old=old, new=new, diff=diff))
        ctx.publish(of_admins(MASTER_TENANT), news)
        ctx.tell(ctx.address, LearnNames())

    def _note(self, action: str, decision: Decision, details: dict[str, object]) -> None:
        if self.audit is not None:
            act = Act(action=action, decision=decision, subject=str(self.path), details=details)
            self.audit.note(msgspec.structs.replace(act, policy_version=self.book.version))

    def _remind(self, ctx: Context) -> None:
        """The last good one stays, and somebody has to know."""
        self.reminded_at = ctx.clock.monotonic()
        ctx.log.error("policy.rejected", path=str(self.path), errors=self.errors, in_force=self.book.version)

    def snapshot(self) -> dict[str, object]:
        return {"path": str(self.path), "version": self.book.version, "errors": list(self.errors)}
