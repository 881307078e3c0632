"""A small system to test in, and an actor that does what it is told and writes down what happened to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing

from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.cell import Cell
from goclaw.runtime.child import Child, Limit, Strategy
from goclaw.runtime.faults import Err, Rejected
from goclaw.runtime.message import Message
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import System, open_system

PLENTY = Limit(restarts=1_000, within=1.0)


class Say(Message[str]):
    text: str


class Boom(Message[None]):
    """Crash."""


class Refuse(Message[None]):
    """Answer with an `Err`."""


class RefuseLoudly(Message[None]):
    """Raise `Rejected`."""


class Wait(Message[str]):
    """Keep the handler busy for so many seconds."""

    seconds: float


class Forward(Message[Any]):
    """Ask the first address of `path` to forward to the rest; the last one is asked to `Say`."""

    path: tuple[Address, ...]
    within: float = 5.0


class StartOne(Message[Address]):
    REMOTE = False
    child: Child


class End(Message[None]):
    """Stop yourself, normally."""


class NoDatabase:
    async def run(self, work: object, /, *args: object, **kwargs: object) -> object:
        raise NotImplementedError


class Scribe(Actor):
    """Writes `+name` when it starts, `-name` when it stops in order, and every text it was told."""

    def __init__(self, name: str = "", diary: list[str] | None = None) -> None:
        self.name = name
        self.diary = [] if diary is None else diary
        self.deadlines: list[float] = []

    async def on_start(self, ctx: Context) -> None:
        self.diary.append(f"+{self.name}")

    async def on_stop(self, ctx: Context, reason: str) -> None:
        self.diary.append(f"-{self.name}")

    def snapshot(self) -> dict[str, Any]:
        return {"written": len(self.diary)}

    @handles
    def say(self, ctx: Context, ask: Say) -> str:
        self.diary.append(ask.text)
        return ask.text

    @handles
    def boom(self, ctx: Context, ask: Boom) -> None:
        raise RuntimeError("as told")

    @handles
    def refuse(self, ctx: Context, ask: Refuse) -> Err:
        return Err("NO", "no")

    @handles
    async def refuse_loudly(self, ctx: Context, ask: RefuseLoudly) -> None:
        raise Rejected(Err("NO", "no"))

    @handles
    async def wait(self, ctx: Context, ask: Wait) -> str:
        self.diary.append("wait")
        await trio.sleep(ask.seconds)
        self.diary.append("waited")
        return "waited"

    @handles
    async def forward(self, ctx: Context, ask: Forward) -> Any:
        self.diary.append(f"deadline {ctx.deadline:.3f}")
        if not ask.path:
            return ctx.address
        return await ctx.ask(ask.path[0], Forward(path=ask.path[1:], within=ask.within), within=ask.within)

    @handles
    def start_one(self, ctx: Context, ask: StartOne) -> Address:
        return ctx.child(ask.child)

    @handles
    def end(self, ctx: Context, ask: End) -> None:
        ctx.stop()


@asynccontextmanager
async def house(
    *children: Child,
    strategy: Strategy = Strategy.ONE_FOR_ONE,
    limit: Limit = PLENTY,
    root: Callable[[], Actor] | None = None,
    **options: Any,
) -> AsyncIterator[System]:
    """A system whose root supervises `children`. Random numbers are the same in every run."""
    async with open_system(NoDatabase(), seed=1) as system:
        supervisor = Child("/", root or (lambda: Supervisor(children, strategy=strategy, limit=limit, **options)))
        await system.start(supervisor)
        yield system


def scribes(names: Sequence[str], diary: list[str], **options: Any) -> list[Child]:
    return [Child(name, Scribe, (name, diary), **options) for name in names]


def cell(system: System, *segments: str) -> Cell:
    found = system.members[Address(*segments)]
    assert isinstance(found, Cell)
    return found


async def quiet() -> None:
    """Wait until every task waits: all that was told is handled, and no virtual time has passed."""
    await trio.testing.wait_all_tasks_blocked()


async def outcome(asking: Any) -> Any:
    """What came of an ask: its answer, or what it raised."""
    try:
        return await asking
    except Exception as error:  # every ending is of interest here
        return error


async def until(condition: Callable[[], bool], every: float = 0.001) -> None:
    """Wait, 200 seconds at most, for something that no event announces."""
    with trio.fail_after(200):
        while not condition():  # noqa: ASYNC110 - polled so that the house needs no hooks for tests
            await trio.sleep(every)
