"""Bodies of requests and answers, a piece at a time. Contract: providers.md §14."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator

import httpx

PIECE = 2**16  # bytes opened at once
ACCEPTED = "gzip"
PLAIN = ("", "identity")


class Sent(httpx.AsyncByteStream):
    """A request's body in one piece. Not a generator: one that a dead connection leaves behind is never closed."""

    def __init__(self, content: bytes) -> None:
        self._left = [content]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


def opened(raw: AsyncIterator[bytes], headers: httpx.Headers) -> AsyncIterator[bytes]:
    """A body without its encoding. Raises httpx.DecodingError for one that is none, or that nobody asked for."""
    return raw if headers.get("content-encoding", "").strip().lower() in PLAIN else _Opened(raw)


class _Opened:
    """What httpx would open in one go, however large: a few bytes may stand for gigabytes."""

    def __init__(self, packed: AsyncIterator[bytes]) -> None:
        self._packed = packed
        self._zip = zlib.decompressobj(wbits=47)  # gzip or zlib

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while True:
            data = self._zip.unconsumed_tail or await anext(self._packed)
            if self._zip.eof:
                continue
            try:
                piece = self._zip.decompress(data, PIECE)
            except zlib.error as error:
                raise httpx.DecodingError(str(error)) from error
            if piece:
                return piece
