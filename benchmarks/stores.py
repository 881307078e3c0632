"""Durable single-row commits per second: `Database.run` beside plain psycopg in a thread pool.

    python -m benchmarks.stores

Same embedded server, fsync on, same statement, same number of connections; the ratio is what to look at.
"""

from __future__ import annotations

import math
import queue
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psycopg
import trio

from goclaw.stores.database import open_database
from goclaw.stores.embedded import EmbeddedServer
from goclaw.stores.unit import Connection, transaction

CONNECTIONS = 16
SECONDS = 1.0  # per figure
INSERT = "INSERT INTO bench (body) VALUES (%s)"


@transaction
async def add(db: Connection, body: str) -> None:
    await db.execute(INSERT, [body])


async def measure(callers: int, once: Callable[[], Awaitable[None]]) -> tuple[float, float, float]:
    """Commits per second, median and 99th percentile latency in milliseconds."""
    took: list[float] = []
    end = time.perf_counter() + SECONDS

    async def caller() -> None:
        while (started := time.perf_counter()) < end:
            await once()
            took.append(time.perf_counter() - started)

    async with trio.open_nursery() as nursery:
        for _ in range(callers):
            nursery.start_soon(caller)
    took.sort()
    return len(took) / SECONDS, 1000 * took[len(took) // 2], 1000 * took[math.ceil(len(took) * 0.99) - 1]


async def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        server = EmbeddedServer(Path(directory) / "pg")
        dsn = await server.start()
        connections: queue.SimpleQueue[psycopg.Connection] = queue.SimpleQueue()
        for _ in range(CONNECTIONS):
            connections.put(psycopg.connect(dsn))
        limit = trio.CapacityLimiter(CONNECTIONS)

        def add_now() -> None:
            db = connections.get()
            with db.transaction():
                db.execute(INSERT, ["x" * 100])
            connections.put(db)

        with psycopg.connect(dsn) as db:
            db.execute("CREATE TABLE bench (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text)")
        async with open_database(dsn, pool_max=CONNECTIONS) as database:
            ways: dict[str, Callable[[], Awaitable[None]]] = {
                "Database.run": lambda: database.run(add, "x" * 100),
                "psycopg in threads": lambda: trio.to_thread.run_sync(add_now, limiter=limit),
            }
            print(f"{'way':<20}{'callers':>8}{'commits/s':>11}{'p50 ms':>8}{'p99 ms':>8}")
            for callers in (1, 10, 50):
                for way, once in ways.items():
                    rate, p50, p99 = await measure(callers, once)
                    print(f"{way:<20}{callers:>8}{rate:>11,.0f}{p50:>8.2f}{p99:>8.2f}")
        while not connections.empty():
            connections.get().close()
        await server.stop()


if __name__ == "__main__":
    trio.run(main)
