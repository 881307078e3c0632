"""Idempotency keys and platform redeliveries on the real database."""

from __future__ import annotations

import pytest
import trio

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.ids import new_id
from goclaw.domain.run import RunRequest
from goclaw.stores import ingress, run_ends, run_recovery, run_views
from goclaw.stores.database import Database
from goclaw.stores.ingress import First, Seen
from goclaw.stores.run_acceptance import Stored
from goclaw.stores.sessions import NewMessage
from goclaw.stores.unit import Connection, many, one, transaction
from tests.stores.test_runs import NODE, OTHER, claim, result, said
from tests.stores.test_runs import accept as accepted_without

KEY = "ws:" + "a" * 64
HASH = "1" * 64


async def accept(database: Database, session: str, key: str = KEY, hash: str = HASH) -> tuple[str, Stored | First]:
    await accepted_without(database, key=f"{session}-other")  # there is an agent
    run_id = new_id()
    stored = await database.run(
        ingress.accept,
        run_id=run_id,
        session_id=new_id(),
        tenant=MASTER_TENANT,
        key=session,
        session_kind="direct",
        channel="ws",
        label="",
        max_concurrent=1,
        agent_id=await database.run(some_agent),
        agent_key="default",
        user="lan",
        kind="chat",
        lane="main",
        timeout=600.0,
        request=RunRequest(message="pay"),
        request_hash=hash,
        ingress_key=key,
        earlier=[NewMessage(id=new_id(), role="user", content="before")],
    )
    return run_id, stored


@transaction(readonly=True)
async def some_agent(db: Connection) -> str:
    return await one(str, db.execute("SELECT id FROM agents LIMIT 1"))


@transaction(readonly=True)
async def keyed(db: Connection) -> list[str]:
    return await many(str, db.execute("SELECT run_id FROM runs WHERE ingress_key = %s", [KEY]))


@transaction
async def age(db: Connection, hours: int) -> None:
    await db.execute("UPDATE ingress_log SET expires_at = expires_at - make_interval(hours => %s)", [hours])


async def test_of_many_who_use_a_key_at_once_in_different_sessions_one_gets_a_run(database: Database) -> None:
    answers: list[tuple[str, Stored | First]] = []

    async def one_of_them(n: int) -> None:
        answers.append(await accept(database, f"agent:default:ws:direct:{n}"))

    async with trio.open_nursery() as nursery:
        for n in range(8):
            nursery.start_soon(one_of_them, n)

    (winner,) = [run_id for run_id, stored in answers if isinstance(stored, Stored)]
    assert {stored.run_id for _, stored in answers if isinstance(stored, First)} == {winner}
    assert await database.run(keyed) == [winner]
    first = await database.run(ingress.find, tenant=MASTER_TENANT, key=KEY)
    assert first is not None
    assert (first.run_id, first.request_hash) == (winner, HASH)
    assert await database.run(ingress.find, tenant=MASTER_TENANT, key=KEY.replace("ws", "http")) is None


async def test_a_key_is_good_for_a_day_and_then_for_another_turn(database: Database) -> None:
    first, _ = await accept(database, "agent:default:ws:direct:1")
    await database.run(age, 23)
    _, again = await accept(database, "agent:default:ws:direct:1", hash="2" * 64)
    assert isinstance(again, First)
    assert (again.run_id, again.request_hash) == (first, HASH)

    await database.run(age, 1)
    assert await database.run(ingress.find, tenant=MASTER_TENANT, key=KEY) is None
    later, stored = await accept(database, "agent:default:ws:direct:1")

    assert isinstance(stored, Stored)
    assert await database.run(keyed) == [later]


@transaction
async def end_as(db: Connection, state: str) -> None:
    await db.execute("UPDATE runs SET state = %s", [state])


@transaction
async def forget_runs(db: Connection) -> None:
    await db.execute("DELETE FROM runs")


async def test_a_key_whose_run_was_put_away_or_forgotten_is_free(database: Database) -> None:
    put_away, _ = await accept(database, "agent:default:ws:direct:1")
    await database.run(end_as, "DEAD_LETTER")
    assert await database.run(run_views.discard, tenant=MASTER_TENANT, run_id=put_away)
    assert await database.run(ingress.find, tenant=MASTER_TENANT, key=KEY) is None
    assert await database.run(keyed) == []

    second, stored = await accept(database, "agent:default:ws:direct:2")
    assert isinstance(stored, Stored)
    await database.run(forget_runs)
    assert await database.run(ingress.find, tenant=MASTER_TENANT, key=KEY) is None
    third, stored = await accept(database, "agent:default:ws:direct:3")

    assert isinstance(stored, Stored)
    assert await database.run(keyed) == [third] != [second]
    first = await database.run(ingress.find, tenant=MASTER_TENANT, key=KEY)
    assert first is not None
    assert first.run_id == third


