"""Messages reach a real platform in order, once where that can be known, whatever dies on the way."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
from msgspec import Struct
from trio.testing import MockClock

from goclaw.actors.delivery.carrier import PAUSES, WITHIN
from goclaw.actors.delivery.outbox import AT_ONCE, delivery
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.address import OUTBOX
from goclaw.domain.delivery import DeliveryDied, Post
from goclaw.domain.errors import StoreError
from goclaw.domain.events import of_operators
from goclaw.domain.ids import new_id
from goclaw.runtime.address import Address
from goclaw.runtime.child import child
from goclaw.runtime.inbox import inbox
from goclaw.runtime.message import Message, Told
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import System, open_system
from goclaw.stores import outbox
from goclaw.stores.database import Database
from goclaw.stores.unit import Connection, many, one, transaction
from tests.fakes.platform import HttpCourier, LookingCourier, open_platform

LINE = (MASTER_TENANT, "test-main")
RUN = "0193a5b0-0000-7000-8000-0000000000aa"


class Row(Struct, frozen=True):
    text: str
    state: str
    attempts: int
    external_id: str | None
    maybe_duplicate: bool
    last_error: str | None
    due: float  # seconds from now


@transaction(readonly=True)
async def rows(db: Connection) -> list[Row]:
    query = """
    SELECT payload->>'text' AS text, state, attempts, external_id, maybe_duplicate, last_error,
      extract(epoch FROM next_at - now())::float8 AS due FROM outbox ORDER BY outbox_id
    """
    return await many(Row, db.execute(query))


@transaction
async def make_due(db: Connection) -> None:
    """As if the pauses were over."""
    await db.execute("UPDATE outbox SET next_at = now() WHERE state = 'PENDING'")


@transaction
async def end_leases(db: Connection) -> None:
    await db.execute("UPDATE outbox SET lease_expires_at = now() - interval '1 second' WHERE state = 'SENDING'")


@transaction(readonly=True)
async def now_ready(db: Connection) -> int:
    return await one(int, db.execute("SELECT count(*) FROM outbox WHERE state = 'PENDING'"))


async def put(database: Database, text: str, chat: str = "a", channel: str = "test-main", seq: int = 0) -> bool:
    return await database.run(
        outbox.put, tenant=MASTER_TENANT, run_id=new_id(), seq=seq, channel_instance=channel, chat_id=chat,
        local_key=f"k-{chat}", kind="final", payload={"text": text},
    )  # fmt: skip


class Watched:
    """The database, and how often each store function has ended."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.done: Counter[str] = Counter()
        self.away = 0  # of the next writes so many fail
        self._stir = trio.Event()

    async def run(self, work: Any, /, *args: Any, **kwargs: Any) -> Any:
        if work.name == "outbox.sent" and self.away:
            self.away -= 1
            raise StoreError("unavailable", "gone")
        answer = await self._database.run(work, *args, **kwargs)
        self.done[work.name] += 1
        self._stir.set()
        self._stir = trio.Event()
        return answer

    async def until(self, name: str, times: int = 1) -> None:
        with trio.fail_after(15):
            while self.done[name] < times:
                await self._stir.wait()


@asynccontextmanager
async def sending(database: Watched, courier: HttpCourier) -> AsyncIterator[System]:
    tree = child("delivery", partial(delivery, alone=False), new_id(), {LINE: courier})
    async with open_system(database) as system:
        await system.start(child("", lambda: Supervisor(children=[tree])))
        yield system


async def test_a_message_is_put_once_and_only_for_channels_that_need_it(database: Database) -> None:
    same = {
        "tenant": MASTER_TENANT, "run_id": RUN, "seq": 1, "channel_instance": "test-main", "chat_id": "a",
        "local_key": "k", "kind": "final", "payload": {"text": "x"},
    }  # fmt: skip
    assert await database.run(outbox.put, **same)
    assert not await database.run(outbox.put, **same)
    assert await database.run(outbox.put, **{**same, "seq": 2})
    for never in ("ws", "cli", "system"):
        assert not await database.run(outbox.put, **{**same, "seq": 3, "channel_instance": never})
    with pytest.raises(ValueError, match="dedupe key"):
        await database.run(outbox.put, **{**same, "run_id": None})

    claimed = await database.run(outbox.claim, node=new_id(), lines=[(LINE, 8)])
    assert [d.nonce for d in claimed] == [f"{RUN}:out:1"], "the second waits for the first"


