"""How soon a killed gateway is back, and what sleeping sessions cost: `python -m benchmarks.durability_start`.

A gateway with thousands of queued runs is killed while some of them are at work; the next one is timed until it is
ready and until the first of those is claimed again. Beside it: the start of a gateway with an empty queue. Then
sessions that are only rows: memory beside a gateway that knows none, and the first question to one of them beside
the second. Targets: durability.md §9.2, reliability.md row 7; architecture.md §2, §10.
"""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg
import trio

from benchmarks.gateway import Gateway, at, frame, gateway, memory, signed_in, vendor
from goclaw.stores.database import open_database
from goclaw.stores.embedded import EmbeddedServer
from tests.durability.turns import accept, agent_of

QUEUED = 10_000
WAITING_SESSIONS = 2_000
KNOWN = 100_000  # sessions nobody talks in now
WOKEN = 500  # of them, asked twice
PATIENCE = 60.0  # seconds

SLEEPING = """
INSERT INTO sessions (id, tenant_id, session_key, agent_id, agent_key, user_id, kind, channel, label)
SELECT gen_random_uuid(), a.tenant_id, 'agent:default:ws:direct:known' || n, a.id, a.agent_key, 'bench', 'direct', 'ws',
  'hello' FROM agents a, generate_series(1, %s) AS n WHERE a.agent_key = 'default'
"""
FIRST_CLAIM = """
SELECT min(extract(epoch FROM at))::float8 FROM run_events
WHERE state_to = 'CLAIMED' AND fence >= %s AND at > to_timestamp(%s)
"""


def rows(home: Path, query: str, *values: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(f"host={home}/data/pg user=goclaw dbname=postgres") as db:
        cursor = db.execute(query, values)
        return cursor.fetchall() if cursor.description else []


async def fill(home: Path) -> None:
    """The queue, while no gateway is there."""
    server = EmbeddedServer(home / "data/pg")
    async with open_database(await server.start(), pool_max=16) as database:
        agent = await agent_of(database)

        async def of(session: int) -> None:
            for number in range(QUEUED // WAITING_SESSIONS):
                await accept(database, agent, f"hello {number}", f"agent:default:ws:direct:{session}")

        for first in range(0, WAITING_SESSIONS, 32):
            async with trio.open_nursery() as nursery:
                for session in range(first, min(first + 32, WAITING_SESSIONS)):
                    nursery.start_soon(of, session)
    await server.stop()


def after_a_kill() -> None:
    with vendor() as (_, port), tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        slow = {"api_base": f"http://127.0.0.1:{port}/v1", "api_key": "any", "models": ["slow-20cps"]}
        defaults = {"provider": "bench", "model": "slow-20cps"}
        (home / "config.json").write_text(json.dumps({"providers": {"bench": slow}, "agents": {"defaults": defaults}}))
        with gateway(home):
            pass
        with gateway(home) as running:
            empty = running.ready
        trio.run(fill, home)
        with gateway(home) as running:
            wait_for_work(home)
            os.kill(running.pid, signal.SIGKILL)
        began = time.time()
        with gateway(home) as running:
            ready = time.time()
            first, again = (first_claim(home, fence, began) - ready for fence in (1, 2))
            os.kill(running.pid, signal.SIGKILL)
        print(f"{f'killed with {QUEUED} runs queued':<40}{'now':>9}{'target':>9}   baseline")
        print(f"{'exec to ready, s':<40}{running.ready:>9.2f}{'≤ 1.50':>9}   {empty:.2f} with an empty queue")
        print(f"{'ready to the first claim, s':<40}{first:>9.2f}{'≤ 0.50':>9}")
        print(f"{'ready to the first run claimed again, s':<40}{again:>9.2f}{'≤ 0.50':>9}")


def wait_for_work(home: Path) -> None:
    while rows(home, "SELECT count(*) >= 20 FROM runs WHERE state = 'RUNNING'") != [(True,)]:
        time.sleep(0.05)


def first_claim(home: Path, fence: int, since: float) -> float:
    """Unix seconds of the first claim since then that was at least the `fence`-th of its run; maybe before ready."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if (at := rows(home, FIRST_CLAIM, fence, since)[0][0]) is not None:
            return float(at)
        time.sleep(0.02)
    return math.inf


# --- sleeping sessions --------------------------------------------------------------------------------


def sleeping() -> None:
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        with gateway(home):
            pass
        with gateway(home) as running:
            empty = settled(running)
            rows(home, SLEEPING, KNOWN)
        with gateway(home) as running:
            full = settled(running)
            cold, warm = asked_twice(running)
        print(f"\n{f'{KNOWN} known sessions, asleep':<40}{'now':>9}{'target':>9}   baseline")
        print(f"{'MB RSS more than without':<40}{full - empty:>9.1f}{'≤ 20':>9}   {empty:.1f} without")
        print(f"{'first question to one, ms p50':<40}{at(0.5, cold):>9.2f}")
        print(f"{'the same again, ms p50':<40}{at(0.5, warm):>9.2f}")
        print(f"{'activation, ms p50':<40}{at(0.5, cold) - at(0.5, warm):>9.2f}{'≤ 5.00':>9}")


def settled(running: Gateway) -> float:
    """MB once it has looked around."""
    time.sleep(3)
    return memory(running.pid, "VmRSS", "status")


def asked_twice(running: Gateway) -> tuple[list[float], list[float]]:
    """Seconds per question, of sessions asleep and of the same ones awake."""
    sock = signed_in(running)
    keys = [f"agent:default:ws:direct:known{n}" for n in range(1, WOKEN + 1)]
    return [ask(sock, key) for key in keys], [ask(sock, key) for key in keys]


def ask(sock: socket.socket, key: str) -> float:
    text = {"type": "req", "id": "q", "method": "chat.session.status", "params": {"sessionKey": key}}
    sent = frame(json.dumps(text).encode())
    began = time.perf_counter()
    sock.sendall(sent)
    answer = b""
    while b'"type":"res"' not in answer:
        piece = sock.recv(65536)
        assert piece, "the gateway hung up"
        answer += piece
    took = time.perf_counter() - began
    assert b'"ok":true' in answer, answer[:500]
    time.sleep(0.05)  # a socket may not send more than 200 frames in 10 s
    return took


def main() -> None:
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, load before {os.getloadavg()[0]:.1f}\n")
    after_a_kill()
    sleeping()


if __name__ == "__main__":
    main()
