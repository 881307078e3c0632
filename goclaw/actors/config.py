"""The configuration that runs. What changes in it while it runs: the sizes of lanes; all else waits for a start.

Address   /infra/config
Contract  config-cli.md §6.1; sessions-lanes-cron.md §4
"""

from __future__ import annotations

from typing import Any

import trio

from goclaw.domain.address import lane
from goclaw.domain.config import Reload, Reloaded
from goclaw.domain.run import LANES, SetLimit
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.security.audit import Act
from goclaw.settings.keys import entries
from goclaw.settings.load import Loaded, undecided
from goclaw.settings.problems import ConfigInvalid
from goclaw.stores.audit_book import AuditBook

SIZES = {f"queue.lanes.{name}": name for name in LANES}


class Configuration(Actor):
    def __init__(self, loaded: Loaded, audit: AuditBook | None = None) -> None:
        self.audit = audit
        self.loaded = loaded
        self.running: dict[str, Any] = dict(entries(loaded.settings))

    @handles
    async def reload(self, ctx: Context, _ask: Reload) -> Reloaded:
        """The whole configuration or nothing: one mistake anywhere, and all stays as it is."""
        try:
            fresh = undecided(await trio.to_thread.run_sync(self.loaded.again))
        except ConfigInvalid as invalid:
            errors = tuple(map(str, invalid.problems))
            if self.audit is not None:
                self.audit.note(Act(action="config.rejected", decision="error", details={"errors": errors[:20]}))
            ctx.log.warning("config.rejected", path=str(invalid.path), errors=errors)
            return Reloaded(errors=errors)
        for warning in fresh.warnings:
            ctx.log.warning("config.warning", text=warning)
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
        news = Reloaded(
            applied=tuple(key for key in changed if key in SIZES),
            restart=tuple(key for key in changed if key not in SIZES),
        )
        ctx.log.info("config.reloaded", applied=news.applied)
        if self.audit is not None and changed:
            what = {"applied": news.applied, "restart": news.restart}
            self.audit.note(Act(action="config.applied", details=what))
            if opened := [key for key in changed if key.startswith("security.ssrf.allow_")]:
                self.audit.note(Act(action="ssrf.allow_changed", details={"keys": opened}))
        if news.restart:
            ctx.log.warning("config.restart_needed", keys=news.restart)
        return news

    def snapshot(self) -> dict[str, object]:
        return {"path": str(self.loaded.path)}
