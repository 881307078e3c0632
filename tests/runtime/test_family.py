"""Who is restarted with whom, when, and how often."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from goclaw.runtime.actor import Context
from goclaw.runtime.address import Address
from goclaw.runtime.child import Backoff, Child, Exhausted, Limit, Restart, State, Strategy
from goclaw.runtime.faults import Rejected
from goclaw.runtime.message import Cancel, Told
from goclaw.runtime.supervisor import Supervisor
from tests.runtime.house import PLENTY, Boom, End, Say, Scribe, Wait, cell, house, outcome, quiet, scribes

A, B, C, D = (Address(name) for name in "abcd")
EXACT = Backoff(first=1.0, longest=8.0, jitter=0.0)
LIMIT = Limit(restarts=3, within=5.0)


class Moody(Scribe):
    """Does not come up as long as its name is in `ill`."""

    ill: set[str]

    async def on_start(self, ctx: Context) -> None:
        if self.name in self.ill:
            self.diary.append(f"!{self.name}")
            raise RuntimeError("ill")
        await super().on_start(ctx)


def moody(names: str, diary: list[str], ill: set[str]) -> list[Child]:
    kind = type("Moody", (Moody,), {"ill": ill})
    return [Child(name, kind, (name, diary), backoff=EXACT) for name in names]


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (Strategy.ONE_FOR_ONE, ["+b"]),
        (Strategy.REST_FOR_ONE, ["-d", "-c", "+b", "+c", "+d"]),
        (Strategy.ONE_FOR_ALL, ["-d", "-c", "-a", "+a", "+b", "+c", "+d"]),
        (Strategy.DYNAMIC, ["+b"]),
    ],
)
async def test_a_strategy_says_who_stops_and_starts_in_which_order(
    strategy: Strategy, expected: list[str], autojump_clock: MockClock
) -> None:
    diary: list[str] = []
    async with house(*scribes("abcd", diary), strategy=strategy) as system:
        diary.clear()
        system.tell(B, Boom())
        await trio.sleep(5)

        assert diary == expected
        assert all(child.state is State.RUNNING for child in cell(system).children)


async def test_siblings_do_not_go_on_without_the_one_they_need(autojump_clock: MockClock) -> None:
    """They stop when it crashes, not when its back-off is over; their messages wait for them."""
    diary: list[str] = []
    children = scribes("abc", diary, backoff=Backoff(first=10.0))
    async with house(*children, strategy=Strategy.REST_FOR_ONE) as system:
        diary.clear()
        system.tell(B, Boom())
        await trio.sleep(1)
        assert diary == ["-c"]
        assert system.tell(C, Say(text="for c")) is Told.ACCEPTED

        await trio.sleep(20)
        assert diary == ["-c", "+b", "+c", "for c"]


async def test_an_earlier_crash_takes_over_a_later_ones_restart(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    children = scribes("abcd", diary, backoff=EXACT)
    async with house(*children, strategy=Strategy.REST_FOR_ONE) as system:
        diary.clear()
        system.tell(C, Boom())
        await trio.sleep(0.5)
        system.tell(A, Boom())
        await trio.sleep(0.9)
        assert diary == ["-d", "-b"]

        await trio.sleep(5)
        assert diary == ["-d", "-b", "+a", "+b", "+c", "+d"]


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
async def test_a_crash_of_two_at_once_restarts_everybody_once(strategy: Strategy, autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(*scribes("abc", diary), strategy=strategy) as system:
        diary.clear()
        for victim in (A, B):
            system.tell(victim, Boom())
        await trio.sleep(10)

        assert diary == ["-c", "+a", "+b", "+c"]


async def test_a_sibling_that_does_not_come_up_again_is_tried_again_with_its_group(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    ill: set[str] = set()
    async with house(*moody("abc", diary, ill), strategy=Strategy.ONE_FOR_ALL) as system:
        diary.clear()
        ill.add("b")
        system.tell(C, Boom())
        await trio.sleep(1.5)
        assert diary == ["-b", "-a", "+a", "!b", "-a"]

        ill.clear()
        await trio.sleep(5)
        assert diary[5:] == ["+a", "+b", "+c"]


async def test_a_temporary_sibling_stopped_with_its_group_does_not_come_back(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    temporary = scribes("b", diary, restart=Restart.TEMPORARY)
    async with house(*scribes("a", diary), *temporary, strategy=Strategy.ONE_FOR_ALL) as system:
        diary.clear()
        system.tell(A, Boom())
        await trio.sleep(5)

        assert diary == ["-b", "+a"]
        assert B not in system.members


@pytest.mark.parametrize(
    ("restart", "message", "comes_back"),
    [
        (Restart.PERMANENT, Boom(), True),
        (Restart.PERMANENT, End(), True),
        (Restart.TRANSIENT, Boom(), True),
        (Restart.TRANSIENT, End(), False),
        (Restart.TEMPORARY, Boom(), False),
        (Restart.TEMPORARY, End(), False),
    ],
)
async def test_the_restart_rule_decides_who_comes_back(
    restart: Restart, message: Boom | End, comes_back: bool, autojump_clock: MockClock
) -> None:
    async with house(Child("a", Scribe, restart=restart)) as system:
        system.tell(A, message)
        await trio.sleep(5)

        assert (A in system.members) is comes_back


async def test_the_normal_end_of_a_significant_child_ends_its_supervisor(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    significant = Child("b", Scribe, ("b", diary), restart=Restart.TRANSIENT, significant=True)
    inner = Child("inner", lambda: Supervisor([*scribes("a", diary), significant]), restart=Restart.TRANSIENT)
    async with house(inner) as system:
        system.tell(Address("inner", "b"), Boom())
        await trio.sleep(5)
        assert cell(system, "inner").incarnation == 1

        system.tell(Address("inner", "b"), End())
        await trio.sleep(5)
        assert list(system.members) == ["/"]
    assert diary == ["+a", "+b", "+b", "-b", "-a"]


async def test_restarts_wait_longer_each_time_until_a_life_was_long(autojump_clock: MockClock) -> None:
    starts: list[float] = []

    class Dated(Scribe):
        async def on_start(self, ctx: Context) -> None:
            starts.append(trio.current_time())

    child = Child("a", Dated, backoff=Backoff(first=1.0, longest=3.0, jitter=0.0, reset_after=60.0))
    async with house(child, limit=Limit(restarts=100, within=1.0)) as system:
        for _ in range(4):
            await outcome(system.ask(A, Boom(), within=60))
        await trio.sleep(100)
        system.tell(A, Boom())
        await trio.sleep(100)

    assert starts[:5] == [0.0, 1.0, 3.0, 6.0, 9.0]
    assert starts[5:] == [106.0]  # at once


async def test_more_crashes_than_allowed_escalate(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    inner = Child("inner", lambda: Supervisor(scribes("ab", diary), limit=LIMIT), backoff=EXACT)
    async with house(inner) as system:
        child = Address("inner", "a")
        for _ in range(4):
            await outcome(system.ask(child, Boom(), within=60))
        await quiet()
        assert cell(system, "inner").state is State.BACKOFF

        await trio.sleep(5)
        assert cell(system, "inner").incarnation == 2
        assert cell(system, "inner", "a").incarnation == 1
    assert diary == ["+a", "+b", "+a", "+a", "+a", "-b", "+a", "+b", "-b", "-a"]


async def test_crashes_of_several_children_share_a_static_limit(autojump_clock: MockClock) -> None:
    inner = Child("inner", lambda: Supervisor(scribes("abcdef", []), limit=LIMIT), backoff=EXACT)
    async with house(inner) as system:
        for name in "abcdef":
            system.tell(Address("inner", name), Boom())
        await trio.sleep(0.5)

        assert cell(system, "inner").state is State.BACKOFF
        assert system.crashes.records[-1].type == "Escalated"


async def test_old_crashes_are_forgiven(autojump_clock: MockClock) -> None:
    child = Child("a", Scribe, backoff=Backoff(first=0.1, longest=0.1))
    async with house(child, limit=LIMIT) as system:
        for _ in range(20):
            system.tell(A, Boom())
            await trio.sleep(2)

        assert cell(system, "a").incarnation == 21


# --- quarantine ---------------------------------------------------------------------------------


async def test_a_child_that_keeps_crashing_is_left_alone_and_its_neighbours_do_not_notice(
    autojump_clock: MockClock,
) -> None:
    async with house(*scribes("ab", []), strategy=Strategy.DYNAMIC, limit=LIMIT) as system:
        for _ in range(4):
            await outcome(system.ask(A, Boom(), within=60))
        await quiet()
        left_alone = cell(system, "a")
        assert left_alone.state is State.QUARANTINED
        began = trio.current_time()

        with pytest.raises(Rejected) as caught:
            await system.ask(A, Say(text="?"), within=60)
        assert caught.value.err.details == {"reason": "quarantined", "path": A}
        assert caught.value.err.retry_after == pytest.approx(60.0)
        assert system.tell(A, Say(text="?")) is Told.CLOSED
        assert system.tell(A, Cancel(reason="x")) is Told.ACCEPTED  # control is not refused
        assert trio.current_time() == began  # refused at once, not at the deadline
        assert cell(system, "b").incarnation == 1

        await trio.sleep(61)
        assert await system.ask(A, Say(text="back"), within=60) == "back"


async def test_each_quarantine_is_twice_as_long_until_a_life_was_long(autojump_clock: MockClock) -> None:
    async with house(Child("a", Scribe), strategy=Strategy.DYNAMIC, limit=Limit(restarts=0, within=5.0)) as system:
        rests = []
        for _ in range(8):
            await outcome(system.ask(A, Boom(), within=60))
            await quiet()
            rests.append(round(cell(system, "a").past.quarantined_until - trio.current_time()))
            await trio.sleep(rests[-1] + 1)
            assert cell(system, "a").state is State.RUNNING
        await trio.sleep(100)
        await outcome(system.ask(A, Boom(), within=60))
        await quiet()
        rests.append(round(cell(system, "a").past.quarantined_until - trio.current_time()))

    assert rests == [60, 120, 240, 480, 960, 1920, 3600, 3600, 60]


async def test_a_quarantined_child_can_be_removed(autojump_clock: MockClock) -> None:
    async with house(Child("a", Scribe), strategy=Strategy.DYNAMIC, limit=Limit(restarts=0, within=5.0)) as system:
        system.tell(A, Boom())
        await quiet()
        await cell(system).family.stop(A)
        await trio.sleep(100)

        assert A not in system.members


async def test_when_quarantine_begins_who_waits_is_refused_and_what_was_told_is_kept(
    autojump_clock: MockClock,
) -> None:
    class Small(Scribe):
        capacity = 3

    diary: list[str] = []
    refused: list[str] = []
    child = Child("a", Small, ("a", diary))
    async with house(child, strategy=Strategy.DYNAMIC, limit=Limit(restarts=0, within=5.0)) as system:

        async def ask(text: str) -> None:
            found = await outcome(system.ask(A, Say(text=text), within=300))
            assert isinstance(found, Rejected)
            refused.append(text)

        system.tell(A, Wait(seconds=1))
        await quiet()
        for message in (Boom(), Say(text="told")):
            system.tell(A, message)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, "queued")
            await quiet()
            nursery.start_soon(ask, "waits for room")
        assert trio.current_time() == 1

        await trio.sleep(70)
        assert sorted(refused) == ["queued", "waits for room"]
        assert diary == ["+a", "wait", "waited", "+a", "told"]


async def test_a_static_supervisor_can_quarantine_too(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    children = scribes("abc", diary, backoff=EXACT)
    limit = Limit(restarts=0, within=5.0)
    rest = Exhausted.QUARANTINE
    async with house(*children, strategy=Strategy.ONE_FOR_ALL, limit=limit, on_exhausted=rest) as system:
        system.tell(A, Boom())
        await quiet()

        assert [child.state for child in cell(system).children] == [State.QUARANTINED, State.RUNNING, State.RUNNING]


async def test_stop_of_a_supervisor_while_a_child_waits_for_its_restart(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(*scribes("ab", diary, backoff=Backoff(first=30.0)), limit=PLENTY) as system:
        system.tell(A, Boom())
        await quiet()

    assert diary == ["+a", "+b", "-b"]
    assert trio.current_time() == 0


async def test_stop_of_a_supervisor_while_a_child_comes_up_again(autojump_clock: MockClock) -> None:
    diary: list[str] = []

    class Slow(Scribe):
        async def on_start(self, ctx: Context) -> None:
            if ctx.incarnation > 1:
                await trio.sleep(5)
            await super().on_start(ctx)

    slow = Child("a", Slow, ("a", diary), backoff=EXACT)
    async with house(slow, *scribes("b", diary), strategy=Strategy.ONE_FOR_ALL) as system:
        system.tell(A, Boom())
        await trio.sleep(2)
        await system.stop()

        assert system.members == {}
    assert diary[:3] == ["+a", "+b", "-b"]
