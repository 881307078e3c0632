"""The audit's two sinks: each alone, both, neither, and who touched them. Contract: observability.md §12, SEC-41."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from goclaw.domain.errors import StartupFatal
from goclaw.security.audit import Act, Break, Checker, check
from goclaw.settings.retention import Retention
from goclaw.stores import audit, retention
from goclaw.stores.audit import Wanted
from goclaw.stores.audit_book import AuditBook
from goclaw.stores.audit_file import lines_of
from goclaw.stores.database import Database

AT = datetime(2026, 11, 21, 12, 0, 0, 5, UTC)
DENIED = Act(action="tools.exec", decision="deny", actor_type="agent", actor_id="coder", subject="rm", details={"n": 1})


def large(path: Path) -> None:
    """So large that it cannot grow where there is `no_room`."""
    path.parent.mkdir()
    path.write_text("{}\n" * (LIMIT // 2))


def kept(path: Path) -> list[dict[str, Any]]:
    return [line for line in lines_of(path) if line]


def book_of(database: Any, path: Path) -> AuditBook:
    return AuditBook(database, path, "node-a", lambda: AT)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "audit.jsonl"


@pytest.fixture
async def book(database: Database, path: Path) -> AsyncIterator[AuditBook]:
    book = book_of(database, path)
    await book.open()
    yield book
    book.close()


LIMIT = 1_000_000  # bytes; what a test prints is less


class Away:
    """A database nobody reaches; what it is asked first, the head, it says there is none of."""

    async def run(self, work: Any, /, *args: Any, **kwargs: Any) -> Any:
        if work is audit.head:
            return None
        raise ValueError("no such table")


@contextmanager
def no_room() -> Iterator[None]:
    """Files of this process cannot grow beyond it, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def table(database: Database) -> list[dict[str, Any]]:
    return await database.run(audit.after, "", 0, limit=1000)


async def test_a_line_is_in_the_file_at_once_and_in_the_table_soon(
    book: AuditBook, path: Path, database: Database
) -> None:
    assert await book.write(DENIED)
    book.note(Act(action="config.applied", tenant_id="0193a5b0-7000-7000-8000-000000000001"))

    written = list(lines_of(path))
    assert [line["action"] for line in written] == ["tools.exec", "config.applied"]
    assert oct(os.stat(path).st_mode)[-3:] == "600"
    assert await table(database) == []

    await book.keep()

    assert await table(database) == written
    assert check(written) is None


async def test_the_chain_goes_on_after_a_restart(book: AuditBook, path: Path, database: Database) -> None:
    for _ in range(3):
        book.note(DENIED)
    book.close()  # the table has heard of none
    again = book_of(database, path)

    await again.open()
    again.note(DENIED)
    await again.keep()
    again.close()

    assert [line["seq"] for line in await table(database)] == [1, 2, 3, 4]
    assert check(lines_of(path)) is None
    assert check(await table(database), "table") is None


async def test_half_a_line_of_a_crash_goes(book: AuditBook, path: Path, database: Database) -> None:
    await book.write(DENIED)
    book.close()
    with path.open("ab") as file:
        file.write(b'{"chain":"node-a","seq":2,"ha')
    again = book_of(database, path)

    await again.open()
    again.note(DENIED)
    again.close()

    assert [line["seq"] for line in lines_of(path)] == [1, 2]
    assert check(lines_of(path)) is None


async def test_without_the_database_the_file_is_enough(path: Path) -> None:
    book = book_of(Away(), path)
    await book.open()

    assert await book.write(DENIED)
    await book.keep()

    assert (book.file_ok, book.table_ok, book.waiting, book.failing) == (True, False, 1, False)
    book.close()


async def test_without_the_file_the_table_is_enough_and_the_gap_is_told(path: Path, database: Database) -> None:
    large(path)
    book = book_of(database, path)
    await book.open()
    await book.write(DENIED)
    with no_room():
        assert await book.write(DENIED)  # to the table, before anybody is told
        book.note(DENIED)
    await book.keep()
    book.note(DENIED)
    await book.keep()

    assert [line["seq"] for line in kept(path)] == [1, 4, 5]
    assert [line["seq"] for line in await table(database)] == [1, 2, 3, 4, 5]
    assert kept(path)[1]["details"] == {"sink": "file", "from_seq": 2, "to_seq": 3}
    assert check(kept(path)) is None
    assert check(await table(database), "table") is None


async def test_a_file_that_was_lost_is_told_of(book: AuditBook, path: Path, database: Database) -> None:
    await book.write(DENIED)
    await book.keep()
    book.close()
    os.unlink(path)
    again = book_of(database, path)

    await again.open()
    again.close()

    assert [line["details"] for line in lines_of(path)] == [{"sink": "file", "from_seq": 1, "to_seq": 1}]


