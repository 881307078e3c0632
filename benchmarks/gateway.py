"""The whole gateway as its users feel it: start, memory, added latency, durable turns: `python -m benchmarks.gateway`.

A real gateway with its embedded database, a vendor without delay (`tests.fakes.vendor`, 20 chunks per answer) and a
client of raw sockets, three processes on the same cores. Beside each figure stands its baseline of the same run:
python importing the same libraries, and the same client straight at the vendor. Budgets: architecture.md, figures.
"""

from __future__ import annotations

import json
import math
import os
import selectors
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STARTS = 5
TURNS = 300  # of the one client
SECONDS = 6.0  # per crowd
CROWDS = (50, 200)
SOCKETS = 1_000
PATIENCE = 30.0  # seconds for anything at all
LIBRARIES = "hypercorn, httpx, msgspec, psycopg, pyjson5, pykka, quart_trio, structlog, trio, trio_websocket, typer"
TICKS = os.sysconf("SC_CLK_TCK")

Took = list[float]  # seconds per turn


# --- processes --------------------------------------------------------------------------------------


class Gateway:
    """One that is ready, seconds after its first instruction: it has answered a request."""

    def __init__(self, process: subprocess.Popen[str], home: Path, began: float) -> None:
        assert process.stdout is not None
        _, address, token = (process.stdout.readline().split()[-1] for _ in range(3))
        self.pid = process.pid
        self.port = int(address.rpartition(":")[2].partition("/")[0])
        self.token = token
        wait_for(self.port)
        self.ready = time.perf_counter() - began
        postmaster = int((home / "data/pg/postmaster.pid").read_text().split("\n", 1)[0])
        self.database = [postmaster, *children_of(postmaster)]


@contextmanager
def gateway(home: Path) -> Iterator[Gateway]:
    began = time.perf_counter()
    command = [sys.executable, "-m", "goclaw", "--host", "127.0.0.1", "--port", "0"]
    env = {"PATH": os.environ["PATH"], "GOCLAW_HOME": str(home), "GOCLAW_LOG_LEVEL": "error"}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Gateway(process, home, began)
        finally:
            process.terminate()
            process.wait(PATIENCE)


def wait_for(port: int) -> None:
    """Until GET /health is answered."""
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock:
                sock.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                assert sock.recv(12) == b"HTTP/1.1 200"
                return
        except ConnectionRefusedError:
            time.sleep(0.002)


