"""Histograms of waits and handlings. Contract: supervision.md §15."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from goclaw.runtime.address import Address
from goclaw.runtime.child import Child
from goclaw.runtime.latency import LONGEST, Latency, bucket, middle
from goclaw.runtime.tree import describe
from goclaw.runtime.virtual import Virtual
from tests.runtime.house import Say, Scribe, Wait, cell, house

A = Address("a")


@given(st.integers(0, LONGEST))
def test_a_bucket_is_off_by_five_per_cent_at_most(micros: int) -> None:
    assert middle(bucket(micros)) == pytest.approx(micros, rel=0.05, abs=0.5)


@given(st.integers(0, LONGEST), st.integers(0, LONGEST))
def test_buckets_keep_the_order(one: int, other: int) -> None:
    assert (bucket(one) <= bucket(other)) or one > other


def test_longer_than_anything_is_counted_as_the_longest() -> None:
    assert bucket(10 * LONGEST) == bucket(LONGEST)
    assert bucket(-1) == 0


def test_percentiles_are_those_of_the_last_minute() -> None:
    latency = Latency(now=0.0)
    for n in range(100):
        latency.add(0.001 * (n + 1), 0.5, now=1.0)

    wait, handle = (latency.figures(2.0)[name] for name in ("wait", "handle"))
    assert wait["p50"] == pytest.approx(50_000, rel=0.05)
    assert wait["p95"] == pytest.approx(95_000, rel=0.05)
    assert wait["max"] == pytest.approx(100_000, rel=0.05)
    assert handle["p99"] == pytest.approx(500_000, rel=0.05)
    assert latency.figures(59.0)["wait"] == wait
    assert latency.figures(91.0)["wait"] == {"p50": 0, "p95": 0, "p99": 0, "max": 0}


def test_a_pause_longer_than_a_window_leaves_nothing_of_before() -> None:
    latency = Latency(now=0.0)
    latency.add(1.0, 1.0, now=1.0)
    latency.add(0.001, 0.001, now=200.0)

    assert latency.figures(201.0)["wait"]["max"] == pytest.approx(1000, rel=0.05)
    assert latency.stale(300.0)


async def test_an_operator_sees_how_long_messages_waited_and_were_handled(autojump_clock: MockClock) -> None:
    async with house(Child("a", Scribe)) as system:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(system.ask, A, Wait(seconds=1), 10)
        node = await describe(system, A, 0)

        assert node is not None
        assert node["latency_us"]["handle"]["p50"] == pytest.approx(1_000_000, rel=0.05)
        assert node["latency_us"]["wait"]["max"] == pytest.approx(0, abs=2_100_000)
        live = await describe(system, A, 0, live=True)
        assert live is not None
        assert set(live["latency_us"]["handle"]) == {"p95"}


async def test_a_virtual_actor_that_slept_for_long_keeps_no_figures(autojump_clock: MockClock) -> None:
    async with house(Child("s", lambda: Virtual(lambda address: Scribe(), idle=1e6, most=10))) as system:
        await system.ask(Address("s", "acme", "k"), Say(text="x"), within=1)
        assert cell(system, "s", "acme", "k").latency is not None
        await trio.sleep(120)

        assert cell(system, "s", "acme", "k").latency is None
