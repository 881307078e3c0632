"""Server-sent events: framing, keep-alives, and one end. Contract: edge-http.md §0.5."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import trio
from trio.testing import MockClock

from goclaw.edge.http.sse import KEEP_ALIVE, KEEP_ALIVE_FRAME, Stream, frame, or_keep_alive


async def numbers() -> AsyncGenerator[bytes, None]:
    yield frame(1)
    yield frame(2)


def test_a_frame_is_one_line_of_compact_json() -> None:
    assert frame({"a": "x\ny", "b": "ê"}) == 'data: {"a":"x\\ny","b":"ê"}\n\n'.encode()


def test_a_frame_may_have_a_name_and_a_number() -> None:
    assert frame([], "actor.crashed", 0) == b"event: actor.crashed\nid: 0\ndata: []\n\n"


async def test_a_stream_read_to_its_end_is_done_once() -> None:
    ends: list[int] = []
    stream = Stream(numbers(), lambda: ends.append(1))
    assert [sent async for sent in stream] == [frame(1), frame(2)]
    await stream.aclose()
    await stream.aclose()
    del stream
    assert ends == [1]


async def test_a_stream_left_early_is_done_and_its_generator_closed() -> None:
    ends: list[str] = []

    async def endless() -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield b"x"
        finally:
            ends.append("generator")

    stream = Stream(endless(), lambda: ends.append("done"))
    await stream.__anext__()
    await stream.aclose()
    assert ends == ["generator", "done"]


async def test_a_stream_nobody_ever_read_is_done() -> None:
    ends: list[int] = []
    stream = Stream(numbers(), lambda: ends.append(1))
    del stream
    assert ends == [1]


async def test_a_response_has_the_headers_of_a_stream_and_no_deadline() -> None:
    response = Stream(numbers(), lambda: None).response({"X-GoClaw-Run-Id": "r"})
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["X-Accel-Buffering"] == "no"
    assert response.headers["X-GoClaw-Run-Id"] == "r"
    assert response.timeout is None


async def test_silence_is_filled_every_fifteen_seconds(autojump_clock: MockClock) -> None:
    heard, began = trio.Event(), trio.current_time()

    assert await or_keep_alive(heard.wait) is KEEP_ALIVE_FRAME
    assert trio.current_time() - began == KEEP_ALIVE

    heard.set()
    assert await or_keep_alive(heard.wait) is None
    assert trio.current_time() - began == KEEP_ALIVE