async def test_what_no_courier_carries_waits_and_is_seen(database: Database) -> None:
    await put(database, "one", channel="elsewhere")
    watched = Watched(database)
    async with open_platform(nonces=True) as platform, sending(watched, HttpCourier(platform)) as system:
        await put(database, "two")
        system.tell(OUTBOX, Post())
        await watched.until("outbox.sent")

    assert [(row.text, row.state) for row in await database.run(rows)] == [("one", "PENDING"), ("two", "SENT")]
    (waiting,) = await database.run(outbox.waiting)
    assert (waiting.channel_instance, waiting.pending) == ("elsewhere", 1)


async def test_a_chat_gets_its_messages_in_order_and_a_stuck_one_holds_up_nobody(database: Database) -> None:
    watched = Watched(database)
    async with open_platform(nonces=True) as platform:
        for chat in ("stuck", "tired"):
            platform.stuck[chat] = trio.Event()
        platform.trouble["b"] = ["busy"]
        for n in range(5):
            for chat in ("stuck", "a", "tired", "b"):
                await put(database, f"{chat}{n}", chat)
        async with sending(watched, HttpCourier(platform)) as system:
            await platform.asked_for("stuck")
            await platform.asked_for("tired")
            await platform.until(5)
            await watched.until("outbox.later")
            assert platform.texts("a") == [f"a{n}" for n in range(5)]
            assert platform.texts("b") == [], "its first was refused for a while, so the others wait"
            busy = [row for row in await database.run(rows) if row.text == "b0"]
            assert 6 < busy[0].due <= 7, "as long as the platform asked for"
            for gate in platform.stuck.values():
                gate.set()
            await database.run(make_due)
            system.tell(OUTBOX, Post())
            await platform.until(20)
            await watched.until("outbox.sent", 20)

    for chat in ("stuck", "a", "tired", "b"):
        assert platform.texts(chat) == [f"{chat}{n}" for n in range(5)]
    assert {(row.state, row.maybe_duplicate) for row in await database.run(rows)} == {("SENT", False)}
    assert len({row.external_id for row in await database.run(rows)}) == 20


async def test_one_instance_has_only_so_many_under_way(database: Database) -> None:
    for n in range(AT_ONCE + 5):
        await put(database, "x", f"chat{n}")
    node = new_id()
    assert len(await database.run(outbox.claim, node=node, lines=[(LINE, AT_ONCE)])) == AT_ONCE
    assert len(await database.run(outbox.claim, node=node, lines=[(LINE, AT_ONCE)])) == 5


async def test_after_five_retries_a_message_is_given_up_and_its_chat_goes_on(database: Database) -> None:
    await put(database, "bad")
    await put(database, "good")
    watched, died = Watched(database), list[Message[Any]]()

    def hear(news: Message[Any]) -> Told:
        died.append(news)
        return Told.ACCEPTED

    async with open_platform(nonces=True) as platform:
        platform.trouble["a"] = ["broken"] * 6
        async with sending(watched, HttpCourier(platform)) as system:
            with inbox(system, Address("test"), "Test", hear) as box:
                box.join(of_operators(MASTER_TENANT))
                for tries, pause in enumerate(PAUSES, 1):
                    await watched.until("outbox.later", tries)
                    bad = (await database.run(rows))[0]
                    assert (bad.state, bad.attempts, bad.last_error) == ("PENDING", tries, "status 500")
                    assert pause - 2 < bad.due <= pause
                    await database.run(make_due)
                    system.tell(OUTBOX, Post())
                await watched.until("outbox.sent")

    bad, good = await database.run(rows)
    assert (bad.state, bad.attempts, good.state) == ("DEAD", 6, "SENT")
    assert platform.texts("a") == ["good"]
    (news,) = died
    assert isinstance(news, DeliveryDied)
    assert (news.channel_instance, news.chat_id, news.error) == ("test-main", "a", "status 500")


