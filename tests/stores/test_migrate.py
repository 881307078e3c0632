from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
import trio
from psycopg.conninfo import make_conninfo

from goclaw.domain.errors import StartupFatal
from goclaw.domain.ids import new_id
from goclaw.stores import tenants
from goclaw.stores.connection import Connection, connect
from goclaw.stores.database import Database
from goclaw.stores.migrate import MIGRATIONS, ensure_schema, migrate_down, migrate_up, steps, version
from goclaw.stores.unit import many, one, transaction

CATALOGUE = """
SELECT 'column', table_name || '.' || column_name, concat_ws(' ', data_type, is_nullable, column_default)
FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT 'constraint', conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT 'function', proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT 'trigger', tgname, tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal
ORDER BY 1, 2, 3
"""


@pytest.fixture
async def fresh(postgres: str) -> AsyncIterator[str]:
    """The DSN of a database without any table."""
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute("CREATE DATABASE fresh TEMPLATE template0 STRATEGY file_copy")
        yield make_conninfo(postgres, dbname="fresh")
        admin.execute("DROP DATABASE fresh WITH (FORCE)")


@pytest.fixture
async def db(fresh: str) -> AsyncIterator[Connection]:
    db = await connect(fresh)
    yield db
    db.close_now()


def write(directory: Path, name: str, up: str, down: str = "SELECT 1") -> None:
    (directory / f"{name}.up.sql").write_text(up, "utf-8")
    (directory / f"{name}.down.sql").write_text(down, "utf-8")


async def catalogue(db: Connection) -> list[tuple[Any, ...]]:
    return await (await db.execute(CATALOGUE)).fetchall()


async def test_up_down_and_up_again_end_in_the_same_schema(db: Connection) -> None:
    done = await migrate_up(db)
    assert [row.version for row in done] == [step.version for step in steps()]
    first = await catalogue(db)
    undone = await migrate_down(db, 99)
    assert [row.version for row in undone] == [step.version for step in reversed(steps())]
    assert {row[1].partition(".")[0] for row in await catalogue(db) if row[0] == "column"} == {"schema_migrations"}
    await migrate_up(db)
    assert await catalogue(db) == first


async def test_a_current_database_has_nothing_to_do(db: Connection) -> None:
    await migrate_up(db)
    assert await migrate_up(db) == []
    newest = steps()[-1].version
    found = await version(db)
    assert msgspec.structs.astuple(found) == (newest, newest, (), False)


async def test_two_runners_at_once_do_the_work_once(fresh: str) -> None:
    done = []

    async def runner() -> None:
        db = await connect(fresh)
        done.append(len(await migrate_up(db)))
        db.close_now()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(runner)
        nursery.start_soon(runner)
    assert sorted(done) == [0, len(steps())]


async def test_a_fresh_database_is_made_whole_or_not(db: Connection, tmp_path: Path) -> None:
    write(tmp_path, "0001_good", "CREATE TABLE good (n int)")
    write(tmp_path, "0002_bad", "SELECT no_such_column")
    with pytest.raises(StartupFatal, match="0002_bad failed"):
        await ensure_schema(db, upgrade=False, directory=tmp_path)
    assert (await version(db, tmp_path)).current == 0, "the next start makes it again"
    write(tmp_path, "0002_bad", "SELECT 1")
    assert len(await ensure_schema(db, upgrade=False, directory=tmp_path)) == 2


async def test_a_failing_step_leaves_no_trace_and_those_before_it_stay(db: Connection, tmp_path: Path) -> None:
    write(tmp_path, "0001_good", "CREATE TABLE good (n int)")
    await migrate_up(db, tmp_path)
    write(tmp_path, "0002_bad", "CREATE TABLE half (n int); SELECT no_such_column")
    with pytest.raises(StartupFatal, match="0002_bad failed") as fatal:
        await migrate_up(db, tmp_path)
    assert (fatal.value.reason, fatal.value.exit_code) == ("E_SCHEMA_MISMATCH", 71)
    found = await version(db, tmp_path)
    assert (found.current, found.pending, found.dirty) == (1, ("0002_bad",), False)
    assert await one(bool, db.execute("SELECT to_regclass('half') IS NULL"))


