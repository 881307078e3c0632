"""Somebody who answers, as long as one of several can. Contract: providers.md §9.2.

Nobody is asked after a word of an answer was seen: two answers are never mixed. A conversation that is too long goes
to no other model, it goes to compaction. Each call is paid for by itself; what no purse pays for ends the question.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Protocol

import trio
from msgspec.structs import replace

from goclaw.domain.chat import ChatRequest, StreamChunk
from goclaw.domain.errors import ProviderError
from goclaw.domain.model import Candidate, Entered, FellBack, Resting, Retrying
from goclaw.providers.provider import Tell, silent

TRIES = 5  # keys of one candidate, and overloaded ones …
OVERLOADED_TRIES = 3  # … providers.md §9.2
NEXT_KEY = frozenset({"rate_limit", "overloaded", "server_error", "timeout", "auth", "unknown"})  # tier 1
PATIENCE = 10.0  # seconds that a model which rests is waited for, if there is no other
JITTER = 0.25
FINAL = frozenset({"context_overflow", "cancelled"})


class Desk(Protocol):
    """Where calls are let in and reported back."""

    async def enter(self, candidate: Candidate, tried: tuple[int, ...], *, probe: bool) -> Entered | Resting:
        """Raises ProviderError `model_not_found` for a provider that does not exist."""

    def left(self, candidate: Candidate, slot: int, *, answered: bool, trouble: ProviderError | None) -> None: ...

    def now(self) -> float:
        """Seconds since the epoch."""


class Purse(Protocol):
    """What calls are paid from (§18)."""

    async def reserve(self, candidate: Candidate, ask: ChatRequest, vendor: str) -> ChatRequest:
        """Before a call goes out: the ask, perhaps with a shorter answer. Raises Rejected when nothing pays for it.

        `vendor`: the one the candidate's provider is, whatever its name.
        """

    async def release(self) -> None:
        """The call failed before it said anything."""


class Bottomless:
    """Everything is paid for."""

    async def reserve(self, candidate: Candidate, ask: ChatRequest, vendor: str) -> ChatRequest:
        return ask

    async def release(self) -> None: ...


class Failover:
    """Candidates in order of preference. Is a `Model` itself, so whoever asks it knows nothing of this."""

    def __init__(
        self,
        candidates: Sequence[Candidate],
        desk: Desk,
        within: float = float("inf"),
        purse: Purse | None = None,
    ) -> None:
        """`within`: seconds for each of them to begin its answer."""
        self.name = candidates[0].provider
        self._candidates = candidates
        self._desk = desk
        self._within = within
        self._purse = purse or Bottomless()

    @asynccontextmanager
    async def stream(self, ask: ChatRequest, *, tell: Tell = silent) -> AsyncIterator[AsyncIterator[StreamChunk]]:
        async with AsyncExitStack() as stack:
            yield await self._open(ask, tell, stack)

    async def _open(self, ask: ChatRequest, tell: Tell, stack: AsyncExitStack) -> AsyncIterator[StreamChunk]:
        """The answer of the first candidate that has one."""
        failed: list[tuple[Candidate, ProviderError]] = []
        resting: list[tuple[float, Candidate, Resting]] = []
        for candidate in self._candidates:
            if len(failed) > 1 and all(error.kind == "content_policy" for _, error in failed[-2:]):
                break  # refused twice on its contents: the next would be asked in vain
            chunks = await self._ask(candidate, ask, tell, stack, failed, resting)
            if chunks is not None:
                return chunks
            if failed and failed[-1][1].kind in FINAL:
                raise failed[-1][1]
        if resting and not failed:
            until, candidate, rest = min(resting, key=lambda rest: rest[0])
            wait = (until - self._desk.now()) * random.uniform(1, 1 + JITTER)  # noqa: S311 - so that not all wake at once
            if 0 < wait <= PATIENCE:
                tell(Retrying(1, 1, f"{candidate} rests after {rest.reason}", wait))
                await trio.sleep(wait)
            chunks = await self._ask(candidate, ask, tell, stack, failed, resting, probe=True)
            if chunks is not None:
                return chunks
        raise self._nobody(failed, resting)

    async def _ask(
        self,
        candidate: Candidate,
        ask: ChatRequest,
        tell: Tell,
        stack: AsyncExitStack,
        failed: list[tuple[Candidate, ProviderError]],
        resting: list[tuple[float, Candidate, Resting]],
        *,
        probe: bool = False,
    ) -> AsyncIterator[StreamChunk] | None:
        """One candidate with one key after the other."""
        tried: tuple[int, ...] = ()
        while True:
            try:
                entered = await self._desk.enter(candidate, tried, probe=probe)
            except ProviderError as error:
                failed.append((candidate, error))
                return None
            if isinstance(entered, Resting):
                if not (tried or probe):
                    resting.append((entered.until, candidate, entered))
                return None
            call = _Call(self._desk, candidate, entered.slot)
            question = replace(ask, model=candidate.model) if candidate.model not in ("", ask.model) else ask
            try:
                async with AsyncExitStack() as attempt:
                    attempt.push(call)
                    if ask.compact and not getattr(entered.client, "compacts", False):
                        raise ProviderError("format", f"{candidate} makes no conversation shorter by itself")
                    question = await self._purse.reserve(candidate, question, entered.vendor)
                    with trio.move_on_after(self._within):
                        chunks: AsyncIterator[StreamChunk] = await attempt.enter_async_context(
                            entered.client.stream(question, slot=entered.slot, tell=tell)
                        )
                        stack.push_async_exit(attempt.pop_all())
                        if candidate != self._candidates[0]:
                            tell(self._fell_back(candidate, failed, resting))
                        return chunks
                    raise ProviderError("timeout", f"{candidate} did not begin to answer within {self._within:g} s")
            except ProviderError as error:
                await self._purse.release()
                failed.append((candidate, error))
                tried = (*tried, entered.slot)
                most = OVERLOADED_TRIES if error.kind == "overloaded" else TRIES
                if error.kind not in NEXT_KEY or len(tried) >= most or probe:
                    return None

    def _fell_back(
        self,
        candidate: Candidate,
        failed: list[tuple[Candidate, ProviderError]],
        resting: list[tuple[float, Candidate, Resting]],
    ) -> FellBack:
        wanted = self._candidates[0]
        why: dict[Candidate, str] = {other: rest.reason for _, other, rest in resting}
        why |= {other: error.kind for other, error in failed}
        return FellBack(str(wanted), str(candidate), why.get(wanted, "unknown"))

    def _nobody(
        self, failed: list[tuple[Candidate, ProviderError]], resting: list[tuple[float, Candidate, Resting]]
    ) -> ProviderError:
        """Each candidate and what was wrong with it; the first one's class."""
        wait = min((until - self._desk.now() for until, _, _ in resting), default=None)
        if len(failed) == 1 and not resting:
            return failed[0][1]
        said = [f"{candidate}: {error.kind}: {error.message}" for candidate, error in failed]
        said += [f"{candidate}: rests after {rest.reason}" for _, candidate, rest in resting]
        kind = failed[0][1].kind if failed else resting[0][2].reason
        if failed and failed[0][1].retry_after is not None:
            wait = failed[0][1].retry_after
        first = failed[0][1].status if failed else None
        after = max(1.0, wait) if wait is not None else None
        return ProviderError(kind, "no model answered; " + "; ".join(said), status=first, retry_after=after)


class _Call:
    """Reports how one call ended, whenever that is."""

    def __init__(self, desk: Desk, candidate: Candidate, slot: int) -> None:
        self._desk = desk
        self._candidate = candidate
        self._slot = slot

    def __exit__(
        self, of: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        trouble = error if isinstance(error, ProviderError) else None
        self._desk.left(self._candidate, self._slot, answered=error is None, trouble=trouble)

    def __enter__(self) -> None:
        """Already inside."""
