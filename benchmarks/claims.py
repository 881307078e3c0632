"""Runs claimed and ended per second: the store as lanes use it, beside a bare SKIP LOCKED loop on one table.

    python -m benchmarks.claims

Same embedded server, fsync on, same number of claimers. The bare loop takes a row and marks it done in two commits, as
a claim and an end do; it keeps no order in sessions, no counters and no trail. The ratio is what to look at: 0.6 is
wanted (durability.md §14, E12).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import psycopg
import trio

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.ids import new_id
from goclaw.domain.run import RunResult
from goclaw.stores import run_claims, run_ends
from goclaw.stores.connection import connect
from goclaw.stores.database import Database, open_database
from goclaw.stores.embedded import EmbeddedServer
from goclaw.stores.migrate import migrate_up
from goclaw.stores.unit import Connection, many, transaction

CLAIMERS = 8
RUNS = 2_000
SESSIONS = 50  # every other one runs three at once
BATCH = 8  # sessions of a claim

FILL = """
INSERT INTO runs (run_id, tenant_id, session_key, shard, agent_key, user_id, kind, lane)
SELECT gen_random_uuid(), %(tenant)s, 's' || n %% %(sessions)s, 0, 'default', 'u' || n %% 7, 'chat', 'main'
FROM generate_series(1, %(runs)s) AS n
"""
HEADS = """
INSERT INTO session_heads (tenant_id, session_key, shard, lane, max_concurrent, queued, head_at)
SELECT tenant_id, session_key, 0, 'main', 1 + 2 * mod(substr(session_key, 2)::int, 2), count(*), now()
FROM runs GROUP BY tenant_id, session_key
"""
TALKS = """
INSERT INTO sessions (id, tenant_id, session_key, agent_key, user_id, kind, channel, label)
SELECT gen_random_uuid(), tenant_id, session_key, 'default', 'u', 'direct', 'ws', '' FROM session_heads
"""
TAKE = """
UPDATE bare SET state = 1 WHERE id IN (
  SELECT id FROM bare WHERE state = 0 ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
) RETURNING id
"""


@transaction(single=True)
async def take(db: Connection, limit: int) -> list[int]:
    return await many(int, db.execute(TAKE, [limit]))


@transaction(single=True)
async def done(db: Connection, id: int) -> None:
    await db.execute("UPDATE bare SET state = 2 WHERE id = %s", [id])


async def ours(database: Database, number: int) -> int:
    """Claim in batches from sessions that still have runs, end each run on its own; how many."""
    rng, node, ended = Random(number), new_id(), 0
    sessions = [(MASTER_TENANT, f"s{n}") for n in range(SESSIONS)]
    empty = 0
    while empty < 3 * SESSIONS // BATCH:  # a session that is full now may have runs later
        batch = rng.sample(sessions, BATCH)
        claimed = await database.run(run_claims.claim, node=node, lane="main", sessions=batch, limit=BATCH)
        empty = 0 if claimed else empty + 1
        for run in claimed:
            result = RunResult(run_id=run.run_id, session_key=run.session_key, content="done")
            await database.run(run_ends.succeed, run, result=result, messages=[])
            ended += 1
    return ended


async def bare(database: Database, number: int) -> int:
    ended = 0
    while taken := await database.run(take, BATCH):
        for id in taken:
            await database.run(done, id)
            ended += 1
    return ended


async def measure(database: Database, way: Callable[[Database, int], Awaitable[int]]) -> tuple[int, float]:
    """How many runs all claimers ended, and in how many seconds."""
    ended: list[int] = []

    async def claimer(number: int) -> None:
        ended.append(await way(database, number))

    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for number in range(CLAIMERS):
            nursery.start_soon(claimer, number)
    return sum(ended), time.perf_counter() - began


async def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        server = EmbeddedServer(Path(directory) / "pg")
        dsn = await server.start()
        db = await connect(dsn)
        await migrate_up(db)
        await db.close()
        with psycopg.connect(dsn) as admin:
            admin.execute(FILL, {"tenant": MASTER_TENANT, "sessions": SESSIONS, "runs": RUNS})
            admin.execute(HEADS)
            admin.execute(TALKS)
            admin.execute("CREATE TABLE bare (id bigint PRIMARY KEY, state int NOT NULL)")
            admin.execute("INSERT INTO bare SELECT n, 0 FROM generate_series(1, %s) AS n", [RUNS])
            admin.execute("CREATE INDEX bare_waiting ON bare (id) WHERE state = 0")
        async with open_database(dsn, pool_max=CLAIMERS) as database:
            print(f"{'way':<20}{'runs':>8}{'runs/s':>10}{'ratio':>8}")
            count, seconds = await measure(database, bare)
            baseline = count / seconds
            print(f"{'bare SKIP LOCKED':<20}{count:>8}{baseline:>10,.0f}{1:>8.2f}")
            count, seconds = await measure(database, ours)
            print(f"{'claim and succeed':<20}{count:>8}{count / seconds:>10,.0f}{count / seconds / baseline:>8.2f}")
        await server.stop()


if __name__ == "__main__":
    trio.run(main)
