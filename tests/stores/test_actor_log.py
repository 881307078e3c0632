from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from goclaw.domain.activity import RecordActivity
from goclaw.domain.ids import new_id
from goclaw.runtime.values import FrozenMap
from goclaw.stores import activity, actor_log
from goclaw.stores.actor_log import Entry, Wanted
from goclaw.stores.database import Database
from goclaw.stores.tenants import MASTER

NODE = new_id()
NOW = datetime(2026, 11, 20, 9, tzinfo=UTC)


def entry(path: str = "/a", after: float = 0.0, **more: Any) -> Entry:
    told = {"kind": "io", "of_class": "Talk", "incarnation": 1, "event": "crashed", **more}
    return Entry(id=new_id(), at=NOW + timedelta(seconds=after), node_id=NODE, path=path, **told)


async def stored(database: Database, *entries: Entry) -> None:
    await database.run(actor_log.append, entries)


async def test_lines_come_back_as_they_were_newest_first(database: Database) -> None:
    full = entry(
        after=1, tenant_id=MASTER, event="restarted", reason="crash", strategy="dynamic", supervisor="/", by="lan",
        error_type="Boom", error_message="a\n“b”", fingerprint="0123456789abcdef", traceback="Traceback", note="n",
        in_hand_type="say", mailbox_depth=3, uptime_ms=10**12, restarts_in_window=2, backoff_ms=100,
    )  # fmt: skip
    plain = entry()
    await stored(database, plain, full)
    await stored(database, full)  # a batch whose commit was not confirmed comes twice

    assert await database.run(actor_log.page, Wanted(), limit=10) == [full, plain]
    assert await database.run(actor_log.page, Wanted(), limit=1, offset=1) == [plain]


async def test_each_filter_fits_what_it_names(database: Database) -> None:
    other = new_id()
    a, below, beside, foreign = lines = [
        entry("/a", 0, of_class="A", fingerprint="a" * 16),
        entry("/a/b", 1, event="killed"),
        entry("/ab_%", 2, tenant_id=MASTER),
        entry("/c", 3, tenant_id=other),
    ]
    await stored(database, *lines)

    async def found(**wanted: Any) -> list[Entry]:
        return await database.run(actor_log.page, Wanted(**wanted), limit=10)

    assert await found(path="/a") == [below, a]
    assert await found(path="/") == [foreign, beside, below, a]
    assert await found(path="/ab_%") == [beside]
    assert await found(of_class="A") == [a]
    assert await found(event="killed") == [below]
    assert await found(fingerprint="a" * 16) == [a]
    assert await found(since=below.at, until=foreign.at) == [beside, below]
    assert await found(tenant=MASTER) == [beside, below, a]


async def test_causes_are_counted(database: Database) -> None:
    often = {"fingerprint": "b" * 16, "error_type": "Boom"}
    await stored(
        database,
        entry("/a", 0, **often, error_message="first"),
        entry("/b", 2, **often, error_message="last", tenant_id=MASTER),
        entry("/a", 1, **often, error_message="middle"),
        entry("/a", 5, fingerprint="c" * 16, error_type="Bang"),
        entry("/a", 6, event="restarted"),
    )

    often_found, once = await database.run(actor_log.causes, Wanted(), limit=10)

    assert (often_found.count, often_found.error_message, often_found.said_by) == (3, "last", ("/b", MASTER))
    assert often_found.actors == [("/a", None), ("/b", MASTER)]
    assert (often_found.first_at, often_found.last_at) == (NOW, NOW + timedelta(seconds=2))
    assert (once.fingerprint, once.count) == ("c" * 16, 1)


async def test_what_is_old_or_too_much_is_forgotten(database: Database, dsn: str) -> None:
    now = datetime.now(UTC)
    kept = [Entry(id=new_id(), at=now - timedelta(days=day), node_id=NODE, path="/", kind="io", incarnation=1,
                  event="crashed") for day in (0, 1, 29, 31, 400)]  # fmt: skip
    await stored(database, *kept)

    assert await database.run(actor_log.trim) == 2
    assert await database.run(actor_log.page, Wanted(), limit=10) == kept[:3]
    assert await database.run(actor_log.trim, 2) == 1
    assert await database.run(actor_log.page, Wanted(), limit=10) == kept[:2]
    with psycopg.connect(dsn) as db:
        db.execute(
            """INSERT INTO actor_restart_log (id, at, node_id, path, kind, incarnation, event)
            SELECT gen_random_uuid(), now() - interval '40 days', %s, '/', 'io', 1, 'crashed'
            FROM generate_series(1, 5001)""",
            [NODE],
        )
    assert [await database.run(actor_log.trim) for _ in range(3)] == [5000, 1, 0]


async def test_activity_is_kept_by_tenant_and_once(database: Database) -> None:
    one = RecordActivity(
        id=new_id(), at=NOW, tenant_id=MASTER, actor_type="user", actor_id="u" * 300, action="actor.restarted",
        entity_type="actor", entity_id="/" + "x" * 1000, details=FrozenMap({"reason": "a\0b"}), ip_address="::1",
    )  # fmt: skip
    await database.run(activity.add, [one])
    await database.run(activity.add, [one])

    (found,) = await database.run(activity.page, tenant=MASTER)
    assert (found.actor_id, found.entity_id) == ("u" * 255, "/" + "x" * 254)
    assert (found.action, found.details, found.ip_address, found.created_at) == (
        "actor.restarted",
        {"reason": "ab"},
        "::1",
        NOW,
    )
    assert await database.run(activity.page, tenant=new_id()) == []
