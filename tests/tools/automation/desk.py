"""An agent's tools over the real operations, as one user or another; no model, no run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from goclaw.actors.agents import agents
from goclaw.actors.cron import cron
from goclaw.actors.orch.desk import Children
from goclaw.actors.sessions.tree import sessions
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.approval import Wish
from goclaw.domain.chat import ToolCall
from goclaw.domain.ids import new_id
from goclaw.operations.alerts import AlertsForAgents
from goclaw.operations.context import House
from goclaw.operations.files_for_agents import FilesForAgents
from goclaw.operations.for_agents import ForAgents
from goclaw.operations.operation import collect as collect_operations
from goclaw.operations.platforms import PlatformsForAgents
from goclaw.operations.workings import WorkingsForAgents
from goclaw.runtime.child import Child, child
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import open_system
from goclaw.security.paths import Workspace
from goclaw.settings.agents import AgentDefaults
from goclaw.settings.cron import Cron
from goclaw.settings.orchestration import Orchestration
from goclaw.settings.orchestration import Subagents as Limits
from goclaw.settings.providers import Providers
from goclaw.settings.queue import Queue
from goclaw.settings.settings import Settings
from goclaw.stores import agents as rows
from goclaw.stores.database import Database
from goclaw.stores.unit import Connection, one, transaction
from goclaw.tools.approvals import Approvals
from goclaw.tools.automation.workings import Workings
from goclaw.tools.context_files import ContextFiles
from goclaw.tools.fs.maps import Maps
from goclaw.tools.ledger import Ledger, Place, ToolResult
from goclaw.tools.messaging.alerts import Alerts
from goclaw.tools.messaging.platforms import Platforms
from goclaw.tools.methods import Asker, Methods
from goclaw.tools.pipeline import Toolbox
from goclaw.tools.subagents import Subagents
from goclaw.tools.tool import ToolContext, ToolFailed, collect, equipped
from goclaw.tools.web.outside import Outside

OWNER = "system"  # of an installation that names nobody
TOOLS = collect(*(f"goclaw.tools.{group}" for group in ("automation", "fs", "messaging", "sessions", "web")))


class Asked:
    """Somebody who is asked, and says `yes` or no."""

    def __init__(self) -> None:
        self.asks = False
        self.yes = True
        self.wishes: list[Wish] = []

    async def ask(self, wish: Wish) -> None:
        self.wishes.append(wish)
        if not self.yes:
            raise ToolFailed("denied_approval", "this was not approved")


class Desk:
    def __init__(self, house: House, workspace: Path, agent: str, other: str) -> None:
        self.house = house
        self.workspace = workspace
        self.agent = agent  # ids of two agents
        self.other = other
        self.approvals = Asked()
        self.tools = equipped(
            TOOLS,
            {
                Approvals: self.approvals,
                Methods: ForAgents(house, collect_operations("goclaw.operations")),
                ContextFiles: FilesForAgents(house),
                Alerts: AlertsForAgents(house),
                Platforms: PlatformsForAgents(house),
                Maps: Maps(workspace / ".maps"),
                Subagents: Children(house.system, Limits(), Orchestration()),
                Workings: WorkingsForAgents(house),
                Outside: Outside(house.settings.tools, house.settings.security.ssrf, "0"),
            },
        )
        self._keys = count()

    async def use(
        self,
        tool: str,
        user: str = "lan",
        *,
        agent: str = "",
        chat: tuple[str, str] = ("", ""),
        call_key: str = "",
        again: bool = False,
        place: Place | None = None,
        ledger: Ledger | None = None,
        session: str = "agent:default:x",
        nameless: bool = False,
        **arguments: Any,
    ) -> ToolResult:
        """One call. `call_key` is that of an earlier one, `again`: nobody saw its end; or a `ledger` says both."""
        name = "" if nameless else "other" if agent == self.other else "default"
        asker = Asker(MASTER_TENANT, user, agent or self.agent, name, session, *chat)
        clock = self.house.system.clock.now
        key = call_key or f"run:{next(self._keys)}:0"
        ctx = ToolContext(Workspace(self.workspace), clock, "", asker, key, again)
        return await Toolbox(self.tools, ctx, ledger).act(ToolCall(id="c", name=tool, arguments=arguments), place)

    async def said(self, tool: str, user: str = "lan", **arguments: Any) -> Any:
        """What a call that goes well says."""
        result = await self.use(tool, user, **arguments)
        assert not result.is_error, result.text
        return msgspec.json.decode(result.text)

    async def refused(self, tool: str, user: str = "lan", **arguments: Any) -> tuple[str, str]:
        result = await self.use(tool, user, **arguments)
        assert result.is_error, result.text
        return result.error_code, result.text


@asynccontextmanager
async def open_desk(database: Database, workspace: Path, *more: Child) -> AsyncIterator[Desk]:
    await database.run(rows.seed, id=new_id(), tenant=MASTER_TENANT, key="default", name="G", owner="minh")
    default = await database.run(rows.default, tenant=MASTER_TENANT)
    assert default is not None
    other = await database.run(another, id=new_id(), like=default.id)
    defaults = AgentDefaults(workspace=workspace)
    clock = partial(cron, resting=lambda: False)

    def tree() -> Supervisor:
        talks = child("sessions", sessions, new_id(), Queue(), 600.0)
        jobs = child("cron", clock, new_id(), Cron(), workspace)
        return Supervisor(children=[child("agents", agents, defaults, Providers()), jobs, talks, *more])

    async with open_system(database) as system:
        await system.start(child("", tree))
        yield Desk(House(Settings(), system, "0", new_id(), 0), workspace, default.id, other)


@transaction
async def another(db: Connection, *, id: str, like: str) -> str:
    """An agent of somebody else, whose key is `other`; its id."""
    query = """
    INSERT INTO agents (id, tenant_id, agent_key, display_name, owner_id, provider, model, agent_type, status,
      workspace)
    SELECT %(id)s, tenant_id, 'other', 'Other', 'minh', provider, model, agent_type, status, workspace
    FROM agents WHERE id = %(like)s RETURNING id::text
    """
    return await one(str, db.execute(query, {"id": id, "like": like}))
