"""The model calls of one life of a run, until they are in the store. Contract: observability.md §3.2, §6."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from goclaw.domain.budget import Held, Payer
from goclaw.domain.chat import ChatRequest, ChatResponse, StreamChunk, Usage
from goclaw.domain.price import cost, worst
from goclaw.domain.tokens import CHARS
from goclaw.providers.prices import cost_of
from goclaw.providers.provider import Model, Tell, silent
from goclaw.runtime.clock import Clock
from goclaw.settings.telemetry import ModelPrice
from goclaw.stores.model_calls import CallStatus, Costs, ModelCall

TOKENS = 10**12  # of a call; a vendor can say any number


class Open(Struct):
    number: int
    provider: str
    model: str
    start_time: datetime
    began: float  # seconds, monotonic
    held: tuple[Held, ...] = ()  # what purses hold for it; an answer that is asked for again is paid for again
    chars: int = 0  # heard so far


class CallLog:
    """One call at a time is open. What has ended stays here until a commit has it.

    `pricing` is `telemetry.model_pricing`; a price holds for the calls that end under it.
    """

    def __init__(self, clock: Clock, pricing: Mapping[str, ModelPrice]) -> None:
        self._clock = clock
        self._pricing = pricing
        self._next = 0
        self._open: Open | None = None
        self._ended: list[ModelCall] = []
        self.payers: tuple[Payer, ...] = ()  # who has purses that pay for the calls
        self.total = Decimal(0)  # USD, of this life and those before …
        self.known = False  # … if anybody was asked …
        self.unknown = False  # … and nobody whose price is not known

    def begin(self, provider: str, model: str) -> None:
        self._close("cancelled")
        self._open = Open(self._next, provider, model, self._clock.now(), self._clock.monotonic())
        self._next += 1

    def end(self, response: ChatResponse) -> None:
        if (call := self._open) is None:
            return
        call.provider = response.provider or call.provider  # who answered, not who was asked first
        call.model = response.model or call.model
        self._close(
            "completed",
            finish_reason=response.finish_reason,
            tool_calls=len(response.tool_calls),
            total_cost=cost_of(replace(response, provider=call.provider, model=call.model), self._pricing),
            **_counted(response.usage),
        )

    @property
    def cost(self) -> Decimal | None:
        """USD of all calls of the run so far. None if nobody knows, or nobody was asked."""
        return self.total if self.known and not self.unknown and self._open is None else None

    def before(self, costs: Costs) -> None:
        """What former lives of the run have cost."""
        self.total, self.known, self.unknown = costs.total, costs.calls > 0, costs.unpriced > 0

    def holds(self, held: Held) -> None:
        if self._open is not None:
            self._open.held = (*self._open.held, held)

    def let_go(self) -> Held | None:
        """What was held last for the open call, which is somebody else's business now."""
        if self._open is None or not self._open.held:
            return None
        *others, held = self._open.held
        self._open.held = tuple(others)
        return held

    def heard(self, chunk: StreamChunk) -> None:
        if self._open is not None:
            self._open.chars += len(chunk.content) + len(chunk.thinking)

    def refused(self) -> None:
        """No purse paid for the open call, so there is none, unless it was answered before and asked again."""
        if self._open is not None and not self._open.held:
            self._open = None

    def failed(self, kind: str) -> None:
        self._close("error", error=kind)

    def waiting(self) -> tuple[ModelCall, ...]:
        """What is not in the store yet. Nobody waits any longer for a call that is still open."""
        self._close("cancelled")
        return tuple(self._ended)

    def stored(self, calls: Sequence[ModelCall]) -> None:
        self._ended = self._ended[len(calls) :]

    def _close(self, status: CallStatus, **more: Any) -> None:
        if (call := self._open) is None:
            return
        self._open = None
        if status != "error":
            cost = more.get("total_cost")
            self.known, self.unknown = True, self.unknown or cost is None
            self.total += cost or 0
        self._ended.append(
            ModelCall(
                number=call.number,
                provider=call.provider,
                model=call.model,
                status=status,
                start_time=call.start_time,
                duration_ms=int((self._clock.monotonic() - call.began) * 1000),
                **_paid(call, more),
                **more,
            )
        )


class Logged:
    """A model whose calls are written down, for who has no journal."""

    def __init__(self, model: Model, calls: CallLog) -> None:
        self.name = model.name
        self._model = model
        self._calls = calls

    @asynccontextmanager
    async def stream(self, ask: ChatRequest, *, tell: Tell = silent) -> AsyncIterator[AsyncIterator[StreamChunk]]:
        self._calls.begin(self.name, ask.model)
        async with self._model.stream(ask, tell=tell) as chunks, aclosing(self._heard(chunks)) as heard:
            yield heard

    async def _heard(self, chunks: AsyncIterator[StreamChunk]) -> AsyncGenerator[StreamChunk, None]:
        async for chunk in chunks:
            self._calls.heard(chunk)
            if chunk.done is not None:
                self._calls.end(chunk.done)
            yield chunk


def _paid(call: Open, more: dict[str, Any]) -> dict[str, Any]:
    """What purses pay for a call: what it took, or of one that broke off its prompt and what was heard of it."""
    held = call.held
    if "input_tokens" in more:
        spent, tokens = more["total_cost"], more["input_tokens"] + more["output_tokens"]
    elif not held:
        return {}
    else:
        heard = Usage(completion_tokens=-(-call.chars // CHARS))
        asked = [(Usage(prompt_tokens=each.input_tokens), each.price) for each in held]
        took = [*asked, (heard, held[-1].price)]
        spent = sum((cost(usage, price) or Decimal(0) for usage, price in took), Decimal(0))
        tokens = sum(usage.total_tokens for usage, _ in took)
    ids = tuple(each.id for each in held)
    spent = spent or Decimal(0)
    overshot = bool(held) and spent > sum(worst(each.input_tokens, each.max_tokens, each.price) or 0 for each in held)
    return {"reservations": ids, "spent": spent, "spent_tokens": tokens, "overshot": overshot}


def _counted(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": _tokens(usage.prompt_tokens),
        "output_tokens": _tokens(usage.completion_tokens),
        "cache_read_tokens": _tokens(usage.cache_read_tokens),
        "cache_create_tokens": _tokens(usage.cache_write_tokens),
        "thinking_tokens": _tokens(usage.thinking_tokens),
        "estimated": usage.estimated,
    }


def _tokens(said: int) -> int:
    return max(0, min(said, TOKENS))
