"""Asking again after a failure, as long as nobody has seen a word of the answer. Contract: providers.md §8."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Protocol

import trio

from goclaw.domain.chat import StreamChunk
from goclaw.domain.errors import ProviderError
from goclaw.domain.model import Retrying
from goclaw.providers.provider import Tell, silent

ATTEMPTS = 3  # providers.md §8
FIRST_DELAY = 0.3  # seconds, doubled for the next; providers.md §8
JITTER = 0.1  # ± this share; providers.md §8
LONGEST_WAIT = 60.0  # seconds; a vendor that wants longer is left to failover; providers.md §8


class Answer(Protocol):
    """One attempt at an answer."""

    async def start(self) -> None:
        """Wait for the first chunk. Raises ProviderError; an answer that has started is not tried again."""

    def __aiter__(self) -> AsyncIterator[StreamChunk]: ...

    async def aclose(self) -> None: ...


@asynccontextmanager
async def patient(
    attempt: Callable[[], Answer], deadline: float = float("inf"), tell: Tell = silent
) -> AsyncIterator[AsyncIterator[StreamChunk]]:
    """The first answer that starts. Entering waits for its first chunk; leaving closes it.

    `deadline` is on trio's clock; a wait that would pass it is not begun.
    """
    for number in range(1, ATTEMPTS + 1):
        async with aclosing(attempt()) as answer:
            try:
                await answer.start()
            except ProviderError as error:
                wait = delay(number, error)
                if wait is None or trio.current_time() + wait >= deadline:
                    raise
                tell(Retrying(number + 1, ATTEMPTS, error.message, wait))
            else:
                yield aiter(answer)
                return
        await trio.sleep(wait)


def delay(number: int, error: ProviderError) -> float | None:
    """Seconds to wait after attempt `number` failed with `error`, or None if that was the last."""
    asked = error.retry_after
    if number == ATTEMPTS or not error.retryable or (asked is not None and asked > LONGEST_WAIT):
        return None
    if asked is not None:
        return asked * random.uniform(1, 1 + JITTER)  # noqa: S311 - never earlier than asked
    return FIRST_DELAY * float(2 ** (number - 1)) * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - jitter
