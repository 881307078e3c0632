"""Slots of a lane and what they cost. Contract: sessions-lanes-cron.md §4 (L4.4); durability.md §11."""

from __future__ import annotations

from goclaw.actors.engine.pressure import HELD, Pressure
from goclaw.actors.engine.slots import Slots
from goclaw.runtime.reply import Reply


def test_a_lent_slot_is_free_and_comes_back_before_anybody_else() -> None:
    slots = Slots(1)
    slots.take("parent")
    assert slots.free == 0

    slots.lend("parent")
    assert slots.free == 1
    slots.take("child")

    back = Reply()
    slots.reclaim("parent", back)
    assert (back.over, slots.free) == (False, -1), "the next free slot is promised"

    slots.leave("child")
    slots.serve()
    assert (back.over, slots.free, slots.taken, slots.lent) == (True, 0, 1, 0)


def test_who_has_a_slot_has_it_back_at_once_and_who_has_none_lends_none() -> None:
    slots = Slots(1)
    slots.lend("stranger")
    assert (slots.free, slots.lent) == (1, 0)

    slots.take("run")
    back = Reply()
    slots.reclaim("run", back)
    assert back.over


def test_a_run_that_ended_wants_nothing_back() -> None:
    slots = Slots(1)
    slots.take("parent")
    slots.lend("parent")
    slots.take("child")
    slots.reclaim("parent", Reply())

    slots.leave("parent")
    slots.leave("child")
    slots.serve()

    assert (slots.free, slots.taken, slots.lent) == (1, 0, 0)


def test_a_lowered_limit_takes_nothing_from_those_who_run() -> None:
    slots = Slots(3)
    for run in "abc":
        slots.take(run)

    slots.limit = 1
    assert (slots.taken, slots.free) == (3, -2)
    slots.leave("a")
    slots.leave("b")
    assert slots.free == 0
    slots.leave("c")
    assert slots.free == 1


def test_pressure_rises_a_step_each_minute_above_half_a_minute_and_ends_at_once() -> None:
    pressure = Pressure()

    levels = [pressure.measure(float(now), [31.0]) for now in range(0, 400, 20)]

    assert levels == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 11
    assert len(HELD) == 4
    assert pressure.measure(400.0, [30.0]) == 0


def test_claims_count_for_a_minute_and_a_few_slow_ones_are_no_pressure() -> None:
    pressure = Pressure()
    for number in range(100):
        pressure.claimed(0.0, 100.0 if number >= 96 else 0.01)

    pressure.measure(59.0, [])
    assert (pressure.p50, pressure.p95) == (0.01, 0.01)
    for _ in range(10):
        pressure.claimed(59.0, 100.0)
    pressure.measure(60.0, [])
    assert pressure.p95 == 100.0
    pressure.measure(130.0, [])
    assert pressure.p95 == 0.0


def test_the_mean_of_the_last_runs_is_known_after_the_first() -> None:
    pressure = Pressure()
    assert pressure.mean is None
    pressure.ended(2.0)
    pressure.ended(4.0)
    assert pressure.mean == 3.0
