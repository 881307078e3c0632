"""Rules that hold whatever happens (supervision.md §18), over random schedules in virtual time.

I1 to I9 and I14 are here. Elsewhere: I10 and I17 in `_messages`, I12 and I16 in `_asks`, I13 in `_watching`, the
boundaries of I8 in `_limits`, I18 to I20 in `_nodes`. I11 speaks of fences, which a single node has none of: here
it is what I3 says. I15 is the product's (`tests/chaos`).
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import trio
from hypothesis import given
from hypothesis import strategies as st

from goclaw.runtime.address import Address
from goclaw.runtime.child import Child, Limit, Restart, Strategy
from goclaw.runtime.faults import (
    ActorCrashed,
    ActorStopped,
    AskTimeout,
    MailboxFull,
    NoSuchActor,
    QueueDropped,
    Rejected,
)
from goclaw.runtime.inject import Fault, What
from goclaw.runtime.mailbox import Overflow
from goclaw.runtime.message import Told
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import open_system
from goclaw.runtime.virtual import Virtual
from tests.runtime.house import NoDatabase, Say, Scribe
from tests.runtime.play import (
    History,
    Mark,
    Schedule,
    in_virtual_time,
    many,
    play,
    refused_at_the_door,
    schedules,
    sent,
)

MESSAGES = ("tell", "tell", "tell", "ask", "ask", "cast", "crash", "kill", "suspend", "resume", "cancel", "lease_lost")
ORDERS = ("tell", "ask", "crash", "restart", "restart_by_force", "stop", "stop_by_force")
TROUBLE = ("crash", "crash", "crash", "kill")
EXPECTED = (ActorCrashed, ActorStopped, AskTimeout, MailboxFull, QueueDropped, Rejected)
STATIC = (Strategy.ONE_FOR_ONE, Strategy.REST_FOR_ONE, Strategy.ONE_FOR_ALL)
WHATS: tuple[What, ...] = ("crash", "crash_after", "delay", "drop", "duplicate", "hang", "kill", "lease_lost")


# --- messages -------------------------------------------------------------------------------------


@many
@given(
    schedules(MESSAGES, keys=("", "", "x", "y")),
    st.sampled_from(Overflow),
    st.booleans(),
    st.integers(1, 4),
    st.sampled_from((None, 2, 5)),
)
def test_messages_keep_their_order_and_none_disappears(
    schedule: Schedule, overflow: Overflow, dormant: bool, capacity: int, most: int | None
) -> None:
    """I1, I2, I3, I5, also where the node as a whole is full."""
    history = play(schedule, overflow=overflow, dormant=dormant, capacity=capacity, most=most)

    in_order(history, by_key=overflow is Overflow.COALESCE)
    every_ask_ended_once(history, schedule)
    bounds_hold(history, capacity, most)
    assert sent(schedule) == accounted_for(history)


@many
@given(schedules(ORDERS), st.sampled_from(Overflow), st.booleans(), st.sampled_from((*STATIC, Strategy.DYNAMIC)))
def test_an_operator_who_restarts_and_stops_breaks_no_promise(
    schedule: Schedule, overflow: Overflow, dormant: bool, strategy: Strategy
) -> None:
    """I1, I2, I3, I5."""
    history = play(schedule, overflow=overflow, dormant=dormant, strategy=strategy)

    in_order(history)
    every_ask_ended_once(history, schedule)
    bounds_hold(history, 3, None)
    assert sent(schedule) == accounted_for(history)


faults = st.builds(
    Fault,
    path=st.sampled_from(("/a", "/b", "/*", "/**")),
    what=st.sampled_from(WHATS),
    nth=st.integers(1, 4),
    seconds=st.sampled_from((0.1, 0.5, 3.0)),
    times=st.integers(1, 3),
) | st.builds(
    Fault,
    path=st.sampled_from(("/a", "/b", "/*")),
    what=st.sampled_from(("kill", "lease_lost")),
    at=st.sampled_from((0.0, 0.1, 0.5, 2.0)),
    times=st.integers(1, 3),
)


@many
@given(
    schedules(("tell", "tell", "ask", "cast")),
    st.lists(faults, max_size=5),
    st.sampled_from((*STATIC, Strategy.DYNAMIC)),
    st.sampled_from((Limit(restarts=1, within=5.0), Limit(restarts=100, within=5.0))),
    st.booleans(),
)
def test_a_plan_of_faults_breaks_no_promise(
    schedule: Schedule, plan: list[Fault], strategy: Strategy, limit: Limit, dormant: bool
) -> None:
    """I1, I2, I3, I5, also when the tree gives up in the middle. A doubled message is one more."""
    history = play(schedule, faults=plan, strategy=strategy, limit=limit, dormant=dormant)

    doubled = history.fired["duplicate"]
    if not doubled:
        in_order(history)
    every_ask_ended_once(history, schedule)
    bounds_hold(history, 3, None)
    assert sent(schedule) <= accounted_for(history) <= sent(schedule) + doubled


@many
@given(
    schedules(("tell", "tell", "cancel", "suspend", "resume"), names="a", keys=("x", "y")),
    st.booleans(),
)
def test_control_comes_before_what_waits(schedule: Schedule, dormant: bool) -> None:
    """I4: a cancel ends what runs of its subject and takes back what waits, a suspended actor begins nothing."""
    history = play(schedule, capacity=100, dormant=dormant)

    cancels_take_effect_at_once(history)
    nothing_begins_while_suspended(history)


def in_order(history: History, by_key: bool = False) -> None:
    latest: dict[tuple[object, ...], int] = {}
    for sender, receiver, number, key in history.handled:
        lane = (sender, receiver, key if by_key else "")
        assert latest.get(lane, -1) < number
        latest[lane] = number


def every_ask_ended_once(history: History, schedule: Schedule) -> None:
    assert len([found for found in history.asked if found[1]]) == sum(
        step.act == "ask" for steps in schedule for step in steps
    )
    for mark, deadline, end, found in history.asked:
        if deadline:
            gone = isinstance(found, NoSuchActor) and history.ended
            assert found == mark[1] or isinstance(found, EXPECTED) or gone
            assert end <= deadline + 1e-9
            if history.done.get(mark, deadline) < deadline and not history.fired:
                assert found == mark[1]


def bounds_hold(history: History, capacity: int, most: int | None) -> None:
    assert history.together <= 1
    assert history.deepest <= capacity
    assert most is None or history.most <= most
    assert history.drift == 0
    assert history.touched == 0


def accounted_for(history: History) -> int:
    dead = history.dead.total() - history.dead["late_reply"]  # those were handled, only too late
    return history.answered + dead + refused_at_the_door(history)


def cancels_take_effect_at_once(history: History) -> None:
    told: defaultdict[tuple[str, str], set[Mark]] = defaultdict(set)
    gone: set[Mark] = set()
    running: dict[str, tuple[str, Mark]] = {}
    due: dict[Mark, float] = {}
    for what, actor, key, mark, when in history.log:
        match what:
            case "tell":
                told[actor, key].add(mark)
            case "cancel":
                gone |= told[actor, key]
                if actor in running and running[actor][0] == key:
                    due[running[actor][1]] = when
            case "begun":
                assert mark not in gone
                running[actor] = key, mark
            case "ended":
                assert due.get(mark, when) == when
                del running[actor]


def nothing_begins_while_suspended(history: History) -> None:
    suspended: set[str] = set()
    for what, actor, *_ in history.log:
        match what:
            case "suspend":
                suspended.add(actor)
            case "resume":
                suspended.discard(actor)
            case "begun":
                assert actor not in suspended


# --- lives ----------------------------------------------------------------------------------------


@many
@given(schedules(TROUBLE, names="abcd", senders=2, longest=8), st.sampled_from((*STATIC, Strategy.DYNAMIC)))
def test_whatever_crashes_the_children_are_back_in_the_end_and_in_order(schedule: Schedule, strategy: Strategy) -> None:
    """I6, I7."""
    history = play(schedule, names="abcd", strategy=strategy)

    assert set(history.running) == set("abcd")
    who_crashed_starts_again(history)
    if strategy in (Strategy.REST_FOR_ONE, Strategy.ONE_FOR_ALL):
        started_forward_and_stopped_in_reverse(history, "abcd")


def who_crashed_starts_again(history: History) -> None:
    for name in "abcd":
        own = [event[0] for _, event in history.life if event[1:] == name and event[0] != "!"]
        assert all(after == "+" for before, after in pairwise(own) if before == "x")
        assert own[-1] != "x"


def started_forward_and_stopped_in_reverse(history: History, names: str) -> None:
    """Nobody starts before those it needs were started, nobody is stopped before those who need it."""
    up: set[str] = set()
    stopped: set[str] = set(names)
    for _, event in history.life:
        what, name = event[0], event[1:]
        if what == "+":
            assert not stopped & set(names[: names.index(name)])
            up.add(name)
            stopped.discard(name)
        elif what == "-":
            assert not up & set(names[names.index(name) + 1 :])
            up.discard(name)
            stopped.add(name)
        else:
            up.discard(name)


@many
@given(schedules(("crash",), names="ab", senders=2, longest=8), st.sampled_from(STATIC), st.integers(0, 3))
def test_a_static_supervisor_never_restarts_more_than_its_limit(
    schedule: Schedule, strategy: Strategy, restarts: int
) -> None:
    """I8: crashes of all its children together, in any window, until it gives up."""
    limit = Limit(restarts=restarts, within=2.0)
    history = play(schedule, names="ab", strategy=strategy, limit=limit)

    crashes = [when for when, event in history.life if event.startswith("x")]
    if not history.ended:
        assert set(history.running) == set("ab")
    if strategy is Strategy.ONE_FOR_ONE:
        starts = [when for when, event in history.life if event.startswith("+")][2:]
        assert most_in_a_window(starts, limit.within) <= restarts
    assert history.ended or most_in_a_window(crashes, limit.within) <= max(1, 2 * restarts + 1)


@many
@given(schedules(("crash",), names="ab", senders=2, longest=8), st.integers(0, 3))
def test_a_dynamic_supervisor_counts_each_child_by_itself(schedule: Schedule, restarts: int) -> None:
    """I8, I9: quarantine is one child's affair."""
    limit = Limit(restarts=restarts, within=2.0)
    history = play(schedule, names="ab", strategy=Strategy.DYNAMIC, limit=limit)

    assert not history.ended
    for name in "ab":
        starts = [when for when, event in history.life if event == f"+{name}"][1:]
        assert most_in_a_window(starts, limit.within) <= max(1, restarts) + 1
        if f"x{name}" not in {event for _, event in history.life}:
            assert history.running[name] == 1


