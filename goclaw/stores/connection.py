"""A PostgreSQL connection that waits with trio.

psycopg does all protocol work in generators that yield "readable" or "writable"; this subclass drives them
with trio and turns a trio cancellation into a PostgreSQL cancel. It touches psycopg's inside (`lock`, `wait`,
`cancel_safe`, `_connect_gen`, `_cancel_gen`, `_exec_command`, `_adapters`, `_autocommit`), so psycopg is pinned
to 3.3 and `tests/stores/test_connection.py` fails when one of them moves.
Contract: supervision.md §12.
"""

from __future__ import annotations

import math
import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
import structlog
import trio
from psycopg.abc import PQGen, PQGenConn
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import CancellationTimeout, ConnectionTimeout, OperationalError, QueryCanceled, _WaitTimeout
from psycopg.pq import TransactionStatus
from psycopg.rows import AsyncRowFactory, tuple_row
from psycopg.waiting import Ready, Wait

from goclaw.domain.errors import StoreError
from goclaw.stores.values import ADAPTERS

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn

CANCEL_WITHIN = 5.0  # seconds; supervision.md §12
CANCEL_AGAIN = 0.1  # seconds; a cancel that overtakes its statement is ignored by the server
COMMIT_WITHIN = 10.0  # seconds; a commit is not cancelled, only given up on
CONNECT_WITHIN = 5.0  # seconds
STATEMENT_TIMEOUT_MS = 30_000  # config-cli.md §4.7

# A peer that vanished without a word is noticed after a minute at the latest. Ignored on unix sockets.
_KEEPALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 30_000}

# idle in transaction: 10 s, supervision.md §12
_SESSION = """
SELECT set_config('statement_timeout', %s, false),
       set_config('idle_in_transaction_session_timeout', '10s', false),
       set_config('TimeZone', 'UTC', false)
"""

_log = structlog.get_logger("goclaw.stores")
Row = tuple[Any, ...]
T = TypeVar("T")


class _OneAtATime:
    """Guards the wire. Free, it costs no pass through the scheduler: 24 of the 84 µs of a lone SELECT.

    Not a trio.Lock: psycopg's `notifies()` may release from another task than the one that acquired.
    """

    def __init__(self) -> None:
        self._slot = trio.Semaphore(1, max_value=1)

    async def __aenter__(self) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            self._slot.acquire_nowait()
        except trio.WouldBlock:
            await self._slot.acquire()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._slot.release()


class Connection(psycopg.AsyncConnection[Row]):
    """Autocommit; whoever wants a transaction says BEGIN. Open with `connect`."""

    expires_at = math.inf  # trio time; the pool's
    used_at = -math.inf

    def __init__(self, pgconn: PGconn, row_factory: AsyncRowFactory[Row] = tuple_row) -> None:
        super().__init__(pgconn, row_factory)
        self.lock = _OneAtATime()  # type: ignore[assignment]  # typed as asyncio's
        self._adapters = ADAPTERS
        self._autocommit = True

    async def command(self, sql: bytes) -> bytes:
        """Run a statement without parameters and return its tag, such as b"COMMIT"."""
        async with self.lock:
            result = await self.wait(self._exec_command(sql))
        return (result and result.command_status) or b""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:  # type: ignore[override]  # psycopg's leaves it open on cancel
        """A transaction, or a savepoint inside one. What leaves the block by an exception or a cancel is undone.

        Raises StoreError("commit_unknown") if the connection broke while committing.
        """
        nested = not self.idle
        await self.command(b"SAVEPOINT nested" if nested else b"BEGIN")
        try:
            yield
        except BaseException:
            await self._undo([b"ROLLBACK TO nested", b"RELEASE nested"] if nested else [b"ROLLBACK"])
            raise
        if nested:
            await self.command(b"RELEASE nested")
        else:
            await self._commit()

    async def _undo(self, commands: list[bytes]) -> None:
        """At most 5 s. A connection that cannot even do that is not idle afterwards, and the pool closes it."""
        if self.closed:
            return
        with trio.move_on_after(CANCEL_WITHIN, shield=True):
            try:
                for command in commands:
                    await self.command(command)
            except psycopg.Error as error:
                _log.warning("db.rollback_failed", error=str(error))

    async def _commit(self) -> None:
        """Shielded, because a commit that was sent is no longer ours to cancel."""
        tag = b""
        with trio.move_on_after(COMMIT_WITHIN, shield=True):
            try:
                tag = await self.command(b"COMMIT")
            except OperationalError as error:
                if self.closed:
                    raise StoreError("commit_unknown", "the connection broke during a commit") from error
                raise
        if not tag:
            raise StoreError("commit_unknown", f"no answer to a commit within {COMMIT_WITHIN:g} s")
        if tag != b"COMMIT":  # the server answers ROLLBACK when a statement had failed
            raise RuntimeError("a database error was swallowed inside a transaction; nothing was stored")

    async def wait(self, gen: PQGen[T], interval: float = 0.0, timeout: float | None = None) -> T:
        """Drive `gen` to its end. Cancelled, it first makes the server stop, which takes at most 5 s."""
        try:
            if timeout is None:
                return await _drive(gen, self.pgconn.socket)
            with trio.move_on_after(timeout):
                return await _drive(gen, self.pgconn.socket)
            raise _WaitTimeout("wait timeout expired")
        except (trio.Cancelled, KeyboardInterrupt, BaseExceptionGroup):
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                await self._stop_statement(gen)
            raise

    async def _stop_statement(self, gen: PQGen[Any]) -> None:
        """Cancel the statement behind `gen` and read the rest of its answer, else close the connection."""
        with trio.move_on_after(CANCEL_WITHIN, shield=True):
            try:
                while True:
                    await self.cancel_safe()
                    with trio.move_on_after(CANCEL_AGAIN):
                        await _drive(gen, self.pgconn.socket)
                        return
            except QueryCanceled:
                return
            except psycopg.Error as error:
                _log.warning("db.cancel_failed", error=str(error))
        self.close_now()

    async def cancel_safe(self, *, timeout: float = CANCEL_WITHIN) -> None:
        """Ask the server, on a connection of its own, to stop what this one is doing."""
        if not self._should_cancel():
            return
        with trio.move_on_after(timeout):
            await _drive_connecting(self._cancel_gen())
            return
        raise CancellationTimeout("cancellation timeout expired")

    @property
    def disturbed(self) -> bool:
        """An idle connection with something to read has been closed by the server, or soon will be."""
        return bool(_poll(self.pgconn.socket, Wait.R))

    @property
    def idle(self) -> bool:
        return self.pgconn.transaction_status == TransactionStatus.IDLE

    def close_now(self) -> None:
        self.pgconn.finish()


