from __future__ import annotations

from datetime import UTC, timedelta

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
