"""Plays a random schedule in virtual time and keeps its history, for rules that hold for every input.

A schedule is plain data, so a failing one shrinks and prints as a script. Times are sampled constants: boundaries
are where the bugs are, and random floats never hit them (reliability.md §5).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import trio
from hypothesis import settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from trio.testing import MockClock

from goclaw.runtime import steer
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.child import Backoff, Child, Limit, Restart, Strategy
from goclaw.runtime.faults import ActorStopped, MailboxFull, NoSuchActor
from goclaw.runtime.inject import Fault, Injector
from goclaw.runtime.mailbox import Overflow
from goclaw.runtime.message import Cancel, LeaseLost, Message, Resume, Suspend, Told
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import System, open_system
from tests.runtime.house import PLENTY, NoDatabase, cell, outcome

PUSH = 500  # examples of every rule; reliability.md §5. A profile may ask for more
many = settings(max_examples=max(PUSH, settings.default.max_examples), deadline=None)

SHORT = Backoff(first=0.2, longest=1.0)


@dataclass(frozen=True)
class Step:
    """After `delay` seconds a sender does `act` to `receiver`; see `_send`."""

    act: str
    receiver: str
    delay: float = 0.0
    work: float = 0.0  # seconds the handler takes
    within: float = 1.0  # seconds an asker waits
    key: str = ""  # what it is about: newer ones replace it under COALESCE, a `cancel` takes it back


Schedule = list[list[Step]]  # of each sender
Mark = tuple[int, int]  # of a message: its sender and its number there


@dataclass
class History:
    """What happened, in the order in which it did."""

    log: list[tuple[Any, ...]] = field(default_factory=list)  # acts and handlers, see `_send` and `Ledger`
    handled: list[tuple[int, str, int, str]] = field(default_factory=list)  # sender, receiver, number, key
    done: dict[Mark, float] = field(default_factory=dict)  # when its handler returned
    told: Counter[Told] = field(default_factory=Counter)
    asked: list[tuple[Mark, float, float, Any]] = field(default_factory=list)  # mark, deadline, end, outcome
    life: list[tuple[float, str]] = field(default_factory=list)  # +a started, -a stopped, xa crashed, !a killed
    running: dict[str, int] = field(default_factory=dict)  # incarnation of whoever runs at the end
    states: dict[str, str] = field(default_factory=dict)  # of all, at the end
    fired: Counter[str] = field(default_factory=Counter)  # faults
    busy: Counter[str] = field(default_factory=Counter)  # handlers that run, by actor, whatever its incarnation
    answered: int = 0  # handlers that returned
    dead: Counter[str] = field(default_factory=Counter)
    deepest: int = 0  # messages seen waiting in one mailbox
    most: int = 0  # messages seen waiting in all of them
    drift: int = 0  # by how much the node's count of waiting messages was ever wrong
    together: int = 0  # handlers of one actor seen running at a time
    touched: int = 0  # messages whose hash was another at their arrival
    ended: str = ""  # why the system ended by itself


class Item(Message[int]):
    sender: int
    number: int
    work: float
    key: str = ""
    sum: int = 0  # the hash of the other fields when it was sent

    @property
    def mark(self) -> Mark:
        return self.sender, self.number

    @property
    def subject(self) -> str:
        return self.key


def item_of(sender: int, number: int, step: Step) -> Item:
    return Item(
        sender=sender, number=number, work=step.work, key=step.key, sum=hash((sender, number, step.work, step.key))
    )


class Crash(Message[None]):
    LOSABLE = True


class Ledger(Actor):
    """Writes every message it handles into the history."""

    preemptible = True

    def __init__(self, name: str, history: History, capacity: int, overflow: Overflow) -> None:
        self.name = name
        self.history = history
        self.capacity = capacity  # type: ignore[misc]  # bounds are part of the schedule here
        self.overflow = overflow  # type: ignore[misc]

    async def on_start(self, ctx: Context) -> None:
        self.history.life.append((trio.current_time(), f"+{self.name}"))

    async def on_stop(self, ctx: Context, reason: str) -> None:
        self.history.life.append((trio.current_time(), f"-{self.name}"))

    def coalesce(self, message: Message[Any]) -> Hashable:
        return message.key or None if isinstance(message, Item) else None

    @handles
    async def item(self, ctx: Context, ask: Item) -> int:
        history = self.history
        history.busy[self.name] += 1
        history.log.append(("begun", self.name, ask.key, ask.mark, trio.current_time()))
        self._look(ctx, ask)
        try:
            history.handled.append((ask.sender, self.name, ask.number, ask.key))
            if ask.work:
                await trio.sleep(ask.work)
            history.done[ask.mark] = trio.current_time()
        finally:
            history.busy[self.name] -= 1
            history.log.append(("ended", self.name, ask.key, ask.mark, trio.current_time()))
        return ask.number

    def _look(self, ctx: Context, ask: Item) -> None:
        history, load = self.history, ctx.system.load
        waiting = [len(member.mailbox.user) for member in ctx.system.members.values() if hasattr(member, "mailbox")]
        history.together = max(history.together, history.busy[self.name])
        history.deepest = max(history.deepest, len(ctx._cell.mailbox.user))
        history.most = max(history.most, sum(waiting))
        history.drift = max(history.drift, abs(load.queued - sum(waiting)))
        history.touched += ask.sum != hash((ask.sender, ask.number, ask.work, ask.key))

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
    backoff: Backoff = SHORT,
    most: int | None = None,
    faults: Sequence[Fault] = (),
    seed: int = 0,
) -> History:
    """Every sender is a task that takes its steps one after the other, waiting for the answers to its asks.

    `most` is the cap of the node; `faults` are injected with `seed` on top.
    """
    history = History()
    make = (history, capacity, overflow)
    children = [
        Child(name, Ledger, (name, *make), restart=restart, backoff=backoff, dormant=dormant, shutdown=60.0)
        for name in names
    ]

    async def run() -> None:
        async with open_system(NoDatabase(), seed=1) as system:
            system.load.most = most or system.load.most
            await system.start(Child("/", lambda: Supervisor(children, strategy=strategy, limit=limit)))
            cells = {name: cell(system, name) for name in names}
            injector = Injector(system, faults, seed)
            if faults:
                injector.start()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(injector.strike)
                for sender, steps in enumerate(senders):
                    nursery.start_soon(_send, system, history, sender, steps)
            injector.stop()
            for name in names:
                history.log.append(("resume", name, "", (-1, 0), trio.current_time()))
                system.tell(Address(name), Resume())
            await trio.sleep(300)  # everything settles, quarantines end
            history.states = {name: cells[name].state.value for name in names}
            history.running = {name: cells[name].incarnation for name in names if Address(name) in system.members}
            await system.stop()
            history.fired = injector.fired
            history.drift = max(history.drift, abs(system.load.queued))
            history.answered = sum(found.handled for found in cells.values())
            for (reason, kind), count in system.dead_letters.counters.items():
                if kind == Item.TYPE:
                    history.dead[reason] += count
                elif kind == Cancel.TYPE:
                    raise AssertionError("nobody refuses a signal")
            if system.last_news is not None and system.last_news.reason != "shutdown":
                history.ended = system.last_news.reason

    in_virtual_time(run)
    return history


def in_virtual_time(run: Callable[[], Awaitable[None]]) -> None:
    """Run it to its end, hours in milliseconds; what it logs is kept out of the output."""
    with capture_logs():
        trio.run(run, clock=MockClock(autojump_threshold=0))


async def _send(system: System, history: History, sender: int, steps: Sequence[Step]) -> None:
    for number, step in enumerate(steps):
        await trio.sleep(step.delay)
        to = Address(step.receiver)
        item = item_of(sender, number, step)
        history.log.append((step.act, step.receiver, step.key, item.mark, trio.current_time()))
        match step.act:
            case "tell":
                history.told[system.tell(to, item)] += 1
            case "ask":
                deadline = trio.current_time() + step.within
                found = await outcome(system.ask(to, item, within=step.within))
                history.asked.append((item.mark, deadline, trio.current_time(), found))
            case "cast":
                with suppress(MailboxFull, NoSuchActor):
                    with suppress(ActorStopped):  # it left a dead letter
                        await system.cast(to, item, within=step.within)
                    continue
                history.asked.append((item.mark, 0.0, 0.0, MailboxFull()))
            case "crash":
                system.tell(to, Crash())
            case "kill" if to in system.members:
                history.life.append((trio.current_time(), f"!{step.receiver}"))
                cell(system, step.receiver).kill()
            case "suspend":
                system.tell(to, Suspend())
            case "resume":
                system.tell(to, Resume())
            case "cancel":
                system.tell(to, Cancel(reason="as scheduled", of=step.key))
            case "lease_lost":
                system.tell(to, LeaseLost())
            case "restart" | "restart_by_force":
                with suppress(NoSuchActor):
                    steer.restart(system, to, kill=step.act != "restart")
            case "stop" | "stop_by_force":
                with suppress(NoSuchActor):
                    steer.stop(system, to, kill=step.act != "stop")


def sent(schedule: Schedule) -> int:
    """How many messages its senders try to send."""
    return sum(step.act in ("tell", "ask", "cast") for steps in schedule for step in steps)


def refused_at_the_door(history: History) -> int:
    """Asks and casts that never came into a mailbox, and so left no dead letter."""
    return sum(isinstance(found, MailboxFull | NoSuchActor) for *_, found in history.asked)


def steps(acts: Sequence[str], names: str = "abc", keys: Sequence[str] = ("",)) -> st.SearchStrategy[Step]:
    return st.builds(
        Step,
        act=st.sampled_from(acts),
        receiver=st.sampled_from(names),
        delay=st.sampled_from((0.0, 0.0, 0.0, 0.1, 0.5, 2.0)),
        work=st.sampled_from((0.0, 0.0, 0.1, 0.5)),
        within=st.sampled_from((0.05, 0.5, 5.0)),
        key=st.sampled_from(keys),
    )


def schedules(
    acts: Sequence[str], names: str = "abc", senders: int = 3, keys: Sequence[str] = ("",), longest: int = 12
) -> st.SearchStrategy[Schedule]:
    return st.lists(st.lists(steps(acts, names, keys), max_size=longest), min_size=1, max_size=senders)
