"""Open connections, lent to one caller at a time in the order they asked.

Contract: supervision.md §12.
"""

from __future__ import annotations

import random
from collections import deque

import structlog
import trio
from psycopg import OperationalError

from goclaw.domain.errors import StoreError
from goclaw.stores.connection import CONNECT_WITHIN, STATEMENT_TIMEOUT_MS, Connection, connect

POOL_MIN, POOL_MAX = 2, 16  # connections; config-cli.md §4.7
ACQUIRE_WITHIN = 5.0  # seconds; supervision.md §12
LIFE = 1800.0  # seconds, ± 10 %; supervision.md §12
IDLE_LIFE = 300.0  # seconds an extra connection waits for work
FIRST_BACKOFF, LONGEST_BACKOFF = 0.1, 5.0  # seconds; data-model.md §20

_log = structlog.get_logger("goclaw.stores")


class Pool:
    """Connections to one database. `give` back everything you `take`; closed or busy ones are thrown away.

    When the database is away, callers wait their `acquire_within` while one of them at a time tries to connect,
    with growing pauses in between.
    """

    def __init__(
        self,
        dsn: str,
        *,
        min_size: int = POOL_MIN,
        max_size: int = POOL_MAX,
        acquire_within: float = ACQUIRE_WITHIN,
        statement_timeout_ms: int = STATEMENT_TIMEOUT_MS,
    ) -> None:
        self._dsn = dsn
        self._min = min_size
        self._max = max_size
        self._acquire_within = acquire_within
        self._statement_timeout_ms = statement_timeout_ms
        self._slots = trio.Semaphore(max_size, max_value=max_size)  # first come, first served
        self._idle: deque[Connection] = deque()  # used last, lent first: the others grow old and go
        self._connecting = trio.Lock()
        self.failures = 0  # of connecting, in a row; more than 0 = the database is away
        self._retry_at = 0.0
        self._lost_at = -1.0  # connections not used since then are asked before they are lent
        self._closed = False

    @property
    def size(self) -> int:
        return self.in_use + len(self._idle)

    @property
    def in_use(self) -> int:
        return self._max - self._slots.value

    @property
    def waiting(self) -> int:
        return self._slots.statistics().tasks_waiting

    async def open(self) -> None:
        """Connect `min_size` times. Raises OperationalError if that does not work."""
        while len(self._idle) < self._min:
            self._idle.append(await self._connect(CONNECT_WITHIN))

    def close_now(self) -> None:
        """Close what is idle now and what is lent when it comes back."""
        self._closed = True
        while self._idle:
            self._idle.pop().close_now()

    async def take(self) -> Connection:
        """A working connection. StoreError("unavailable") if there is none in time."""
        with trio.move_on_after(self._acquire_within):
            try:
                self._slots.acquire_nowait()
            except trio.WouldBlock:
                await self._slots.acquire()
            try:
                return await self._working()
            except BaseException:
                self._slots.release()
                raise
        raise StoreError("unavailable", f"no database connection within {self._acquire_within:g} s")

    def give(self, db: Connection) -> None:
        now = trio.current_time()
        if db.closed:
            self._lost_at = now
        elif self._closed or not db.idle:
            db.close_now()
        else:
            db.used_at = now
            self._idle.append(db)
        while len(self._idle) > self._min and self._idle[0].used_at < now - IDLE_LIFE:
            self._idle.popleft().close_now()
        self._slots.release()

    async def _working(self) -> Connection:
        while not self._closed:
            if not self._idle:
                async with self._connecting:
                    if not self._idle:  # somebody may have given one back meanwhile
                        return await self._reconnect()
            db = self._idle.pop()
            if db.expires_at > trio.current_time() and not db.disturbed and await self._answers(db):
                return db
            db.close_now()
        raise StoreError("unavailable", "the database is closed")

    async def _answers(self, db: Connection) -> bool:
        if db.used_at > self._lost_at:
            return True
        try:
            await db.command(b"SELECT 1")
        except OperationalError:
            return False
        except BaseException:
            db.close_now()
            raise
        return True

    async def _reconnect(self) -> Connection:
        """Try until it works or the caller's time is up; everybody shares the pauses."""
        while True:
            await trio.sleep_until(self._retry_at)
            try:
                db = await self._connect(self._acquire_within)
            except OperationalError as error:
                pause = min(FIRST_BACKOFF * 2**self.failures, LONGEST_BACKOFF) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
                self.failures += 1
                self._retry_at = trio.current_time() + pause
                _log.warning("db.lost", failures=self.failures, error=str(error).partition("\n")[0])
                continue
            if self.failures:
                _log.info("db.connected", failures=self.failures)
            self.failures = 0
            return db

    async def _connect(self, within: float) -> Connection:
        db = await connect(self._dsn, statement_timeout_ms=self._statement_timeout_ms, within=within)
        db.used_at = trio.current_time()
        db.expires_at = db.used_at + LIFE * random.uniform(0.9, 1.1)  # noqa: S311 - jitter
        return db
