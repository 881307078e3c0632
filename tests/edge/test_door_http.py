"""The HTTP half of the door: a quart-trio application behind the guarded hypercorn. Traps: stack.md §1.3."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope
from quart import request
from quart_trio import QuartTrio
from structlog.testing import capture_logs

from goclaw.edge.door import BodyLimit, Door, DoorLimits, Upgrade, reserve

LIMITS = DoorLimits(http_connections=2, header_within=0.6, close_within=0.3)
GET = b"GET / HTTP/1.1\r\nHost: door\r\n\r\n"


class App:
    """A quart application that tells the test what happens to it."""

    def __init__(self) -> None:
        self.asgi = QuartTrio(__name__)
        self.asgi.config["RESPONSE_TIMEOUT"] = None
        self.asgi.add_url_rule("/", view_func=self.root)
        self.asgi.add_url_rule("/echo", view_func=self.echo, methods=["POST"])
        self.asgi.add_url_rule("/deaf", view_func=self.deaf, methods=["POST"])
        self.asgi.add_url_rule("/slow", view_func=self.slow)
        self.asgi.add_url_rule("/ticks", view_func=self.ticks)
        self.asgi.add_url_rule("/bug", view_func=self.bug)
        self.started = trio.Event()
        self.go = trio.Event()
        self.left = trio.Event()

    async def root(self) -> str:
        return "well"

    async def echo(self) -> bytes:
        return await request.get_data()

    async def deaf(self) -> tuple[str, int]:
        return "who are you", 401

    async def slow(self) -> str:
        self.started.set()
        await self.go.wait()
        return "done"

    async def bug(self) -> str:
        raise RuntimeError("a bug")

    async def ticks(self) -> AsyncIterator[bytes]:
        async def stream() -> AsyncIterator[bytes]:
            try:
                self.started.set()
                while True:
                    yield b"tick\n" * 10_000
            finally:
                self.left.set()

        return stream()


@pytest.fixture
def app() -> App:
    return App()


async def nobody(upgrade: Upgrade) -> None:
    raise AssertionError("HTTP only")


def limit(method: str, path: str) -> BodyLimit:
    if path == "/crash":
        raise RuntimeError("a bug")
    return BodyLimit(20_000_000, 5.0) if path == "/deaf" else BodyLimit(10_000, 0.3)


@asynccontextmanager
async def opened(app: ASGIFramework, limits: DoorLimits = LIMITS) -> AsyncIterator[Door]:
    door = Door(reserve("127.0.0.1", 0), app, nobody, limits, limit)
    async with trio.open_nursery() as nursery:
        await nursery.start(door.serve)
        with trio.fail_after(20):
            yield door
        await door.close(within=0)


@asynccontextmanager
async def raw(door: Door, sent: bytes = b"") -> AsyncIterator[trio.SocketStream]:
    async with await trio.open_tcp_stream(*door.addresses[0]) as stream:
        await stream.send_all(sent)
        yield stream


async def response(stream: trio.SocketStream) -> tuple[int, bytes, bytes]:
    """Status, header block and body of one answer that has a Content-Length."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = await stream.receive_some(1)
        assert byte, f"the connection ended after {head!r}"
        head += byte
    size = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    body = b""
    while len(body) < size:
        body += await stream.receive_some(size - len(body))
    return int(head.split()[1]), head, body


async def ended(stream: trio.SocketStream) -> bool:
    """Whether nothing but the end is left. A reset is an end too."""
    try:
        return await stream.receive_some() == b""
    except trio.BrokenResourceError:
        return True


