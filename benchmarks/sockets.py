"""What an idle socket costs and how fast an oversize message ends: `python -m benchmarks.sockets`.

The door, and bare hypercorn with a quart-trio websocket as its baseline, each in a process of its own with as many
idle sockets. Resident memory per socket, echoes per second over one socket, and the time from the last byte of an
oversize message to the close frame and to the end of the TCP connection. Targets: architecture.md §10, README R5.
"""

from __future__ import annotations

import os
import resource
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import trio

SOCKETS = 1_000
ECHOES = 3_000
LIMIT = 524_288  # bytes; edge-websocket.md §1.1
REQUEST = (
    b"GET /ws HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def serve_door() -> None:
    from goclaw.edge.door import Door, DoorLimits, Upgrade, reserve

    async def echo(upgrade: Upgrade) -> None:
        link = await upgrade.accept()
        while True:
            message = await link.receive()
            assert isinstance(message, str)
            await link.send(message)

    async with trio.open_nursery() as nursery:
        door = Door(reserve("127.0.0.1", 0), quart(), echo, DoorLimits())
        await nursery.start(door.serve)
        print(door.addresses[0][1], flush=True)


async def serve_bare() -> None:
    from hypercorn.config import Config
    from hypercorn.trio import serve

    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None
    config.websocket_max_message_size = LIMIT
    async with trio.open_nursery() as nursery:
        (url,) = await nursery.start(serve, quart(), config)
        print(url.rpartition(":")[2], flush=True)


def quart():  # type: ignore[no-untyped-def]
    from quart import websocket
    from quart_trio import QuartTrio

    app = QuartTrio(__name__)

    @app.websocket("/ws")
    async def echo() -> None:
        while True:
            await websocket.send(await websocket.receive())

    return app


def resident(pid: int) -> int:
    """KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


def connect(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(REQUEST)
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += sock.recv(1)
    assert answer.startswith(b"HTTP/1.1 101 "), answer
    return sock


def frame(size: int) -> bytes:
    length = bytes([0x80 | size]) if size < 126 else b"\xff" + struct.pack("!Q", size)
    return b"\x81" + length + bytes(4) + b"x" * size


def echoes(sock: socket.socket) -> float:
    """A second, one after the other."""
    started = time.perf_counter()
    for _ in range(ECHOES):
        sock.sendall(frame(100))
        left = 102
        while left:
            left -= len(sock.recv(left))
    return ECHOES / (time.perf_counter() - started)


def oversize(sock: socket.socket) -> tuple[float, float]:
    """Milliseconds to the close frame and to the end, for a peer that never answers the close frame."""
    sock.settimeout(10)
    sock.sendall(frame(LIMIT + 1))
    started = time.perf_counter()
    answer = sock.recv(200)
    told = time.perf_counter()
    assert answer[:1] == b"\x88", answer
    assert struct.unpack("!H", answer[2:4]) == (1009,), answer
    try:
        while sock.recv(200):
            pass
    except TimeoutError:
        return (told - started) * 1e3, float("inf")
    return (told - started) * 1e3, (time.perf_counter() - started) * 1e3


def measure(name: str) -> None:
    command = [sys.executable, "-m", "benchmarks.sockets", name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            warm = [connect(port) for _ in range(20)]  # what the first ones cost once is nobody's
            before = resident(server.pid)
            idle = [connect(port) for _ in range(SOCKETS)]
            per_socket = (resident(server.pid) - before) / SOCKETS
            rate = echoes(warm[0])
            told, gone = oversize(warm[1])
            print(f"{name:6}{per_socket:12.1f}{rate:14.0f}{told:18.1f}{gone:16.1f}")
            for sock in [*warm, *idle]:
                sock.close()
        finally:
            server.kill()


def main() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4 * SOCKETS), hard))
    print(f"{os.uname().sysname}, Python {sys.version.split()[0]}, {SOCKETS} idle sockets")
    print(f"{'':6}{'KiB/socket':>12}{'echoes/s':>14}{'close frame ms':>18}{'TCP end ms':>16}")
    for name in ("door", "bare"):
        measure(name)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["door"]:
            trio.run(serve_door)
        case ["bare"]:
            trio.run(serve_bare)
        case _:
            main()
