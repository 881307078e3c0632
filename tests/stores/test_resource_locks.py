"""Keys on the real database: all or none at the claim, free with whatever ends the run, and nobody starves."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.ids import new_id
from goclaw.domain.session import Terms
from goclaw.settings.locks import Locks
from goclaw.stores import (
    locks,
    run_acceptance,
    run_claims,
    run_ends,
    run_intake,
    run_recovery,
    run_stops,
    run_views,
    runs,
)
from goclaw.stores.database import Database
from goclaw.stores.unit import Connection, many, one, transaction
from tests.stores.test_runs import NODE, OTHER, accept, claim, result, trail

RULES = Locks()


def session(name: str) -> str:
    return f"agent:default:http:direct:{name}"


async def task(database: Database, name: str, *keys: str, priority: int = 5, inferred: bool = False) -> str:
    async def work(db: Connection, /, **turn: Any) -> Any:
        terms = Terms(priority=priority, max_attempts=3, resource_keys=keys, keys_inferred=inferred)
        return await run_intake.accept(db, run_acceptance.accept, terms=terms, **turn)

    return await accept(database, name, key=session(name), work=transaction(work), kind="task")


async def take(database: Database, *names: str, node: str = NODE) -> list[str]:
    return [run.request.message for run in await claim(database, *map(session, names), node=node)]


@transaction
async def write(db: Connection, statement: str, **params: object) -> None:
    await db.execute(statement, params)


@transaction(readonly=True)
async def texts(db: Connection, query: str) -> list[str]:
    return await many(str, db.execute(query))


async def held(database: Database) -> list[str]:
    return await database.run(texts, "SELECT resource_key FROM resource_locks ORDER BY 1")


async def ended(database: Database, name: str) -> None:
    run = next(
        run for run in await database.run(run_claims.owned, node=NODE, lane="main") if run.session_key == session(name)
    )
    await database.run(run_ends.succeed, run, result=result(run), messages=[])


async def test_two_runs_with_one_key_work_one_after_the_other(database: Database) -> None:
    for name, key in (("a", "repo:a"), ("b", "repo:a"), ("c", "repo:b")):
        await task(database, name, key)

    assert await take(database, "a", "b", "c") == ["a", "c"]
    assert await take(database, "b") == []  # it is not due before its next try

    await ended(database, "a")
    (due,) = await database.run(locks.wake, rules=RULES)

    assert due.session_key == session("b")
    assert await take(database, "b") == ["b"]
    assert await held(database) == ["repo:a", "repo:b"]


async def test_who_waits_for_keys_is_queued_and_its_trail_says_for_whom_once(database: Database) -> None:
    first, second = await task(database, "a", "repo:a"), await task(database, "b", "repo:a", "repo:b")
    await take(database, "a")
    for _ in range(2):
        assert await take(database, "b") == []
        await database.run(write, "UPDATE runs SET available_at = now() WHERE state = 'QUEUED'")
        await database.run(write, "UPDATE session_heads SET head_at = now() WHERE queued > 0")

    row = await database.run(run_views.find, tenant=MASTER_TENANT, run_id=second)
    assert row is not None
    assert (row.state, row.wait_reason) == ("QUEUED", "resource_lock")
    assert [type for _, type in await database.run(trail, session("b"))] == ["task.enqueued", "task.waiting"]
    query = "SELECT payload->>'holders' FROM run_events WHERE type = 'task.waiting'"
    assert await database.run(texts, query) == [f'["{first}"]']
    assert await held(database) == ["repo:a"]  # all or none


async def test_the_next_try_is_half_a_minute_away_unless_somebody_wakes_it(database: Database) -> None:
    await task(database, "a", "repo:a")
    await task(database, "b", "repo:a")
    await take(database, "a", "b")

    query = "SELECT round(extract(epoch FROM head_at - now()))::text FROM session_heads WHERE queued > 0"
    assert await database.run(texts, query) in (["30"], ["29"])
    assert await database.run(locks.wake, rules=RULES) == []


@pytest.mark.parametrize("how", ["succeed", "put_back", "retry", "recover", "cancel"])
async def test_keys_are_free_with_whatever_ends_a_run_or_puts_it_back(database: Database, how: str) -> None:
    run_id = await task(database, "a", "repo:a")
    (run,) = await claim(database, session("a"))
    assert run.keyed

    match how:
        case "succeed":
            await database.run(run_ends.succeed, run, result=result(run), messages=[])
        case "put_back":
            await database.run(run_recovery.put_back, run, reason="RELEASE_SHUTDOWN")
        case "retry":
            fault = run_ends.Fault(fingerprint="0" * 64, alike=1)
            await database.run(run_ends.retry, run, reason="RETRY_PROVIDER", error="no", fault=fault, delay=5.0)
        case "recover":
            await database.run(run_recovery.recover, run, "lease")
        case "cancel":
            who = {"tenant": MASTER_TENANT, "run_ids": [run_id], "by": "lan", "reason": "user"}
            await database.run(run_stops.request_cancel, **who)
            await database.run(run_ends.cancel, run, result=result(run), reason="CANCELED", messages=[])

    assert await held(database) == []


async def test_a_run_that_stops_waiting_leaves_nothing(database: Database) -> None:
    await task(database, "a", "repo:a")
    await task(database, "b", "repo:a")
    await take(database, "a", "b")

    await database.run(run_stops.cancel_waiting, tenant=MASTER_TENANT, key=session("b"), reason="CANCELED")

    assert await database.run(texts, "SELECT run_id::text FROM lock_waits") == []


async def test_a_run_that_waits_for_keys_keeps_its_place_in_its_session(database: Database) -> None:
    await task(database, "a", "repo:a")
    await task(database, "b", "repo:a")
    await take(database, "a", "b")

    await accept(database, "younger", key=session("b"))

    assert await take(database, "b") == []
    await ended(database, "a")
    await database.run(locks.wake, rules=RULES)
    assert await take(database, "b") == ["b"]


async def test_of_those_who_wait_the_most_urgent_is_woken(database: Database) -> None:
    await task(database, "a", "repo:a")
    await take(database, "a")
    await task(database, "low", "repo:a", priority=2)
    await task(database, "high", "repo:a", priority=8)
    await task(database, "shut out", "repo:a", "repo:b")
    await take(database, "low", "high", "shut out")

    await ended(database, "a")

    assert [row.session_key for row in await database.run(locks.wake, rules=RULES)] == [session("high")]


async def test_nobody_overtakes_who_has_waited_for_five_minutes(database: Database) -> None:
    await task(database, "a", "repo:a")
    await task(database, "old", "repo:a", "repo:b")
    await take(database, "a", "old")
    await task(database, "new", "repo:b", priority=10)
    await database.run(write, "UPDATE lock_waits SET since = now() - interval '301 s'")

    assert await take(database, "new") == []  # although its key is free

    await ended(database, "a")
    assert [row.session_key for row in await database.run(locks.wake, rules=RULES)] == [session("old")]
    assert await take(database, "new") == []
    assert await take(database, "old") == ["old"]


async def test_a_child_uses_the_keys_of_the_parent_that_waits_for_it(database: Database) -> None:
    parent = await task(database, "parent", "repo:a")
    await take(database, "parent")
    for name in ("child", "sibling"):
        run_id = await task(database, name, "repo:a")
        await database.run(
            write, "UPDATE runs SET parent_run_id = %(parent)s WHERE run_id = %(run)s", parent=parent, run=run_id
        )

    assert await take(database, "child", "sibling") == ["child"]


async def test_other_workspaces_and_readers_are_in_nobodys_way(database: Database) -> None:
    for name, key in (("a", "repo:a!r"), ("b", "repo:a!r"), ("c", "repo:a")):
        await task(database, name, key)
    assert await take(database, "a", "b", "c") == ["a", "b"]

    await database.run(write, "UPDATE lock_waits SET namespace = '/elsewhere'")
    await database.run(write, "UPDATE runs SET available_at = now() WHERE state = 'QUEUED'")
    await database.run(write, "UPDATE session_heads SET head_at = now() WHERE queued > 0")
    assert await take(database, "c") == ["c"]


async def test_a_guessed_and_a_declared_topic_are_held_beside_each_other(database: Database) -> None:
    await task(database, "a", "topic:docs")
    await task(database, "b", "topic:docs", inferred=True)
    await task(database, "c", "topic:docs", inferred=True)

    assert await take(database, "a", "b", "c") == ["a", "b"]


async def test_keys_that_are_being_freed_are_waited_for(database: Database) -> None:
    """Else whoever is told of a wake-up may look before the one who waits has said so, and half a minute is lost."""
    await task(database, "a", "repo:a")
    await task(database, "b", "repo:a")
    (run,) = await claim(database, session("a"))
    ends = trio.Event()
    got: list[list[str]] = []

    @transaction
    async def end(db: Connection) -> None:
        await run_ends.succeed(db, run, result=result(run), messages=[])
        ends.set()
        query = "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted)"
        with trio.fail_after(5):
            while not (got or await one(bool, db.execute(query))):
                pass

    async def claimer() -> None:
        await ends.wait()
        got.append(await take(database, "b"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(claimer)
        nursery.start_soon(database.run, end)

    assert got == [["b"]]


async def test_many_claimers_never_give_a_key_twice(database: Database) -> None:
    names = [f"t{n}" for n in range(12)]
    for name in names:
        await task(database, name, "file:src/" if name == "t0" else f"file:src/{int(name[1:]) % 3}", "repo:a!r")
    got: list[str] = []

    async def one(name: str, node: str) -> None:
        got.extend(await take(database, name, node=node))

    async with trio.open_nursery() as nursery:
        for place, name in enumerate(names):
            nursery.start_soon(one, name, NODE if place % 2 else OTHER)

    assert got == ["t0"] or len({int(name[1:]) % 3 for name in got}) == len(got) <= 3
    assert got


async def test_the_view_shows_who_holds_and_who_waits(database: Database) -> None:
    first, second = await task(database, "a", "file:src/", "repo:x!r"), await task(database, "b", "file:src/a.py")
    await take(database, "a", "b")

    found = await database.run(locks.listed, tenant=MASTER_TENANT)

    assert [(lock.key, lock.holder_run_id, [waiter.run_id for waiter in lock.waiters]) for lock in found] == [
        ("file:src/", first, [second]),
        ("repo:x!r", first, []),
    ]
    assert await database.run(locks.listed, tenant=new_id()) == []
    (here,) = await database.run(locks.of_session, tenant=MASTER_TENANT, key=session("b"))
    assert (here.run_id, here.waits, here.resource_keys) == (second, True, ["file:src/a.py"])


async def test_a_run_without_keys_asks_for_none(database: Database) -> None:
    """The claim of ordinary runs is two statements, as before there were keys."""
    await accept(database, "plain", key=session("plain"))
    statements: list[str] = []

    @transaction
    async def watched(db: Connection) -> list[runs.Claimed]:
        class Watched:
            async def execute(self, query: str, params: Any = None) -> Any:
                statements.append(query)
                return await db.execute(query, params)

        where = [(MASTER_TENANT, session("plain"))]
        return await run_claims.claim(Watched(), node=NODE, lane="main", sessions=where, limit=8)  # type: ignore[arg-type]

    (run,) = await database.run(watched)

    assert not run.keyed
    assert len(statements) == 2
