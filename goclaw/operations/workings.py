"""The gateway as its owner's agents reach it. Contract: tools.md §10 (`gateway`)."""

from __future__ import annotations

from typing import Any

from goclaw.domain.access import Role
from goclaw.domain.address import CONFIG
from goclaw.domain.config import Reload
from goclaw.domain.errors import Rejected, role_too_low
from goclaw.operations.context import House
from goclaw.settings import logs
from goclaw.settings.show import masked
from goclaw.tools.methods import Asker

WITHIN = 10.0  # seconds the configuration has to be read


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

    def logs(self, asker: Asker, lines: int) -> list[str]:
        self.check(asker)
        return list(logs.LATEST)[-lines:]