async def test_a_message_the_platform_never_takes_is_not_tried_again(database: Database) -> None:
    await put(database, "bad")
    watched = Watched(database)
    async with open_platform(nonces=True) as platform:
        platform.trouble["a"] = ["refuse"]
        async with sending(watched, HttpCourier(platform)):
            await watched.until("outbox.give_up")
    (row,) = await database.run(rows)
    assert (row.state, row.attempts) == ("DEAD", 1)


@pytest.mark.parametrize(
    ("nonces", "courier", "copies", "doubt"),
    [(False, HttpCourier, 2, True), (True, HttpCourier, 1, False), (False, LookingCourier, 1, False)],
    ids=["nothing", "nonce", "lookup"],
)
async def test_an_answer_that_was_lost_is_asked_for_or_admitted(
    database: Database, nonces: bool, courier: type[HttpCourier], copies: int, doubt: bool
) -> None:
    await put(database, "once")
    watched = Watched(database)
    async with open_platform(nonces=nonces) as platform:
        platform.trouble["a"] = ["lost answer"]
        async with sending(watched, courier(platform)) as system:
            await watched.until("outbox.later")
            await database.run(make_due)
            system.tell(OUTBOX, Post())
            await watched.until("outbox.sent")

    (row,) = await database.run(rows)
    assert (row.state, row.maybe_duplicate, len(platform.taken)) == ("SENT", doubt, copies)
    assert row.external_id == platform.taken[-1]["id"]


@pytest.mark.parametrize(
    ("nonces", "courier", "copies", "state"),
    [(False, HttpCourier, 2, "DEAD"), (True, HttpCourier, 1, "PENDING"), (False, LookingCourier, 1, "SENT")],
    ids=["nothing", "nonce", "lookup"],
)
async def test_nobody_gets_a_third_copy(
    database: Database, nonces: bool, courier: type[HttpCourier], copies: int, state: str
) -> None:
    await put(database, "once")
    watched = Watched(database)
    async with open_platform(nonces=nonces) as platform:
        platform.trouble["a"] = ["lost answer", "lost answer"]
        async with sending(watched, courier(platform)) as system:
            await watched.until("outbox.later")
            await database.run(make_due)
            system.tell(OUTBOX, Post())
            ends = {"DEAD": ("outbox.give_up", 1), "PENDING": ("outbox.later", 2), "SENT": ("outbox.sent", 1)}
            await watched.until(*ends[state])

    (row,) = await database.run(rows)
    assert (row.state, len(platform.taken)) == (state, copies)


async def test_whose_senders_died_twice_is_sent_no_third_time(database: Database) -> None:
    await put(database, "once")
    doubts = []
    for _ in range(3):
        (delivery,) = await database.run(outbox.claim, node=new_id(), lines=[(LINE, 1)])
        doubts.append((delivery.doubtful, delivery.spent))
        await database.run(end_leases)
    watched = Watched(database)
    async with open_platform(nonces=False) as platform, sending(watched, HttpCourier(platform)):
        await watched.until("outbox.give_up")

    assert doubts == [(False, False), (True, False), (True, True)]
    assert platform.taken == []


async def test_a_platform_that_never_answers_has_its_time(database: Database, mock_clock: MockClock) -> None:
    await put(database, "slow")
    watched = Watched(database)
    async with open_platform(nonces=False) as platform:
        platform.stuck["a"] = trio.Event()
        async with sending(watched, HttpCourier(platform)):
            await platform.asked_for("a")
            mock_clock.jump(WITHIN)
            await watched.until("outbox.later")
    (row,) = await database.run(rows)
    assert (row.state, row.maybe_duplicate, row.last_error) == ("PENDING", True, "no answer within 20 s")


