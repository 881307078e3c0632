"""Rules about a node as a whole (supervision.md §18): left-behind threads I18, memory I19, looks at the tree I20."""

from __future__ import annotations

import gc
import threading
import tracemalloc
from time import perf_counter
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from trio.testing import MockClock

from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.blocking import BlockingActor, ThreadContext
from goclaw.runtime.child import Backoff, Child, Strategy
from goclaw.runtime.faults import ActorStopped, AskTimeout, Rejected
from goclaw.runtime.message import Cancel, Message
from goclaw.runtime.supervisor import StartChild, StopChild, Supervisor
from goclaw.runtime.system import System, open_system
from goclaw.runtime.testing import Inline
from goclaw.runtime.tree import SLICE, describe, totals
from goclaw.runtime.virtual import SWEEP, Virtual
from tests.runtime.house import Boom, NoDatabase, Say, Scribe, cell, house, outcome, quiet, until
from tests.runtime.play import in_virtual_time, many

A = Address("a")
AT_ONCE = Backoff(first=0.0)


# --- threads --------------------------------------------------------------------------------------


class Block(Message[str]):
    """Wait in the thread until the gate of this number opens."""

    number: int


class Stuck(BlockingActor):
    """A library that cannot be interrupted."""

    preemptible = True

    def __init__(self, gates: list[threading.Event], entered: list[threading.Event]) -> None:
        self.gates = gates
        self.entered = entered

    @handles
    def block(self, ctx: ThreadContext, ask: Block) -> str:
        self.entered[ask.number].set()
        self.gates[ask.number].wait(timeout=20)
        return f"late {ask.number}"

    @handles
    def say(self, ctx: ThreadContext, ask: Say) -> str:
        return ask.text


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from(("kill", "cancel")), min_size=1, max_size=4), st.randoms())
def test_a_thread_left_behind_answers_nobody(ends: list[str], order: Any) -> None:
    """I18, with real threads and in real time."""
    count = len(ends)
    gates, entered = ([threading.Event() for _ in range(count)] for _ in range(2))
    answers: list[object] = []

    async def stuck(system: System, number: int) -> None:
        answers.append(await outcome(system.ask(A, Block(number=number), within=20)))

    async def run() -> None:
        async with house(Child("a", Stuck, (gates, entered), backoff=AT_ONCE)) as system:
            async with trio.open_nursery() as nursery:
                for number, how in enumerate(ends):
                    nursery.start_soon(stuck, system, number)
                    await until(entered[number].is_set)
                    if how == "kill":
                        cell(system, "a").kill()
                    else:
                        assert system.tell(A, Cancel(reason="as scheduled"))
                    assert await system.ask(A, Say(text=f"next {number}"), within=20) == f"next {number}"
            assert system.vehicles.zombies == count
            for number in order.sample(range(count), count):
                gates[number].set()
                assert await system.ask(A, Say(text=f"after {number}"), within=20) == f"after {number}"
            await until(lambda: system.vehicles.zombies == 0)
            assert cell(system, "a").incarnation == 1 + ends.count("kill")

    with capture_logs():
        trio.run(run)
    assert len(answers) == count
    assert all(isinstance(answer, ActorStopped | Rejected) for answer in answers)


class Lives(BlockingActor):
    """Answers with its life, and writes down whose life it was then."""

    def __init__(self, lives: list[int], jobs: list[tuple[int, int]]) -> None:
        lives[0] += 1
        self.life = lives[0]
        self.lives = lives
        self.jobs = jobs

    @handles
    def say(self, ctx: ThreadContext, ask: Say) -> str:
        self.jobs.append((self.life, self.lives[0]))
        return str(self.life)


@many
@given(
    st.lists(
        st.tuples(
            st.sampled_from(("ask", "ask", "kill")), st.sampled_from((0.0, 0.5, 1.0)), st.sampled_from((0.5, 1.0, 5.0))
        ),
        max_size=12,
    )
)
def test_a_blocking_call_ends_with_its_life_where_time_is_virtual(script: list[tuple[str, float, float]]) -> None:
    """I18, where calls run inline for a second each; deadlines may be exactly as long."""
    lives, jobs, answers = [0], list[tuple[int, int]](), list[Any]()

    async def run() -> None:
        async def ask(within: float) -> None:
            began = trio.current_time()
            answers.append(await outcome(system.ask(A, Say(text="x"), within=within)))
            assert trio.current_time() <= began + within

        async with house(Child("a", Lives, (lives, jobs), backoff=AT_ONCE)) as system:
            system.inline = Inline(1.0)
            async with trio.open_nursery() as nursery:
                for what, gap, within in script:
                    await trio.sleep(gap)
                    if what == "ask":
                        nursery.start_soon(ask, within)
                    else:
                        cell(system, "a").kill()

    in_virtual_time(run)
    assert all(mine == current for mine, current in jobs)
    assert len(answers) == sum(what == "ask" for what, *_ in script)
    told = [int(answer) for answer in answers if isinstance(answer, str)]
    assert not set(told) - {life for life, _ in jobs}
    assert all(isinstance(answer, str | ActorStopped | AskTimeout) for answer in answers)


