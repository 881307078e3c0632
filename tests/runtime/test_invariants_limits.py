"""How often a child may come back, and when (supervision.md §8, §18 I8), against a model on paper.

Whole seconds only, so every edge of a window is hit: a crash exactly `within` seconds after a restart is an
ordinary example here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from goclaw.runtime import steer
from goclaw.runtime.address import Address
from goclaw.runtime.child import Backoff, Child, Limit, Restart, State, Strategy, restart_delay
from goclaw.runtime.message import Told
from goclaw.runtime.storm import Storm
from goclaw.runtime.supervisor import Supervisor, in_order
from goclaw.runtime.system import open_system
from goclaw.runtime.virtual import Virtual
from tests.runtime.house import PLENTY, Boom, End, NoDatabase, Say, Scribe, house, quiet
from tests.runtime.play import Crash, History, Ledger, Overflow, Schedule, in_virtual_time, many, play, schedules

STATIC = (Strategy.ONE_FOR_ONE, Strategy.REST_FOR_ONE, Strategy.ONE_FOR_ALL)


# --- restarts within a window ---------------------------------------------------------------------


@dataclass
class Paper:
    """One_for_one on paper: what §8.1, §8.3 and §8.4 say about crashes of `names` at given times."""

    limit: Limit
    backoff: Backoff
    alone: bool  # each child is counted by itself and quarantined; else they share, and the supervisor gives up
    names: str = "ab"
    starts: dict[str, list[float]] = field(default_factory=dict)
    ended: float | None = None  # when the supervisor gave up

    def __post_init__(self) -> None:
        self.starts = {name: [0.0] for name in self.names}
        self.counted: list[tuple[float, str]] = []
        self.due: dict[str, tuple[float, bool]] = {}  # when it comes back, and whether from quarantine
        self.streak: Counter[str] = Counter()
        self.quarantines: Counter[str] = Counter()

    def crash(self, name: str, now: float) -> None:
        lived = now - self.starts[name][-1]
        if lived >= self.backoff.reset_after:
            self.streak[name] = self.quarantines[name] = 0
        if self.allowed(name, now):
            self.streak[name] += 1
            wait = min(self.backoff.longest, self.backoff.first * self.backoff.factor ** (self.streak[name] - 1))
            self.due[name] = now + (0.0 if lived >= self.backoff.reset_after else wait), False

    def allowed(self, name: str, now: float) -> bool:
        lately = [at for at, who in self.counted if now - at < self.limit.within and who in (name, *self.shared)]
        if len(lately) < self.limit.restarts:
            return True
        if not self.alone:
            self.ended = now
            return False
        self.due[name] = now + min(3600.0, 60.0 * 2 ** self.quarantines[name]), True
        self.quarantines[name] += 1
        self.counted = [(at, who) for at, who in self.counted if who != name]
        return False

    @property
    def shared(self) -> str:
        return "" if self.alone else self.names

    def pass_time(self, until: float) -> None:
        """Everything that is due until then, earliest first."""
        while self.ended is None and self.due:
            name, (at, quarantined) = min(self.due.items(), key=lambda entry: entry[1][0])
            if at > until:
                return
            del self.due[name]
            if quarantined or self.allowed(name, at):
                self.counted.append((at, name))
                self.starts[name].append(at)


crashes = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from((0, 0, 1, 1, 2, 3, 4, 5, 6, 60))), max_size=12)
limits = st.builds(Limit, restarts=st.integers(0, 3), within=st.sampled_from((1.0, 2.0, 4.0, 5.0)))
backoffs = st.builds(
    Backoff,
    first=st.sampled_from((0.0, 1.0, 2.0)),
    longest=st.sampled_from((2.0, 3.0)),
    jitter=st.just(0.0),
    reset_after=st.sampled_from((2.0, 5.0, 60.0)),
)


@many
@given(crashes, limits, backoffs, st.booleans())
def test_restarts_happen_when_and_as_often_as_the_contract_says(
    script: list[tuple[str, int]], limit: Limit, backoff: Backoff, alone: bool
) -> None:
    """I8 to the second: back-off, window, escalation, quarantine and its end."""
    paper = Paper(limit, backoff, alone)
    history = History()
    strategy = Strategy.DYNAMIC if alone else Strategy.ONE_FOR_ONE

    async def run() -> None:
        make = (history, 100, Overflow.REJECT)
        children = [Child(name, Ledger, (name, *make), backoff=backoff) for name in "ab"]
        async with house(*children, strategy=strategy, limit=limit) as system:
            for name, gap in script:
                with trio.move_on_after(gap):
                    await system.ended.wait()
                await quiet()
                paper.pass_time(trio.current_time())
                if paper.ended is not None:
                    break
                if name not in paper.due:
                    found = system.cell(Address(name))
                    assert found is not None
                    assert found.state is State.RUNNING
                    assert system.tell(Address(name), Crash()) is Told.ACCEPTED
                    paper.crash(name, trio.current_time())
                    await quiet()
                    paper.pass_time(trio.current_time())
            with trio.move_on_after(5_000):
                await system.ended.wait()
            paper.pass_time(trio.current_time())
            if paper.ended is None:
                assert not system.ended.is_set()
            else:
                assert (system.ended.is_set(), trio.current_time()) == (True, paper.ended)

    in_virtual_time(run)
    for name in "ab":
        assert [when for when, event in history.life if event == f"+{name}"] == paper.starts[name]
        within = [sum(0 <= later - at < limit.within for later in paper.starts[name][1:]) for at in paper.starts[name]]
        assert max(within) <= max(limit.restarts, 1)


@many
@given(
    st.integers(1, 200),
    st.builds(
        Backoff,
        first=st.sampled_from((0.0, 0.1, 1.0)),
        longest=st.sampled_from((0.1, 5.0, 30.0)),
        factor=st.sampled_from((1.0, 2.0, 10.0)),
        jitter=st.sampled_from((0.0, 0.2, 1.0)),
    ),
    st.integers(),
)
def test_a_rest_lies_within_its_jitter(attempt: int, spec: Backoff, seed: int) -> None:
    middle = min(spec.longest, spec.first * spec.factor ** (attempt - 1))

    rest = restart_delay(attempt, spec, Random(seed))

    assert middle * (1 - spec.jitter) <= rest <= middle * (1 + spec.jitter) + 1e-12


# --- storms ---------------------------------------------------------------------------------------

bursts = st.lists(
    st.tuples(
        st.sampled_from((1, 1, 9, 10, 11, 19, 20, 21, 22, 40)),  # crashes, evenly over …
        st.sampled_from((0.0, 0.5, 1.0, 9.5, 10.0)),  # … so many seconds
        st.sampled_from(("x", "x", "y")),  # their cause
        st.sampled_from((0.0, 0.5, 1.0, 5.0, 10.0, 300.0)),  # seconds of peace before
    ),
    max_size=8,
)


@many
@given(bursts, st.sampled_from((1, 20, 400, 420, 440, 1_000)))
def test_a_storm_is_more_than_twenty_crashes_a_second_or_one_cause_for_a_twentieth_of_all(
    script: list[tuple[int, float, str, float]], children: int
) -> None:
    storm, now = Storm(), 0.0
    seen: list[tuple[float, str]] = []
    storms: list[float] = []
    for count, seconds, cause, peace in script:
        now += peace
        for number in range(count):
            at = now + round(64 * seconds * number / count) / 64  # exact, so that edges are edges
            began = storm.crash(at, cause, children)

            seen.append((at, cause))
            a_second = sum(at - when < 1.0 for when, _ in seen)
            alike = sum(at - when < 10.0 and why == cause for when, why in seen)
            calm = not storms or at >= storms[-1] + 5.0
            expected = calm and (a_second > 20 or (alike > 20 and alike > children / 20))
            assert began == expected
            if began:
                seen.clear()
                storms.append(at)
                assert storm.until == at + 5.0
                assert storm.relentless == (sum(at - when < 300.0 for when in storms) >= 3)
        now += seconds


@many
@given(
    st.lists(
        st.tuples(st.sampled_from((5, 21)), st.sampled_from((0.0, 1.0, 4.0, 5.0))),
        min_size=1,
        max_size=2,
    ),
    st.sampled_from((0.0, 1.0, 4.0)),
)
def test_nobody_starts_again_while_a_storm_blows(script: list[tuple[int, float]], first: float) -> None:
    """I9, §8.4: also those whose rest was over sooner."""
    history = History()
    names = [f"{number}" for number in range(3)]
    pauses: list[float] = []

    async def run() -> None:
        make = (history, 100, Overflow.REJECT)
        rest = Backoff(first=first, factor=1.0, jitter=0.0)
        children = [Child(name, Ledger, (name, *make), backoff=rest) for name in names]
        async with house(*children, strategy=Strategy.DYNAMIC, limit=PLENTY) as system:
            for count, peace in script:
                await trio.sleep(peace)
                for number in range(count):
                    system.tell(Address(names[number % 3]), Crash())
                    await quiet()
                    storm = system.root.family.storm if system.root is not None else None
                    if storm is not None and storm.until > trio.current_time():
                        pauses.append(storm.until)
            with trio.move_on_after(600):
                await system.ended.wait()

    in_virtual_time(run)
    for when, event in history.life:
        assert event[0] != "+" or not any(until - 5.0 < when < until for until in pauses)


# --- operators ------------------------------------------------------------------------------------

ORDERS = ("restart", "restart", "restart_by_force", "stop", "stop_by_force", "tell")


@many
@given(
    schedules(ORDERS, names="abc", senders=2, longest=8), st.sampled_from((*STATIC, Strategy.DYNAMIC)), st.booleans()
)
def test_what_an_operator_orders_is_never_counted(schedule: Schedule, strategy: Strategy, dormant: bool) -> None:
    """Not one crash is allowed here."""
    history = play(schedule, strategy=strategy, limit=Limit(restarts=0), dormant=dormant)

    assert not history.ended
    assert set(history.states.values()) <= {"running", "stopped"}


@many
@given(
    schedules((*ORDERS, "crash", "crash"), names="abc", senders=1),
    st.sampled_from((*STATIC, Strategy.DYNAMIC)),
    st.booleans(),
)
def test_who_was_stopped_stays_so_until_an_operator_says_otherwise(
    schedule: Schedule, strategy: Strategy, dormant: bool
) -> None:
    history = play(schedule, strategy=strategy, dormant=dormant)

    last = {step.receiver: step.act for step in schedule[0] if step.act in ORDERS and step.act != "tell"}
    for name in "abc":
        assert history.states[name] == ("stopped" if last.get(name, "").startswith("stop") else "running")


@many
@given(
    st.lists(
        st.tuples(
            st.sampled_from(("boom", "boom", "restart", "stop", "say")), st.sampled_from((0.0, 0.0, 1.0, 30.0, 61.0))
        ),
        max_size=10,
    ),
    st.integers(0, 2),
)
def test_a_virtual_actor_an_operator_stopped_comes_back_with_its_next_message(
    script: list[tuple[str, float]], restarts: int
) -> None:
    """Whatever had happened to it before. Else a quarantine lasts its time."""
    diary: list[str] = []
    key = Address("v", "acme", "k")
    limit = Limit(restarts=restarts, within=5.0)

    async def run() -> None:
        virtual = Virtual(lambda address: Scribe(diary=diary), idle=3600.0, most=10, limit=limit)
        async with open_system(NoDatabase(), seed=1) as system:
            await system.start(Child("/", lambda: Supervisor([Child("v", lambda: virtual)])))
            rests_until = 0.0
            for number, (what, gap) in enumerate(script):
                await trio.sleep(gap)
                await quiet()
                found = system.cell(key)
                resting = found is not None and found.state is State.QUARANTINED
                assert resting or trio.current_time() >= rests_until
                match what:
                    case "boom" | "say":
                        told = system.tell(key, Boom() if what == "boom" else Say(text="x"))
                        assert told is (Told.CLOSED if resting else Told.ACCEPTED)
                    case "restart" if found is not None:
                        steer.restart(system, key)
                    case "stop" if found is not None and not found.mailbox.user:  # else it may crash again
                        steer.stop(system, key)
                        await quiet()
                        assert system.tell(key, Say(text=f"after {number}")) is Told.ACCEPTED
                        await trio.sleep(10)
                        assert f"after {number}" in diary
                await quiet()
                found = system.cell(key)
                rests_until = found.past.quarantined_until if found and found.state is State.QUARANTINED else 0.0

    in_virtual_time(run)


# --- tables of contents ---------------------------------------------------------------------------

tables = st.lists(
    st.tuples(st.sampled_from("abcde"), st.lists(st.sampled_from("abcdez"), max_size=2)),
    unique_by=lambda row: row[0],
    max_size=5,
)


@many
@given(tables)
def test_nobody_starts_before_those_it_depends_on(table: list[tuple[str, list[str]]]) -> None:
    children = [Child(name, Scribe, depends_on=tuple(needs)) for name, needs in table]
    names = [name for name, _ in table]
    needs = dict(table)

    def circular(name: str, above: tuple[str, ...] = ()) -> bool:
        return name in above or any(circular(other, (*above, name)) for other in needs[name])

    unknown = any(other not in needs for row in needs.values() for other in row)
    if unknown or any(circular(name) for name in names):
        with pytest.raises(ValueError, match="depend"):
            in_order(children)
        return
    order = [child.id for child in in_order(children)]
    assert sorted(order) == sorted(names)
    assert all(order.index(other) < order.index(name) for name in names for other in needs[name])
    if all(names.index(other) < names.index(name) for name in names for other in needs[name]):
        assert order == names


@many
@given(
    st.sets(st.sampled_from("abc")),
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(("end", "crash"))), max_size=6),
    st.booleans(),
)
def test_the_normal_ends_of_significant_children_end_their_supervisor(
    significant: set[str], script: list[tuple[str, str]], ends_with_all: bool
) -> None:
    ended: list[bool] = []
    expected: list[bool] = []

    async def run() -> None:
        children = [
            Child(name, Scribe, restart=Restart.TRANSIENT, significant=name in significant, backoff=Backoff(first=0.1))
            for name in "abc"
        ]
        async with house(*children, ends_with_all=ends_with_all) as system:
            alive = set("abc")
            for name, how in script:
                if name in alive and not any(expected):
                    system.tell(Address(name), End() if how == "end" else Boom())
                    if how == "end":
                        alive.discard(name)
                        over = name in significant and not (ends_with_all and alive & significant)
                        expected.append(over)
                    await trio.sleep(1)
                    if how == "end":
                        ended.append(system.ended.is_set())

    in_virtual_time(run)
    assert ended == expected
