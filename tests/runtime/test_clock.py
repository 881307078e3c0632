from __future__ import annotations

from datetime import UTC, timedelta

import pytest
import trio
from trio.testing import MockClock

from goclaw.runtime.clock import Clock


async def test_the_wall_clock_moves_with_virtual_time(autojump_clock: MockClock) -> None:
    clock = Clock()
    before = clock.now()

    await trio.sleep(86_400)

    assert clock.now() - before == timedelta(days=1)
    assert clock.now().tzinfo is UTC
    assert clock.at(clock.monotonic()) == clock.now()


async def test_a_clock_that_somebody_moved_is_followed(mock_clock: MockClock) -> None:
    wall = [1000.0]
    clock = Clock(wall=lambda: wall[0], steady=lambda: 0.0)
    before, stamp = clock.now(), clock.epoch_ms()

    wall[0] += 0.01
    assert clock.set_right() == 0.0
    wall[0] -= 3600
    assert clock.set_right() == pytest.approx(-3600 + 0.01)

    assert clock.now() - before == timedelta(seconds=-3600 + 0.01)
    assert clock.epoch_ms() - stamp == pytest.approx(-3_599_990, abs=1)
    assert clock.set_right() == 0.0