async def connect(
    dsn: str, *, statement_timeout_ms: int = STATEMENT_TIMEOUT_MS, within: float = CONNECT_WITHIN
) -> Connection:
    """Open a connection, trying every address of the DSN in turn.

    Raises OperationalError if none answers `within` seconds, ProgrammingError if the DSN cannot be read.
    """
    params = conninfo_to_dict(dsn, client_encoding="utf8")
    params = {"application_name": "goclaw", **_KEEPALIVE, **params}
    failure: OperationalError = ConnectionTimeout(f"no answer within {within:g} s")
    with trio.move_on_after(within):
        # a thread, because it resolves host names
        attempts = await trio.to_thread.run_sync(psycopg.conninfo.conninfo_attempts, params, abandon_on_cancel=True)
        for attempt in attempts:
            try:
                db = await _drive_connecting(Connection._connect_gen(make_conninfo("", **attempt)))
            except OperationalError as error:
                failure = error
                continue
            try:
                await db.execute(_SESSION, [str(statement_timeout_ms)])
            except BaseException:
                db.close_now()
                raise
            return db
    raise failure


async def _drive(gen: PQGen[T], fd: int) -> T:
    try:
        wanted = next(gen)
        while True:
            wanted = gen.send(await _ready(fd, wanted))
    except StopIteration as end:
        result: T = end.value
        return result


async def _drive_connecting(gen: PQGenConn[T]) -> T:
    """Like `_drive`, for generators that change their socket on the way."""
    try:
        fd, wanted = next(gen)
        while True:
            fd, wanted = gen.send(await _ready(fd, wanted))
    except StopIteration as end:
        result: T = end.value
        return result


async def _ready(fd: int, wanted: Wait) -> Ready:
    if wanted == Wait.R:
        await trio.lowlevel.wait_readable(fd)
        return Ready.R
    if ready := _poll(fd, wanted):  # nearly always: the kernel has room to write
        await trio.lowlevel.checkpoint()
        return ready
    if wanted == Wait.W:
        await trio.lowlevel.wait_writable(fd)
        return Ready.W
    async with trio.open_nursery() as nursery:

        async def first(wait: Any) -> None:
            await wait(fd)
            nursery.cancel_scope.cancel()

        nursery.start_soon(first, trio.lowlevel.wait_readable)
        nursery.start_soon(first, trio.lowlevel.wait_writable)
    return _poll(fd, wanted)


def _poll(fd: int, wanted: Wait) -> Ready:
    """What `fd` is ready for right now. A hang-up counts as readable: reading tells what happened."""
    poll = select.poll()
    poll.register(fd, (select.POLLIN if wanted & Wait.R else 0) | (select.POLLOUT if wanted & Wait.W else 0))
    ready = 0
    for _, events in poll.poll(0):
        if events & (select.POLLIN | select.POLLHUP | select.POLLERR):
            ready |= Ready.R
        if events & (select.POLLOUT | select.POLLERR):
            ready |= Ready.W
    return Ready(ready & (Ready.R | Ready.W))
