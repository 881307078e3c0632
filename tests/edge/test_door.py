"""The WebSocket half of the door, over real sockets. Contract: edge-websocket.md §1."""

from __future__ import annotations

import json
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import httpx
import pytest
import trio
import trio.testing
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from structlog.testing import capture_logs
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from goclaw.edge.door import Door, DoorLimits, Link, LinkClosed, Upgrade, reserve

LIMITS = DoorLimits(sockets=3, header_within=1.0, write_within=0.3, close_within=0.3)
REQUEST = (
    b"GET /ws HTTP/1.1\r\nHost: door\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)

OnSocket = Callable[[Upgrade], Awaitable[None]]


EMPTY = [(b"content-length", b"0")]


async def no_content(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """An application that knows no page, as short as ASGI allows."""
    if scope["type"] == "lifespan":
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})  # type: ignore[misc, arg-type]
        return
    await send({"type": "http.response.start", "status": 404, "headers": EMPTY, "trailers": False})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def echo(upgrade: Upgrade) -> None:
    link = await upgrade.accept("goclaw.v3")
    while True:
        match await link.receive():
            case str() as text:
                await link.send(text)
            case bytes():
                await link.close(1003, "binary")


@asynccontextmanager
async def opened(on_socket: OnSocket, limits: DoorLimits = LIMITS) -> AsyncIterator[Door]:
    door = Door(reserve("127.0.0.1", 0), no_content, on_socket, limits)
    async with trio.open_nursery() as nursery:
        await nursery.start(door.serve)
        with trio.fail_after(20):
            yield door
        await door.close(within=0)


@asynccontextmanager
async def client(door: Door, subprotocols: Sequence[str] = ()) -> AsyncIterator[WebSocketConnection]:
    """Over a stream of our own: `open_websocket` leaves its socket open when the server closes first."""
    async with await trio.open_tcp_stream(*door.addresses[0]) as stream, trio.open_nursery() as nursery:
        ws = await wrap_client_stream(nursery, stream, "door", "/ws", subprotocols=subprotocols)
        yield ws
        await ws.aclose()


@asynccontextmanager
async def raw(door: Door, request: bytes = REQUEST) -> AsyncIterator[trio.SocketStream]:
    """A stranger with a bare TCP connection that has sent `request`."""
    async with await trio.open_tcp_stream(*door.addresses[0]) as stream:
        await stream.send_all(request)
        yield stream


@asynccontextmanager
async def switched(door: Door) -> AsyncIterator[trio.SocketStream]:
    """The same after 101."""
    async with raw(door) as stream:
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += await stream.receive_some(1)
        assert answer.startswith(b"HTTP/1.1 101 ")
        yield stream


async def rest(stream: trio.SocketStream) -> bytes:
    """Everything up to the end of the connection. A reset is an end too."""
    data = b""
    try:
        while more := await stream.receive_some(65_536):
            data += more
    except trio.BrokenResourceError:
        pass
    return data


async def answer(door: Door, request: bytes = REQUEST) -> tuple[bytes, bytes]:
    """Head and body of what the door says before it hangs up."""
    async with raw(door, request) as stream:
        head, _, body = (await rest(stream)).partition(b"\r\n\r\n")
    return head, body


async def push(link: Link, text: str) -> None:
    while True:
        await link.send(text)


def frame(payload: bytes, opcode: int = 1, *, fin: bool = True) -> bytes:
    """A client frame; the mask of zeros leaves the payload readable."""
    head = bytes([fin << 7 | opcode])
    if len(payload) < 126:
        return head + bytes([0x80 | len(payload)]) + bytes(4) + payload
    return head + b"\xff" + struct.pack("!Q", len(payload)) + bytes(4) + payload


def close_code(data: bytes) -> int:
    """Of the close frame at the end of `data`."""
    at = data.rindex(b"\x88")
    return int(struct.unpack("!H", data[at + 2 : at + 4])[0])


async def test_http_and_websocket_share_the_port() -> None:
    async with opened(echo) as door, client(door) as ws, httpx.AsyncClient() as http:
        host, port = door.addresses[0]

        await ws.send_message("xin chào")

        assert await ws.get_message() == "xin chào"
        assert (await http.get(f"http://{host}:{port}/v1/agents")).status_code == 404


