"""Who may wait for whom, and how long (supervision.md §6, §18 I12, I16), over random graphs of calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import trio
from hypothesis import given
from hypothesis import strategies as st

from goclaw.runtime.actor import MARGIN, Actor, Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.child import Child
from goclaw.runtime.faults import ActorStopped, AskCycle, AskTimeout, MailboxFull, SelfAsk
from goclaw.runtime.message import Message
from tests.runtime.house import house, outcome
from tests.runtime.play import in_virtual_time, many

NAMES = "abcd"


@dataclass(frozen=True)
class Call:
    """What an actor does when it is asked: ask or forward to the next, after `work` seconds."""

    how: str
    to: str
    within: float = 1.0
    work: float = 0.0


Graph = dict[str, list[Call]]


class Go(Message[str]):
    left: int  # calls until nobody calls any more
    waiting: tuple[str, ...] = ()  # who waits for the answer, as the test knows it
    until: float = float("inf")  # when the caller's own deadline is


@dataclass
class Trail:
    """What the actors saw."""

    outcomes: list[tuple[Call, tuple[str, ...], float, Any]] = field(default_factory=list)  # call, waiting, took, what
    late: list[str] = field(default_factory=list)  # handlers that were given more time than their callers had


class Caller(Actor):
    capacity = 4

    def __init__(self, name: str, graph: Graph, trail: Trail) -> None:
        self.name = name
        self.calls = graph.get(name, [])
        self.trail = trail

    @handles
    async def go(self, ctx: Context, ask: Go) -> str:
        if ctx.deadline > ask.until:
            self.trail.late.append(self.name)
        if not ask.left:
            return self.name
        for call in self.calls:
            await trio.sleep(call.work)
            to = Address(call.to)
            if call.how == "forward":
                ctx.forward(to, Go(left=ask.left - 1, waiting=ask.waiting, until=ctx.deadline))
                return ""
            began = trio.current_time()
            waiting = (*ask.waiting, self.name)
            until = min(ctx.deadline - MARGIN, began + call.within)
            go = Go(left=ask.left - 1, waiting=waiting, until=until)
            found = await outcome(ctx.ask(to, go, within=call.within))
            self.trail.outcomes.append((call, waiting, trio.current_time() - began, found))
            assert trio.current_time() <= max(until, began) + 1e-9
        return self.name


def graphs(works: tuple[float, ...], withins: tuple[float, ...] = (0.005, 0.1, 1.0)) -> st.SearchStrategy[Graph]:
    call = st.builds(
        Call,
        how=st.sampled_from(("ask", "ask", "ask", "forward")),
        to=st.sampled_from(NAMES),
        within=st.sampled_from(withins),
        work=st.sampled_from(works),
    )
    return st.dictionaries(st.sampled_from(NAMES), st.lists(call, max_size=2), max_size=4)


def walk(graph: Graph, roots: list[tuple[str, float]], left: int = 5) -> tuple[Trail, list[tuple[float, float, Any]]]:
    """Ask all `roots`, each (name, within), at once. Returns what was seen, and (within, took, outcome) of each."""
    trail = Trail()
    asked: list[tuple[float, float, Any]] = []

    async def run() -> None:
        async def ask(name: str, within: float) -> None:
            go = Go(left=left, until=trio.current_time() + within)
            found = await outcome(system.ask(Address(name), go, within=within))
            asked.append((within, trio.current_time(), found))

        children = [Child(name, Caller, (name, graph, trail)) for name in NAMES]
        async with house(*children) as system, trio.open_nursery() as nursery:
            for name, within in roots:
                nursery.start_soon(ask, name, within)

    in_virtual_time(run)
    return trail, asked


@many
@given(graphs((0.0,), (1.0,)), st.sampled_from(NAMES))
def test_a_cycle_of_asks_fails_at_once_and_nothing_else_does(graph: Graph, first: str) -> None:
    """I12: one walk through the graph takes no time at all, and an ask fails exactly if its receiver waits."""
    trail, asked = walk(graph, [(first, 60.0)])

    assert [took for _, took, _ in asked] == [0.0]
    for call, waiting, took, found in trail.outcomes:
        assert took == 0.0
        if call.to in waiting:
            assert isinstance(found, SelfAsk if call.to == waiting[-1] else AskCycle)
        else:
            assert isinstance(found, str | AskCycle)  # the cycle may be behind a forward


@many
@given(
    graphs((0.0, 0.0, 0.005, 0.1)),
    st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from((0.005, 0.1, 1.0))), min_size=1, max_size=4),
)
def test_all_asks_end_by_their_deadlines_which_shrink_on_the_way(graph: Graph, roots: list[tuple[str, float]]) -> None:
    """I12, I16: several walks at once may wait for each other, but not for longer than they said."""
    trail, asked = walk(graph, roots)

    assert len(asked) == len(roots)
    for within, took, found in asked:
        assert took <= within + 1e-9
        assert isinstance(found, str | AskCycle | AskTimeout | MailboxFull | ActorStopped)
    assert trail.late == []
