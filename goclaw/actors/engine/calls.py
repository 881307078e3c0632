"""The model calls of one life of a run, until they are in the store. Contract: observability.md §3.2, §6."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any

from msgspec import Struct

from goclaw.domain.chat import ChatRequest, ChatResponse, StreamChunk, Usage
from goclaw.providers.provider import Provider
from goclaw.runtime.clock import Clock
from goclaw.stores.model_calls import CallStatus, ModelCall

TOKENS = 2**53  # of a call; a vendor can say any number


class Open(Struct, frozen=True):
    number: int
    provider: str
    model: str
    start_time: datetime
    began: float  # seconds, monotonic


class CallLog:
    """One call at a time is open. What has ended stays here until a commit has it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next = 0
        self._open: Open | None = None
        self._ended: list[ModelCall] = []

    def begin(self, provider: str, model: str) -> None:
        self._close("cancelled")
        self._open = Open(self._next, provider, model, self._clock.now(), self._clock.monotonic())
        self._next += 1

    def end(self, response: ChatResponse) -> None:
        self._close(
            "completed",
            finish_reason=response.finish_reason,
            tool_calls=len(response.tool_calls),
            total_cost=Decimal(0) if response.offline else None,
            **_counted(response.usage),
        )

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
        self._ended.append(
            ModelCall(
                number=call.number,
                provider=call.provider,
                model=call.model,
                status=status,
                start_time=call.start_time,
                duration_ms=int((self._clock.monotonic() - call.began) * 1000),
                **more,
            )
        )


class Logged:
    """A model whose calls are written down, for who has no journal."""

    def __init__(self, name: str, model: Provider, calls: CallLog) -> None:
        self.name = name
        self.default_model = model.default_model
        self._model = model
        self._calls = calls

    @asynccontextmanager
    async def stream(self, ask: ChatRequest) -> AsyncIterator[AsyncIterator[StreamChunk]]:
        self._calls.begin(self.name, ask.model or self.default_model)
        async with self._model.stream(ask) as chunks, aclosing(self._heard(chunks)) as heard:
            yield heard

    async def _heard(self, chunks: AsyncIterator[StreamChunk]) -> AsyncGenerator[StreamChunk, None]:
        async for chunk in chunks:
            if chunk.done is not None:
                self._calls.end(chunk.done)
            yield chunk

    async def models(self) -> list[str]:
        return await self._model.models()

    async def aclose(self) -> None:
        """It is only lent."""


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