def post(path: bytes, body: bytes, *fields: bytes) -> bytes:
    lines = [b"POST " + path + b" HTTP/1.1", b"Host: door", b"Content-Length: %d" % len(body), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def test_one_connection_serves_many_requests_and_hides_its_server(app: App) -> None:
    async with opened(app.asgi) as door, raw(door) as stream:
        for i in range(3):
            await stream.send_all(post(b"/echo", b"%d" % i))
            status, head, body = await response(stream)
            assert (status, body) == (200, b"%d" % i)
            assert b"\r\nserver:" not in head.lower()


async def test_an_answer_before_the_body_was_read_never_hangs_the_next_request(app: App) -> None:
    """Trap 2. The connection may be kept or closed, but what it promises it keeps."""
    patient = DoorLimits(http_connections=2, header_within=20, close_within=0.3)  # or a slow machine counts as idle
    async with opened(app.asgi, patient) as door:
        for _ in range(20):
            async with raw(door) as stream:
                for _ in range(5):
                    await stream.send_all(post(b"/deaf", b"unread"))
                    status, head, _ = await response(stream)
                    assert status == 401
                    if b"connection: close" in head.lower():
                        assert await ended(stream)
                        break


async def test_an_idle_connection_ends_also_after_its_first_request(app: App) -> None:
    """Trap 2's other half: the keep-alive timer never fired again."""
    async with opened(app.asgi) as door, raw(door, GET) as stream:
        assert (await response(stream))[0] == 200
        assert await ended(stream)


async def test_a_refused_upload_can_read_its_refusal_while_it_is_still_sending(app: App) -> None:
    async with opened(app.asgi) as door, raw(door) as stream:
        await stream.send_all(b"POST /deaf HTTP/1.1\r\nHost: door\r\nContent-Length: 10000000\r\n\r\n" + bytes(500_000))
        status, head, _ = await response(stream)
        await stream.send_all(bytes(100_000))

        assert status == 401
        assert b"\r\nconnection: close" in head
        assert await ended(stream)


@pytest.mark.parametrize(
    ("start", "status"),
    [
        (b"POST /echo HTTP/1.1\r\nHost: door\r\nContent-Length: 10001\r\n\r\n", 413),
        (b"POST /echo HTTP/1.1\r\nHost: door\r\nContent-Length: 10001\r\nExpect: 100-continue\r\n\r\n", 413),
        (b"POST /echo HTTP/1.1\r\nHost: door\r\nTransfer-Encoding: chunked\r\n\r\n2711\r\n" + b"x" * 10_001, 413),
        (b"POST /echo HTTP/1.1\r\nHost: door\r\nContent-Length: 5\r\n\r\nhell", 408),
        (b"GET /" + b"a" * 8_192 + b" HTTP/1.1\r\nHost: door\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: door\r\n" + b"X: y\r\n" * 100 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: door\r\nX: " + b"y" * 32_768 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: door\r\nX: " + b"y" * 40_000, 431),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"POST /echo HTTP/1.1\r\nHost: door\r\nContent-Length: " + b"9" * 5_000 + b"\r\n\r\n", 400),
        (b"GET x HTTP/1.1\r\nHost: door\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ],
    ids=[
        "declared",
        "expected",
        "chunked",
        "slow-body",
        "long-url",
        "many-fields",
        "big-header",
        "endless-header",
        "no-host",
        "absurd-length",
        "no-path",
        "tls",
        "http2",
    ],
)
async def test_what_is_too_much_is_refused_in_json_and_ends_the_connection(app: App, start: bytes, status: int) -> None:
    async with opened(app.asgi) as door, raw(door, start) as stream:
        got, head, body = await response(stream)

        assert got == status
        assert set(json.loads(body)) == {"error", "code"}
        assert head.lower().count(b"\r\nconnection: close\r\n") == 1
        assert await ended(stream)


async def test_a_refusal_of_head_has_no_body(app: App) -> None:
    async with opened(app.asgi) as door, raw(door, b"HEAD x HTTP/1.1\r\nHost: door\r\n\r\n") as stream:
        head = b""
        while more := await stream.receive_some():
            head += more
    assert head.startswith(b"HTTP/1.1 400 ")
    assert head.endswith(b"\r\n\r\n")


async def test_a_body_at_its_limit_passes_also_with_an_expectation(app: App) -> None:
    body = b"x" * 10_000
    async with opened(app.asgi) as door, raw(door, post(b"/echo", body)) as stream:
        assert (await response(stream))[2] == body
        await stream.send_all(post(b"/echo", body, b"Expect: 100-continue")[: -len(body)])
        assert (await response(stream))[0] == 100
        await stream.send_all(body)
        assert (await response(stream))[2] == body


async def test_an_absolute_url_is_a_path(app: App) -> None:
    async with opened(app.asgi) as door, raw(door, b"GET http://[x/ HTTP/1.1\r\nHost: door\r\n\r\n") as stream:
        assert (await response(stream))[2] == b"well"


async def test_slow_headers_end_the_connection(app: App) -> None:
    async with opened(app.asgi) as door, raw(door, b"GET / HTTP/1.1\r\nHos") as stream:
        assert await ended(stream)


@pytest.mark.parametrize("upgrade", [b"Upgrade: websocket", b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__"])
async def test_an_upgrade_elsewhere_is_a_plain_request_whatever_follows_it(app: App, upgrade: bytes) -> None:
    """Trap 1: a frame in the packet of an upgrade ended the process."""
    fields = b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13"
    start = (
        b"GET / HTTP/1.1\r\nHost: door\r\n" + upgrade + b"\r\n" + fields + b"\r\nSec-WebSocket-Protocol: \xe9\r\n\r\n"
    )
    async with opened(app.asgi) as door:
        async with raw(door, start + b"\x81\x85\0\0\0\0hello") as stream:
            assert (await response(stream))[2] == b"well"
        async with raw(door, GET) as stream:
            assert (await response(stream))[2] == b"well"


async def test_a_bug_in_the_application_is_500_for_one(app: App) -> None:
    async with opened(app.asgi) as door:
        async with raw(door, GET.replace(b"/", b"/bug", 1)) as stream:
            assert (await response(stream))[0] == 500
        async with raw(door, GET) as stream:
            assert (await response(stream))[0] == 200


async def test_a_bug_in_a_connection_is_logged_and_reaches_nobody_else(app: App) -> None:
    """Trap 1: one escaped exception ended hypercorn."""
    with capture_logs() as logs:
        async with opened(app.asgi) as door, raw(door, GET) as neighbour:
            assert (await response(neighbour))[0] == 200
            async with raw(door, GET.replace(b"/", b"/crash", 1)) as stream:
                assert await ended(stream)
            await neighbour.send_all(GET)
            assert (await response(neighbour))[0] == 200
    assert [line["event"] for line in logs] == ["door.connection_crashed"]


async def test_the_time_for_a_body_ends_with_the_body(app: App) -> None:
    async with opened(app.asgi) as door, raw(door, GET.replace(b"/", b"/slow", 1)) as stream:
        await app.started.wait()
        with trio.move_on_after(1.2 * limit("GET", "/slow").within):
            await stream.receive_some()
            raise AssertionError("an answer nobody gave")
        app.go.set()
        assert (await response(stream))[2] == b"done"


async def test_more_connections_than_allowed_get_503(app: App) -> None:
    async with opened(app.asgi) as door, raw(door, GET) as one, raw(door, GET) as two:
        await response(one)
        await response(two)
        async with raw(door, GET) as third:
            status, head, _ = await response(third)
    assert status == 503
    assert b"\r\nretry-after: 5" in head


async def test_a_stream_ends_when_its_reader_leaves(app: App) -> None:
    async with opened(app.asgi) as door:
        async with raw(door, GET.replace(b"/", b"/ticks", 1)):
            await app.started.wait()
        await app.left.wait()
        while door.connections:
            await door.departure()


async def test_a_stream_with_a_pipelined_request_behind_it_ends_too(app: App) -> None:
    """Trap 11: after the failed write nobody told the reader, which waited for its turn for ever."""
    async with opened(app.asgi) as door:
        async with raw(door, GET.replace(b"/", b"/ticks", 1) + GET):
            await app.started.wait()
        while door.connections:
            await door.departure()


async def test_a_reader_that_stops_reading_does_not_hold_up_the_end(app: App) -> None:
    """Trap 3, at shutdown: hypercorn shields its writes."""
    door = Door(reserve("127.0.0.1", 0), app.asgi, nobody, LIMITS)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(door.serve)
            async with raw(door, GET.replace(b"/", b"/ticks", 1)):
                await app.started.wait()
                await trio.testing.wait_all_tasks_blocked(0.02)
                await door.close(within=0.05)
                while door.connections:
                    await door.departure()


async def test_a_reader_that_stops_reading_is_dropped_by_the_kernel(app: App) -> None:
    """Trap 3, in daily life: TCP_USER_TIMEOUT, inherited from the listening socket."""
    async with opened(app.asgi, DoorLimits(stuck_within=0.5)) as door, raw(door, GET.replace(b"/", b"/ticks", 1)):
        await app.left.wait()
        while door.connections:
            await door.departure()


@pytest.mark.parametrize("farewell", [b"", b"no chunk\r\n"], ids=["leaves", "breaks the protocol"])
async def test_pushing_to_a_reader_that_is_lost_lets_others_run(farewell: bytes) -> None:
    """Trap 4: hypercorn swallows what can no longer be sent without a checkpoint, which freezes the loop."""
    gone = trio.Event()

    async def pusher(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http":
            raise NotImplementedError  # no lifespan
        await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": False})

        async def push() -> None:
            for _ in range(200_000):  # a frozen loop ends some time, and fails
                await send({"type": "http.response.body", "body": b"tick", "more_body": True})
            raise AssertionError("nobody else could run")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(push)
            while (await receive())["type"] != "http.disconnect":
                pass
            for _ in range(100):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        gone.set()

    async with opened(pusher) as door:
        async with raw(door, b"POST /deaf HTTP/1.1\r\nHost: door\r\nTransfer-Encoding: chunked\r\n\r\n") as stream:
            await stream.receive_some()
            await stream.send_all(farewell)
        with trio.fail_after(5):
            await gone.wait()


async def test_after_stop_intake_a_running_request_is_answered_and_an_idle_connection_ends(app: App) -> None:
    async with opened(app.asgi, DoorLimits()) as door, raw(door, GET) as idle:
        await response(idle)
        async with raw(door, GET.replace(b"/", b"/slow", 1)) as busy:
            await app.started.wait()
            await door.stop_intake()
            with trio.fail_after(2):  # its idle timer has 5 s
                assert await ended(idle)
            with pytest.raises(OSError, match="connect"):
                await trio.open_tcp_stream(*door.addresses[0])
            app.go.set()
            assert (await response(busy))[2] == b"done"
            assert await ended(busy)


async def test_close_waits_for_a_running_request(app: App) -> None:
    async with (
        opened(app.asgi) as door,
        raw(door, GET.replace(b"/", b"/slow", 1)) as stream,
        trio.open_nursery() as both,
    ):
        await app.started.wait()
        both.start_soon(door.close, 5.0)
        await trio.testing.wait_all_tasks_blocked()
        app.go.set()
        assert (await response(stream))[2] == b"done"
