"""A model that cannot make up results of tools: its receipts are compared with those that were given.

People see none of them. One that had to be taken out is held against it when it is asked next, in this turn or a
later one, for what stands in its place is part of the conversation. Contract: security.md §12.3.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from msgspec.structs import replace

from goclaw.actors.engine.filtered import filtered
from goclaw.domain.chat import ChatMessage, ChatRequest, StreamChunk
from goclaw.providers.provider import Model, Tell, silent
from goclaw.security.receipts import INVALID, NOTE, Mode, ReceiptFilter, Receipts, unreceipted


class Receipted:
    """`where` is what events about it say."""

    def __init__(self, model: Model, receipts: Receipts, mode: Mode, **where: Any) -> None:
        self.name = model.name
        self._model = model
        self._receipts = receipts
        self._mode = mode
        self._where = where

    @asynccontextmanager
    async def stream(self, ask: ChatRequest, *, tell: Tell = silent) -> AsyncIterator[AsyncIterator[StreamChunk]]:
        self._receipts.recall(message.content for message in ask.messages if message.role == "tool")
        if INVALID in next((said.content for said in reversed(ask.messages) if said.role == "assistant"), ""):
            ask = replace(ask, messages=(*ask.messages, ChatMessage(role="user", content=NOTE)))
        words = ReceiptFilter(self._receipts, self._mode)
        async with (
            self._model.stream(ask, tell=tell) as chunks,
            aclosing(filtered(chunks, words, self._whole)) as clean,
        ):
            yield clean

    async def _whole(self, text: str) -> str:
        return unreceipted(self._receipts.checked(text, self._mode, **self._where).text)
