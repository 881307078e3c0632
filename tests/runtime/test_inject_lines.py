"""Faults on purpose: which message they hit, and that they hit no other."""

from __future__ import annotations

from trio.testing import MockClock

from goclaw.runtime.address import Address
from goclaw.runtime.child import Child
from goclaw.runtime.inject import Fault, Injector
from tests.runtime.house import Say, Scribe, house, quiet, until

A = Address("a")


async def test_a_message_that_was_dropped_meets_no_other_fault() -> None:
    diary: list[str] = []
    async with house(Child("a", Scribe, ("a", diary))) as system:
        plan = Injector(system, [Fault(path="/a", what="drop", nth=1), Fault(path="/a", what="crash", nth=1)], 0)
        plan.start()
        assert system.tell(A, Say(text="1"))
        assert system.tell(A, Say(text="2"))
        await quiet()

        assert diary == ["+a", "2"]
        assert plan.fired == {"drop": 1}
        assert [letter.reason for letter in system.dead_letters.records] == ["injected"]


async def test_every_line_counts_every_message_whatever_the_others_do(autojump_clock: MockClock) -> None:
    diary: list[str] = []
    async with house(Child("a", Scribe, ("a", diary))) as system:
        plan = Injector(system, [Fault(path="/a", what="crash", nth=1), Fault(path="/a", what="drop", nth=2)], 0)
        plan.start()
        for text in "123":
            assert system.tell(A, Say(text=text))
        await until(lambda: "3" in diary)

        assert diary == ["+a", "+a", "3"]
