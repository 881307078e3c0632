"""The gateway as its owner's agents reach it. Contract: tools.md §10 (`gateway`)."""

from __future__ import annotations

from typing import Any

import msgspec

from goclaw.domain.access import Caller, Role
from goclaw.domain.address import CONFIG
from goclaw.domain.config import Reload
from goclaw.domain.errors import Rejected, role_too_low, unavailable
from goclaw.operations.activity import record
from goclaw.operations.config import PatchConfig, config_file, drafted, master_only, patch
from goclaw.operations.context import Context, House
from goclaw.settings import logs
from goclaw.settings.show import masked
from goclaw.settings.spoken import placed
from goclaw.tools.methods import Asker

WITHIN = 10.0  # seconds the configuration has to be read
SHOWN = 2000  # characters of what a change would do


class WorkingsForAgents:
    """Implements `tools.automation.workings.Workings`."""

    def __init__(self, house: House) -> None:
        self._house = house

    def check(self, asker: Asker) -> None:
        if not self._house.settings.gateway.is_owner(asker.user_id):
            raise Rejected(role_too_low("gateway", Role.ADMIN.label))

    def config(self, asker: Asker) -> dict[str, Any]:
        self.check(asker)
        return masked(self._house.settings)

    async def reload(self, asker: Asker) -> dict[str, Any]:
        self.check(asker)
        done = await self._house.system.ask(CONFIG, Reload(), WITHIN)
        return {"applied": done.applied, "restart": done.restart, "errors": done.errors}

    async def rehearse(self, asker: Asker, path: str, value: Any) -> str:
        self.check(asker)
        ctx = self._ctx(asker)
        file = config_file(ctx)
        draft = await drafted(ctx, lambda: file.patched(placed(path, value)))
        if not draft.changed:
            return ""
        now, then = masked(self._house.settings), masked(draft.loaded.settings)
        changes = (f"{key}: {_json(now.get(key))} → {_json(then.get(key))}" for key in draft.changed)
        return "; ".join(changes)[:SHOWN]

    async def patch(self, asker: Asker, path: str, value: Any) -> dict[str, Any]:
        self.check(asker)
        done = await patch(self._ctx(asker), PatchConfig(key=path, given={"value": value}))
        return {
            "changed": done.changed,
            "applied": done.applied,
            "restart": done.restart_needed,
            "overridden": done.overridden,
        }

    async def restart(self, asker: Asker) -> None:
        self.check(asker)
        ctx = self._ctx(asker)
        master_only(ctx)
        if self._house.restart is None:
            raise Rejected(unavailable("restart"))
        await record(ctx, "gateway.restarted", "gateway", self._house.node_name)
        self._house.restart()

    def _ctx(self, asker: Asker) -> Context:
        """Of an owner, through his agent."""
        caller = Caller(
            tenant_id=asker.tenant_id,
            user_id=asker.user_id,
            agent_id=asker.agent_id,
            role=Role.ADMIN,
            is_owner=True,
        )
        return Context(self._house, caller)

    def logs(self, asker: Asker, lines: int) -> list[str]:
        self.check(asker)
        return list(logs.LATEST)[-lines:]


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
