"""An answer with a secret of ours in it. Contract: security.md §12.1, SEC-43."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from goclaw.actors.engine.leakless import Leakless
from goclaw.domain.chat import ChatRequest, ChatResponse, StreamChunk
from goclaw.domain.errors import ProviderError
from goclaw.providers.provider import Tell, silent
from goclaw.security.known import Known
from goclaw.security.leaks import Mode

CANARY = "canary-S3cr3t-0123456789"
ASK = ChatRequest(messages=(), model="m")


class Telling:
    """Says a text in pieces."""

    name = "telling"

    def __init__(self, *pieces: str) -> None:
        self.pieces = pieces

    @asynccontextmanager
    async def stream(self, ask: ChatRequest, *, tell: Tell = silent) -> AsyncIterator[AsyncIterator[StreamChunk]]:
        async def chunks() -> AsyncGenerator[StreamChunk, None]:
            for piece in self.pieces:
                yield StreamChunk(content=piece)
            yield StreamChunk(done=ChatResponse(content="".join(self.pieces), thinking="t"))

        async with aclosing(chunks()) as told:
            yield told


async def heard(mode: Mode, *pieces: str) -> tuple[str, str]:
    """What came piece by piece, and the whole of it."""
    said: list[str] = []
    async with Leakless(Telling(*pieces), mode, Known([CANARY])).stream(ASK) as chunks:
        async for chunk in chunks:
            said.append(chunk.content)
            if chunk.done is not None:
                return "".join(said), chunk.done.content
    raise AssertionError("no end")


@pytest.mark.parametrize("size", [1, 3, 7, 100])
async def test_a_secret_is_told_neither_in_pieces_nor_as_a_whole(size: int) -> None:
    text = f"The key is {CANARY}, I think."
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert await heard("registered", *pieces) == ("The key is [REDACTED], I think.",) * 2


async def test_other_text_comes_as_it_is() -> None:
    assert await heard("registered", "can", "ary birds") == ("canary birds",) * 2
    assert await heard("off", CANARY) == (CANARY,) * 2


async def test_an_answer_may_be_withheld_altogether() -> None:
    with pytest.raises(ProviderError) as refused:
        await heard("block", "The key is ", CANARY)
    assert refused.value.kind == "content_policy"
    assert CANARY not in str(refused.value)
    assert await heard("block", "Hello ", "you") == ("Hello you",) * 2
