"""A model whose words hold no secret of ours, whatever it was told. Contract: security.md §12.1.

Calls of tools keep theirs: a command runs with what it was given. What is shown of them is scrubbed elsewhere.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from goclaw.actors.engine.filtered import filtered
from goclaw.domain.chat import ChatRequest, StreamChunk
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
        words = LeakFilter(self._mode, self._known.forms, **self._where)
        try:
            async with aclosing(filtered(chunks, words, self._whole)) as clean:
                async for chunk in clean:
                    yield chunk
        except Leaked:
            message = "the answer held a secret and was withheld"
            raise ProviderError("content_policy", message) from None

    async def _whole(self, text: str) -> str:
        return await unleaked(text, self._mode, self._known.forms)