async def test_a_key_used_anew_is_not_freed_with_the_dead_letter_of_yesterday(database: Database) -> None:
    old, _ = await accept(database, "agent:default:ws:direct:1")
    await database.run(end_as, "DEAD_LETTER")
    await database.run(age, 25)
    new, _ = await accept(database, "agent:default:ws:direct:2")

    assert await database.run(run_views.discard, tenant=MASTER_TENANT, run_id=old)

    first = await database.run(ingress.find, tenant=MASTER_TENANT, key=KEY)
    assert first is not None
    assert first.run_id == new


async def test_a_turn_that_is_not_accepted_leaves_its_key_free(database: Database) -> None:
    @transaction
    async def fails_late(db: Connection, /, **turn: object) -> None:
        await ingress.accept(db, **turn)  # type: ignore[arg-type]
        raise LookupError

    await accept(database, "agent:default:ws:direct:1", key="ws:other")
    turn = dict(  # noqa: C408 - reads as the call it becomes
        tenant=MASTER_TENANT, run_id=new_id(), session_id=new_id(), key="agent:default:ws:direct:2",
        session_kind="direct", channel="ws", label="", max_concurrent=1, agent_id=await database.run(some_agent),
        agent_key="default", user="lan", kind="chat", lane="main", timeout=1.0, request=RunRequest(message="x"),
        request_hash=HASH, ingress_key=KEY,
    )  # fmt: skip
    with pytest.raises(LookupError):
        await database.run(fails_late, **turn)
    assert await database.run(ingress.find, tenant=MASTER_TENANT, key=KEY) is None
    assert isinstance((await accept(database, "agent:default:ws:direct:3"))[1], Stored)


async def test_a_run_with_a_key_survives_the_request_that_asked_for_it(database: Database) -> None:
    plain = await accepted_without(database, key="agent:default:http:direct:1", kind="http")
    with_key = await accepted_without(database, key="agent:default:http:direct:2", kind="http", ingress_key=KEY)
    outcomes = {}
    for run in await claim(database, "agent:default:http:direct:1", "agent:default:http:direct:2", node=OTHER):
        outcomes[run.run_id] = await database.run(run_recovery.recover, run)
    assert outcomes == {plain: "cancelled", with_key: "requeued"}

    (again,) = await claim(database, "agent:default:http:direct:2", node=NODE)
    depth = await database.run(run_recovery.put_back, again, reason="RELEASE_SHUTDOWN")
    assert depth.queued == 1
    (again,) = await claim(database, "agent:default:http:direct:2", node=NODE)
    await database.run(run_ends.succeed, again, result=result(again), messages=said(again, "hi"))


async def test_a_platform_may_deliver_a_message_again(database: Database) -> None:
    message = {"tenant": MASTER_TENANT, "source": "telegram-main", "external_id": "42:7"}
    run_id = new_id()

    assert await database.run(ingress.seen, **message, run_id=run_id, request_hash=HASH) is None
    again = await database.run(ingress.seen, **message, run_id=new_id())
    assert again == Seen(run_id=run_id, request_hash=HASH)
    assert await database.run(ingress.seen, **{**message, "source": "telegram-two"}, run_id=None) is None


async def test_a_key_of_a_request_that_starts_no_run_is_held_answered_or_let_go(database: Database) -> None:
    http = {"tenant": MASTER_TENANT, "key": "http:" + "b" * 64}

    assert await database.run(ingress.hold, **http, request_hash=HASH) is None
    held = await database.run(ingress.hold, **http, request_hash=HASH)
    assert held is not None
    assert (held.request_hash, held.status, held.body) == (HASH, None, None)
    await database.run(ingress.let_go, **http)
    assert await database.run(ingress.hold, **http, request_hash="2" * 64) is None
    await database.run(ingress.answered, **http, status=201, body='{"b":1,"a":"\\u0000é"}')
    await database.run(ingress.let_go, **http)
    done = await database.run(ingress.hold, **http, request_hash=HASH)
    assert done is not None
    assert (done.request_hash, done.status, done.body) == ("2" * 64, 201, '{"b":1,"a":"\\u0000é"}')
    await database.run(age, 25)
    assert await database.run(ingress.hold, **http, request_hash=HASH) is None
