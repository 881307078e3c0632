"""What durability costs: transactions and log per turn, and the rate of claims: `python -m benchmarks.durability`.

Turns go through a whole gateway; its transactions are counted by the database, minus what it does when idle. Claims
are runs taken and ended straight in the store by `CLAIMERS` at once, beside a bare table worked off with SKIP LOCKED
and the same two commits. Targets: architecture.md §3, §10; durability.md §14 E12.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import trio

from benchmarks.gateway import at, crowd, gateway, request, vendor
from goclaw.stores import run_ends
from goclaw.stores.connection import connect
from goclaw.stores.database import Database, open_database
from goclaw.stores.embedded import EmbeddedServer
from goclaw.stores.migrate import migrate_up
from goclaw.stores.unit import Connection, many, transaction
from tests.durability.turns import accept, agent_of, claim, outcome, spoken

CLIENTS = 50
CLAIMERS = 8
BATCH = 8  # sessions per claim; durability.md §5.1
SESSIONS = 50  # half of them with one run at a time, half with three
RUNS = 4_000
FLUSH = 2.0  # seconds until the database has counted everything


# --- turns ------------------------------------------------------------------------------------------


@contextmanager
def counted(home: Path) -> Iterator[Callable[[], tuple[int, int]]]:
    """Transactions and bytes of log so far."""
    with psycopg.connect(f"host={home}/data/pg user=goclaw dbname=postgres", autocommit=True) as db:

        def read() -> tuple[int, int]:
            time.sleep(FLUSH)
            query = """
            SELECT (SELECT sum(xact_commit) FROM pg_stat_database)::int8, pg_current_wal_insert_lsn() - '0/0'::pg_lsn
            """
            row = db.execute(query).fetchone()
            assert row is not None
            return int(row[0]), int(row[1])

        yield read


def turns() -> None:
    with vendor() as (_, vendor_port), tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        local = {"api_base": f"http://127.0.0.1:{vendor_port}/v1", "api_key": "any", "models": ["fixed-20"]}
        defaults = {"provider": "bench", "model": "fixed-20"}
        config = {"providers": {"bench": local}, "agents": {"defaults": defaults}, "queue": {"lanes": {"main": 200}}}
        (home / "config.json").write_text(json.dumps(config))
        with gateway(home) as running, counted(home) as count:
            through = request("goclaw:default", running.token)
            bare, _ = crowd(vendor_port, request("fixed-20", "any"), CLIENTS)
            before, began = count(), time.perf_counter()
            resting, rested = count(), time.perf_counter() - began
            idle = [(later - earlier) / rested for earlier, later in zip(before, resting, strict=True)]
            began = time.perf_counter()
            rate, took = crowd(running.port, through, CLIENTS)
            after, spent = count(), time.perf_counter() - began
            each = [(y - x - i * spent) / len(took) for x, y, i in zip(resting, after, idle, strict=True)]
            print(f"{'durable turns, ' + str(CLIENTS) + ' clients':<40}{'now':>9}{'target':>9}   baseline")
            print(f"{'turns/s':<40}{rate:>9.0f}{'≥ 200':>9}   {bare:.0f} at the vendor alone")
            print(f"{'p50, p99 ms':<40}{at(0.5, took):>9.1f}{at(0.99, took):>9.1f}")
            print(f"{'transactions per turn':<40}{each[0]:>9.2f}{'≤ 3':>9}   {idle[0]:.1f}/s when idle, taken off")
            print(f"{'KiB of log per turn':<40}{each[1] / 1024:>9.1f}{'':>9}   {idle[1] / 1024:.1f}/s when idle")


# --- claims -----------------------------------------------------------------------------------------

BARE = """
CREATE TABLE bare (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, state text NOT NULL DEFAULT 'QUEUED', owner int);
CREATE INDEX bare_due ON bare (id) WHERE state = 'QUEUED';
CREATE TABLE bare_events (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, run bigint, state text)
"""
TAKE = """
WITH next AS (SELECT id FROM bare WHERE state = 'QUEUED' ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED),
  taken AS (UPDATE bare SET state = 'RUNNING', owner = %s FROM next WHERE bare.id = next.id RETURNING bare.id),
  event AS (INSERT INTO bare_events (run, state) SELECT id, 'RUNNING' FROM taken)
SELECT id FROM taken
"""
END = """
WITH done AS (UPDATE bare SET state = 'SUCCEEDED' WHERE id = %s RETURNING id)
INSERT INTO bare_events (run, state) SELECT id, 'SUCCEEDED' FROM done
"""


@transaction(single=True)
async def take(db: Connection, owner: int) -> list[int]:
    return await many(int, db.execute(TAKE, [owner]))


@transaction(single=True)
async def end(db: Connection, id: int) -> None:
    await db.execute(END, [id])


async def together(work: Callable[[int], Awaitable[int]]) -> float:
    """Runs per second, `CLAIMERS` at once."""
    done: list[int] = []

    async def one(number: int) -> None:
        done.append(await work(number))

    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for number in range(CLAIMERS):
            nursery.start_soon(one, number)
    assert sum(done) == RUNS, f"{sum(done)} of {RUNS} were worked off"
    return RUNS / (time.perf_counter() - began)


def keys() -> list[str]:
    return [f"agent:default:ws:direct:{n}" for n in range(SESSIONS)]


async def fill(database: Database) -> None:
    agent = await agent_of(database)

    async def of(number: int) -> None:
        for _ in range(RUNS // SESSIONS):
            await accept(database, agent, "hello", keys()[number], most=1 if number % 2 else 3)

    async with trio.open_nursery() as nursery:
        for number in range(SESSIONS):
            nursery.start_soon(of, number)


async def rates(database: Database, db: Any) -> tuple[float, float]:
    """Of a bare table, and of the store."""
    await db.execute(BARE, prepare=False)
    await db.execute("INSERT INTO bare (owner) SELECT 0 FROM generate_series(1, %s)", [RUNS])
    await fill(database)

    async def bare(number: int) -> int:
        done = 0
        while taken := await database.run(take, number):
            await database.run(end, taken[0])
            done += 1
        return done

    async def ours(number: int) -> int:
        done, idle = 0, 0
        order = keys()[number:] + keys()[:number]
        node = f"0193a5b0-0000-7000-8000-{number:012}"
        while idle < 3:
            claimed = await claim(database, *order, node=node, limit=BATCH)
            order = order[1:] + order[:1]
            idle = 0 if claimed else idle + 1
            for run in claimed:
                await database.run(run_ends.succeed, run, result=outcome(run, "hi"), messages=spoken(run, "hi"))
                done += 1
        return done

    return await together(bare), await together(ours)


async def claims() -> None:
    with tempfile.TemporaryDirectory() as directory:
        server = EmbeddedServer(Path(directory) / "pg")
        dsn = await server.start()
        db = await connect(dsn)
        await migrate_up(db)
        async with open_database(dsn, pool_max=CLAIMERS * 2) as database:
            bare, ours = await rates(database, db)
        await db.close()
        await server.stop()
    print(f"\n{f'{RUNS} runs claimed and ended by {CLAIMERS}':<40}{'runs/s':>9}{'of bare':>9}   target")
    print(f"{'bare table, SKIP LOCKED, 2 commits':<40}{bare:>9.0f}{1.0:>9.2f}")
    print(f"{f'{SESSIONS} sessions of the store':<40}{ours:>9.0f}{ours / bare:>9.2f}   ≥ 0.60 of bare")


def main() -> None:
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, load before {os.getloadavg()[0]:.1f}\n")
    turns()
    trio.run(claims)


if __name__ == "__main__":
    main()
