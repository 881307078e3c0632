"""A house without doors: sessions, lanes and the offline model on a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from goclaw.actors.agents import agents
from goclaw.actors.engine.added import Opening
from goclaw.actors.engine.engine import Engine
from goclaw.actors.engine.hooks import HookWorks
from goclaw.actors.engine.spending import Spending
from goclaw.actors.engine.tree import engine
from goclaw.actors.sessions.tree import sessions
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.cluster import Ownership
from goclaw.domain.ids import new_id
from goclaw.domain.run import RunRequest
from goclaw.domain.session import Send
from goclaw.runtime.child import Child, child
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import System, open_system
from goclaw.security.box import Box
from goclaw.settings.agents import AgentDefaults
from goclaw.settings.compaction import Compaction
from goclaw.settings.gateway import Gateway
from goclaw.settings.providers import Providers
from goclaw.settings.queue import Queue
from goclaw.settings.record import Record
from goclaw.stores import agents as rows
from goclaw.stores.database import Database
from goclaw.tools.tool import Tool

KEY = "agent:default:ws:direct:1"


@asynccontextmanager
async def house(
    database: Database | Weather,
    workspace: Path,
    queue: Queue = Queue(),  # noqa: B008 - frozen
    providers: Providers = Providers(),  # noqa: B008 - frozen
    tools: Mapping[str, Tool] | None = None,
    record: Record = Record(),  # noqa: B008 - frozen
    *,
    ownership: Ownership | None = None,
    node: str = "",
    more: Sequence[Child] = (),
    gateway: Gateway = Gateway(),  # noqa: B008 - frozen
    opening: Opening | None = None,
    spending: Spending | None = None,
    compaction: Compaction = Compaction(),  # noqa: B008 - frozen
    hooks: HookWorks | None = None,
) -> AsyncIterator[System]:
    """`ownership`: of a node among others, whose own actors are `more`."""
    await database.run(rows.seed, id=new_id(), tenant=MASTER_TENANT, key="default", name="G", owner="system")
    defaults = AgentDefaults(workspace=workspace, compaction=compaction)
    node = node or new_id()
    own = ownership or Ownership()

    work = Engine(
        node,
        tools or {},
        defaults,
        queue,
        record,
        ownership=own,
        box=Box(bytes(range(32))),
        spending=spending or Spending(),
        hooks=hooks,
    )

    def tree() -> Supervisor:
        return Supervisor(
            children=[
                child("agents", agents, defaults, providers),
                child(
                    "engine",
                    partial(engine, gateway=gateway, data_dir=workspace / "data", opening=opening or Opening()),
                    work,
                    providers,
                ),
                child(
                    "sessions",
                    sessions,
                    node,
                    queue,
                    defaults.run_timeout_sec,
                    own,
                    gateway.quota.enabled,
                    work,
                ),
                *more,
            ]
        )

    async with open_system(database) as system:
        await system.start(child("", tree))
        yield system


async def turn(database: Database, text: str = "hello", *, fresh: bool = False) -> Send:
    agent = await database.run(rows.default, tenant=MASTER_TENANT)
    assert agent is not None
    return Send(
        run_id=new_id(),
        user_id="lan",
        as_admin=False,
        agent_id=agent.id,
        agent_key=agent.agent_key,
        kind="chat",
        request=RunRequest(message=text),
        fresh=fresh,
    )


class Weather:
    """A database with one stroke of bad luck: `instead` is done in place of the store function of that name, once."""

    def __init__(self, database: Database, name: str, instead: Callable[..., Awaitable[Any]]) -> None:
        self._database = database
        self._name = name
        self._instead: Callable[..., Awaitable[Any]] | None = instead

    async def run(self, work: Any, /, *args: Any, **kwargs: Any) -> Any:
        if work.name == self._name and self._instead is not None:
            instead, self._instead = self._instead, None
            return await instead(work, *args, **kwargs)
        return await self._database.run(work, *args, **kwargs)