async def test_an_upgrade_shows_path_headers_and_peer_but_no_query() -> None:
    seen: list[Upgrade] = []

    async def look(upgrade: Upgrade) -> None:
        seen.append(upgrade)
        await upgrade.reject(403, b"{}")

    request = REQUEST.replace(b"/ws", b"/ws?token=secret")
    request = request.replace(b"Host:", b"Authorization: Bearer one\r\nauthorization: Bearer two\r\nHost:")
    async with opened(look) as door:
        await answer(door, request)
        (upgrade,) = seen
        assert (upgrade.path, upgrade.peer) == ("/ws", "127.0.0.1")
        assert upgrade.headers.all("AUTHORIZATION") == ("Bearer one", "Bearer two")
        assert upgrade.headers.get("host") == "door"
        assert upgrade.headers.get("origin") is None


async def test_a_rejected_upgrade_is_an_http_answer_and_the_end_of_the_connection() -> None:
    async def refuse(upgrade: Upgrade) -> None:
        await upgrade.reject(403, b'{"error":"no","code":"FORBIDDEN"}', {"x-why": "origin"})

    async with opened(refuse) as door:
        head, body = await answer(door)

    assert head.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert b"x-why: origin" in head
    assert json.loads(body)["code"] == "FORBIDDEN"


@pytest.mark.parametrize("path", ["/ws/", "/wsx", "/other"])
async def test_other_paths_do_not_upgrade(path: str) -> None:
    async with opened(echo) as door, raw(door, REQUEST.replace(b"/ws", path.encode(), 1)) as stream:
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /ws HTTP/1.1\r\nHost: door\r\n\r\n", b"426"),
        (REQUEST.replace(b"Version: 13", b"Version: 8"), b"426"),
        (REQUEST.replace(b"Host: door\r\n", b""), b"400"),
        (REQUEST.replace(b"Host:", b"Sec-WebSocket-Protocol: caf\xe9\r\nHost:"), b"400"),
        (b"GET /ws garbage\r\n\r\n", b"400"),
        (REQUEST.replace(b"/ws", b"/ws?" + b"a" * 8_192), b"414"),
        (b"GET /ws?" + b"a" * 9_000, b"414"),
        (REQUEST.replace(b"Host:", b"X: " + b"a" * 32_768 + b"\r\nHost:"), b"431"),
        (REQUEST.replace(b"Host:", b"X: y\r\n" * 96 + b"Host:"), b"431"),
    ],
    ids=["plain", "version", "no-host", "latin-1", "garbage", "long-url", "endless-url", "big-header", "many-fields"],
)
async def test_a_broken_upgrade_is_refused_in_json(request_: bytes, status: bytes) -> None:
    async with opened(echo) as door:
        head, body = await answer(door, request_)

    assert head.split()[1] == status
    assert set(json.loads(body)) == {"error", "code"}
    assert (b"\r\nupgrade: websocket\r\n" in head) is (status == b"426")


async def test_a_hundred_fields_and_an_url_of_8_kib_pass() -> None:
    request = REQUEST.replace(b"/ws", b"/ws?" + b"a" * 8_188).replace(b"Host:", b"X: y\r\n" * 95 + b"Host:")
    async with opened(echo) as door, raw(door, request) as stream:
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize("start", [b"", b"GET", REQUEST[:60]], ids=["silence", "a word", "half a header"])
async def test_headers_that_do_not_come_end_the_connection(start: bytes) -> None:
    async with opened(echo) as door, raw(door, start) as stream:
        assert await rest(stream) == b""


async def test_an_upgrade_may_come_in_two_packets() -> None:
    async with opened(echo) as door, raw(door, REQUEST[:5]) as stream:
        await trio.testing.wait_all_tasks_blocked(0.01)
        await stream.send_all(REQUEST[5:])
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize(("offers", "chosen"), [([], None), (["other"], None), (["other", "goclaw.v3"], "goclaw.v3")])
async def test_the_subprotocol_is_echoed_only_if_offered(offers: list[str], chosen: str | None) -> None:
    async with opened(echo) as door, client(door, offers) as ws:
        assert ws.subprotocol == chosen


async def test_compression_is_never_negotiated() -> None:
    offer = REQUEST.replace(b"Host:", b"Sec-WebSocket-Extensions: permessage-deflate\r\nHost:")
    async with opened(echo) as door, raw(door, offer) as stream:
        assert b"extensions" not in (await stream.receive_some()).lower()


