"""The programs agents left running in the background: how many, whose, and which are lost.

Address   /engine/processes
Contract  tools.md §13
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

import trio

from goclaw.actors.engine.process import KEPT, Ended, ProcActor, iso
from goclaw.domain.address import PROCESSES
from goclaw.domain.errors import Err, StoreError, exhausted, not_found
from goclaw.domain.process import (
    AwaitExit,
    EndProcesses,
    Facts,
    Killed,
    KillProcess,
    ListProcesses,
    Owner,
    Piece,
    ReadOutput,
    StartProcess,
    Stroke,
    WriteInput,
)
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.child import Child, Restart
from goclaw.runtime.faults import Rejected, RuntimeFault
from goclaw.runtime.message import ChildEnded, Message
from goclaw.runtime.system import System
from goclaw.security.confine import GRACE
from goclaw.stores import processes as rows
from goclaw.tools.tool import ToolFailed

T = TypeVar("T")

OF_OWNER, OF_ALL = 8, 64  # running at once, of an agent for a user, and here; tools.md §13
KNOWN = 4 * OF_ALL  # those that have ended too: the oldest of them is forgotten sooner; our decision
ASK = 10.0  # seconds for what does not wait
LADDER = GRACE + 4  # seconds one has to be gone in


class One:
    """A process as its supervisor knows it: at its start, and from its end on."""

    def __init__(self, owner: Owner, address: Address, facts: Facts) -> None:
        self.owner = owner
        self.address = address
        self.facts = facts


class ProcessSupervisor(Actor):
    weather = (StoreError,)

    def __init__(self, data_dir: Path, node: str) -> None:
        self.place = data_dir / "proc"
        self.node = node
        self.known: dict[str, One] = {}  # by id, oldest first

    async def on_start(self, ctx: Context) -> None:
        await trio.to_thread.run_sync(self._sweep)
        await ctx.db(rows.lose, node=self.node, kept=KEPT)

    def _sweep(self) -> None:
        """What former lives wrote belongs to nobody any more."""
        self.place.mkdir(mode=0o700, parents=True, exist_ok=True)
        for file in self.place.glob("p-*.log"):
            file.unlink(missing_ok=True)

    @handles
    async def start(self, ctx: Context, ask: StartProcess) -> Err | None:
        """Answered by the process itself, when it runs."""
        place = ask.place
        try:
            running = [one for one in self.known.values() if one.facts.running]
            for crowd, most in (([one for one in running if alike(one.owner, ask.owner)], OF_OWNER), (running, OF_ALL)):
                if len(crowd) >= most:
                    return exhausted("background_processes", limit=most)
            id = name_of(await ctx.db(rows.add, ask.owner, node=self.node, command=ask.shown))
            begins = (id, ask, self._spool(id), ctx.defer())
            address = ctx.child(Child(id, ProcActor, begins, restart=Restart.TEMPORARY, shutdown=LADDER))
            place = -1  # it is the child's now
            facts = Facts(id=id, command=ask.shown, running=True, started_at=iso(ctx.clock.now()), shell=ask.shell)
            self.known[id] = One(ask.owner, address, facts)
            over = [one for one in self.known.values() if not one.facts.running]
            for one in over[: max(len(self.known) - KNOWN, 0)]:
                await ctx.stop_child(one.address)
            return None
        finally:
            if place >= 0:
                os.close(place)

    @handles
    async def ended(self, ctx: Context, news: Ended) -> None:
        if (one := self.known.get(news.facts.id)) is not None:
            one.facts = news.facts
        await self._write_down(ctx, news.facts)

    @handles
    async def child_ended(self, ctx: Context, news: ChildEnded) -> None:
        """It is forgotten: its time is over, or it crashed, and its program with it."""
        for id, one in list(self.known.items()):
            if one.address == news.address:
                del self.known[id]
                self._spool(id).unlink(missing_ok=True)
                if one.facts.running:
                    await self._write_down(ctx, one.facts)

    async def _write_down(self, ctx: Context, facts: Facts) -> None:
        """A row that cannot be closed now is closed as lost by the next life."""
        try:
            await ctx.db(rows.end, number=number_of(facts.id), code=facts.exit_code, bytes=facts.bytes)
        except StoreError as trouble:
            ctx.log.warning("process.not_written", process=facts.id, error=str(trouble))

    @handles
    async def list_(self, ctx: Context, ask: ListProcesses) -> tuple[Facts, ...]:
        ours = [one.facts for one in reversed(self.known.values()) if one.owner == ask.owner]
        lost = [
            Facts(
                id=name_of(row.number),
                command=row.command,
                running=False,
                started_at=iso(row.started_at),
                ended_at=iso(row.ended_at),
                bytes=row.bytes,
                lost=True,
            )
            for row in await ctx.db(rows.lost, ask.owner, kept=KEPT)
        ]
        return (*ours, *lost)

    @handles
    def wait(self, ctx: Context, ask: AwaitExit) -> Err | None:
        return self._forward(ctx, ask)

    @handles
    def read(self, ctx: Context, ask: ReadOutput) -> Err | None:
        return self._forward(ctx, ask)

    @handles
    def write(self, ctx: Context, ask: WriteInput) -> Err | None:
        return self._forward(ctx, ask)

    @handles
    def kill(self, ctx: Context, ask: KillProcess) -> Err | None:
        return self._forward(ctx, ask)

    @handles
    def end_all(self, ctx: Context, _news: EndProcesses) -> None:
        for id, one in self.known.items():
            if one.facts.running:
                ctx.tell(one.address, KillProcess(owner=one.owner, id=id, signal="TERM"))

    def _forward(self, ctx: Context, ask: AwaitExit | ReadOutput | WriteInput | KillProcess) -> Err | None:
        one = self.known.get(ask.id)
        if one is None or one.owner != ask.owner:
            return not_found("process", ask.id)
        ctx.forward(one.address, ask)
        return None

    def _spool(self, id: str) -> Path:
        return self.place / f"{id}.log"

    def snapshot(self) -> dict[str, object]:
        return {"running": sum(one.facts.running for one in self.known.values()), "known": len(self.known)}


class Background:
    """Implements `tools.processes.Processes`."""

    def __init__(self, system: System) -> None:
        self._system = system

    async def start(self, ask: StartProcess) -> str:
        if self._system.find(PROCESSES) is None:  # nobody there to close it
            os.close(ask.place)
        return await self._ask(ask, ASK)

    async def list(self, owner: Owner) -> tuple[Facts, ...]:
        known = await self._ask(ListProcesses(owner=owner), ASK)
        return tuple([await self.wait(owner, one.id, 0) if one.running else one for one in known])

    async def wait(self, owner: Owner, id: str, within: float) -> Facts:
        return await self._ask(AwaitExit(owner=owner, id=id, within=within), within + ASK)

    async def read(self, owner: Owner, id: str, offset: int, limit: int) -> Piece:
        return await self._ask(ReadOutput(owner=owner, id=id, offset=offset, limit=limit), ASK)

    async def write(self, owner: Owner, id: str, data: bytes) -> int:
        return await self._ask(WriteInput(owner=owner, id=id, data=data), ASK)

    async def kill(self, owner: Owner, id: str, signal: Stroke) -> Killed:
        return await self._ask(KillProcess(owner=owner, id=id, signal=signal), LADDER + ASK)

    async def _ask(self, message: Message[T], within: float) -> T:
        """Raises ToolFailed; one of somebody else is as unknown as one that never was."""
        try:
            return await self._system.ask(PROCESSES, message, within)
        except Rejected as refusal:
            if refusal.err.code == "UNAVAILABLE":
                raise ToolFailed("unavailable", "the process cannot be started now; try later") from None
            match refusal.err.details.get("reason"):
                case "background_processes":
                    said = f"{refusal.err.details['limit']} background processes run already; end one with process kill"
                    raise ToolFailed("rate_limited", said) from None
                case "process_ended":
                    raise ToolFailed("conflict", "the process has ended") from None
                case "process_does_not_read":
                    raise ToolFailed("conflict", "the process does not read its input") from None
            raise ToolFailed("not_found", "there is no such process; process list shows yours") from None
        except (RuntimeFault, StoreError):
            raise ToolFailed("unavailable", "background processes cannot be reached now; try later") from None


def alike(one: Owner, other: Owner) -> bool:
    """Of the same agent for the same user, in whatever session."""
    return (one.tenant_id, one.agent_id, one.user_id) == (other.tenant_id, other.agent_id, other.user_id)


def name_of(number: int) -> str:
    return f"p-{number}"


def number_of(id: str) -> int:
    return int(id.removeprefix("p-"))
