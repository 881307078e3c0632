"""Durable runs on the real database: every transition, its counters, its events."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.chat import Usage
from goclaw.domain.ids import new_id
from goclaw.domain.run import RunRequest, RunResult
from goclaw.stores import (
    agents,
    run_acceptance,
    run_claims,
    run_ends,
    run_queue,
    run_recovery,
    run_stops,
    runs,
    sessions,
)
from goclaw.stores.database import Database
from goclaw.stores.runs import Claimed, Depth, StaleOwner
from goclaw.stores.sessions import ListedSession, NewMessage, Wanted
from goclaw.stores.unit import Connection, many, one, transaction

NODE = "0193a5b0-0000-7000-8000-00000000000a"
OTHER = "0193a5b0-0000-7000-8000-00000000000b"
KEY = "agent:default:ws:direct:1"


async def accept(
    database: Database, text: str = "hi", key: str = KEY, work: Any = run_acceptance.accept, **more: Any
) -> str:
    await database.run(agents.seed, id=new_id(), tenant=MASTER_TENANT, key="default", name="G", owner="system")
    agent = await database.run(agents.default, tenant=MASTER_TENANT)
    assert agent is not None
    run_id = new_id()
    given: dict[str, Any] = {
        "session_kind": "direct",
        "channel": "ws",
        "label": text,
        "max_concurrent": 1,
        "user": "lan",
        "kind": "chat",
        "lane": "main",
        "timeout": 600.0,
        "request": RunRequest(message=text),
        "request_hash": "0" * 64,
    }
    await database.run(
        work,
        run_id=run_id,
        session_id=new_id(),
        tenant=MASTER_TENANT,
        key=key,
        agent_id=agent.id,
        agent_key="default",
        **{**given, **more},
    )
    return run_id


async def claim(database: Database, *keys: str, node: str = NODE) -> list[Claimed]:
    wanted = [(MASTER_TENANT, key) for key in keys or (KEY,)]
    return await database.run(run_claims.claim, node=node, lane="main", sessions=wanted, limit=8)


def said(run: Claimed, *texts: str) -> list[NewMessage]:
    return [NewMessage(id=new_id(), role="user", content=text) for text in texts]


def result(run: Claimed, content: str = "hello") -> RunResult:
    usage = Usage(prompt_tokens=3, completion_tokens=2)
    return RunResult(run_id=run.run_id, session_key=run.session_key, content=content, usage=usage)


@transaction(readonly=True)
async def head(db: Connection, key: str = KEY) -> Depth:
    return await one(Depth, db.execute("SELECT queued, running FROM session_heads WHERE session_key = %s", [key]))


@transaction(readonly=True)
async def trail(db: Connection, key: str = KEY) -> list[tuple[int, str]]:
    query = "SELECT session_seq || ' ' || type FROM run_events WHERE session_key = %s ORDER BY session_seq"
    return [(int(row.split()[0]), row.split()[1]) for row in await many(str, db.execute(query, [key]))]


async def test_an_accepted_turn_is_claimed_once_and_ends_with_its_answer(database: Database) -> None:
    run_id = await accept(database)

    (run,) = await claim(database)
    assert await claim(database) == []
    depth = await database.run(run_ends.succeed, run, result=result(run), messages=said(run, "hi", "hello"))

    assert (run.run_id, run.attempt, run.fence, run.request.message) == (run_id, 1, 1, "hi")
    assert depth == Depth(queued=0, running=0) == await database.run(head)
    rows = await database.run(sessions.history, tenant=MASTER_TENANT, key=KEY, limit=10)
    assert [(row.seq, row.content, row.run_id) for row in rows] == [(1, "hi", run_id), (2, "hello", run_id)]
    session = await database.run(sessions.find, tenant=MASTER_TENANT, key=KEY)
    assert session is not None
    assert (session.message_count, session.input_tokens, session.output_tokens) == (2, 3, 2)
    assert await database.run(trail) == [
        (1, "task.enqueued"),
        (2, "task.claimed"),
        (3, "task.running"),
        (4, "task.succeeded"),
    ]


async def test_an_idle_session_is_started_with_the_acceptance(database: Database) -> None:
    first = await accept(database, "one", node=NODE)
    second = await accept(database, "two", node=NODE)

    assert await claim(database) == [], "the first holds the session's only slot"
    (mine,) = await database.run(run_claims.owned, node=NODE, lane="main")
    assert (mine.run_id, mine.attempt, mine.fence, mine.request.message) == (first, 1, 1, "one")
    assert await database.run(head) == Depth(queued=1, running=1)
    assert await database.run(run_ends.succeed, mine, result=result(mine), messages=said(mine, "one")) == Depth(1, 0)
    third = await accept(database, "three", node=NODE)
    order = []
    while claimed := await claim(database):
        order.append(claimed[0].run_id)
        await database.run(run_ends.succeed, claimed[0], result=result(claimed[0]), messages=[])
    assert order == [second, third], "nobody overtakes who waits"
    seqs = [seq for seq, _ in await database.run(trail)]
    assert seqs == list(range(1, len(seqs) + 1)), "no hole in the order"


async def test_nothing_is_lost_or_doubled_when_many_claim_and_end_at_once(database: Database) -> None:
    keys = [f"agent:default:ws:direct:{n}" for n in range(4)]
    accepted: list[str] = []
    ended: list[str] = []

    async def sender(key: str) -> None:
        for n in range(10):
            accepted.append(await accept(database, str(n), key=key, node=NODE if n % 3 == 0 else None))

    async def worker(node: str) -> None:
        while len(ended) < 40:
            for run in await claim(database, *keys, node=node) or await database.run(
                run_claims.owned, node=NODE, lane="main"
            ):
                try:
                    await database.run(
                        run_ends.succeed, run, result=result(run), messages=said(run, run.request.message)
                    )
                    ended.append(run.run_id)
                except StaleOwner:
                    continue

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for key in keys:
                nursery.start_soon(sender, key)
            for n in range(4):
                nursery.start_soon(worker, f"0193a5b0-0000-7000-8000-0000000000{n:02}")

    assert sorted(ended) == sorted(accepted)
    for key in keys:
        assert await database.run(head, key) == Depth(queued=0, running=0)
        rows = await database.run(sessions.history, tenant=MASTER_TENANT, key=key, limit=100)
        assert [row.content for row in rows] == [str(n) for n in range(10)]
        seqs = [seq for seq, _ in await database.run(trail, key)]
        assert seqs == list(range(1, len(seqs) + 1))


async def test_a_session_answers_one_turn_at_a_time_in_order(database: Database) -> None:
    ids = [await accept(database, text) for text in ("one", "two", "three")]

    answered = []
    for _ in ids:
        (run,) = await claim(database)
        answered.append(run.run_id)
        await database.run(run_ends.succeed, run, result=result(run), messages=said(run, run.request.message))

    assert answered == ids
    rows = await database.run(sessions.history, tenant=MASTER_TENANT, key=KEY, limit=10)
    assert [row.content for row in rows] == ["one", "two", "three"]


async def test_a_claimed_run_is_claimed_by_nobody_else(database: Database) -> None:
    keys = [f"agent:default:ws:direct:{n}" for n in range(6)]
    ids = {await accept(database, key=key) for key in keys for _ in range(2)}
    claimed: list[Claimed] = []

    async def worker(node: str) -> None:
        for _ in range(6):
            claimed.extend(await claim(database, *keys, node=node))

    async with trio.open_nursery() as nursery:
        for n in range(8):
            nursery.start_soon(worker, f"0193a5b0-0000-7000-8000-0000000000{n:02}")

    assert len(claimed) == 6, "one run of each session, because each has one slot"
    assert len({run.run_id for run in claimed}) == 6
    assert {run.run_id for run in claimed} < ids


async def test_a_stale_owner_writes_nothing(database: Database) -> None:
    await accept(database)
    (first,) = await claim(database)
    assert await database.run(run_recovery.recover, first) == "requeued"
    (second,) = await claim(database, node=OTHER)

    for late in (
        database.run(run_ends.succeed, first, result=result(first), messages=said(first, "late")),
        database.run(run_ends.fail, first, result=result(first), reason="X", error="x", messages=[]),
        database.run(run_ends.cancel, first, result=result(first), reason="X", messages=[]),
        database.run(run_recovery.put_back, first, reason="X"),
        database.run(run_recovery.recover, first),
    ):
        with pytest.raises(StaleOwner):
            await late

    assert second.fence == first.fence + 1
    assert second.crash_count == 1
    assert await database.run(sessions.history, tenant=MASTER_TENANT, key=KEY, limit=10) == []
    assert await database.run(runs.standing, second) == "ours"
    assert await database.run(runs.standing, first) == "gone"


async def test_a_run_that_crashed_three_times_is_a_dead_letter(database: Database) -> None:
    await accept(database)

    outcomes = []
    for _ in range(3):
        (run,) = await claim(database)
        outcomes.append(await database.run(run_recovery.recover, run))

    assert outcomes == ["requeued", "requeued", "dead"]
    assert await claim(database) == []
    assert await database.run(head) == Depth(queued=0, running=0)
    types = [type for _, type in await database.run(trail)]
    assert types[-2:] == ["task.failed", "task.dead_letter"]
    assert [seq for seq, _ in await database.run(trail)] == list(range(1, len(types) + 1)), "no hole in the order"


async def test_a_plain_http_run_is_cancelled_when_its_process_died(database: Database) -> None:
    await accept(database, kind="http")
    (run,) = await claim(database)

    assert await database.run(run_recovery.recover, run) == "cancelled"
    assert await database.run(head) == Depth(queued=0, running=0)


async def test_waiting_http_runs_are_forsaken_by_a_dead_process_chats_are_not(database: Database) -> None:
    chat = await accept(database, key=KEY)
    http = await accept(database, key="agent:default:http:direct:1", kind="http")
    kept = await accept(database, key="agent:default:http:direct:2", kind="http", ingress_key="http:1")
    process = new_id()
    ours = await accept(database, key="agent:default:http:direct:3", kind="http")

    assert [run.run_id for run in await database.run(run_recovery.forsaken, node=process)] == [http]
    assert len({chat, http, kept, ours}) == 4


async def test_orphans_are_those_of_other_owners(database: Database) -> None:
    await accept(database)
    (run,) = await claim(database, node=OTHER)

    assert await database.run(run_recovery.orphans, node=OTHER, alone=True) == []
    assert await database.run(run_recovery.orphans, node=NODE, alone=False) == [], "its lease still holds"
    (found,) = await database.run(run_recovery.orphans, node=NODE, alone=True)
    assert found.run_id == run.run_id
    assert [row.run_id for row in await database.run(run_claims.owned, node=OTHER, lane="main")] == [run.run_id]
    assert [one.run_id for one in await database.run(run_claims.renew, node=OTHER)] == [run.run_id]


async def test_a_run_put_back_is_no_attempt_and_waits_again(database: Database) -> None:
    run_id = await accept(database)
    (run,) = await claim(database)

    depth = await database.run(run_recovery.put_back, run, reason="RELEASE_SHUTDOWN")

    assert depth == Depth(queued=1, running=0)
    (waiting,) = await database.run(run_queue.waiting)
    assert (waiting.session_key, waiting.lane) == (KEY, "main")
    (again,) = await claim(database)
    assert (again.run_id, again.attempt, again.crash_count) == (run_id, 1, 0)


async def test_waiting_runs_can_be_cancelled_running_ones_cannot(database: Database) -> None:
    first, second, third = [await accept(database, text) for text in ("one", "two", "three")]
    await claim(database)

    gone = await database.run(run_stops.cancel_waiting, tenant=MASTER_TENANT, key=KEY, reason="CANCELED", runs=[second])
    rest = await database.run(run_stops.cancel_waiting, tenant=MASTER_TENANT, key=KEY, reason="CANCELED")

    assert ([run.run_id for run in gone], [run.run_id for run in rest]) == ([second], [third])
    assert await database.run(head) == Depth(queued=0, running=1)
    assert [run.run_id for run in await database.run(runs.open_runs, tenant=MASTER_TENANT, key=KEY)] == [first]
    seqs = [seq for seq, _ in await database.run(trail)]
    assert seqs == list(range(1, len(seqs) + 1))


async def test_a_failed_run_keeps_what_the_user_said(database: Database) -> None:
    await accept(database)
    (run,) = await claim(database)

    await database.run(
        run_ends.fail, run, result=result(run, ""), reason="FAILED_PROVIDER", error="down", messages=said(run, "hi")
    )

    rows = await database.run(sessions.history, tenant=MASTER_TENANT, key=KEY, limit=10)
    assert [row.content for row in rows] == ["hi"]
    assert await database.run(runs.result, tenant=MASTER_TENANT, run_id=run.run_id) == result(run, "")


async def test_an_idempotency_key_finds_its_run(database: Database) -> None:
    run_id = await accept(database, ingress_key="ws:1")

    known = await database.run(runs.known, tenant=MASTER_TENANT, ingress_key="ws:1")

    assert known is not None
    assert (known.run_id, known.result) == (run_id, None)
    assert await database.run(runs.session_of, tenant=MASTER_TENANT, run_id=run_id) == KEY
    assert await database.run(runs.session_of, tenant=MASTER_TENANT, run_id="nonsense") is None


async def test_earlier_messages_come_with_a_fresh_session(database: Database) -> None:
    earlier = [
        NewMessage(id=new_id(), role="user", content="a"),
        NewMessage(id=new_id(), role="assistant", content="b"),
    ]

    await accept(database, work=run_acceptance.accept_with_history, earlier=earlier)

    rows = await database.run(sessions.history, tenant=MASTER_TENANT, key=KEY, limit=10)
    assert [(row.role, row.content) for row in rows] == [("user", "a"), ("assistant", "b")]


async def test_sessions_are_listed_newest_first_and_found_literally(database: Database) -> None:
    for n in range(3):
        await accept(database, key=f"agent:default:ws:direct:50%_{n}")

    async def page(search: str | None, offset: int = 0) -> tuple[list[ListedSession], int]:
        wanted = Wanted(tenant=MASTER_TENANT, channel="ws", search=search)
        total = await database.run(sessions.total, wanted)
        return await database.run(sessions.page, wanted, limit=2, offset=offset), total

    rows, total = await page(None)
    literal, one = await page("50%_1")
    nothing, none = await page("5__%")
    past, still = await page(None, offset=3)

    assert [(row.session_key[-1], row.queued, row.total) for row in rows] == [("2", 1, 3), ("1", 1, 3)]
    assert [row.session_key[-1] for row in literal] == ["1"]
    assert nothing == past == []
    assert (total, one, none, still) == (3, 1, 0, 3)
    assert await database.run(sessions.count, tenant=MASTER_TENANT) == 3
