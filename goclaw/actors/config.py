"""The configuration that runs. What changes in it while it runs: the sizes of lanes; all else waits for a start.

Address   /infra/config
Contract  config-cli.md §6.1; sessions-lanes-cron.md §4
"""

from __future__ import annotations

from typing import Any

import trio

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.address import lane
from goclaw.domain.config import ConfigEvent, LastReload, Reload, Reloaded
from goclaw.domain.events import body, of_admins
from goclaw.domain.run import LANES, SetLimit
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.message import Message
from goclaw.security.audit import Act
from goclaw.security.policy_file import Shape, shape
from goclaw.settings.environment import ENV_FILE
from goclaw.settings.keys import entries
from goclaw.settings.load import Loaded, undecided
from goclaw.settings.problems import ConfigInvalid
from goclaw.stores.audit_book import AuditBook

SIZES = {f"queue.lanes.{name}": name for name in LANES}
LOOK = 0.25  # seconds between two looks at the files; with the next one §6.1
QUIET = 0.3  # seconds without a change before they are read
REMIND = 600.0  # seconds between two lines about a file that cannot be used; our decision
SHOWN = 20  # mistakes in an event


class Look(Message[None]):
    """Have the files changed?"""


class Configuration(Actor):
    def __init__(self, loaded: Loaded, audit: AuditBook | None = None) -> None:
        self.audit = audit
        self.loaded = loaded
        self.running: dict[str, Any] = dict(entries(loaded.settings))
        self.fingerprint = loaded.fingerprint  # of what was read last
        self.last = Reloaded()
        self.seen: tuple[Shape | None, ...] = ()
        self.changed_at: float | None = None
        self.reminded_at = 0.0

    async def on_start(self, ctx: Context) -> None:
        """What was read before the tree may be old by now; another incarnation reads at once."""
        self.seen = self._shapes()
        self.changed_at = ctx.clock.monotonic()
        ctx.every(LOOK, Look())

    @handles
    async def look(self, ctx: Context, _tick: Look) -> None:
        now, found = ctx.clock.monotonic(), self._shapes()
        if found != self.seen:
            self.seen, self.changed_at = found, now
        elif self.changed_at is not None and now - self.changed_at >= QUIET:
            await self._read(ctx, watching=True)
        elif self.last.errors and now - self.reminded_at >= REMIND:
            self._remind(ctx)

    @handles
    async def reload(self, ctx: Context, _ask: Reload) -> Reloaded:
        self.seen = self._shapes()
        return await self._read(ctx)

    @handles
    def latest(self, _ctx: Context, _ask: LastReload) -> Reloaded:
        return self.last

    async def _read(self, ctx: Context, *, watching: bool = False) -> Reloaded:
        """The whole configuration or nothing: one mistake anywhere, and all stays as it is."""
        self.changed_at = None
        try:
            fresh = undecided(await trio.to_thread.run_sync(self.loaded.again))
        except ConfigInvalid as invalid:
            self.last = Reloaded(
                applied=(), restart=self.last.restart, errors=tuple(map(str, invalid.problems[:SHOWN]))
            )
            self._note("config.rejected", "error", {"errors": self.last.errors})
            self._tell(ctx, "config.rejected", errors=self.last.errors)
            self._remind(ctx)
            return self.last
        news = fresh.fingerprint != self.fingerprint or bool(self.last.errors)
        if watching and not news:
            return self.last
        self.fingerprint = fresh.fingerprint
        self.last = self._applied(ctx, fresh)
        ctx.log.info("config.reloaded", applied=self.last.applied)
        for warning in fresh.warnings:
            ctx.log.warning("config.warning", text=warning)
        if self.last.restart:
            ctx.log.warning("config.restart_needed", keys=self.last.restart)
        if news:
            self._tell(ctx, "config.reloaded", applied=self.last.applied, restart=self.last.restart)
            self._note("config.applied", "info", {"applied": self.last.applied, "restart": self.last.restart})
            if opened := [key for key in self.last.restart if key.startswith("security.ssrf.allow_")]:
                self._note("ssrf.allow_changed", "info", {"keys": opened})
            if self.last.restart:
                self._tell(ctx, "config.restart_needed", keys=self.last.restart)
        return self.last

    def _applied(self, ctx: Context, fresh: Loaded) -> Reloaded:
        wanted = dict(entries(fresh.settings))
        kept = {key for key, origin in self.loaded.origins.items() if origin == "memory"}  # no file knows of them
        changed = sorted(
            key
            for key in self.running.keys() | wanted.keys()
            if key not in kept and self.running.get(key) != wanted.get(key)
        )
        for key, name in SIZES.items():  # all of them: a lane may have missed an earlier word
            ctx.tell(lane(name), SetLimit(limit=wanted[key]))
            self.running[key] = wanted[key]
        return Reloaded(
            applied=tuple(key for key in changed if key in SIZES),
            restart=tuple(key for key in changed if key not in SIZES),
        )

    def _shapes(self) -> tuple[Shape | None, ...]:
        return shape(self.loaded.path), shape(self.loaded.path.parent / ENV_FILE)

    def _tell(self, ctx: Context, type: str, **members: object) -> None:
        ctx.publish(of_admins(MASTER_TENANT), ConfigEvent(type=type, body=body(**members)))

    def _note(self, action: str, decision: Any, details: dict[str, object]) -> None:
        if self.audit is not None:
            self.audit.note(Act(action=action, decision=decision, details=details))

    def _remind(self, ctx: Context) -> None:
        """The last good one stays, and somebody has to know."""
        self.reminded_at = ctx.clock.monotonic()
        ctx.log.warning("config.rejected", path=str(self.loaded.path), errors=self.last.errors)

    def snapshot(self) -> dict[str, object]:
        return {"path": str(self.loaded.path), "restart": list(self.last.restart), "errors": list(self.last.errors)}
