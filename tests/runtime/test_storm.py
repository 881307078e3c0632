"""Crashes in crowds. Contract: supervision.md §8.4."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from goclaw.runtime.address import Address
from goclaw.runtime.child import Backoff, Child, Limit
from goclaw.runtime.faults import Rejected
from goclaw.runtime.inbox import inbox
from goclaw.runtime.message import Message, Told
from goclaw.runtime.news import EVENTS, LifeNews
from goclaw.runtime.storm import MEMORY, PAUSE, Storm
from goclaw.runtime.virtual import Virtual
from tests.runtime.house import PLENTY, Boom, Say, Scribe, cell, house, outcome


def crashes(storm: Storm, at: list[float], cause: str = "x", children: int = 100_000) -> list[float]:
    """When storms began."""
    return [now for now in at if storm.crash(now, cause, children)]


def test_twenty_crashes_a_second_are_bad_luck_one_more_is_a_storm() -> None:
    assert crashes(Storm(), [0.0] * 20) == []
    assert crashes(Storm(), [0.0] * 21) == [0.0]
    assert crashes(Storm(), [0.0] * 20 + [1.0]) == []  # the window is a second, its far edge not included
    assert crashes(Storm(), [0.0] * 20 + [0.999]) == [0.999]


def test_one_cause_in_more_than_a_twentieth_of_the_children_is_a_storm() -> None:
    slowly = [n / 10 for n in range(60)]
    assert crashes(Storm(), slowly, children=400) == [2.0]  # the 21st of 20 allowed
    assert crashes(Storm(), slowly, children=1000) == [5.0]
    assert crashes(Storm(), slowly, children=2000) == []


def test_different_causes_are_different_troubles() -> None:
    storm = Storm()
    assert not any(storm.crash(n / 10, f"cause {n}", 100) for n in range(60))


def test_a_storm_counts_once_while_it_lasts() -> None:
    storm = Storm()
    assert crashes(storm, [0.0] * 100) == [0.0]
    assert storm.until == PAUSE
    assert crashes(storm, [PAUSE] * 21) == [PAUSE]


def test_the_third_storm_in_five_minutes_is_too_much() -> None:
    storm = Storm()
    for start in (0.0, 100.0):
        crashes(storm, [start] * 21)
        assert not storm.relentless
    crashes(storm, [MEMORY - 0.1] * 21)
    assert storm.relentless

    late = Storm()
    for start in (0.0, 100.0, MEMORY):
        crashes(late, [start] * 21)
    assert not late.relentless


async def test_during_a_storm_nobody_new_is_let_in_and_those_who_crashed_wait(autojump_clock: MockClock) -> None:
    def sessions() -> Virtual:
        return Virtual(lambda address: Scribe(), idle=1e6, most=1000, limit=PLENTY)

    async with house(Child("s", sessions)) as system:
        keys = [Address("s", "acme", str(n)) for n in range(25)]
        for key in keys:
            system.tell(key, Boom())
        await trio.sleep(0.01)

        found = await outcome(system.ask(Address("s", "acme", "new"), Say(text="x"), within=1))
        assert isinstance(found, Rejected)
        assert found.err.details["reason"] == "crash_storm"
        assert found.err.retry_after == pytest.approx(PAUSE, abs=0.1)
        assert system.escalations == 1

        began = trio.current_time()
        assert await system.ask(keys[-1], Say(text="x"), within=10) == "x"
        assert trio.current_time() - began >= PAUSE - 0.1
        assert await system.ask(Address("s", "acme", "new"), Say(text="x"), within=1) == "x"


async def test_what_is_told_of_a_storm_names_no_child(autojump_clock: MockClock) -> None:
    told: list[LifeNews] = []

    def hear(message: Message[Any]) -> Told:
        if isinstance(message, LifeNews) and message.event == "actor.escalated":
            told.append(message)
        return Told.ACCEPTED

    def sessions() -> Virtual:
        return Virtual(lambda address: Scribe(), idle=1e6, most=1000, limit=PLENTY)

    async with house(Child("s", sessions)) as system:
        with inbox(system, Address("ear"), "Ear", hear) as ear:
            ear.join(EVENTS)
            for storm in range(3):
                for n in range(25):
                    system.tell(Address("s", "acme", f"secret{storm}-{n}"), Boom())
                await trio.sleep(60)
        escalated = [crash for crash in system.crashes.records if crash.type == "Escalated"]

    assert len(told) >= 3
    crash = told[0].crash
    assert crash is not None
    assert (crash.type, crash.path, crash.message, crash.in_hand, crash.traceback) == ("RuntimeError", "/s", "", "", "")
    assert len(crash.fingerprint) == 16
    assert escalated
    assert "secret" not in repr((told, escalated))


async def test_a_third_storm_restarts_the_class(autojump_clock: MockClock) -> None:
    def sessions() -> Virtual:
        return Virtual(lambda address: Scribe(), idle=1e6, most=1000, limit=Limit(1000, 1.0))

    async with house(Child("s", sessions, backoff=Backoff(first=0.0))) as system:
        for storm in range(3):
            assert cell(system, "s").incarnation == 1
            for n in range(25):
                system.tell(Address("s", "acme", f"{storm}-{n}"), Boom())
            await trio.sleep(20)

        assert cell(system, "s").incarnation == 2
        assert await system.ask(Address("s", "acme", "new"), Say(text="x"), within=1) == "x"