def most_in_a_window(times: list[float], within: float) -> int:
    """The most of `times` that lie within so many seconds of each other."""
    return max((sum(start <= other < start + within for other in times) for start in times), default=0)


@many
@given(schedules(("crash", "kill", "tell", "ask"), names="ab", senders=2, longest=8), st.sampled_from(Restart))
def test_only_those_who_may_come_back_do(schedule: Schedule, restart: Restart) -> None:
    history = play(schedule, names="ab", restart=restart)

    if restart is Restart.TEMPORARY:
        assert set(history.running.values()) <= {1}
    else:
        assert set(history.running) == set("ab")


@many
@given(
    st.lists(st.tuples(st.sampled_from("kl"), st.sampled_from((0.0, 0.0, 4.0, 5.0, 9.0, 10.0, 14.9, 15.0, 60.0)))),
    st.sampled_from((0.0, 5.0, 10.0)),
    st.integers(1, 2),
)
def test_passivation_loses_no_message(messages: list[tuple[str, float]], idle: float, most: int) -> None:
    """I14: whatever was accepted is handled, in order, by this incarnation or the next."""
    diaries: dict[str, list[str]] = {"k": [], "l": []}
    accepted: dict[str, list[str]] = {"k": [], "l": []}

    class Sleepy(Scribe):
        async def on_passivate(self, ctx: object) -> bool:
            await trio.sleep(4.5)
            return True

    async def run() -> None:
        async with open_system(NoDatabase(), seed=1) as system:
            sleepy = Virtual(lambda address: Sleepy(address.name, diaries[address.name]), idle=idle, most=most)
            await system.start(Child("/", lambda: Supervisor([Child("s", lambda: sleepy)])))
            for number, (key, delay) in enumerate(messages):
                await trio.sleep(delay)
                told = system.tell(Address("s", "acme", key), Say(text=str(number)))
                assert told is Told.ACCEPTED or (told is Told.FULL and most == 1)
                if told is Told.ACCEPTED:
                    accepted[key].append(str(number))
            await trio.sleep(10)  # a stop would overtake the last one

    in_virtual_time(run)
    for key, diary in diaries.items():
        assert [text for text in diary if text.isdigit()] == accepted[key]
        lives = [text for text in diary if not text.isdigit()]
        assert all(first != second for first, second in pairwise(lives) if first.startswith("-"))
