"""Debug mode finds what normal mode cannot afford to look for. Contract: supervision.md §3 M2, §5, §20 B10."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest
import trio.testing
from msgspec import Struct
from structlog.testing import capture_logs

from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.child import Child
from goclaw.runtime.debug import Checks
from goclaw.runtime.faults import Err, IgnoredFull, MutableMessage
from goclaw.runtime.message import Message, Told
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import open_system
from goclaw.runtime.values import FrozenMap, Secret
from tests.runtime.house import NoDatabase, Say, Scribe, quiet

A = Address("a")


class Carry(Message[None]):
    it: Any


class Handle(Carry):
    REMOTE: ClassVar[bool] = False


class Soft(Struct):
    it: int


class Hard(Struct, frozen=True):
    it: Any


@dataclass(frozen=True, slots=True)
class Card:
    it: Any


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        set(),
        bytearray(b"x"),
        (1, [2]),
        Hard(it=[1]),
        Card(it={}),
        Soft(it=1),
        datetime(2026, 1, 1),
        b"x" * 65_537,
        object(),
        print,
        Say(text="x").__class__,
    ],
    ids=lambda value: repr(value).partition(" at 0x")[0],
)
def test_what_can_change_or_lives_may_not_travel(value: object) -> None:
    with pytest.raises(MutableMessage, match=r"test_debug\.carry\.it"):
        Checks().message(Carry(it=value))


@pytest.mark.parametrize(
    "value",
    [
        None,
        1.5,
        "x",
        b"x" * 65_536,
        (1, ("a", None)),
        frozenset({1}),
        Hard(it=(1,)),
        Card(it="x"),
        Say(text="x"),
        datetime(2026, 1, 1, tzinfo=UTC),
        FrozenMap({"a": 1}),
        Secret("x"),
        A,
        Told.FULL,
        Err("NO", "no", {"field": "x"}),
    ],
    ids=lambda value: repr(value).partition(" at 0x")[0],
)
def test_values_travel(value: object) -> None:
    Checks().message(Carry(it=value))


def test_a_message_that_never_leaves_may_hold_a_handle_but_nothing_that_changes() -> None:
    Checks().message(Handle(it=print))
    with pytest.raises(MutableMessage):
        Checks().message(Handle(it=[]))


class Tiny(Scribe):
    capacity = 1


class Stubborn(Say):
    LOSABLE: ClassVar[bool] = True


async def test_a_refusal_nobody_looks_at_is_found() -> None:
    async with open_system(NoDatabase(), debug=True) as system:
        await system.start(Child("/", lambda: Supervisor([Child("a", Tiny)])))
        assert system.tell(A, Say(text="fits")) is Told.ACCEPTED

        with pytest.raises(IgnoredFull, match=r"/a refused house\.say"):
            system.tell(A, Say(text="too many"))
        assert system.tell(A, Say(text="looked at")) is Told.FULL
        told = system.tell(A, Say(text="kept"))
        assert told is Told.FULL
        system.tell(A, Stubborn(text="may be lost"))
        await quiet()


class Slow(Actor):
    @handles
    def say(self, ctx: Context, ask: Say) -> str:
        time.sleep(0.25)  # the very thing an actor must not do
        return "late"


async def test_a_handler_that_holds_the_loop_is_logged_with_its_path_and_stack() -> None:
    async with open_system(NoDatabase(), debug=True) as system:
        await system.start(Child("/", lambda: Supervisor([Child("a", Slow)])))
        await trio.testing.wait_all_tasks_blocked()
        with capture_logs() as logs:
            await system.ask(A, Say(text="x"), within=5)
            await quiet()

    stalls = [entry for entry in logs if entry["event"] == "loop.stall"]
    assert [stall["actor"] for stall in stalls] == ["/a"]
    assert stalls[0]["seconds"] >= 0.25
    assert "time.sleep(0.25)" in stalls[0]["stack"]


async def test_debug_mode_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, on in (("1", True), ("0", False), ("", False)):
        monkeypatch.setenv("GOCLAW_ACTOR_DEBUG", value)
        async with open_system(NoDatabase()) as system:
            assert (system.checks is not None) == on


def test_a_list_in_a_frozen_map_can_change() -> None:
    with pytest.raises(MutableMessage, match="list"):
        Checks().message(Carry(it=FrozenMap({"k": ["x"]})))

    Checks().message(Carry(it=FrozenMap({"k": ("x", FrozenMap())})))