# --- memory ---------------------------------------------------------------------------------------


class Session(Actor):
    """Uses what an incarnation can own: state, a group, a timer, a child, a monitor."""

    def __init__(self) -> None:
        self.state = bytearray(1_000)

    async def on_start(self, ctx: Context) -> None:
        ctx.join("sessions")

    @handles
    async def say(self, ctx: Context, ask: Say) -> str:
        ctx.after(1.0, Boom())
        if ask.text:
            return ask.text
        helper = ctx.child(Child("helper", Scribe))
        ctx.monitor(helper)
        answer = await ctx.ask(helper, ask, within=1)
        await ctx.stop_child(helper)
        return answer

    @handles
    def tick(self, ctx: Context, tick: Boom) -> None:
        pass


async def test_memory_is_back_after_ten_thousand_activations(autojump_clock: MockClock) -> None:
    """I19."""
    crowd, rounds = 200, 50
    gc.collect()
    tracemalloc.start()
    try:
        async with open_system(NoDatabase(), seed=1, debug=False) as system:
            virtual = Virtual(lambda address: Session(), idle=0.0, most=1_000)
            await system.start(Child("/", lambda: Supervisor([Child("v", lambda: virtual)])))

            async def a_round() -> None:
                for number in range(crowd):
                    assert system.tell(Address("v", "acme", f"k{number}"), Say(text="x" if number % 10 else ""))
                await trio.sleep(0.5)
                assert len(system.groups["sessions"]) == crowd
                await trio.sleep(3 * SWEEP)
                assert len(system.members) == 2

            async def traced() -> int:
                await a_round()
                gc.collect()
                return tracemalloc.get_traced_memory()[0]

            for _ in range(5):  # rings, caches and heaps fill up once
                await a_round()
            baseline = await traced()
            for _ in range(rounds):
                await a_round()
            now = await traced()
    finally:
        tracemalloc.stop()
    assert abs(now - baseline) <= 0.05 * baseline


# --- looks at the tree ----------------------------------------------------------------------------


class Ponderous(Scribe):
    """Every other one takes so long to describe that others get their turn before the next one is described."""

    def snapshot(self) -> dict[str, Any]:
        until = perf_counter() + 1.1 * SLICE * (int(self.name) % 2)
        while perf_counter() < until:
            pass
        return {}


churn = st.lists(st.tuples(st.sampled_from(("start", "start", "stop", "crash")), st.integers(0, 5)), max_size=10)


@many
@given(st.integers(0, 3), churn)
def test_a_look_at_a_tree_that_changes_shows_everybody_once(first: int, script: list[tuple[str, int]]) -> None:
    """I20: all who were there all the time, nobody twice, nobody who never was."""
    d = Address("d")

    async def run() -> None:
        names: set[str] = set()
        gone: set[str] = set()

        async def change() -> None:
            for what, number in script:
                name = d / str(number)
                if what == "start":
                    names.add(name)
                    assert system.tell(
                        d, StartChild(child=Child(str(number), Ponderous, (str(number),), backoff=AT_ONCE))
                    )
                elif what == "stop":
                    gone.add(name)
                    assert system.tell(d, StopChild(address=name))
                else:
                    system.tell(name, Boom())
                for _ in range(2):
                    await trio.lowlevel.checkpoint()

        children = [Child(str(number), Ponderous, (str(number),), backoff=AT_ONCE) for number in range(first)]
        async with house(Child("d", lambda: Supervisor(children, strategy=Strategy.DYNAMIC))) as system:
            before = set(system.members)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(change)
                shown = paths(await describe(system, Address(), 16))
                there = len(system.members)
                assert (await totals(system))["actors"] == there
            await quiet()

            assert len(shown) == len(set(shown))
            assert before - gone <= set(shown) <= before | names
            assert sorted(paths(await describe(system, Address(), 16, live=True))) == sorted(system.members)

    in_virtual_time(run)


def paths(node: dict[str, Any] | None) -> list[str]:
    assert node is not None
    return [node["path"], *(path for child in node.get("children", ()) for path in paths(child))]
