"""A hundred runs against a vendor that says 429: they come back one after the other. Contract: providers.md §8, §9."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from itertools import pairwise

import pytest
import trio

from goclaw.domain.chat import ChatMessage, ChatRequest, ChatResponse, StreamChunk
from goclaw.domain.cooldown import Cooldowns
from goclaw.domain.errors import ProviderError
from goclaw.domain.model import Candidate, Entered, Resting
from goclaw.providers.failover import PATIENCE, Failover
from goclaw.providers.provider import silent
from goclaw.providers.retry import ATTEMPTS, FIRST_DELAY, patient

RUNS = 100
ASK = ChatRequest(messages=(ChatMessage(role="user", content="x"),), model="m")


class Stormy:
    """A vendor that answers `calm` requests a second, and refuses the rest. Notes when it was asked, and how often."""

    def __init__(self, calm: int, retry_after: float | None) -> None:
        self.calm = calm
        self.retry_after = retry_after
        self.asked: list[tuple[float, int]] = []  # when, and which attempt of its asker
        self._answered: list[float] = []

    def stream(self, ask, *, slot, tell=silent):
        tries = iter(range(1, ATTEMPTS + 1))
        return patient(lambda: Attempt(self, next(tries)), tell=tell)

    def judge(self, attempt: int) -> None:
        now = trio.current_time()
        self.asked.append((now, attempt))
        if sum(now - 1 < then for then in self._answered) >= self.calm:
            raise ProviderError("rate_limit", "not now", status=429, retry_after=self.retry_after)
        self._answered.append(now)


class Attempt:
    def __init__(self, vendor: Stormy, number: int) -> None:
        self._vendor = vendor
        self._number = number

    async def start(self) -> None:
        await trio.lowlevel.checkpoint()
        self._vendor.judge(self._number)

    def __aiter__(self) -> AsyncIterator[StreamChunk]:
        return self._say()

    async def _say(self) -> AsyncIterator[StreamChunk]:
        await trio.lowlevel.checkpoint()
        yield StreamChunk(done=ChatResponse(content="at last"))

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class Desk:
    def __init__(self, vendor: Stormy) -> None:
        self.vendor = vendor
        self.rests = Cooldowns(threshold=10**6)

    async def enter(self, candidate: Candidate, tried: tuple[int, ...], *, probe: bool) -> Entered | Resting:
        await trio.lowlevel.checkpoint()
        slot = self.rests.pick("m", tried, self.now())
        if slot is None and probe:
            slot = self.rests.probe("m", self.now())
        if slot is not None:
            return Entered(self.vendor, slot)
        rest = self.rests.until("m", self.now())
        return Resting(rest.until, rest.reason) if rest else Resting(self.now(), "unknown")

    def left(self, candidate, slot, *, answered, trouble) -> None:
        if answered:
            self.rests.succeeded("m", slot)
        elif trouble is not None:
            self.rests.failed("m", slot, trouble.kind, self.now(), trouble.retry_after)

    def now(self) -> float:
        return trio.current_time()


async def storm(desk: Desk, came: Callable[[bool], None]) -> None:
    async def run() -> None:
        try:
            async with Failover([Candidate("acme", "m")], desk).stream(ASK) as chunks:
                came([chunk async for chunk in chunks][-1].done is not None)
        except ProviderError:
            came(False)

    async with trio.open_nursery() as nursery:
        for _ in range(RUNS):
            nursery.start_soon(run)


def crowd(times: list[float], within: float) -> int:
    """The most that come within so many seconds."""
    return max(sum(start <= time < start + within for time in times) for start in times)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("retry_after", "wait", "spread"), [(None, FIRST_DELAY, 0.2), (2.0, 2.0, 0.1)])
async def test_those_who_were_refused_come_back_one_after_the_other(autojump_clock, seed, retry_after, wait, spread):
    random.seed(seed)
    vendor, ends = Stormy(0, retry_after), []
    await storm(Desk(vendor), ends.append)

    waves = [[time for time, attempt in vendor.asked if attempt == n] for n in range(1, ATTEMPTS + 1)]
    assert [len(wave) for wave in waves] == [RUNS] * ATTEMPTS
    assert ends == [False] * RUNS
    for before, after in pairwise(waves):
        assert crowd(after, wait * spread / 10) < RUNS / 4  # a tenth of the time sees no more than a quarter of them
        assert max(after) - min(after) > max(before) - min(before) + wait * spread / 2
        if retry_after is not None:
            assert min(after) - min(before) >= retry_after


@pytest.mark.parametrize("seed", range(5))
async def test_those_who_wait_for_a_resting_model_do_not_wake_at_once(autojump_clock, seed):
    random.seed(seed)
    vendor, ends = Stormy(RUNS, None), []
    desk, rest = Desk(vendor), PATIENCE / 2
    desk.rests.failed("m", 0, "rate_limit", desk.now(), rest)
    await storm(desk, ends.append)

    woke = [time for time, _ in vendor.asked]
    assert len(woke) == RUNS
    assert min(woke) >= rest
    assert crowd(woke, rest * 0.025) < RUNS / 4
    assert ends == [True] * RUNS


async def test_a_vendor_that_takes_some_has_them_all_in_the_end(autojump_clock):
    """A hundred at once, ten a second are taken: each wave is served in part, nobody is asked without a pause."""
    random.seed(1)
    vendor, ends = Stormy(10, 4.0), []
    await storm(Desk(vendor), ends.append)

    assert sum(ends) >= 25  # ten at once, and what its window allows in each of two spread waves
    assert len(vendor.asked) <= RUNS * ATTEMPTS
