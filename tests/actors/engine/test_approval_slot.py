"""A run that waits for somebody's yes has no slot meanwhile.

Contract: sessions-lanes-cron.md §4 (L4.4), tools.md §12.3.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from msgspec import Struct

from goclaw.actors.engine.consent import AtBroker
from goclaw.actors.engine.guards import Guards
from goclaw.actors.engine.lane import LaneActor
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.address import APPROVALS, lane, session
from goclaw.domain.approval import Answer, ListPending, Pending, Simple, Wish
from goclaw.domain.run import GetLoad, StopRun
from goclaw.runtime.system import System
from goclaw.settings.approval import ExecApproval
from goclaw.settings.queue import Lanes, Queue
from goclaw.settings.tools import Tools
from goclaw.stores.database import Database
from goclaw.tools.tool import Effect, Tool, ToolContext, tool
from tests.actors.house import house, turn

ASKS = ExecApproval(ask="always")


class Line(Struct):
    command: str


class Scene:
    """A lane of one slot, and commands of which some wait for a yes, and one for the test."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.go = trio.Event()
        self.ran: list[str] = []
        self.runs: dict[str, str] = {}
        self.system: System | None = None

    async def consent(self, ctx: ToolContext, ask: Line) -> None:
        assert self.system is not None
        if not ask.command.startswith("ask"):
            return
        asker = ctx.asker
        wish = Wish(
            tenant_id=asker.tenant_id,
            user_id=asker.user_id,
            agent_id=asker.agent_id,
            agent_key=asker.agent_key,
            session_key=asker.session_key,
            run_id=ctx.run_id,
            call_id=ctx.call_id,
            tool="exec",
            command=ask.command,
            commands=(Simple("ask", ask.command),),
            lane="main",
            key=ctx.key,
        )
        await AtBroker(self.system, ASKS).ask(wish)

    async def execute(self, ask: Line) -> str:
        self.ran.append(ask.command)
        if ask.command == "hold":
            await self.go.wait()
        return "done"

    async def say(self, name: str, command: str) -> None:
        assert self.system is not None
        ask = await turn(self.database, f"run `{command}`")
        key = f"agent:default:ws:direct:{name}"
        await self.system.ask(session(MASTER_TENANT, key), ask, within=5)
        self.runs[name] = ask.run_id

    async def pending(self) -> tuple[Pending, ...]:
        assert self.system is not None
        return await self.system.ask(APPROVALS, ListPending(tenant_id=MASTER_TENANT, user_id=None), within=5)

    async def yes(self, allow: bool = True) -> None:
        assert self.system is not None
        (one,) = await self.pending()
        answer = Answer(id=one.id, tenant_id=MASTER_TENANT, user_id=None, by="lan", allow=allow)
        await self.system.ask(APPROVALS, answer, within=5)

    @property
    def lane(self) -> LaneActor:
        assert self.system is not None
        cell = self.system.cell(lane("main"))
        assert cell is not None
        assert isinstance(cell.actor, LaneActor)
        return cell.actor

    async def until(self, true: Callable[[], object]) -> None:
        """Looked at as often as the lane answers."""
        assert self.system is not None
        with trio.fail_after(10):
            while not true():
                await self.system.ask(lane("main"), GetLoad(), within=5)

    @property
    def idle(self) -> bool:
        slots = self.lane.slots
        return (slots.taken, slots.lent, slots.free) == (0, 0, 1)


@asynccontextmanager
async def scene(database: Database, place: Path) -> AsyncIterator[Scene]:
    made = Scene(database)

    @tool(name="exec", group="runtime", effect=Effect.UNSAFE, consent=made.consent)
    async def execute(ctx: ToolContext, ask: Line) -> str:
        """Run a shell command."""
        return await made.execute(ask)

    tools: dict[str, Tool] = {"exec": execute.__tool__}  # type: ignore[attr-defined]
    queue, guards = Queue(lanes=Lanes(main=1)), Guards(Tools(exec_approval=ASKS))
    async with house(database, place, queue, tools=tools, guards=guards) as system:
        made.system = system
        yield made


@pytest.mark.parametrize("allow", [True, False])
async def test_others_run_while_one_waits_and_it_comes_back_before_those_in_the_queue(
    database: Database, tmp_path: Path, allow: bool
) -> None:
    async with scene(database, tmp_path) as here:
        await here.say("a", "ask it")
        await here.until(lambda: here.lane.slots.lent)
        await here.say("b", "hold")
        await here.until(lambda: here.ran == ["hold"])
        await here.say("c", "later")
        await here.yes(allow)
        await here.until(lambda: here.lane.slots.free < 0)  # it wants its slot back
        assert here.ran == ["hold"]

        here.go.set()

        await here.until(lambda: "later" in here.ran and here.idle)
        assert here.ran == (["hold", "ask it", "later"] if allow else ["hold", "later"])


async def test_one_that_is_stopped_while_it_waits_for_its_slot_owes_nothing(database: Database, tmp_path: Path) -> None:
    async with scene(database, tmp_path) as here:
        await here.say("a", "ask it")
        await here.until(lambda: here.lane.slots.lent)
        await here.say("b", "hold")
        await here.until(lambda: here.ran == ["hold"])
        await here.yes()
        await here.until(lambda: here.lane.slots.free < 0)
        assert here.system is not None

        await here.system.ask(lane("main"), StopRun(run_id=here.runs["a"], reason="user", by="lan"), within=5)

        await here.until(lambda: here.lane.slots.free == 0)
        here.go.set()
        await here.until(lambda: here.idle)
        assert here.ran == ["hold"]
