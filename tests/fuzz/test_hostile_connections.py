"""Strangers with bad manners: thousands of broken connections, and afterwards the door stands as before."""

from __future__ import annotations

import os
import random
import socket
import struct
from collections.abc import AsyncIterator, Callable
from typing import Literal

import httpx
import pytest
import trio
import trio.testing
from quart import request
from quart_trio import QuartTrio
from structlog.processors import format_exc_info
from structlog.testing import capture_logs
from trio_websocket import open_websocket_url

from goclaw.edge.door import BodyLimit, Door, DoorLimits, Link, Upgrade, reserve

SEED = 20_261
CASES = 5_000
AT_ONCE = 120
LIMITS = DoorLimits(header_within=1.0, close_within=0.3, write_within=1.0, message_bytes=4_096)

Ending = Literal["close", "reset", "half", "wait"]
Case = tuple[list[bytes], Ending]  # what is written, one packet each, and how the stranger leaves

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
FIELDS = [
    b"Host: door",
    b"Upgrade: websocket",
    b"Connection: keep-alive, Upgrade",
    b"Sec-WebSocket-Key: " + KEY,
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
]
ACTS = [b"", b"accept", b"late", b"reject", b"crash", b"leave", b"chatter"]


def upgrade(rng: random.Random, *more: bytes, path: bytes = b"/ws") -> bytes:
    fields = [*FIELDS, b"X-Act: " + rng.choice(ACTS), *more]
    return b"GET " + path + b" HTTP/1.1\r\n" + b"\r\n".join(fields) + b"\r\n\r\n"


def frame(
    rng: random.Random, payload: bytes, *, opcode: int = 1, fin: bool = True, rsv: int = 0, masked: bool = True
) -> bytes:
    head = bytes([fin << 7 | rsv << 4 | opcode])
    size = len(payload)
    if size < 126:
        head += bytes([masked << 7 | size])
    elif size < 65_536:
        head += bytes([masked << 7 | 126]) + struct.pack("!H", size)
    else:
        head += bytes([masked << 7 | 127]) + struct.pack("!Q", size)
    if not masked:
        return head + payload
    mask = rng.randbytes(4)
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


def cut(rng: random.Random, data: bytes) -> list[bytes]:
    """The same bytes in one to four packets."""
    at = sorted(rng.sample(range(len(data) + 1), min(rng.randrange(4), len(data))))
    return [data[a:b] for a, b in zip([0, *at], [*at, len(data)], strict=True)]


def mutated(rng: random.Random, data: bytes) -> bytes:
    spoiled = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(spoiled))
        match rng.randrange(4):
            case 0:
                spoiled[at] = rng.randrange(256)
            case 1:
                spoiled[at:at] = rng.randbytes(rng.randint(1, 4))
            case 2:
                del spoiled[at : at + rng.randint(1, 8)]
                spoiled = spoiled or bytearray(b"\0")
            case _:
                spoiled[at:at] = spoiled[max(0, at - 9) : at]
    return bytes(spoiled)


def garbage(rng: random.Random) -> list[bytes]:
    return cut(rng, rng.randbytes(rng.randint(0, 300)))


def half_request(rng: random.Random) -> list[bytes]:
    whole = (
        upgrade(rng) if rng.random() < 0.5 else b"POST /echo HTTP/1.1\r\nHost: d\r\nContent-Length: 9\r\n\r\n123456789"
    )
    return cut(rng, whole[: rng.randrange(len(whole))])


def mutated_upgrade(rng: random.Random) -> list[bytes]:
    start = upgrade(rng)
    keep = 8 if rng.random() < 0.7 else 0  # mostly still for /ws
    return cut(rng, start[:keep] + mutated(rng, start[keep:]))


def strange_fields(rng: random.Random) -> list[bytes]:
    odd = [
        b"Sec-WebSocket-Protocol: caf\xe9, \xff\xfe",
        b"Sec-WebSocket-Protocol: " + b"a," * 900,
        b"Sec-WebSocket-Protocol: goclaw.v3\xc3\xa9",
        b"Sec-WebSocket-Extensions: \xff; =;;,",
        b"Sec-WebSocket-Version: 12",
        b"Host: second",
        b"Host: xn--\xff",
        b"Content-Length: 100",
        b"Transfer-Encoding: chunked",
        b"Connection: close",
        b"Expect: 100-continue",
        b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
        b"X: " + b"y" * rng.choice([100, 9_000, 40_000]),
        b"\r\n".join(b"x%d: y" % i for i in range(rng.choice([5, 95, 200]))),
    ]
    return cut(
        rng, upgrade(rng, *rng.sample(odd, rng.randint(1, 3)), path=rng.choice([b"/ws", b"/ws?a=b", b"/", b"/ws/"]))
    )