async def test_a_full_house_answers_503_until_somebody_leaves() -> None:
    async with opened(echo) as door:
        async with client(door), client(door), client(door):
            head, body = await answer(door)
            assert head.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nretry-after: 5" in head
            assert json.loads(body)["code"] == "UNAVAILABLE"
        while door.links:
            await door.departure()
        async with client(door) as ws:
            await ws.send_message("room again")
            assert await ws.get_message() == "room again"


async def test_during_a_drain_new_sockets_get_503_and_old_ones_go_on() -> None:
    async with opened(echo) as door, client(door) as ws:
        door.refuse_sockets()

        head, _ = await answer(door)
        await ws.send_message("still here")

        assert head.startswith(b"HTTP/1.1 503 ")
        assert await ws.get_message() == "still here"


async def test_after_stop_intake_nobody_gets_in_and_links_go_on() -> None:
    async with opened(echo) as door, client(door) as ws:
        address = door.addresses[0]
        await door.stop_intake()

        with pytest.raises(OSError, match="connect"):
            await trio.open_tcp_stream(*address)
        await ws.send_message("still here")

        assert await ws.get_message() == "still here"


async def test_who_came_before_stop_intake_and_asks_after_it_gets_503() -> None:
    async with opened(echo) as door, raw(door, b"") as stream:
        while not door.connections:
            await trio.lowlevel.checkpoint()
        await door.stop_intake()
        await stream.send_all(REQUEST)
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 503 ")


async def test_close_drops_what_does_not_end_and_serve_returns() -> None:
    door = Door(reserve("127.0.0.1", 0), no_content, echo, LIMITS)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(door.serve)
            async with client(door) as ws:
                await door.close(within=0.05)
                with pytest.raises(ConnectionClosed) as end:
                    await ws.get_message()
    assert end.value.reason is not None
    assert end.value.reason.code == 1006
    assert door.connections == 0


async def test_cancelling_serve_drops_everything() -> None:
    door = Door(reserve("127.0.0.1", 0), no_content, echo, LIMITS)
    async with trio.open_nursery() as nursery:
        await nursery.start(door.serve)
        async with switched(door) as stream:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True), trio.fail_after(5):
                assert await rest(stream) == b""


BIG = 524_288


