"""Runs as people look at them, on the real database: lists, trails, their chain, and heads that are counted again."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.session import Terms
from goclaw.stores import run_acceptance, run_ends, run_heads, run_intake, run_queue, run_views
from goclaw.stores.database import Database
from goclaw.stores.run_acceptance import Stored
from goclaw.stores.run_views import Wanted
from goclaw.stores.unit import Connection, one, transaction
from tests.stores.test_runs import KEY, NODE, accept, claim, result, said


@transaction
async def do(db: Connection, statement: str, **params: Any) -> None:
    await db.execute(statement, params)


@transaction(readonly=True)
async def number(db: Connection, statement: str, **params: Any) -> float:
    return await one(float, db.execute(statement, params))


@transaction(readonly=True)
async def moment(db: Connection) -> datetime:
    return await one(datetime, db.execute("SELECT now()"))


@transaction
async def on_terms(db: Connection, **turn: Any) -> Stored:
    return await run_intake.accept(db, run_acceptance.accept, **turn)


def wanted(**more: Any) -> Wanted:
    return Wanted(tenant=MASTER_TENANT, **more)


async def test_a_list_is_narrowed_by_what_is_asked_and_counts_all_that_fit(database: Database) -> None:
    first = await accept(database, "one", key="agent:default:ws:direct:a")
    second = await accept(database, "two", key="agent:default:ws:direct:b", user="mai")
    third = await accept(database, "three", key="agent:default:ws:direct:b", kind="task")

    async def ids(limit: int = 10, offset: int = 0, **more: Any) -> list[str]:
        return [row.run_id for row in await database.run(run_views.page, wanted(**more), limit=limit, offset=offset)]

    assert await ids() == [third, second, first]
    assert await ids(limit=1, offset=1) == [second]
    assert await ids(user="mai") == [second]
    assert await ids(kind="task") == await ids(session="agent:default:ws:direct:b", user="lan") == [third]
    assert await ids(state="RUNNING") == await ids(agent="other") == []
    assert await ids(until=await database.run(moment)) == [third, second, first]
    assert await ids(since=await database.run(moment)) == []
    assert await database.run(run_views.total, wanted(user="lan")) == 2
    row = await database.run(run_views.find, tenant=MASTER_TENANT, run_id=second)
    assert row is not None
    assert (row.preview, row.state, row.slot_taken) == ("two", "QUEUED", False)


async def test_counts_are_by_state_and_lane(database: Database) -> None:
    await accept(database, key="agent:default:ws:direct:a")
    await accept(database, key="agent:default:ws:direct:b")
    await accept(database, key="agent:default:cron:1", kind="cron", lane="cron", user="mai")
    await claim(database, "agent:default:ws:direct:a")

    found = await database.run(run_views.counts, tenant=MASTER_TENANT)

    assert {(c.state, c.lane): c.runs for c in found} == {
        ("QUEUED", "main"): 1, ("RUNNING", "main"): 1, ("QUEUED", "cron"): 1,
    }  # fmt: skip
    assert [c.lane for c in await database.run(run_views.counts, tenant=MASTER_TENANT, user="mai")] == ["cron"]
    some = await database.run(run_views.counts, tenant=MASTER_TENANT, limit=1)
    assert {c.state: c.runs for c in some} == {"QUEUED": 1, "RUNNING": 1}


async def test_events_are_read_from_a_cursor_on(database: Database) -> None:
    run_id = await accept(database)
    (run,) = await claim(database)
    await database.run(run_ends.succeed, run, result=result(run), messages=said(run, "hi"))

    head = await database.run(run_views.events, tenant=MASTER_TENANT, run_id=run_id, limit=2)
    rest = await database.run(run_views.events, tenant=MASTER_TENANT, run_id=run_id, after=head[-1].event_id)

    assert [event.type for event in head + rest] == [
        "task.enqueued", "task.claimed", "task.running", "task.succeeded",
    ]  # fmt: skip
    assert (rest[-1].state_from, rest[-1].state_to, rest[-1].node_id) == ("RUNNING", "SUCCEEDED", NODE)


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE run_events SET reason_code = 'x' WHERE event_id = %(event)s", ["sound"]),
        ("UPDATE run_events SET payload = '{\"a\": 1}' WHERE event_id = %(event)s", ["sound"]),
        ("DELETE FROM run_events WHERE event_id = %(event)s", ["linked"]),
    ],
)
async def test_a_trail_that_somebody_changed_does_not_hold(database: Database, statement: str, says: list[str]) -> None:
    run_id = await accept(database)
    (run,) = await claim(database)
    await database.run(run_ends.succeed, run, result=result(run), messages=[])
    whole = await database.run(run_views.chain, tenant=MASTER_TENANT, run_id=run_id, limit=100)
    assert [(link.hashed, link.sound, link.linked) for link in whole] == [(True, True, True)] * 4

    await database.run(do, "ALTER TABLE run_events DISABLE TRIGGER USER")
    await database.run(do, "ALTER TABLE run_events_default DISABLE TRIGGER USER")
    await database.run(do, statement, event=whole[1].event_id)

    links = await database.run(run_views.chain, tenant=MASTER_TENANT, run_id=run_id, limit=100)
    broken = [name for name in ("sound", "linked") if not all(getattr(link, name) for link in links)]
    assert broken == says


async def test_a_hole_in_the_order_of_a_session_is_seen(database: Database) -> None:
    await accept(database)
    (run,) = await claim(database)
    await database.run(run_ends.succeed, run, result=result(run), messages=[])

    async def gaps(last: int) -> tuple[int, int]:
        found = await database.run(run_views.gaps, tenant=MASTER_TENANT, key=KEY, first=1, last=last)
        return found.there, found.wanted

    assert await gaps(4) == (4, 4)
    await database.run(do, "UPDATE session_heads SET next_seq = 9")
    await accept(database)
    assert await gaps(9) == (5, 9)


async def test_only_a_dead_letter_is_discarded_and_then_nobody_finds_it(database: Database) -> None:
    run_id = await accept(database)
    assert not await database.run(run_views.discard, tenant=MASTER_TENANT, run_id=run_id)
    await database.run(do, "UPDATE runs SET state = 'DEAD_LETTER'")

    assert await database.run(run_views.discard, tenant=MASTER_TENANT, run_id=run_id)
    assert await database.run(run_views.discard, tenant=MASTER_TENANT, run_id=run_id), "twice is the same as once"

    assert await database.run(run_views.find, tenant=MASTER_TENANT, run_id=run_id) is None
    assert await database.run(run_views.page, wanted(), limit=5) == []
    assert await database.run(run_views.counts, tenant=MASTER_TENANT) == []


async def test_wrong_heads_are_found_and_mended(database: Database) -> None:
    keys = [f"agent:default:ws:direct:{n}" for n in range(4)]
    for key in keys:
        await accept(database, key=key)
        await accept(database, key=key)
    await claim(database, keys[0], keys[1])
    assert await database.run(run_heads.wrong) == await database.run(run_heads.mend) == []
    await database.run(do, "UPDATE session_heads SET queued = 7, head_at = NULL WHERE session_key = %(k)s", k=keys[0])
    await database.run(do, "UPDATE session_heads SET running = 0 WHERE session_key = %(k)s", k=keys[1])
    await database.run(do, "DELETE FROM session_heads WHERE session_key = %(k)s", k=keys[2])

    found = await database.run(run_heads.mend, tenant=MASTER_TENANT)

    said = {head.session_key: (head.queued, head.running) for head in found}
    assert said == {keys[0]: (7, 1), keys[1]: (1, 0), keys[2]: (0, 0)}
    assert [(head.counted_queued, head.counted_running) for head in found] == [(1, 1), (1, 1), (2, 0)]
    assert await database.run(run_heads.wrong) == []
    assert [run.session_key for run in await claim(database, *keys)] == [keys[2], keys[3]], "work goes on"
    assert (
        await database.run(number, "SELECT count(*) - count(DISTINCT (session_key, session_seq)) FROM run_events") == 0
    )


async def test_a_task_for_later_waits_until_then(database: Database) -> None:
    later = await database.run(moment) + timedelta(hours=1)
    terms = Terms(priority=8, max_attempts=7, run_at=later, resource_keys=("repo:x",))

    run_id = await accept(database, kind="task", work=on_terms, terms=terms)

    row = await database.run(run_views.find, tenant=MASTER_TENANT, run_id=run_id)
    assert row is not None
    assert (row.available_at, row.priority, row.max_attempts, row.resource_keys) == (later, 8, 7, ["repo:x"])
    assert row.deadline is not None
    assert row.deadline >= later + timedelta(seconds=590)
    assert await claim(database) == await database.run(run_queue.waiting) == []
    await database.run(do, "UPDATE session_heads SET head_at = now()")
    await database.run(do, "UPDATE runs SET available_at = now()")
    assert [run.run_id for run in await claim(database)] == [run_id]


async def test_a_turn_of_now_does_not_wait_behind_a_task_for_later(database: Database) -> None:
    later = await database.run(moment) + timedelta(hours=1)
    terms = Terms(priority=5, max_attempts=3, run_at=later)
    await accept(database, "later", kind="task", work=on_terms, terms=terms)
    now = await accept(database, "now")

    assert [run.run_id for run in await claim(database)] == [now]
    assert await claim(database) == []


async def test_terms_are_put_on_nothing_that_was_not_stored(database: Database) -> None:
    run_id = await accept(database)

    @transaction
    async def known(db: Connection, **turn: Any) -> str:
        return "there already"

    terms = Terms(priority=9, max_attempts=9)
    given = {"terms": terms, "tenant": MASTER_TENANT, "key": KEY, "run_id": run_id}
    assert await database.run(run_intake.accept, known, **given) == "there already"

    row = await database.run(run_views.find, tenant=MASTER_TENANT, run_id=run_id)
    assert row is not None
    assert (row.priority, row.max_attempts) == (5, 3)
