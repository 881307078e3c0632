"""So many turns and no more. Contract: sessions-lanes-cron.md §8.1, SL-38."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from goclaw.actors.quota import QuotaActor
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.address import QUOTA, session
from goclaw.domain.cluster import Ownership
from goclaw.domain.errors import Err, Rejected
from goclaw.domain.ids import new_id
from goclaw.domain.quota import GiveTurnBack, Payer, TakeTurn, payer_of
from goclaw.domain.run import RunKind
from goclaw.domain.session import Accepted, Send, parse_key
from goclaw.domain.texts import text_of
from goclaw.runtime.child import child
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import System, open_system
from goclaw.settings.gateway import Gateway
from goclaw.settings.quota import Groups, Named, Quota, Windows
from goclaw.stores import quota
from goclaw.stores.database import Database
from goclaw.stores.unit import Connection, many, transaction
from tests.actors.house import house, turn
from tests.stores.test_runs import accept

LAN = Payer(MASTER_TENANT, "lan")


def metered(**windows: int) -> Gateway:
    return Gateway(quota=Quota(enabled=True, default=Windows(**windows)))


@transaction(readonly=True)
async def stored(db: Connection) -> list[str]:
    return await many(str, db.execute("SELECT run_id::text FROM runs ORDER BY run_id"))


@transaction
async def write(db: Connection, statement: str) -> None:
    await db.execute(statement)


async def send(system: System, database: Database, key: str, **more: Any) -> Accepted | Err:
    ask: Send = msgspec.structs.replace(await turn(database), **more)
    try:
        return await system.ask(session(MASTER_TENANT, key), ask, within=5)
    except Rejected as refusal:
        return refusal.err


def conversation(number: int) -> str:
    return f"agent:default:ws:direct:{number}"


async def test_sl38_a_burst_of_ten_with_a_quota_of_two_is_two_runs(database: Database, tmp_path: Path) -> None:
    answers: list[Accepted | Err] = []

    async with house(database, tmp_path, gateway=metered(hour=2)) as system:

        async def one(number: int) -> None:
            answers.append(await send(system, database, conversation(number)))

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(one, number)

    accepted = [answer for answer in answers if isinstance(answer, Accepted)]
    assert sorted(answer.run_id for answer in accepted) == await database.run(stored)
    assert len(accepted) == 2
    (refusal,) = {text_of(answer, "en") for answer in answers if isinstance(answer, Err)}
    assert refusal == "Quota exceeded: 2/2 requests this hour. Try again later."


async def test_a_refused_turn_leaves_no_trace_and_names_when_to_come_back(database: Database, tmp_path: Path) -> None:
    async with house(database, tmp_path, gateway=metered(day=1)) as system:
        await send(system, database, conversation(1))
        refusal = await send(system, database, conversation(1))

    assert isinstance(refusal, Err)
    assert (refusal.code, refusal.retryable) == ("RESOURCE_EXHAUSTED", False)
    assert refusal.details == {"reason": "quota", "used": 1, "limit": 1, "window": "day"}
    assert refusal.retry_after is not None
    assert 86_390 < refusal.retry_after <= 86_400
    assert len(await database.run(stored)) == 1


async def test_an_answer_to_a_key_of_the_past_costs_nothing(database: Database, tmp_path: Path) -> None:
    async with house(database, tmp_path, gateway=metered(hour=1)) as system:
        first = await send(system, database, conversation(1), idempotency_key="ws:lan:1")
        again = await send(system, database, conversation(1), idempotency_key="ws:lan:1")

    assert isinstance(first, Accepted)
    assert isinstance(again, Accepted)
    assert again.run_id == first.run_id


@pytest.mark.parametrize("more", [{"unmetered": True}, {"user_id": "boss"}, {"kind": "heartbeat"}, {"kind": "replay"}])
async def test_owners_and_what_nobody_asked_for_are_free(
    database: Database, tmp_path: Path, more: dict[str, Any]
) -> None:
    settings = msgspec.structs.replace(metered(hour=1), owner_ids=("boss",))
    async with house(database, tmp_path, gateway=settings) as system:
        for number in range(3):
            assert isinstance(await send(system, database, conversation(number), **more), Accepted)


async def test_a_queue_that_is_full_gives_the_turn_back(database: Database, tmp_path: Path) -> None:
    async with house(database, tmp_path, gateway=metered(hour=1)) as system:
        take = TakeTurn(payer=LAN, run_id=new_id())
        assert await system.ask(QUOTA, take, within=5)
        system.tell(QUOTA, GiveTurnBack(payer=LAN, run_id=take.run_id))
        system.tell(QUOTA, GiveTurnBack(payer=LAN, run_id=take.run_id))  # said twice is said once

        assert isinstance(await send(system, database, conversation(1)), Accepted)
        assert isinstance(await send(system, database, conversation(2)), Err)


async def test_counts_are_read_again_after_a_minute_and_what_is_on_its_way_is_not_forgotten(
    database: Database, mock_clock: MockClock
) -> None:
    async def take() -> bool:
        try:
            return await system.ask(QUOTA, TakeTurn(payer=LAN, run_id=new_id()), within=1000)
        except Rejected:
            return False

    tree = child("quota", QuotaActor, metered(hour=2), Ownership())
    async with open_system(database) as system:
        queue = child("queue", lambda: Supervisor([tree]))
        engine = child("engine", lambda: Supervisor([queue]))
        await system.start(child("", lambda: Supervisor([engine])))

        assert await take()
        mock_clock.jump(45)
        assert await take()
        assert not await take()
        mock_clock.jump(20)  # the second is half a minute old at most and no row yet; the first came to nothing
        assert await take()
        assert not await take()
        mock_clock.jump(61)
        await accept(database)
        assert await take()
        assert not await take()


async def test_what_counts_is_what_was_asked_for_in_the_window(database: Database) -> None:
    kinds: list[RunKind] = ["chat", "http", "task", "cron", "heartbeat", "subagent", "delegation", "replay"]
    for number, kind in enumerate(kinds):
        await accept(database, key=conversation(number), kind=kind)
    await accept(database, key="agent:default:telegram:group:7", user="lan")
    await accept(database, key="agent:other:telegram:group:7:topic:3", user="somebody")
    await accept(database, key=conversation(99), user="minh")

    async def spent(payer: Payer) -> tuple[int, int, int]:
        found = await database.run(quota.spent, payer=payer)
        return found.hour, found.day, found.week

    group = payer_of(MASTER_TENANT, parse_key("agent:default:telegram:group:7"), "lan")
    assert await spent(LAN) == (4, 4, 4)
    assert await spent(group) == (2, 2, 2)

    await database.run(write, "UPDATE runs SET created_at = now() - interval '61 minutes' WHERE kind = 'chat'")
    await database.run(write, "UPDATE runs SET created_at = now() - interval '25 hours' WHERE kind = 'http'")
    await database.run(write, "UPDATE runs SET created_at = now() - interval '8 days' WHERE kind = 'task'")
    assert await spent(LAN) == (1, 2, 3)
    assert (await database.run(quota.spent, payer=LAN)).day_age == pytest.approx(3660, abs=5)

    named = [
        (entry.name, entry.group, entry.day)
        for entry in await database.run(quota.entries, tenant=MASTER_TENANT, user=None)
    ]
    assert named == [("lan", False, 2), ("telegram:7", True, 2), ("minh", False, 1)]


def test_the_most_specific_limit_wins_in_each_window() -> None:
    limits = Quota(
        default=Windows(hour=1, day=1, week=1),
        providers=Named(named={"echo": Windows(hour=2, day=2)}),
        channels=Named(named={"telegram": Windows(hour=3)}),
        groups=Groups(named={"-100": Windows(hour=4)}),
    )
    group = Payer(MASTER_TENANT, "telegram:-100", group=True)

    assert limits.limits(group, channel="telegram", provider="echo") == Windows(hour=4, day=2, week=1)
    assert limits.limits(LAN, channel="telegram", provider="echo") == Windows(hour=3, day=2, week=1)
    assert limits.limits(LAN) == Windows(hour=1, day=1, week=1)