async def test_a_step_changed_after_it_was_applied_is_refused_by_name(db: Connection, tmp_path: Path) -> None:
    write(tmp_path, "0001_first", "SELECT 1;\n")
    await migrate_up(db, tmp_path)
    (tmp_path / "0001_first.up.sql").write_bytes(b"SELECT 1;\r\n")
    await version(db, tmp_path)  # line ends do not count
    write(tmp_path, "0001_first", "SELECT 2;\n")
    for refused in (version, migrate_up):
        with pytest.raises(StartupFatal, match="0001_first was changed"):
            await refused(db, tmp_path)


async def test_a_newer_database_is_refused(db: Connection, tmp_path: Path) -> None:
    write(tmp_path, "0001_first", "SELECT 1")
    write(tmp_path, "0002_future", "SELECT 1")
    await migrate_up(db, tmp_path)
    (tmp_path / "0002_future.up.sql").unlink()
    with pytest.raises(StartupFatal, match="0002_future, which this build does not know"):
        await ensure_schema(db, upgrade=True, directory=tmp_path)


async def test_an_interrupted_step_is_refused(db: Connection) -> None:
    await migrate_up(db)
    await db.execute("UPDATE schema_migrations SET dirty = true WHERE version = 1")
    with pytest.raises(StartupFatal, match="0001_platform was interrupted"):
        await ensure_schema(db, upgrade=True)


async def test_the_start_gate_makes_a_fresh_database_and_asks_before_it_changes_an_old_one(
    db: Connection, tmp_path: Path
) -> None:
    write(tmp_path, "0001_first", "SELECT 1")
    assert len(await ensure_schema(db, upgrade=False, directory=tmp_path)) == 1
    write(tmp_path, "0002_second", "SELECT 1")
    with pytest.raises(StartupFatal, match=r"is at 0001, this build needs 0002") as fatal:
        await ensure_schema(db, upgrade=False, directory=tmp_path)
    assert "goclaw migrate up" in fatal.value.hint
    assert len(await ensure_schema(db, upgrade=True, directory=tmp_path)) == 1


def test_misnamed_and_half_migrations_are_refused(tmp_path: Path) -> None:
    (tmp_path / "0001_alone.up.sql").write_text("SELECT 1", "utf-8")
    with pytest.raises(ValueError, match="0001_alone"):
        steps(tmp_path)
    write(tmp_path, "0001_alone", "SELECT 1")
    write(tmp_path, "0001_twin", "SELECT 1")
    with pytest.raises(ValueError, match="same number"):
        steps(tmp_path)


def test_migrations_say_why_and_use_line_feeds() -> None:
    for path in MIGRATIONS.glob("*.up.sql"):
        assert b"\r" not in path.read_bytes()
        assert re.match(r"-- \S.*\.\n", path.read_text("utf-8")), path.name


async def test_every_foreign_key_and_every_tenant_column_has_an_index_behind_it(database: Database) -> None:
    """data-model.md §1.1; `run_steps` and `run_events` are reached by run, their tenant is a predicate only."""

    @transaction(readonly=True)
    async def bare(db: Connection) -> list[str]:
        sql = """
        SELECT conrelid::regclass || '.' || attname FROM pg_constraint
        JOIN pg_attribute ON attrelid = conrelid AND attnum = conkey[1]
        WHERE contype = 'f' AND NOT EXISTS (
            SELECT FROM pg_index WHERE indrelid = conrelid AND indkey[0] = conkey[1] AND indpred IS NULL)
        """
        return await many(str, db.execute(sql))

    assert await database.run(bare) == []


async def test_the_run_log_takes_rows_and_gives_none_up(database: Database) -> None:
    @transaction
    async def log(db: Connection) -> tuple[int, str]:
        sql = """
        INSERT INTO run_events (run_id, tenant_id, session_key, session_seq, type)
        VALUES (%s, %s, 'agent:a:direct:u', 1, 'run.queued') RETURNING event_id, tableoid::regclass::text AS place
        """
        rows = await (await db.execute(sql, [new_id(), tenants.MASTER])).fetchall()
        return rows[0][0], rows[0][1]

    assert await database.run(log) == (1, "run_events_default")
    for change in ("UPDATE run_events SET type = 'x'", "DELETE FROM run_events", "DELETE FROM run_events_default"):

        @transaction
        async def edit(db: Connection, change: str = change) -> None:
            await db.execute(change)

        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append only"):
            await database.run(edit)