@pytest.mark.parametrize(
    "frames",
    [
        [frame(b"x" * BIG)],
        [frame("é".encode() * (BIG // 2))],
        [frame(b"x" * (BIG // 2), fin=False), frame(b"", 0, fin=False), frame(b"x" * (BIG // 2), 0)],
        [frame(b"x" * BIG, 2)],
    ],
    ids=["ascii", "two bytes a character", "fragments", "binary"],
)
async def test_a_message_of_512_kib_passes_and_one_byte_more_closes_1009(frames: list[bytes]) -> None:
    async def measure(upgrade: Upgrade) -> None:
        link = await upgrade.accept()
        message = await link.receive()
        await link.send(str(len(message if isinstance(message, bytes) else message.encode())))
        await link.receive()

    async with opened(measure) as door:
        async with switched(door) as stream:
            await stream.send_all(b"".join(frames))
            assert await stream.receive_some() == b"\x81\x06524288"

        opcode = frames[0][0] & 0x0F
        async with switched(door) as stream:
            await stream.send_all(frame(b"x", opcode, fin=False))
            for part in frames:
                await stream.send_all(bytes([part[0] & 0xF0]) + part[1:])
            assert close_code(await rest(stream)) == 1009


async def test_after_1009_the_connection_is_gone_whatever_the_peer_and_the_product_do() -> None:
    """The peer goes on writing and never answers the close frame; the product does not even receive."""

    async def deaf(upgrade: Upgrade) -> None:
        await upgrade.accept()
        await trio.sleep_forever()

    async with opened(deaf) as door, switched(door) as stream, trio.open_nursery() as nursery:
        await stream.send_all(frame(b"x" * (BIG + 1)))

        @nursery.start_soon
        async def flood() -> None:
            try:
                while True:
                    await stream.send_all(bytes(65_536))
            except trio.BrokenResourceError:
                pass  # the end we wait for

        assert close_code(await rest(stream)) == 1009


async def test_empty_fragments_do_not_pile_up() -> None:
    links: list[Link] = []

    async def keep(upgrade: Upgrade) -> None:
        links.append(await upgrade.accept())
        assert await links[0].receive() == "ab"

    async with opened(keep) as door, switched(door) as stream:
        await stream.send_all(frame(b"a", fin=False) + frame(b"", 0, fin=False) * 1_000 + frame(b"", 9))
        assert await stream.receive_some() == b"\x8a\0"  # the pong: all before it has been read
        assert len(links[0]._wire._message_parts) == 1
        await stream.send_all(frame(b"b", 0))
        assert close_code(await rest(stream)) == 1000


async def test_a_ping_after_our_goodbye_is_no_crash() -> None:
    async def leave(upgrade: Upgrade) -> None:
        await (await upgrade.accept()).close(1001, "shutdown")

    with capture_logs() as logs:
        async with opened(leave) as door, switched(door) as stream:
            assert close_code(await stream.receive_some()) == 1001
            await stream.send_all(frame(b"", 9))
            await rest(stream)
    assert logs == []


async def test_a_peer_can_finish_writing_what_is_too_big() -> None:
    """A connection closed over unread bytes is reset, and a reset can overtake the close frame."""
    async with opened(echo) as door, switched(door) as stream:
        await stream.send_all(frame(b"x" * 3 * BIG))
        assert close_code(await rest(stream)) == 1009


async def test_a_goodbye_that_cannot_be_answered_ends_all_the_same() -> None:
    """The peer says goodbye while our writes are stuck because it does not read."""

    async def fill(upgrade: Upgrade) -> None:
        await push(await upgrade.accept(), "x" * 100_000)

    async with opened(fill, DoorLimits(write_within=60, close_within=0.2)) as door, raw(door) as stream:
        await trio.testing.wait_all_tasks_blocked(0.02)
        await stream.send_all(frame(struct.pack("!H", 1000), 8))
        while door.connections:
            await door.departure()


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (frame(b"\xff\xfe"), 1007),
        (frame(b"\xc3", fin=False) + frame(b"", 0), 1007),
        (b"\x81\x02hi", 1002),
        (frame(b"x", 3), 1002),
        (b"\xc1\x81" + bytes(5), 1002),
    ],
    ids=["utf-8", "cut-character", "unmasked", "opcode", "reserved-bit"],
)
async def test_a_violation_is_told_to_the_peer(bad: bytes, code: int) -> None:
    async with opened(echo) as door, switched(door) as stream:
        await stream.send_all(bad)
        assert close_code(await rest(stream)) == code


@pytest.mark.parametrize("payload", [b"", b"bytes"])
async def test_a_binary_message_arrives_as_bytes_and_the_caller_closes_1003(payload: bytes) -> None:
    async with opened(echo) as door, switched(door) as stream:
        await stream.send_all(frame(payload, 2))
        assert close_code(await rest(stream)) == 1003


async def test_frames_in_the_packet_of_the_upgrade_are_not_lost() -> None:
    async with opened(echo) as door, raw(door, REQUEST + frame(b"impatient")) as stream:
        answer = b""
        while not answer.endswith(b"impatient"):
            answer += await stream.receive_some()
    assert answer.startswith(b"HTTP/1.1 101 ")


async def test_a_crash_in_the_product_closes_1011_and_reaches_nobody_else() -> None:
    async def crash(upgrade: Upgrade) -> None:
        link = await upgrade.accept()
        if await link.receive() == "crash":
            raise RuntimeError("a bug")
        await link.send("well")

    with capture_logs() as logs:
        async with opened(crash) as door, client(door) as neighbour:
            async with client(door) as ws:
                await ws.send_message("crash")
                with pytest.raises(ConnectionClosed) as end:
                    await ws.get_message()
            await neighbour.send_message("and you?")
            assert await neighbour.get_message() == "well"
    assert end.value.reason is not None
    assert end.value.reason.code == 1011
    assert [line["event"] for line in logs] == ["door.socket_crashed"]


async def test_a_product_that_forgets_to_answer_is_answered_for() -> None:
    async def forget(upgrade: Upgrade) -> None:
        return

    async with opened(forget) as door:
        head, _ = await answer(door)
    assert head.startswith(b"HTTP/1.1 500 ")


async def hosting(door_to: Callable[[Link], Awaitable[None]], limits: DoorLimits = LIMITS) -> None:
    """Run `door_to` on the link of a peer that neither reads nor answers."""

    async def host(upgrade: Upgrade) -> None:
        await door_to(await upgrade.accept())
        done.set()

    done = trio.Event()
    async with opened(host, limits) as door, raw(door):
        await done.wait()
        while door.connections:
            await door.departure()


async def test_close_ends_with_a_peer_that_never_answers() -> None:
    await hosting(lambda link: link.close(1001, "shutdown"))


async def test_close_gives_code_and_reason() -> None:
    async def leave(upgrade: Upgrade) -> None:
        await (await upgrade.accept()).close(4408, "slow_consumer")

    async with opened(leave) as door, client(door) as ws:
        with pytest.raises(ConnectionClosed) as end:
            await ws.get_message()
    assert end.value.reason is not None
    assert (end.value.reason.code, end.value.reason.reason) == (4408, "slow_consumer")


async def test_a_peer_that_does_not_read_is_aborted_at_the_write_deadline() -> None:
    async def fill(link: Link) -> None:
        with pytest.raises(LinkClosed) as end:
            await push(link, "x" * 100_000)
        assert (end.value.code, end.value.reason) == (1006, "write deadline")

    await hosting(fill)


async def test_a_cancelled_send_aborts_because_half_a_frame_may_be_out() -> None:
    async def fill(link: Link) -> None:
        with trio.move_on_after(0.05):
            await push(link, "x" * 100_000)
        with pytest.raises(LinkClosed):
            await link.send("after")

    await hosting(fill, DoorLimits())


async def test_close_does_not_wait_for_a_blocked_send() -> None:
    async def leave(link: Link) -> None:
        async def fill() -> None:
            with pytest.raises(LinkClosed):
                await push(link, "x" * 100_000)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fill)
            await trio.testing.wait_all_tasks_blocked(0.01)
            await link.close(4403, "revoked")

    await hosting(leave, DoorLimits(close_within=0.2))


async def test_pushing_to_a_peer_that_left_ends_and_lets_others_run() -> None:
    """Trap 4: a send that neither waits nor fails once froze the whole loop."""
    ended = trio.Event()

    async def ticker(upgrade: Upgrade) -> None:
        link = await upgrade.accept()
        with pytest.raises(LinkClosed):
            await push(link, "tick")
        ended.set()

    async with opened(ticker) as door:
        async with switched(door):
            pass
        await ended.wait()


async def test_every_frame_moves_heard_at_and_silence_does_not() -> None:
    heard: list[float] = []

    async def listen(upgrade: Upgrade) -> None:
        link = await upgrade.accept()
        heard.append(link.heard_at)
        await link.ping()
        with trio.move_on_after(0.05):
            await link.receive()
        heard.append(link.heard_at)
        await link.send("now")
        with pytest.raises(LinkClosed):
            await link.receive()
        heard.append(link.heard_at)

    async with opened(listen) as door, switched(door) as stream:
        while not (await stream.receive_some()).endswith(b"now"):
            pass
        await stream.send_all(frame(b"", 10))
        await stream.send_all(frame(struct.pack("!H", 1000), 8))
        await rest(stream)
    assert heard[0] == heard[1] < heard[2]


async def test_a_peer_that_leaves_without_a_word_is_1006_and_one_that_says_goodbye_is_quoted() -> None:
    codes: list[int] = []
    noted = trio.lowlevel.ParkingLot()

    async def note(upgrade: Upgrade) -> None:
        link = await upgrade.accept()
        try:
            await link.receive()
        except LinkClosed as end:
            codes.append(end.code)
            noted.unpark_all()
            raise

    async with opened(note) as door:
        async with switched(door):
            pass
        while not codes:
            await noted.park()
        async with client(door) as ws:
            await ws.aclose(4001, "bye")
        while len(codes) < 2:
            await noted.park()
    assert codes == [1006, 4001]


async def test_pings_are_answered_while_nothing_else_happens() -> None:
    async with opened(echo) as door, client(door) as ws:
        await ws.ping(b"are you there")


async def test_a_peer_that_leaves_a_product_with_several_tasks_is_no_crash() -> None:
    """LinkClosed comes out of a nursery wrapped in a group."""

    async def busy(upgrade: Upgrade) -> None:
        link = await upgrade.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(link.receive)

    with capture_logs() as logs:
        async with opened(busy) as door:
            async with switched(door):
                pass
            while door.connections:
                await door.departure()
    assert logs == []