@contextmanager
def vendor() -> Iterator[tuple[int, int]]:
    """Its pid and port."""
    with subprocess.Popen([sys.executable, "-m", "tests.fakes.vendor"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.pid, int(process.stdout.readline().rpartition(":")[2].partition("/")[0])
        finally:
            process.terminate()


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def memory(pid: int, name: str, file: str) -> float:
    """MB."""
    lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


def cpu(*pids: int) -> float:
    """Seconds a process has worked, its ended children not counted."""
    stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) / TICKS


# --- a client -----------------------------------------------------------------------------------------


def request(model: str, token: str) -> bytes:
    body = json.dumps({"model": model, "stream": True, "messages": [{"role": "user", "content": "hello"}]})
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


class Client:
    """One keep-alive connection that sends the same turn again and again. Raises on any answer but a whole one."""

    def __init__(self, port: int, ask: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._ask = ask
        self._answer = b""
        self._began = 0.0

    def send(self) -> None:
        self._answer = b""
        self._began = time.perf_counter()
        self.socket.sendall(self._ask)

    def receive(self) -> float | None:
        """Take what is there. Seconds the turn took when the answer is complete."""
        piece = self.socket.recv(65536)
        self._answer += piece
        if piece and not self._answer.endswith(b"\r\n0\r\n\r\n"):
            return None
        if b"word19" not in self._answer or b"data: [DONE]" not in self._answer:
            raise RuntimeError(f"not a whole answer: {self._answer[:500]!r}")
        return time.perf_counter() - self._began

    def turn(self) -> float:
        self.send()
        while (took := self.receive()) is None:
            pass
        return took


def one_client(port: int, ask: bytes) -> Took:
    client = Client(port, ask)
    for _ in range(30):  # connections, caches
        client.turn()
    took = [client.turn() for _ in range(TURNS)]
    client.socket.close()
    return took


def crowd(port: int, ask: bytes, clients: int) -> tuple[float, Took]:
    """Turns per second, and how long each took. Every client sends its next turn when it has its answer."""
    with selectors.DefaultSelector() as ready:
        for _ in range(clients):
            client = Client(port, ask)
            ready.register(client.socket, selectors.EVENT_READ, client)
            client.send()
        took: Took = []
        began = time.perf_counter()
        open_turns = clients
        while open_turns:
            for key, _ in ready.select(PATIENCE) or out_of_patience():
                if (seconds := key.data.receive()) is None:
                    continue
                took.append(seconds)
                if time.perf_counter() - began < SECONDS:
                    key.data.send()
                else:
                    open_turns -= 1
                    ready.unregister(key.fileobj)
                    key.data.socket.close()
        return len(took) / (time.perf_counter() - began), took


def out_of_patience() -> list[tuple[selectors.SelectorKey, int]]:
    raise TimeoutError(f"no byte from anybody for {PATIENCE} s")


def at(share: float, took: Took) -> float:
    """Milliseconds."""
    return sorted(took)[math.ceil(len(took) * share) - 1] * 1e3


# --- the tables -----------------------------------------------------------------------------------------


def imports() -> tuple[float, float]:
    """Seconds and MB of a python that imports the libraries and does nothing."""
    code = f"import {LIBRARIES}; print(flush=True); input()"
    began = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        took, held = time.perf_counter() - began, memory(process.pid, "VmRSS", "status")
        process.kill()
    return took, held


def starts() -> None:
    first, warm, resident, shared = [], [], [], []
    for _ in range(STARTS):
        with tempfile.TemporaryDirectory() as home:
            with gateway(Path(home)) as running:
                first.append(running.ready)
            with gateway(Path(home)) as running:
                warm.append(running.ready)
                resident.append(memory(running.pid, "VmRSS", "status"))
                shared.append(sum(memory(pid, "Pss", "smaps_rollup") for pid in running.database))
    seconds, held = map(statistics.median, zip(*(imports() for _ in range(STARTS)), strict=True))
    print(f"{'start and idle memory, median of ' + str(STARTS):<46}{'now':>8}{'budget':>9}{'imports alone':>16}")
    for name, value, budget, beside in (
        ("first start to ready, initdb included, s", statistics.median(first), 4.0, seconds),
        ("warm start to ready, s", statistics.median(warm), 1.2, seconds),
        ("idle gateway process, MB RSS", statistics.median(resident), 100, held),
        ("embedded database, MB PSS more", statistics.median(shared), 25, math.nan),
    ):
        print(f"{name:<46}{value:>8.2f}{budget:>9}{beside:>16.2f}")


def turns() -> None:
    with vendor() as (vendor_pid, vendor_port), tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        local = {"api_base": f"http://127.0.0.1:{vendor_port}/v1", "api_key": "any", "models": ["fixed-20"]}
        defaults = {"provider": "bench", "model": "fixed-20"}
        lanes = {"lanes": {"main": 200}}
        config = {"providers": {"bench": local}, "agents": {"defaults": defaults}, "queue": lanes}
        (home / "config.json").write_text(json.dumps(config))
        with gateway(home) as running:
            straight, through = request("fixed-20", "any"), request("goclaw:default", running.token)
            latency(one_client(vendor_port, straight), one_client(running.port, through))
            print(f"\n{'turns at once':<24}{'turns/s':>9}{'p50 ms':>8}{'p99 ms':>8}   CPU ms per turn")
            for clients in CROWDS:
                rate, took = crowd(vendor_port, straight, clients)
                print(f"{clients:>4} vendor alone      {rate:>11.0f}{at(0.5, took):>8.1f}{at(0.99, took):>8.1f}")
                groups = {"gateway": [running.pid], "database": running.database, "vendor": [vendor_pid]}
                groups["client"] = [os.getpid()]
                before = {name: cpu(*pids) for name, pids in groups.items()}
                rate, took = crowd(running.port, through, clients)
                spent = {name: (cpu(*pids) - before[name]) / len(took) * 1e3 for name, pids in groups.items()}
                costs = ", ".join(f"{name} {each:.2f}" for name, each in spent.items())
                print(
                    f"{clients:>4} through the gateway{rate:>9.0f}{at(0.5, took):>8.1f}{at(0.99, took):>8.1f}   {costs}"
                )


def latency(straight: Took, through: Took) -> None:
    print(f"\n{'a streamed turn, one client':<46}{'p50 ms':>8}{'p99 ms':>8}   budget")
    for name, took in (("vendor alone", straight), ("through the gateway", through)):
        print(f"{name:<46}{at(0.5, took):>8.2f}{at(0.99, took):>8.2f}")
    added = at(0.5, through) - at(0.5, straight)
    print(f"{'added':<46}{added:>8.2f}{at(0.99, through) - at(0.99, straight):>8.2f}   p50 6.00")


def idle_sockets() -> None:
    """Signed-in sockets that say nothing; the first hundred are not counted, they fill caches."""
    with tempfile.TemporaryDirectory() as directory, gateway(Path(directory)) as running:
        held = [signed_in(running) for _ in range(100)]
        before = memory(running.pid, "VmRSS", "status")
        held += [signed_in(running) for _ in range(SOCKETS)]
        each = (memory(running.pid, "VmRSS", "status") - before) * 1024 / SOCKETS
        print(
            f"\n{f'{SOCKETS} idle sockets, KiB RSS each':<46}{each:>8.1f}{30:>9}   the door alone: benchmarks.sockets"
        )
        for sock in held:
            sock.close()


def frame(text: bytes) -> bytes:
    """A text message as a client sends it, masked with zeros."""
    size = struct.pack(">B", 0x80 | len(text)) if len(text) < 126 else struct.pack(">BH", 0x80 | 126, len(text))
    return b"\x81" + size + bytes(4) + text


def signed_in(running: Gateway) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", running.port), timeout=PATIENCE)
    lines = ["GET /ws HTTP/1.1", f"Host: 127.0.0.1:{running.port}", "Upgrade: websocket", "Connection: Upgrade"]
    lines += ["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version: 13", "", ""]
    sock.sendall("\r\n".join(lines).encode())
    sock.recv(4096)
    params = {"token": running.token, "user_id": "bench"}
    text = json.dumps({"type": "req", "id": "1", "method": "connect", "params": params}).encode()
    sock.sendall(frame(text))
    sock.recv(8192)
    return sock


def main() -> None:
    load = os.getloadavg()[0]
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, load before {load:.1f}\n")
    starts()
    turns()
    idle_sockets()


if __name__ == "__main__":
    main()
