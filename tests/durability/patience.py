"""Waiting for what other processes do: there is nothing to wait on, so one looks."""

from __future__ import annotations

from collections.abc import Callable

import trio

LOOK = 0.05  # seconds between two looks


async def until(true: Callable[[], object], within: float) -> float:
    """Seconds until `true`. Raises trio.TooSlowError."""
    began = trio.current_time()
    with trio.fail_after(within):
        while True:
            if true():
                return trio.current_time() - began
            await trio.sleep(LOOK)