async def test_what_was_sent_is_written_when_the_database_is_back(database: Database, mock_clock: MockClock) -> None:
    await put(database, "once")
    watched = Watched(database)
    watched.away = 3
    mock_clock.autojump_threshold = 0.05
    async with open_platform(nonces=False) as platform, sending(watched, HttpCourier(platform)):
        await watched.until("outbox.sent")
    assert [(row.state, row.attempts) for row in await database.run(rows)] == [("SENT", 1)]
    assert len(platform.taken) == 1


async def test_only_the_holder_of_a_claim_says_what_became_of_it(database: Database) -> None:
    await put(database, "x")
    one_node, other = new_id(), new_id()
    (first,) = await database.run(outbox.claim, node=one_node, lines=[(LINE, 8)])
    assert await database.run(outbox.claim, node=other, lines=[(LINE, 8)]) == []
    await database.run(end_leases)
    (second,) = await database.run(outbox.claim, node=other, lines=[(LINE, 8)])

    assert (first.attempt, first.doubtful, second.attempt, second.doubtful) == (1, False, 2, True)
    assert not await database.run(outbox.sent, first, node=one_node, external_id="late", doubtful=False)
    assert not await database.run(outbox.later, first, node=one_node, error="late", pause=1.0)
    assert await database.run(outbox.sent, second, node=other, external_id="m", doubtful=True)
    assert not await database.run(outbox.give_up, second, node=other, error="late")
    third = await database.run(outbox.claim, node=other, lines=[(LINE, 8)], alone=True)
    assert third == []


async def test_many_senders_share_the_work_and_double_nothing(database: Database) -> None:
    for n in range(60):
        await put(database, str(n), f"chat{n % 6}")
    taken: list[str] = []

    async def sender() -> None:
        node = new_id()
        while await database.run(now_ready):
            for claimed in await database.run(outbox.claim, node=node, lines=[(LINE, 2)]):
                taken.append(claimed.payload["text"])
                assert await database.run(outbox.sent, claimed, node=node, external_id="m", doubtful=False)

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(sender)

    assert sorted(taken, key=int) == [str(n) for n in range(60)]
    for chat in range(6):
        mine = [int(text) for text in taken if int(text) % 6 == chat]
        assert mine == sorted(mine)


@pytest.mark.parametrize(
    ("point", "nonces", "courier", "copies", "doubt"),
    [
        ("outbox.claimed", False, "HttpCourier", 1, True),
        ("outbox.sent", False, "HttpCourier", 2, True),
        ("outbox.sent", True, "HttpCourier", 1, False),
        ("outbox.sent", False, "LookingCourier", 1, False),
    ],
)
async def test_a_sender_killed_on_the_way_costs_at_most_one_copy(
    database: Database, dsn: str, point: str, nonces: bool, courier: str, copies: int, doubt: bool
) -> None:
    """K15, E7: a real process dies between the platform and our commit; the next one finishes its work at once."""
    await put(database, "once")
    await put(database, "then")

    async def sender(crash_at: str) -> int:
        command = [sys.executable, "-m", "tests.fakes.sender", dsn, str(platform.port), courier, str(int(nonces))]
        environ = {**os.environ, "SENDER_CRASH_AT": crash_at}
        process = await trio.lowlevel.open_process(command, env=environ, stdout=subprocess.DEVNULL)
        with trio.fail_after(20):
            return await process.wait()

    async with open_platform(nonces=nonces) as platform:
        assert await sender(point) == -9
        assert len(platform.taken) == (1 if point == "outbox.sent" else 0)
        assert await sender("") == 0

    first, second = await database.run(rows)
    assert (first.state, first.maybe_duplicate, second.state, second.maybe_duplicate) == ("SENT", doubt, "SENT", False)
    assert platform.texts("a") == ["once"] * copies + ["then"]
