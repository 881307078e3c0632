"""Server-sent events: frames, keep-alives, and an end that happens whatever the client does. edge-http.md §0.5."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any

import msgspec
import trio
from quart import Response

KEEP_ALIVE = 15.0  # seconds of silence
KEEP_ALIVE_FRAME = b": keep-alive\n\n"
HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}

_encode = msgspec.json.Encoder().encode


def frame(value: Any, event: str = "", id: int | None = None) -> bytes:
    head = f"event: {event}\n" if event else ""
    if id is not None:
        head += f"id: {id}\n"
    return head.encode() + b"data: " + _encode(value) + b"\n\n"


class Stream:
    """Bytes of an answer, one async generator behind it. `done` is called once, also if nothing was ever sent."""

    def __init__(self, frames: AsyncGenerator[bytes, None], done: Callable[[], None]) -> None:
        self._frames = frames
        self._done: Callable[[], None] | None = done

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> bytes:
        return await self._frames.__anext__()

    async def aclose(self) -> None:
        try:
            await self._frames.aclose()
        finally:
            self._finish()

    def __del__(self) -> None:
        self._finish()

    def _finish(self) -> None:
        done, self._done = self._done, None
        if done is not None:
            done()

    def response(self, headers: dict[str, str]) -> Response:
        response = Response(self, 200, {**HEADERS, **headers})
        response.timeout = None  # a run may think for long; its own deadline ends it
        return response


async def or_keep_alive(wait: Callable[[], Any]) -> Any:
    """What `wait` returns, or `KEEP_ALIVE_FRAME` after 15 s without it."""
    with trio.move_on_after(KEEP_ALIVE):
        return await wait()
    return KEEP_ALIVE_FRAME
