"""The schema and its steps: numbered SQL files, each applied once, in one transaction.

Files are `migrations/NNNN_name.up.sql` and `.down.sql`; the table `schema_migrations` says what was applied.
Refusals are StartupFatal E_SCHEMA_MISMATCH, exit 71.
Contract: data-model.md §17.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress
from pathlib import Path

import msgspec
import psycopg
import trio

import goclaw
from goclaw.domain.errors import StartupFatal
from goclaw.runtime.crashpoint import crash_point
from goclaw.stores.connection import CANCEL_WITHIN, Connection
from goclaw.stores.unit import many

MIGRATIONS = Path(__file__).with_name("migrations")
ADVISORY_LOCK = 0x676F636C6177  # "goclaw"; one runner at a time
LOCK_WITHIN = 60.0  # seconds a second runner waits; data-model.md §17
TABLE_LOCK_TRIES = 5  # of 3 s each, so that a step never blocks writers for long; data-model.md §17

CREATE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version     integer PRIMARY KEY,
    name        text NOT NULL,
    checksum    char(64) NOT NULL,
    dirty       boolean NOT NULL DEFAULT false,
    applied_at  timestamptz NOT NULL DEFAULT now(),
    duration_ms integer NOT NULL DEFAULT 0,
    build       varchar(64)
)
"""
EXISTS = "SELECT to_regclass('schema_migrations') IS NOT NULL"
APPLIED = "SELECT version, name, checksum, dirty FROM schema_migrations ORDER BY version"
RECORD = """
INSERT INTO schema_migrations (version, name, checksum, duration_ms, build)
VALUES (%(version)s, %(name)s, %(checksum)s, %(duration_ms)s, %(build)s)
"""
FORGET = "DELETE FROM schema_migrations WHERE version = %s"


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One pair of files."""

    version: int
    name: str
    checksum: str  # SHA-256 of the up file with LF line ends
    up: str
    down: str


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    name: str
    checksum: str
    dirty: bool = False
    duration_ms: int = 0


class SchemaVersion(msgspec.Struct, frozen=True, kw_only=True):
    current: int  # the newest applied step, 0 = a fresh database
    known: int  # the newest step of this build
    pending: tuple[str, ...]  # NNNN_name
    dirty: bool


def steps(directory: Path = MIGRATIONS) -> list[Step]:
    """All steps of this build, oldest first. ValueError for a file that is misnamed or lacks its other half."""
    found = []
    for path in sorted(directory.glob("*.up.sql")):
        named = re.fullmatch(r"(\d{4})_(\w+)\.up\.sql", path.name)
        other = path.with_name(path.name.replace(".up.sql", ".down.sql"))
        if named is None or not other.exists():
            raise ValueError(f"{path.name}: expected NNNN_name.up.sql beside NNNN_name.down.sql")
        up, down = path.read_text("utf-8"), other.read_text("utf-8")  # text mode turns CRLF into LF
        checksum = hashlib.sha256(up.encode()).hexdigest()
        found.append(Step(version=int(named[1]), name=named[2], checksum=checksum, up=up, down=down))
    if len({step.version for step in found}) != len(found):
        raise ValueError(f"two migrations in {directory} have the same number")
    return found


async def version(db: Connection, directory: Path = MIGRATIONS) -> SchemaVersion:
    """Where this database stands. Refuses one that is newer than this build or whose steps were edited."""
    known = steps(directory)
    applied = await _applied(db)
    _check(applied, known)
    done = {row.version for row in applied}
    return SchemaVersion(
        current=max(done, default=0),
        known=max((step.version for step in known), default=0),
        pending=tuple(_title(step) for step in known if step.version not in done),
        dirty=any(row.dirty for row in applied),
    )


async def ensure_schema(db: Connection, *, upgrade: bool, directory: Path = MIGRATIONS) -> list[Applied]:
    """The start gate: a fresh database is made, an older one is refused unless `upgrade`, a current one passes."""
    found = await version(db, directory)
    if found.current and found.pending and not found.dirty and not upgrade:
        detail = f"The database schema is at {found.current:04}, this build needs {found.known:04}."
        raise _mismatch(detail, "Back the database up, then run `goclaw migrate up`.")
    return await migrate_up(db, directory)


async def migrate_up(db: Connection, directory: Path = MIGRATIONS) -> list[Applied]:
    """Apply what is pending, oldest first, and say what was done. Two runners at once: the second finds nothing.

    A step that fails leaves no trace; those before it stay, except in a fresh database, which is made whole or not.
    `db` is used for nothing else: its statement timeout is gone afterwards.
    """
    known = steps(directory)
    done = []
    async with _alone(db):
        await db.execute(CREATE)
        applied = await _applied(db)
        _check(applied, known)
        if dirty := [_title(row) for row in applied if row.dirty]:
            hint = "Restore a backup, or repair it and clear its `dirty` flag in schema_migrations."
            raise _mismatch(f"Migration {dirty[0]} was interrupted.", hint)
        async with nullcontext() if applied else db.transaction():
            for step in known:
                if step.version not in {row.version for row in applied}:
                    done.append(await _apply(db, step))
    return done


async def migrate_down(db: Connection, count: int = 1, directory: Path = MIGRATIONS) -> list[Applied]:
    """Take back the newest `count` steps. Their data is gone."""
    known = {step.version: step for step in steps(directory)}
    async with _alone(db):
        applied = await _applied(db)
        _check(applied, list(known.values()))
        undone = applied[-1 : -count - 1 : -1]
        for row in undone:
            async with db.transaction():
                await db.execute(known[row.version].down, prepare=False)
                await db.execute(FORGET, [row.version])
    return undone


async def _apply(db: Connection, step: Step) -> Applied:
    attempt = 1
    while True:
        started = time.monotonic()
        try:
            async with db.transaction():
                await db.execute("SET LOCAL lock_timeout = '3s'")
                await db.execute(step.up, prepare=False)
                crash_point("migration.applying")
                took = int((time.monotonic() - started) * 1000)
                row = Applied(version=step.version, name=step.name, checksum=step.checksum, duration_ms=took)
                await db.execute(RECORD, {**msgspec.structs.asdict(row), "build": goclaw.__version__})
            return row
        except psycopg.Error as error:
            if not isinstance(error, psycopg.errors.LockNotAvailable) or attempt == TABLE_LOCK_TRIES:
                why = str(error).partition("\n")[0]
                raise _mismatch(f"Migration {_title(step)} failed: {why}.", "Nothing of it was kept.") from error
        attempt += 1


async def _applied(db: Connection) -> list[Applied]:
    if await many(bool, db.execute(EXISTS)) == [False]:
        return []
    return await many(Applied, db.execute(APPLIED))


def _check(applied: list[Applied], known: list[Step]) -> None:
    by_version = {step.version: step for step in known}
    for row in applied:
        step = by_version.get(row.version)
        if step is None:
            detail = f"The database schema has migration {_title(row)}, which this build does not know."
            raise _mismatch(detail, "Start the newer GoClaw that made it.")
        if step.checksum != row.checksum:
            detail = f"Migration {_title(step)} was changed after it had been applied."
            raise _mismatch(detail, "Install the build that applied it.")


@asynccontextmanager
async def _alone(db: Connection) -> AsyncIterator[None]:
    """Hold the migration lock, with statements free to take their time."""
    await db.execute("SELECT set_config('statement_timeout', '0', false)")
    try:
        with trio.fail_after(LOCK_WITHIN):
            await db.execute("SELECT pg_advisory_lock(%s)", [ADVISORY_LOCK])
    except trio.TooSlowError:
        raise _mismatch("Another GoClaw is changing the database schema.", "Wait for it, then start again.") from None
    try:
        yield
    finally:
        with trio.move_on_after(CANCEL_WITHIN, shield=True), suppress(psycopg.OperationalError):  # then it is free
            await db.execute("SELECT pg_advisory_unlock(%s)", [ADVISORY_LOCK])


def _title(step: Step | Applied) -> str:
    return f"{step.version:04}_{step.name}"


def _mismatch(detail: str, hint: str) -> StartupFatal:
    return StartupFatal("E_SCHEMA_MISMATCH", detail, hint, exit_code=71)