def impatient(rng: random.Random) -> list[bytes]:
    """Frames in the packet of the upgrade: what ended bare hypercorn."""
    frames = b"".join(frame(rng, rng.randbytes(rng.randrange(200)), opcode=rng.randrange(16)) for _ in range(3))
    return cut(rng, upgrade(rng, path=rng.choice([b"/ws", b"/", b"/nowhere"])) + frame(rng, b"hello") + frames)


def bad_frames(rng: random.Random) -> list[bytes]:
    kinds: list[Callable[[], bytes]] = [
        lambda: frame(rng, b"unmasked", masked=False),
        lambda: frame(rng, b"\xff\xfe\xfd"),
        lambda: frame(rng, b"reserved", rsv=rng.randint(1, 7)),
        lambda: frame(rng, b"x" * rng.choice([4_096, 4_097, 70_000])),
        lambda: b"\x81\xff" + struct.pack("!Q", rng.choice([2**63 - 1, 2**63, 2**40])) + rng.randbytes(40),
        lambda: b"\x81\xfe\x00\x01" + rng.randbytes(5),
        lambda: frame(rng, b"z" * 200, opcode=9),
        lambda: frame(rng, b"ping", opcode=9) * rng.randint(1, 50),
        lambda: frame(rng, b"", fin=False) + frame(rng, b"", opcode=0, fin=False) * rng.randint(1, 300),
        lambda: frame(rng, b"orphan", opcode=0),
        lambda: frame(rng, b"a", fin=False) + frame(rng, b"b", fin=True),
        lambda: frame(rng, b"part", fin=False, opcode=9),
        lambda: frame(rng, struct.pack("!H", rng.choice([0, 999, 1000, 1005, 1015, 4400, 65_535])) + b"bye", opcode=8),
        lambda: frame(rng, b"\x03", opcode=8),
        lambda: frame(rng, b"\x03\xe8\xff", opcode=8) + frame(rng, b"after the end"),
        lambda: frame(rng, b"hello")[: rng.randint(1, 10)],
        lambda: frame(rng, b"bytes", opcode=2),
        lambda: mutated(rng, frame(rng, b"hello " * 30)),
    ]  # fmt: skip
    return [upgrade(rng), *(rng.choice(kinds)() for _ in range(rng.randint(1, 4)))]


def pipelined(rng: random.Random) -> list[bytes]:
    requests = [
        b"GET / HTTP/1.1\r\nHost: d\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nHost: d\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: d\r\nContent-Length: 5\r\n\r\nhello",
        b"POST /deaf HTTP/1.1\r\nHost: d\r\nContent-Length: 5\r\n\r\nhello",
        b"GET /stream HTTP/1.1\r\nHost: d\r\n\r\n",
        b"GET /nowhere HTTP/1.0\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: d\r\n\r\n",
        b"GET http://d/ HTTP/1.1\r\nHost: d\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nHost: d\r\n\r\n",
        b"GET ?x HTTP/1.1\r\nHost: d\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + rng.randbytes(40),
        b"CONNECT d:80 HTTP/1.1\r\nHost: d\r\n\r\n",
        upgrade(rng, path=b"/"),
    ]
    return cut(rng, b"".join(rng.choice(requests) for _ in range(rng.randint(1, 8))))


def chunked(rng: random.Random) -> list[bytes]:
    head = b"POST " + rng.choice([b"/echo", b"/deaf", b"/nowhere"]) + b" HTTP/1.1\r\nHost: d\r\n"
    lying = head + b"Content-Length: " + rng.choice([b"5", b"-1", b"99999999999", b"1e3", b"5, 6"]) + b"\r\n\r\nhello"
    chunks = [
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"ffffffffffffffff\r\n",
        b"zz\r\n",
        b"5;" + b"x" * 90 + b"\r\nhello\r\n",
        b"-5\r\n",
    ]
    chunks += [
        b"4e20\r\n" + b"x" * 20_000 + b"\r\n",
        b"0\r\nTrailer: x\r\n\r\n",
        b"\r\n",
    ]  # 20,000 bytes is over the limit
    body = b"".join(rng.choice(chunks) for _ in range(rng.randint(1, 12)))
    both = head + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + body
    return cut(rng, rng.choice([head + b"Transfer-Encoding: chunked\r\n\r\n" + body] * 3 + [lying, both]))


