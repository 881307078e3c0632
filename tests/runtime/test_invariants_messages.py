"""What may be in a message, and what becomes of one that kills (supervision.md §3, §8.5, §18 I10, I17)."""

from __future__ import annotations

from collections.abc import Hashable
from datetime import UTC, datetime
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.child import Backoff, Child
from goclaw.runtime.debug import Checks
from goclaw.runtime.faults import ActorCrashed, MutableMessage
from goclaw.runtime.message import LeaseLost, Message
from goclaw.runtime.system import open_system
from goclaw.runtime.values import FrozenMap, Secret
from tests.runtime.house import PLENTY, NoDatabase, Say, Scribe, Wait, cell, house, outcome, quiet
from tests.runtime.play import in_virtual_time, many

A = Address("a")
AT_ONCE = Backoff(first=0.0)


class Load(Message[None]):
    value: Any


class Fatal(Message[str]):
    """Kills its handler if it is `bad`. Messages of equal keys are the same work."""

    bad: bool
    key: str = ""

    @property
    def poison_key(self) -> Hashable:
        return self.key or None


class Victim(Actor):
    def __init__(self, handled: list[Fatal]) -> None:
        self.handled = handled

    @handles
    def fatal(self, ctx: Context, ask: Fatal) -> str:
        self.handled.append(ask)
        if ask.bad:
            raise RuntimeError("as told")
        return "survived"


@many
@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from(("", "", "k", "l"))), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=12),
    st.booleans(),
)
def test_what_killed_two_lives_in_a_row_is_never_handled_again(
    kinds: list[tuple[bool, str]], order: list[tuple[int, bool]], dormant: bool
) -> None:
    """I10: the same object, or work of the same key; whoever asks is told."""
    pool = [Fatal(bad=bad, key=key) for bad, key in kinds]
    handled: list[Fatal] = []
    expected: list[Fatal] = []
    letters: list[str] = []
    poison: list[Fatal] = []

    def same(one: Fatal, other: Fatal) -> bool:
        return one is other or (one.key != "" and one.key == other.key)

    async def run() -> None:
        suspect: Fatal | None = None
        async with house(Child("a", Victim, (handled,), backoff=AT_ONCE, dormant=dormant), limit=PLENTY) as system:
            for index, asks in order:
                message = pool[index % len(pool)]
                poisoned = any(same(message, known) for known in poison)
                if asks:
                    found = await outcome(system.ask(A, message, within=5))
                    assert isinstance(found, ActorCrashed) == (poisoned or message.bad)
                else:
                    assert system.tell(A, message)
                await trio.sleep(1)
                if poisoned:
                    continue
                expected.append(message)
                if message.bad:
                    if suspect is not None and same(message, suspect):
                        poison.append(message)
                    suspect = message
            letters.extend(letter.reason for letter in system.dead_letters.records)

    in_virtual_time(run)
    assert [id(message) for message in handled] == [id(message) for message in expected]
    assert letters.count("poison") == len(order) - len(expected)


fixed = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=3)
    | st.binary(max_size=3)
    | st.just(Secret("s"))
    | st.just(datetime(2026, 1, 1, tzinfo=UTC)),
    lambda inner: (
        st.lists(inner, max_size=3).map(tuple)
        | st.frozensets(st.integers(), max_size=3)
        | st.dictionaries(st.text(max_size=2), inner, max_size=2).map(FrozenMap)
        | inner.map(lambda value: Load(value=value))
    ),
    max_leaves=6,
)
loose = st.recursive(
    st.sampled_from((list, dict, set, bytearray, object)).map(lambda kind: kind())
    | st.just(datetime(2026, 1, 1))
    | st.just(b"x" * 65_537),
    lambda inner: (
        inner.map(lambda value: (1, value))
        | inner.map(lambda value: FrozenMap({"k": value}))
        | inner.map(lambda value: Load(value=value))
    ),
    max_leaves=3,
)


class Keeper(Actor):
    def __init__(self, seen: list[int]) -> None:
        self.seen = seen

    @handles
    async def load(self, ctx: Context, ask: Load) -> None:
        await trio.sleep(1)
        self.seen.append(hash(ask))


@many
@given(st.lists(fixed, max_size=4))
def test_a_message_is_the_same_when_it_arrives(values: list[object]) -> None:
    """I17, in debug mode."""
    messages = [Load(value=value) for value in values]
    before = [hash(message) for message in messages]
    seen: list[int] = []

    async def run() -> None:
        async with open_system(NoDatabase()) as system:
            system.checks = Checks()
            await system.start(Child("/", Keeper, (seen,)))
            for message in messages:
                assert system.tell(Address(), message)
            await trio.sleep(len(messages))
            await quiet()

    in_virtual_time(run)
    assert seen == before == [hash(message) for message in messages]


@many
@given(loose)
def test_what_can_change_is_found_wherever_it_hides(value: object) -> None:
    """I17: debug mode refuses it before it is sent."""

    async def run() -> None:
        async with open_system(NoDatabase()) as system:
            system.checks = Checks()
            await system.start(Child("/", Keeper, ([],)))
            with pytest.raises(MutableMessage):
                system.tell(Address(), Load(value=value))
            with pytest.raises(MutableMessage):
                await system.ask(Address(), Load(value=value), within=1)

    in_virtual_time(run)


@many
@given(
    st.lists(st.tuples(st.sampled_from(("wait", "say", "lease_lost")), st.sampled_from((0.0, 0.5, 1.0))), max_size=10),
    st.booleans(),
)
def test_a_lost_lease_costs_one_life(script: list[tuple[str, float]], dormant: bool) -> None:
    """Also when it pre-empts a handler; ordinary messages survive it, but for the one in hand."""
    lost = 0
    lives = [0]

    async def run() -> None:
        nonlocal lost
        async with house(Child("a", Scribe, backoff=AT_ONCE, dormant=dormant), limit=PLENTY) as system:
            await system.ask(A, Say(text="up"), within=5)
            for what, gap in script:
                await trio.sleep(gap)
                await quiet()
                match what:
                    case "wait":
                        assert system.tell(A, Wait(seconds=0.75))
                    case "say":
                        assert system.tell(A, Say(text="x"))
                    case "lease_lost":
                        assert system.tell(A, LeaseLost())
                        lost += 1
                await quiet()
            await trio.sleep(60)
            await system.ask(A, Say(text="up"), within=5)
            lives[0] = cell(system, "a").incarnation

    in_virtual_time(run)
    assert lives[0] == 1 + lost
