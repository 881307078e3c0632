"""The database as the rest of the house sees it: `await database.run(sessions.add, …)`.

Contract: supervision.md §12.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar

import psycopg
import structlog
import trio
from psycopg.conninfo import conninfo_to_dict

from goclaw.domain.errors import StartupFatal, StoreError
from goclaw.stores.connection import STATEMENT_TIMEOUT_MS
from goclaw.stores.pool import ACQUIRE_WITHIN, POOL_MAX, POOL_MIN, Pool
from goclaw.stores.unit import Work

TRIES = 3  # supervision.md §12
RETRY_PAUSE = 0.02  # seconds, doubled per try, jittered down to nothing

_log = structlog.get_logger("goclaw.stores")
P = ParamSpec("P")
T = TypeVar("T")


class Database:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.migrated: list[str] = []  # steps of the schema that this start applied
        self.full = False  # a write was refused because its disk is; whoever finds room again says so

    @property
    def size(self) -> int:
        """Open connections."""
        return self._pool.size

    @property
    def in_use(self) -> int:
        return self._pool.in_use

    @property
    def waiting(self) -> int:
        """Callers in line for a connection."""
        return self._pool.waiting

    async def run(self, work: Work[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run one unit of work in one transaction of its own.

        What `work` raises undoes the transaction and reaches the caller, and so does a cancellation. A work
        that is `retry_safe` is tried again, 3 times in all, after a conflict or a lost connection.

        Raises StoreError: `conflict`, `unavailable`, or `commit_unknown` when the connection broke while
        committing, which is never tried again: read what the database has.
        """
        attempt = 1
        while True:
            db = await self._pool.take()
            try:
                if work.readonly or work.single:
                    return await work(db, *args, **kwargs)
                async with db.transaction():
                    result = await work(db, *args, **kwargs)
                return result
            except psycopg.OperationalError as error:
                self.full = self.full or isinstance(error, psycopg.errors.DiskFull)
                lost = db.closed
                trouble = _trouble(error)
                if work.single and lost:  # the statement may have been its own commit
                    trouble = StoreError("commit_unknown", f"the connection broke while {work.name} was written")
                if not (work.retry_safe and (lost or trouble.kind == "conflict") and attempt < TRIES):
                    raise trouble from error
            finally:
                self._pool.give(db)
            _log.info("db.retried", work=work.name, attempt=attempt, kind=trouble.kind)
            await trio.sleep(RETRY_PAUSE * 2**attempt * random.random())  # noqa: S311 - jitter
            attempt += 1


@asynccontextmanager
async def open_database(
    dsn: str,
    *,
    pool_min: int = POOL_MIN,
    pool_max: int = POOL_MAX,
    acquire_within: float = ACQUIRE_WITHIN,
    statement_timeout_ms: int = STATEMENT_TIMEOUT_MS,
) -> AsyncIterator[Database]:
    """Open a pool on `dsn` for the length of the block.

    Raises StartupFatal E_STORE_OPEN if the database does not answer now; later outages are `run`'s weather.
    """
    pool = Pool(
        dsn,
        min_size=pool_min,
        max_size=pool_max,
        acquire_within=acquire_within,
        statement_timeout_ms=statement_timeout_ms,
    )
    try:
        try:
            await pool.open()
        except psycopg.ProgrammingError:
            detail = "The database address cannot be read."  # the driver's own words repeat it, password included
            raise StartupFatal("E_STORE_OPEN", detail, "Expected: postgresql://user:password@host/name", 72) from None
        except psycopg.OperationalError as error:
            why = str(error).partition("\n")[0]
            detail = f"The database at {_host(dsn)} cannot be opened: {why}"
            raise StartupFatal(
                "E_STORE_OPEN", detail, "Is it running, and is GOCLAW_POSTGRES_DSN right?", 72
            ) from error
        yield Database(pool)
    finally:
        pool.close_now()


def _trouble(error: psycopg.OperationalError) -> StoreError:
    conflict = isinstance(error, psycopg.errors.SerializationFailure | psycopg.errors.DeadlockDetected)
    return StoreError("conflict" if conflict else "unavailable", str(error).partition("\n")[0])


def _host(dsn: str) -> str:
    params = conninfo_to_dict(dsn)
    host, port = params.get("host", "localhost"), params.get("port", 5432)
    return str(host) if str(host).startswith("/") else f"{host}:{port}"
