"""A model whose words hold no secret of ours, whatever it was told. Contract: security.md §12.1.

Calls of tools keep theirs: a command runs with what it was given. What is shown of them is scrubbed elsewhere.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from msgspec.structs import replace

from goclaw.domain.chat import ChatRequest, ChatResponse, StreamChunk
from goclaw.domain.errors import ProviderError
from goclaw.providers.provider import Model, Tell, silent
from goclaw.security.known import Known
from goclaw.security.leaks import Leaked, LeakFilter, Mode, unleaked


class Leakless:
    """`where` is what events about it say."""

    def __init__(self, model: Model, mode: Mode, known: Known, **where: Any) -> None:
        self.name = model.name
        self._model = model
        self._mode = mode
        self._known = known
        self._where = where

    @asynccontextmanager
    async def stream(self, ask: ChatRequest, *, tell: Tell = silent) -> AsyncIterator[AsyncIterator[StreamChunk]]:
        """Raises ProviderError `content_policy` for an answer that nobody gets."""
        async with self._model.stream(ask, tell=tell) as chunks:
            if self._mode == "off":
                yield chunks
                return
            async with aclosing(self._clean(chunks)) as clean:
                yield clean

    async def _clean(self, chunks: AsyncIterator[StreamChunk]) -> AsyncGenerator[StreamChunk, None]:
        filter = LeakFilter(self._mode, self._known.forms, **self._where)
        try:
            async for chunk in chunks:
                said = filter.feed(chunk.content) if chunk.content else ""
                if chunk.done is None:
                    if said or chunk.thinking:
                        yield replace(chunk, content=said)
                    continue
                said += filter.finish()
                yield replace(chunk, content=said, done=await self._whole(chunk.done))
        except Leaked:
            message = "the answer held a secret and was withheld"
            raise ProviderError("content_policy", message) from None

    async def _whole(self, done: ChatResponse) -> ChatResponse:
        clean = await unleaked(done.content, self._mode, self._known.forms)
        if clean == done.content:
            return done
        return replace(done, content=clean, raw=None)  # the vendor's own blocks hold it too
