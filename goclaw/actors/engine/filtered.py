"""A stream whose words pass a filter, and whose whole answer is what the filter makes of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Protocol

from msgspec.structs import replace

from goclaw.domain.chat import StreamChunk


class Words(Protocol):
    """Hands out what may be read, and keeps back what it does not know yet."""

    def feed(self, text: str) -> str: ...
    def finish(self) -> str: ...


async def filtered(
    chunks: AsyncIterator[StreamChunk], words: Words, whole: Callable[[str], Awaitable[str]]
) -> AsyncGenerator[StreamChunk, None]:
    """Raises what the filter raises."""
    async for chunk in chunks:
        said = words.feed(chunk.content) if chunk.content else ""
        done = chunk.done
        if done is None:
            if said or chunk.thinking:
                yield replace(chunk, content=said)
            continue
        said += words.finish()
        clean = await whole(done.content)
        if clean != done.content:
            done = replace(done, content=clean, raw=None)  # the vendor's own blocks hold it too
        yield replace(chunk, content=said, done=done)
