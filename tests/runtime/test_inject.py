"""Faults on purpose: what each does, when, how often, to whom never, and how they end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from goclaw.runtime.address import Address
from goclaw.runtime.child import Child, Limit, Restart, Strategy
from goclaw.runtime.faults import ActorCrashed, ActorStopped
from goclaw.runtime.inject import Fault, Injector, chance, like, matches
from goclaw.runtime.message import Suspend
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import System
from tests.runtime.house import Boom, Say, Scribe, Wait, cell, house, outcome, quiet, scribes

A, B = Address("a"), Address("b")


@contextmanager
def plan(system: System, *faults: Fault, seed: int = 1, **options: Any) -> Iterator[Injector]:
    injector = Injector(system, faults, seed, **options)
    injector.start()
    try:
        yield injector
    finally:
        injector.stop()


@asynccontextmanager
async def one(diary: list[str], *faults: Fault, **options: Any) -> AsyncIterator[tuple[System, Injector]]:
    """An actor at /a, and a plan for it."""
    async with house(*scribes(["a"], diary)) as system:
        with plan(system, *faults, **options) as injector:
            yield system, injector


def looked_at(system: System) -> bool:
    """Messages pass a lens."""
    return system.lens is not None


async def tell(system: System, *texts: str, to: Address = A) -> None:
    """One after the other, each handled, and whoever crashed of it restarted."""
    for text in texts:
        system.tell(to, Say(text=text))
        await trio.sleep(1)


# --- what ---------------------------------------------------------------------------------------


async def test_a_crash_comes_before_the_handler_and_says_which_plan_it_was(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with one(diary, Fault(path="/a", what="crash", nth=1), name="p1") as (system, injector):
        assert isinstance(await outcome(system.ask(A, Say(text="lost"), 5)), ActorCrashed)
        await tell(system, "next")

        assert diary == ["+a", "+a", "next"]
        assert [crash.injected for crash in system.crashes.records] == ["p1"]
        assert injector.fired == {"crash": 1}


async def test_a_crash_after_its_work_is_done(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with one(diary, Fault(path="/a", what="crash_after", nth=1)) as (system, _):
        assert isinstance(await outcome(system.ask(A, Say(text="done"), 5)), ActorCrashed)
        await tell(system, "next")

        assert diary == ["+a", "done", "+a", "next"]


async def test_a_crash_of_its_own_is_none_of_the_plans(autojump_clock: MockClock) -> None:
    async with one([], Fault(path="/a", what="crash_after", nth=1, message="*.say")) as (system, _):
        await outcome(system.ask(A, Boom(), 5))

        assert [crash.injected for crash in system.crashes.records] == [""]


@pytest.mark.parametrize("what", ["delay", "hang"])
async def test_a_held_handler_holds_the_messages_behind_it_and_no_others(autojump_clock: MockClock, what: Any) -> None:
    diary: list[str] = []
    async with house(*scribes(["a", "b"], diary)) as system:
        with plan(system, Fault(path="/a", what=what, nth=1, seconds=3)):
            for to, text in ((A, "first"), (A, "second"), (B, "elsewhere")):
                system.tell(to, Say(text=text))
            await trio.sleep(2.9)
            assert diary[2:] == ["elsewhere"]
            await trio.sleep(0.2)
            assert diary[2:] == ["elsewhere", "first", "second"]


async def test_only_what_is_told_can_be_dropped_and_leaves_a_dead_letter(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with one(diary, Fault(path="/a", what="drop", every=1, times=9)) as (system, injector):
        assert await system.ask(A, Say(text="asked"), 5) == "asked"
        await tell(system, "told")

        assert diary == ["+a", "asked"]
        assert [(letter.type, letter.reason) for letter in system.dead_letters.records] == [("house.say", "injected")]
        assert injector.fired == {"drop": 1}


async def test_only_what_is_told_can_be_doubled_and_once(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with one(diary, Fault(path="/a", what="duplicate", every=1, times=9)) as (system, injector):
        assert await system.ask(A, Say(text="asked"), 5) == "asked"
        await tell(system, "told")

        assert diary == ["+a", "asked", "told", "told"]
        assert injector.fired == {"duplicate": 1}


async def test_a_kill_takes_a_message_of_any_type(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with one(diary, Fault(path="/a", what="kill", nth=1, message="nothing.like_it")) as (system, _):
        assert isinstance(await outcome(system.ask(A, Say(text="lost"), 5)), ActorStopped)
        await tell(system, "next")

        assert diary == ["+a", "+a", "next"]
        assert not system.crashes.records


async def test_a_lost_lease_ends_the_actor_without_a_goodbye(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with one(diary, Fault(path="/a", what="lease_lost", nth=1)) as (system, _):
        await tell(system, "lost", "next")

        assert diary == ["+a", "+a", "next"]


async def test_a_kill_at_a_time_needs_no_message(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(*scribes(["a", "b", "c"], diary)) as system:
        with plan(system, Fault(path="/*", what="kill", at=2, times=2)) as injector:
            await injector.strike()
            assert trio.current_time() == pytest.approx(2, abs=0.01)
            await trio.sleep(1)

            assert sorted(diary[3:]) == ["+a", "+b"]
            assert injector.fired == {"kill": 2}


async def test_signals_are_never_touched(autojump_clock: MockClock) -> None:
    async with one([], Fault(path="/**", what="crash", every=1, times=1000)) as (system, injector):
        cell(system, "a").signal(Suspend())
        await quiet()

        assert not injector.fired


# --- when ---------------------------------------------------------------------------------------

SIX = ["1", "2", "3", "4", "5", "6"]


@pytest.mark.parametrize(
    ("when", "left"),
    [
        ({"nth": 3}, "12456"),
        ({"every": 2, "times": 9}, "135"),
        ({"every": 2, "times": 2}, "1356"),
        ({"at": 2.5, "times": 2}, "1236"),
        ({"at": 0, "times": 9}, ""),
        ({"nth": 1, "message": "*.boom"}, "123456"),
        ({"nth": 1, "message": "house.*"}, "23456"),
    ],
)
async def test_when_a_line_fires(autojump_clock: MockClock, when: dict[str, Any], left: str) -> None:
    diary: list[str] = []
    async with one(diary, Fault(path="/a", what="drop", **when)) as (system, _):
        await tell(system, *SIX)

        assert "".join(diary[1:]) == left


async def test_messages_are_counted_for_each_path(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(*scribes(["a", "b"], diary)) as system:
        with plan(system, Fault(path="/*", what="drop", nth=2, times=9)):
            for text in "12":
                await tell(system, f"a{text}", to=A)
                await tell(system, f"b{text}", to=B)

            assert diary[2:] == ["a1", "b1"]


async def test_every_line_counts_for_itself(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    lines = (Fault(path="/a", what="drop", nth=1), Fault(path="/a", what="duplicate", nth=2))
    async with one(diary, *lines) as (system, injector):
        await tell(system, *SIX[:3])

        assert diary[1:] == ["2", "2", "3"]
        assert injector.fired == {"drop": 1, "duplicate": 1}


# --- the same again -----------------------------------------------------------------------------


async def hits(order: str, **options: Any) -> dict[str, list[str]]:
    """Which of 40 messages to each of two actors were not dropped, when they come in this order."""
    written: dict[str, list[str]] = {"a": [], "b": []}
    async with house(*(Child(name, Scribe, (name, diary)) for name, diary in written.items())) as system:
        with plan(system, Fault(path="/*", what="drop", probability=0.3, times=1000), **options):
            counts = dict.fromkeys(order, 0)
            for name in order:
                counts[name] += 1
                system.tell(Address(name), Say(text=str(counts[name])))
            await quiet()
    return {name: [text for text in diary if text.isdigit()] for name, diary in written.items()}


async def test_equal_traffic_meets_equal_faults_whatever_its_order(autojump_clock: MockClock) -> None:
    first = await hits("ab" * 40, seed=7)

    assert first == await hits("a" * 40 + "b" * 40, seed=7)
    assert first != await hits("ab" * 40, seed=8)
    assert first["a"] != first["b"]
    assert all(15 < len(left) < 40 for left in first.values())


async def test_paths_of_one_name_have_one_luck(autojump_clock: MockClock) -> None:
    same = await hits("ab" * 40, seed=7, known_as=lambda path: "one")

    assert same["a"] == same["b"]


def test_a_chance_is_a_number_that_nothing_else_changes() -> None:
    drawn = [chance(1, item, path, count) for item in range(3) for path in ("/a", "/b") for count in range(500)]

    assert drawn == [chance(1, item, path, count) for item in range(3) for path in ("/a", "/b") for count in range(500)]
    assert len(set(drawn)) == len(drawn)
    assert 0 <= min(drawn) < 0.01
    assert 0.99 < max(drawn) < 1
    assert sum(drawn) / len(drawn) == pytest.approx(0.5, abs=0.02)


# --- limits -------------------------------------------------------------------------------------


async def test_a_plan_has_so_many_faults_and_says_when_they_are_used_up(autojump_clock: MockClock) -> None:
    async with one([], Fault(path="/a", what="drop", every=1, times=1000), most=3) as (system, injector):
        await tell(system, *SIX[:2])
        assert not injector.full.is_set()
        await tell(system, *SIX[2:])

        assert injector.full.is_set()
        assert (injector.fired, injector.skipped) == ({"drop": 3}, {"limit": 3})


async def test_so_many_handlers_hang_at_a_time_and_delays_are_not_counted(autojump_clock: MockClock) -> None:
    lines = (
        Fault(path="/h*", what="hang", nth=1, seconds=50, times=9),
        Fault(path="/d", what="delay", nth=1, seconds=50),
    )
    names = ["d", "h1", "h2", "h3"]
    async with house(*scribes(names, [])) as system:
        with plan(system, *lines, hangs=2) as injector:
            for name in names:
                system.tell(Address(name), Say(text="x"))
            await quiet()

            assert (injector.fired, injector.skipped) == ({"hang": 2, "delay": 1}, {"limit": 1})


# --- whom never ---------------------------------------------------------------------------------


async def test_a_protected_path_is_counted_and_left_alone(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(*scribes(["a", "b"], diary)) as system:
        with plan(
            system, Fault(path="/**", what="crash", every=1, times=9), protected=lambda path: path == A
        ) as injector:
            await tell(system, "1", "2", to=A)
            await tell(system, "3", to=B)

            assert diary == ["+a", "+b", "1", "2", "+b"]
            assert (injector.fired, injector.skipped) == ({"crash": 1}, {"protected": 2})


def branch(*children: Child, **options: Any) -> Supervisor:
    return Supervisor(children, **options)


async def struck(system: System, *paths: str, **options: Any) -> Injector:
    """A plan that kills all it may at these paths, at once."""
    faults = [Fault(path=path, what="kill", at=0, times=1000) for path in paths]
    with plan(system, *faults, **options) as injector:
        await injector.strike()
        await trio.sleep(20)
    return injector


async def test_who_has_a_protected_child_is_not_killed(autojump_clock: MockClock) -> None:
    async with house(Child("x", branch, tuple(scribes(["a", "b"], [])))) as system:
        injector = await struck(system, "/**", protected=lambda path: path == "/x/a")

        assert (injector.fired, injector.skipped) == ({"kill": 1}, {"protected": 3})
        assert [cell(system, *path).incarnation for path in (("x",), ("x", "a"), ("x", "b"))] == [1, 1, 2]


async def test_who_would_be_restarted_with_a_protected_sibling_is_not_killed(autojump_clock: MockClock) -> None:
    async with house(*scribes(["a", "b", "c"], []), strategy=Strategy.REST_FOR_ONE) as system:
        injector = await struck(system, "/*", protected=lambda path: path == B)

        assert (injector.fired, injector.skipped) == ({"kill": 1}, {"protected": 2})
        assert [cell(system, name).incarnation for name in "abc"] == [1, 1, 2]


async def test_nobody_is_killed_whose_supervisor_would_give_up_and_take_a_protected_one_down(
    autojump_clock: MockClock,
) -> None:
    names = ["a", "b", "c", "d", "e"]
    async with house(
        Child("safe", Scribe),
        Child("x", branch, tuple(scribes(names, []))),  # 3 restarts in 5 s
        strategy=Strategy.ONE_FOR_ALL,
    ) as system:
        injector = await struck(system, "/x/*", protected=lambda path: path == "/safe")

        assert (injector.fired, injector.skipped) == ({"kill": 3}, {"limit": 2})
        assert system.escalations == 0
        assert cell(system, "safe").incarnation == 1


async def test_a_supervisor_may_give_up_if_nothing_protected_goes_with_it(autojump_clock: MockClock) -> None:
    names = ["a", "b", "c", "d", "e"]
    async with house(Child("safe", Scribe), Child("x", branch, tuple(scribes(names, [])))) as system:
        injector = await struck(system, "/x/*", protected=lambda path: path == "/safe")

        assert injector.fired == {"kill": 5}
        assert system.escalations == 1
        assert (cell(system, "x").incarnation, cell(system, "safe").incarnation) == (2, 1)


async def test_an_actor_that_ends_already_is_not_killed_again(autojump_clock: MockClock) -> None:
    async with house(*scribes(["a"], [])) as system:
        injector = await struck(system, "/a", "/a")

        assert (injector.fired, injector.skipped) == ({"kill": 1}, {"gone": 1})


async def test_children_that_are_never_restarted_cost_their_supervisor_nothing(autojump_clock: MockClock) -> None:
    names = ["a", "b", "c", "d", "e"]
    children = tuple(scribes(names, [], restart=Restart.TEMPORARY))
    safe = Child("safe", Scribe)
    async with house(safe, Child("x", branch, children), strategy=Strategy.ONE_FOR_ALL) as system:
        injector = await struck(system, "/x/*", protected=lambda path: path == "/safe")

        assert injector.fired == {"kill": 5}
        assert system.escalations == 0


# --- the end ------------------------------------------------------------------------------------


async def test_a_stop_lets_hung_handlers_go_on_at_once(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with one(diary, Fault(path="/a", what="hang", nth=1, seconds=60)) as (system, injector):
        system.tell(A, Say(text="hung"))
        await trio.sleep(1)
        injector.stop()
        injector.stop()
        await quiet()

        assert trio.current_time() < 2
        assert diary == ["+a", "hung"]
        assert not looked_at(system)


async def test_without_a_plan_nobody_looks(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with one(diary, Fault(path="/a", what="drop", every=1, times=9)) as (system, injector):
        assert looked_at(system)
        injector.stop()
        assert not looked_at(system)
        await tell(system, "safe")

        assert diary == ["+a", "safe"]


async def test_two_plans_at_once_are_refused(autojump_clock: MockClock) -> None:
    async with one([]) as (system, first):
        second = Injector(system, [], 1)
        with pytest.raises(RuntimeError, match="a plan runs already"):
            second.start()
        second.stop()
        assert looked_at(system)
        first.stop()
        second.start()
        second.stop()


async def test_a_calm_plan_hits_nobody_and_watches_until_all_is_well_again(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with one(diary, Fault(path="/a", what="drop", every=1, times=9)) as (system, injector):
        await tell(system, "lost")
        injector.calm()
        assert looked_at(system)
        await trio.sleep(4)
        await tell(system, "safe")

        assert diary == ["+a", "safe"]
        assert injector.recoveries == [pytest.approx(5)]
        assert not looked_at(system)


async def test_a_recovery_is_the_time_to_the_next_message_that_is_handled(autojump_clock: MockClock) -> None:
    lines = (Fault(path="/a", what="delay", nth=1, seconds=2), Fault(path="/a", what="crash", nth=2))
    async with one([], *lines) as (system, injector):
        system.tell(A, Say(text="1"))
        await trio.sleep(3)
        await tell(system, "2", "3")

        assert injector.recoveries == [pytest.approx(2), pytest.approx(1)]


async def test_who_is_killed_while_it_is_held_is_restarted(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    lines = (Fault(path="/a", what="hang", nth=1, seconds=60), Fault(path="/a", what="kill", at=1))
    async with one(diary, *lines) as (system, injector):
        system.tell(A, Wait(seconds=1))
        await injector.strike()
        await tell(system, "next")

        assert diary == ["+a", "+a", "next"]


# --- globs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("glob", "path", "fits"),
    [
        ("/a", "/a", True),
        ("/a", "/a/b", False),
        ("/*", "/a", True),
        ("/*", "/a/b", False),
        ("/*", "/", False),
        ("/", "/", True),
        ("/**", "/", True),
        ("/**", "/a/b/c", True),
        ("/a/**", "/a", True),
        ("/a/**", "/a/b/c", True),
        ("/a/**", "/ab", False),
        ("/**/c", "/a/b/c", True),
        ("/**/c", "/a/c/b", False),
        ("/a/*/c", "/a/b/c", True),
        ("/a/*/c", "/a/b/b/c", False),
        ("/a/**/c/**/e", "/a/b/c/c/d/e", True),
        ("/s/*/agent:*:ws:*", "/s/t/agent:x:ws:direct:1", True),
        ("/s/*/agent:*:ws:*", "/s/t/agent:x:http:1", False),
        ("/a.b", "/axb", False),
    ],
)
def test_a_glob(glob: str, path: str, fits: bool) -> None:
    assert matches(glob, path) is fits


def test_no_glob_takes_long() -> None:
    stars, path = "/" + "/".join(["**", "*a*a*a*a*b"] * 60), "/" + "/".join(["a" * 60] * 16)

    assert not matches(stars, path)
    assert not like("*a" * 50 + "b", "a" * 500)


async def test_an_escalation_needs_a_budget_that_is_used_up(autojump_clock: MockClock) -> None:
    """Restarts that are long past count no more."""
    children = (Child("safe", Scribe), Child("x", branch, tuple(scribes(["a", "b"], []))))
    lines = [Fault(path="/x/*", what="kill", at=at, times=9) for at in (0, 20, 40)]
    async with house(*children, strategy=Strategy.ONE_FOR_ALL, limit=Limit(restarts=1, within=60)) as system:
        with plan(system, *lines, protected=lambda path: path == "/safe") as injector:
            await injector.strike()
            await trio.sleep(20)

        assert (injector.fired, injector.skipped) == ({"kill": 6}, {})
        assert system.escalations == 0
