"""For tests of actors in virtual time. Contract: supervision.md §17.

Run under `trio.testing.MockClock(autojump_threshold=0)`. Virtual time does not see threads, so blocking actors
run inline here: `system.inline = Inline(latency)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio
import trio.testing

from goclaw.runtime.cell import Cell
from goclaw.runtime.system import System

T = TypeVar("T")


class Inline:
    """Runs the handlers of blocking actors in the loop and charges each `latency` virtual seconds."""

    def __init__(self, latency: float = 0.0) -> None:
        self.latency = latency

    async def run(self, job: Callable[[], T]) -> T:
        await trio.sleep(self.latency)
        return job()


async def quiesce(system: System) -> None:
    """Wait until all mailboxes are empty, no handler runs and every task waits. Takes virtual time if it must."""
    while True:
        await trio.testing.wait_all_tasks_blocked()
        cells = [member for member in system.members.values() if isinstance(member, Cell)]
        if not any(cell.mailbox.pending or cell.in_hand is not None for cell in cells):
            return
        await trio.sleep(0.001)
