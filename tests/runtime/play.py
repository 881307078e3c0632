"""Plays a random schedule in virtual time and keeps its history, for rules that hold for every input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import trio
from hypothesis import strategies as st
from structlog.testing import capture_logs
from trio.testing import MockClock

from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.child import Backoff, Child, Limit, Restart, Strategy
from goclaw.runtime.faults import MailboxFull, NoSuchActor
from goclaw.runtime.mailbox import Overflow
from goclaw.runtime.message import Message, Resume, Suspend, Told
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import System, open_system
from tests.runtime.house import PLENTY, NoDatabase, cell, outcome

SHORT = Backoff(first=0.2, longest=1.0)


@dataclass(frozen=True)
class Step:
    """After `delay` seconds a sender does `act` to `receiver`: tell, ask, crash, kill, suspend or resume."""

    act: str
    receiver: str
    delay: float = 0.0
    work: float = 0.0  # seconds the handler takes
    within: float = 1.0  # seconds an asker waits


Schedule = list[list[Step]]  # of each sender


@dataclass
class History:
    """What happened, in the order in which it did."""

    accepted: list[tuple[int, str, int]] = field(default_factory=list)  # sender, receiver, number
    handled: list[tuple[int, str, int]] = field(default_factory=list)
    told: Counter[Told] = field(default_factory=Counter)
    asked: list[tuple[int, float, float, Any]] = field(default_factory=list)  # number, deadline, end, outcome
    life: list[tuple[float, str]] = field(default_factory=list)  # +a started, -a stopped, xa crashed or killed
    running: dict[str, int] = field(default_factory=dict)  # incarnation of whoever runs at the end
    answered: int = 0  # handlers that returned
    dead: Counter[str] = field(default_factory=Counter)
    deepest: int = 0  # messages seen waiting in one mailbox
    together: int = 0  # handlers of one actor seen running at a time
    ended: str = ""  # why the system ended by itself


class Item(Message[int]):
    sender: int
    number: int
    work: float


class Crash(Message[None]):
    LOSABLE = True


class Ledger(Actor):
    """Writes every message it handles into the history."""

    def __init__(self, name: str, history: History, capacity: int, overflow: Overflow) -> None:
        self.name = name
        self.history = history
        self.capacity = capacity  # type: ignore[misc]  # bounds are part of the schedule here
        self.overflow = overflow  # type: ignore[misc]
        self.busy = 0

    async def on_start(self, ctx: Context) -> None:
        self.history.life.append((trio.current_time(), f"+{self.name}"))

    async def on_stop(self, ctx: Context, reason: str) -> None:
        self.history.life.append((trio.current_time(), f"-{self.name}"))

    @handles
    async def item(self, ctx: Context, ask: Item) -> int:
        self.busy += 1
        self.history.together = max(self.history.together, self.busy)
        self.history.deepest = max(self.history.deepest, len(ctx._cell.mailbox.user))
        self.history.handled.append((ask.sender, self.name, ask.number))
        if ask.work:
            await trio.sleep(ask.work)
        self.busy -= 1
        return ask.number

    @handles
    def crash(self, ctx: Context, ask: Crash) -> None:
        self.history.life.append((trio.current_time(), f"x{self.name}"))
        raise RuntimeError("as scheduled")


def play(
    senders: Schedule,
    *,
    names: str = "abc",
    strategy: Strategy = Strategy.ONE_FOR_ONE,
    limit: Limit = PLENTY,
    capacity: int = 3,
    overflow: Overflow = Overflow.REJECT,
    dormant: bool = False,
    restart: Restart = Restart.PERMANENT,
) -> History:
    """Every sender is a task that takes its steps one after the other, waiting for the answers to its asks."""
    history = History()
    make = (history, capacity, overflow)
    children = [
        Child(name, Ledger, (name, *make), restart=restart, backoff=SHORT, dormant=dormant, shutdown=60.0)
        for name in names
    ]

    async def run() -> None:
        async with open_system(NoDatabase(), seed=1) as system:
            await system.start(Child("/", lambda: Supervisor(children, strategy=strategy, limit=limit)))
            cells = {name: cell(system, name) for name in names}
            async with trio.open_nursery() as nursery:
                for sender, steps in enumerate(senders):
                    nursery.start_soon(_send, system, history, sender, steps)
            for name in names:
                system.tell(Address(name), Resume())
            await trio.sleep(300)  # everything settles, quarantines end
            history.running = {name: cells[name].incarnation for name in names if Address(name) in system.members}
            await system.stop()
            history.answered = sum(found.handled for found in cells.values())
            for (reason, kind), count in system.dead_letters.counters.items():
                if kind == Item.TYPE:
                    history.dead[reason] += count
            if system.last_news is not None and system.last_news.reason != "shutdown":
                history.ended = system.last_news.reason

    with capture_logs():
        trio.run(run, clock=MockClock(autojump_threshold=0))
    return history


async def _send(system: System, history: History, sender: int, steps: Sequence[Step]) -> None:
    for number, step in enumerate(steps):
        await trio.sleep(step.delay)
        to = Address(step.receiver)
        item = Item(sender=sender, number=number, work=step.work)
        match step.act:
            case "tell":
                told = system.tell(to, item)
                history.told[told] += 1
                if told is Told.ACCEPTED:
                    history.accepted.append((sender, step.receiver, number))
            case "ask":
                deadline = trio.current_time() + step.within
                found = await outcome(system.ask(to, item, within=step.within))
                history.asked.append((number, deadline, trio.current_time(), found))
            case "crash":
                system.tell(to, Crash())
            case "kill" if to in system.members:
                history.life.append((trio.current_time(), f"x{step.receiver}"))
                cell(system, step.receiver).kill()
            case "suspend":
                system.tell(to, Suspend())
            case "resume":
                system.tell(to, Resume())


def refused_at_the_door(history: History) -> int:
    """Asks that never came into a mailbox, and so left no dead letter."""
    return sum(isinstance(found, MailboxFull | NoSuchActor) for *_, found in history.asked)


def steps(acts: Sequence[str], names: str = "abc") -> st.SearchStrategy[Step]:
    return st.builds(
        Step,
        act=st.sampled_from(acts),
        receiver=st.sampled_from(names),
        delay=st.sampled_from((0.0, 0.0, 0.0, 0.1, 0.5, 2.0)),
        work=st.sampled_from((0.0, 0.0, 0.1, 0.7)),
        within=st.sampled_from((0.05, 0.5, 5.0)),
    )


def schedules(acts: Sequence[str], names: str = "abc", senders: int = 3) -> st.SearchStrategy[Schedule]:
    return st.lists(st.lists(steps(acts, names), max_size=12), min_size=1, max_size=senders)