KINDS = [garbage, half_request, mutated_upgrade, strange_fields, impatient, bad_frames, bad_frames, pipelined, chunked]


def case(rng: random.Random) -> Case:
    return rng.choice(KINDS)(rng), rng.choice(["close", "reset", "half", "wait"])


async def suffer(address: tuple[str, int], packets: list[bytes], ending: Ending) -> None:
    """Play one stranger. Whatever the door does to it is fine, as long as it ends."""
    sock = trio.socket.socket()
    with sock:
        try:
            await sock.connect(address)
            for packet in packets:
                with trio.move_on_after(0.2):
                    await trio.SocketStream(sock).send_all(packet)
            if ending == "reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif ending in ("half", "wait"):
                if ending == "half":
                    sock.shutdown(socket.SHUT_WR)
                with trio.move_on_after(0.3):
                    while await sock.recv(65_536):
                        pass
        except (OSError, trio.BrokenResourceError):
            pass


class Bug(Exception):
    """The product's, not the door's."""

    raised = 0

    def __init__(self) -> None:
        Bug.raised += 1


async def hosted(upgrade: Upgrade) -> None:
    match upgrade.headers.get("x-act"):
        case "reject":
            await upgrade.reject(403, b'{"error":"no","code":"FORBIDDEN"}')
        case "crash":
            await upgrade.accept()
            raise Bug
        case "leave":
            return
        case "late":
            for _ in range(20):
                await trio.lowlevel.checkpoint()
            await echo(await upgrade.accept("goclaw.v3"))
        case "chatter":
            link = await upgrade.accept()
            for _ in range(200):
                await link.send("x" * 2_000)
        case _:
            await echo(await upgrade.accept("goclaw.v3"))


async def echo(link: Link) -> None:
    while True:
        match await link.receive():
            case str() as text:
                await link.send(text)
            case bytes():
                await link.close(1003)


def application() -> QuartTrio:
    app = QuartTrio(__name__)
    app.config["RESPONSE_TIMEOUT"] = None

    @app.get("/")
    async def root() -> str:
        return "well"

    @app.post("/echo")
    async def echo_body() -> bytes:
        return await request.get_data()

    @app.post("/deaf")
    async def deaf() -> tuple[str, int]:
        return "not listening", 401

    @app.get("/stream")
    async def stream() -> AsyncIterator[bytes]:
        async def ticks() -> AsyncIterator[bytes]:
            for _ in range(50):
                yield b"tick\n" * 100
                await trio.lowlevel.checkpoint()

        return ticks()

    return app


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
async def door(nursery: trio.Nursery) -> AsyncIterator[Door]:
    door = Door(reserve("127.0.0.1", 0), application(), hosted, LIMITS, lambda method, path: BodyLimit(10_000, 0.5))
    await nursery.start(door.serve)
    yield door
    await door.close(within=1)


async def test_thousands_of_hostile_connections_leave_nothing_behind(door: Door) -> None:
    rng = random.Random(SEED)
    turns = trio.CapacityLimiter(AT_ONCE)
    tasks, files = trio.lowlevel.current_statistics().tasks_living, open_files()

    async def stranger(packets: list[bytes], ending: Ending) -> None:
        async with turns:
            await suffer(door.addresses[0], packets, ending)

    with capture_logs(processors=[format_exc_info]) as logs:
        async with trio.open_nursery() as crowd:
            for _ in range(CASES):
                crowd.start_soon(stranger, *case(rng))
        with trio.fail_after(10):
            while door.connections:
                await door.departure()

    crashes = [line["exception"] for line in logs if "Bug" not in line["exception"]]
    assert crashes == []
    assert 50 < len(logs) == Bug.raised
    assert door.links == 0
    assert open_files() == files
    with trio.fail_after(5):
        while trio.lowlevel.current_statistics().tasks_living > tasks:
            await trio.testing.wait_all_tasks_blocked()
    await serves_as_ever(door)


async def serves_as_ever(door: Door) -> None:
    host, port = door.addresses[0]
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"http://{host}:{port}/")).text == "well"
    async with open_websocket_url(f"ws://{host}:{port}/ws", subprotocols=["goclaw.v3"]) as ws:
        await ws.send_message("still there?")
        assert await ws.get_message() == "still there?"