async def test_when_neither_takes_a_line_it_says_so(path: Path) -> None:
    large(path)
    book = book_of(Away(), path)
    await book.open()

    with no_room():
        assert not await book.write(DENIED)
        assert book.failing

    await book.keep()
    assert await book.write(DENIED)
    book.close()


async def test_without_any_sink_there_is_no_start(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("not a directory")

    with pytest.raises(StartupFatal) as fatal:
        await book_of(Away(), tmp_path / "logs" / "audit.jsonl").open()

    assert fatal.value.reason == "E_AUDIT_INIT"


async def test_a_touched_row_and_a_touched_file_show(book: AuditBook, path: Path, database: Database, dsn: str) -> None:
    for _ in range(3):
        book.note(DENIED)
    await book.keep()
    with psycopg.connect(dsn, autocommit=True) as db:
        with pytest.raises(psycopg.errors.RaiseException, match="stay as they are"):
            db.execute("UPDATE audit_log SET subject = 'ls'")
        with pytest.raises(psycopg.errors.RaiseException, match="stay as they are"):
            db.execute("DELETE FROM audit_log")
        db.execute("SET session_replication_role = replica")  # as whoever owns the server
        db.execute("UPDATE audit_log SET subject = 'ls' WHERE seq = 2")
    with path.open("rb") as file:
        raw = file.read()
    at = raw.index(b'"rm"', raw.index(b'"seq":3'))

    assert check(await table(database), "table") == Break(chain="node-a", seq=2, why="hash")
    with path.open("wb") as file:
        file.write(raw[: at + 1] + b"x" + raw[at + 2 :])
    broken = check(lines_of(path))
    assert broken is not None
    assert broken.why == "hash"


async def test_a_full_file_is_packed_and_the_next_goes_on(
    book: AuditBook, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("goclaw.stores.audit_file.LARGEST", 1000)
    for _ in range(5):
        book.note(DENIED)
    await book.keep()

    packed = path.with_name("audit-5.jsonl.gz")
    assert sorted(one.name for one in path.parent.iterdir()) == [packed.name, path.name]
    checker = Checker("file")
    for line in [*lines_of(packed), *lines_of(path)]:
        checker.read(line)
    assert checker.broken() is None
    assert checker.heads["node-a"][0] == 6


async def test_reads_of_a_run_are_one_line(book: AuditBook, path: Path) -> None:
    run = "0193a5b0-1111-7000-8000-000000000001"
    for action in ("tools.read_file", "tools.read_file", "tools.list_files"):
        book.count(run, action, tenant_id=run, actor_id="coder", policy_version=None)
    assert list(lines_of(path)) == []

    book.run_ended(run)
    book.run_ended(run)

    (line,) = lines_of(path)
    assert line["details"] == {"calls": {"tools.read_file": 2, "tools.list_files": 1}, "total": 3}
    assert (line["run_id"], line["decision"]) == (run, "allow")


async def test_the_page_is_filtered_and_newest_first(book: AuditBook, database: Database) -> None:
    mine, other = "0193a5b0-7000-7000-8000-000000000001", "0193a5b0-7000-7000-8000-000000000002"
    book.note(Act(action="tools.exec", decision="deny", tenant_id=mine, actor_id="a"))
    book.note(Act(action="tools.exec", decision="allow", tenant_id=other, actor_id="a"))
    book.note(Act(action="policy.reloaded"))
    await book.keep()

    async def seqs(**more: Any) -> list[int]:
        return [line["seq"] for line in await database.run(audit.page, Wanted(**more), limit=10)]

    assert await seqs() == [3, 2, 1]
    assert await seqs(tenant=mine) == [3, 1]
    assert await seqs(action="tools.*") == [2, 1]
    assert await seqs(action="tools.e") == []
    assert await seqs(decision="deny", actor_id="a") == [1]
    assert await seqs(until=AT) == []


async def test_retention_forgets_the_oldest_and_what_is_left_is_whole(database: Database, path: Path, dsn: str) -> None:
    old = AuditBook(database, path, "node-a", lambda: datetime(2020, 1, 1, tzinfo=UTC))
    await old.open()
    old.note(DENIED)
    old.note(DENIED)
    await old.keep()
    old.close()
    now = AuditBook(database, path, "node-a", lambda: datetime.now(UTC))
    await now.open()
    now.note(DENIED)
    await now.keep()
    now.close()

    (rule,) = (rule for rule in retention.rules(Retention()) if rule.table == "audit_log")
    assert await database.run(retention.forget, rule) == 2

    left = await table(database)
    assert [line["seq"] for line in left] == [3]
    assert check(left, "table") is None
    assert json.dumps(left)
