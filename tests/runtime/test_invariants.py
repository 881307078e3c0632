"""Rules that hold whatever happens (supervision.md §18), over random schedules in virtual time."""

from __future__ import annotations

from itertools import pairwise

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from trio.testing import MockClock

from goclaw.runtime.address import Address
from goclaw.runtime.child import Child, Limit, Restart, Strategy
from goclaw.runtime.faults import ActorCrashed, ActorStopped, AskTimeout, MailboxFull, QueueDropped
from goclaw.runtime.mailbox import Overflow
from goclaw.runtime.message import Told
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import open_system
from goclaw.runtime.virtual import Virtual
from tests.runtime.house import NoDatabase, Say, Scribe
from tests.runtime.play import History, Schedule, play, refused_at_the_door, schedules

MESSAGES = ("tell", "tell", "tell", "ask", "ask", "crash", "kill", "suspend", "resume")
TROUBLE = ("crash", "crash", "crash", "kill")
EXPECTED = (ActorCrashed, ActorStopped, AskTimeout, MailboxFull, QueueDropped)
STATIC = (Strategy.ONE_FOR_ONE, Strategy.REST_FOR_ONE, Strategy.ONE_FOR_ALL)

many = settings(max_examples=100, deadline=None)


@many
@given(schedules(MESSAGES), st.sampled_from(Overflow), st.booleans(), st.integers(1, 4))
def test_messages_keep_their_order_and_none_disappears(
    schedule: Schedule, overflow: Overflow, dormant: bool, capacity: int
) -> None:
    """I1, I2, I3, I5."""
    history = play(schedule, overflow=overflow, dormant=dormant, capacity=capacity)

    in_order(history)
    every_ask_ended_once(history, asks=sum(step.act == "ask" for steps in schedule for step in steps))
    assert history.together <= 1
    assert history.deepest <= capacity
    sent = sum(step.act in ("tell", "ask") for steps in schedule for step in steps)
    dead = history.dead.total() - history.dead["late_reply"]  # those were handled, only too late
    assert sent == history.answered + dead + refused_at_the_door(history)


def in_order(history: History) -> None:
    latest: dict[tuple[int, str], int] = {}
    for sender, receiver, number in history.handled:
        assert latest.get((sender, receiver), -1) < number
        latest[sender, receiver] = number


def every_ask_ended_once(history: History, asks: int) -> None:
    assert len(history.asked) == asks
    for number, deadline, end, found in history.asked:
        assert found == number or isinstance(found, EXPECTED)
        assert end <= deadline + 1e-9


@many
@given(schedules(TROUBLE, names="abcd", senders=2), st.sampled_from((*STATIC, Strategy.DYNAMIC)))
def test_whatever_crashes_the_children_are_back_in_the_end_and_in_order(schedule: Schedule, strategy: Strategy) -> None:
    """I6, I7."""
    history = play(schedule, names="abcd", strategy=strategy)

    assert set(history.running) == set("abcd")
    if strategy in (Strategy.REST_FOR_ONE, Strategy.ONE_FOR_ALL):
        started_forward_and_stopped_in_reverse(history, "abcd")


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
@given(schedules(("crash",), names="ab", senders=2), st.sampled_from(STATIC), st.integers(0, 3))
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
@given(schedules(("crash",), names="ab", senders=2), st.integers(0, 3))
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
@given(schedules(("crash", "kill", "tell", "ask"), names="ab", senders=2), st.sampled_from(Restart))
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

    with capture_logs():
        trio.run(run, clock=MockClock(autojump_threshold=0))
    for key, diary in diaries.items():
        assert [text for text in diary if text.isdigit()] == accepted[key]
        lives = [text for text in diary if not text.isdigit()]
        assert all(first != second for first, second in pairwise(lives) if first.startswith("-"))
