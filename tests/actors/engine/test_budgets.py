"""Calls are paid for before they go out: what no purse pays for is not asked. Contract: providers.md §18."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import trio
from msgspec.structs import replace

from goclaw.actors.engine.budgets import Reap
from goclaw.actors.engine.purse import Thrifty
from goclaw.actors.engine.spending import Spending
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.address import BUDGETS, session
from goclaw.domain.budget import BudgetEvent, LimitsChanged, Mode, Purse, Scope, Unit, Window, unpriced
from goclaw.domain.chat import ChatOptions, ChatRequest, StreamChunk
from goclaw.domain.errors import Rejected
from goclaw.domain.events import of_admins
from goclaw.domain.ids import new_id
from goclaw.domain.run import RunRequest, RunResult
from goclaw.domain.session_change import CompactSession
from goclaw.operations.feed import listening
from goclaw.providers.provider import Tell, silent
from goclaw.runtime.address import Address
from goclaw.runtime.inbox import inbox
from goclaw.runtime.message import Message, Told
from goclaw.settings.budgets import Budgets
from goclaw.settings.telemetry import ModelPrice
from goclaw.stores import budgets
from goclaw.stores.database import Database
from goclaw.stores.unit import Connection, many, transaction
from tests.actors.house import KEY, house, turn
from tests.actors.talk import HOLD, Talk, talking

PRICING = {"fake/*": ModelPrice(input_per_million=0, output_per_million=10)}
CALL = Decimal("0.0002")  # usd, of an answer of 20 tokens
SHORT = ChatOptions(max_tokens=20)


async def limit(
    talk: Talk,
    amount: Decimal | None,
    scope: Scope = "tenant",
    key: str = "-",
    *,
    unit: Unit = "usd",
    window: Window = "total",
    mode: Mode = "hard",
) -> None:
    await talk.database.run(
        budgets.put,
        tenant=MASTER_TENANT,
        scope=scope,
        key=key,
        unit=unit,
        window=window,
        limit=amount,
        mode=mode,
        by="ada",
    )
    await talk.system.ask(BUDGETS, LimitsChanged(), within=5)


@asynccontextmanager
async def paying(database: Database, tmp_path: Path, **settings: Any) -> AsyncIterator[Talk]:
    async with talking(database, tmp_path, spending=Spending(Budgets(**settings), PRICING)) as talk:
        yield talk


async def answered(talk: Talk, text: str = "!fixed-20", **more: Any) -> RunResult:
    request = RunRequest(message=text, options=SHORT, **more)
    run = await talk.say(text, request=request)
    (result,) = await talk.ended(run.run_id)
    return result


async def purse(talk: Talk, **which: Any) -> Purse:
    (found,) = await talk.database.run(budgets.find, tenant=MASTER_TENANT, **which)
    return found


async def test_a_hundred_runs_at_once_on_a_purse_for_ten_calls_make_ten_calls(
    database: Database, tmp_path: Path
) -> None:
    async with paying(database, tmp_path) as talk:
        await limit(talk, 10 * CALL)
        like = replace(await turn(database), request=RunRequest(message="!fixed-20", options=SHORT))
        ids = [new_id() for _ in range(100)]

        async def send(number: int) -> None:
            where = session(MASTER_TENANT, f"agent:default:ws:direct:{number}")
            await talk.system.ask(where, replace(like, run_id=ids[number]), within=15)

        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(send, number)
        with trio.fail_after(30):
            ends = await talk.ended(*ids)
        left = await purse(talk)

        assert len(talk.vendor.asked) == 10
        assert sum(end.error is None for end in ends) == 10
        assert {end.error.details["reason"] for end in ends if end.error is not None} == {"budget"}
        assert (left.spent, left.reserved) == (10 * CALL, 0)
    assert len(await database.run(calls)) == 10, "what was refused is on no bill"


@transaction(readonly=True)
async def calls(db: Connection) -> list[str]:
    return await many(str, db.execute("SELECT status FROM model_calls"))


class Watching:
    """A database that remembers what it was asked."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.done: list[str] = []

    async def run(self, work: Any, /, *args: Any, **kwargs: Any) -> Any:
        self.done.append(work.name)
        return await self._database.run(work, *args, **kwargs)


async def test_without_limits_a_turn_makes_no_transaction_more(database: Database, tmp_path: Path) -> None:
    watching: Any = Watching(database)
    async with house(watching, tmp_path, spending=Spending()) as system:
        await system.ask(BUDGETS, LimitsChanged(), within=5)
        send = await turn(database)
        watching.done.clear()
        with trio.fail_after(10), listening(system, send.run_id, only_result=True) as feed:
            await system.ask(session(MASTER_TENANT, KEY), send, within=5)
            await feed.result()

    assert [name for name in watching.done if name.startswith(("budgets", "reservations"))] == []
    assert "run_ends.succeed" in watching.done


async def test_a_purse_that_only_counts_is_paid_with_the_answer(database: Database, tmp_path: Path) -> None:
    watching: Any = Watching(database)
    async with talking(watching, tmp_path, spending=Spending(Budgets(), PRICING)) as talk:
        await limit(talk, None, "user", "lan", unit="tokens")
        await limit(talk, CALL / 2, "agent", "default", mode="soft")
        watching.done.clear()
        first, second = await answered(talk), await answered(talk)
        reserved = [name for name in watching.done if name == "reservations.reserve"]
        counted = await purse(talk, scope="user")
        soft = await purse(talk, scope="agent")

    assert first.error is None
    assert first.cost_usd == CALL
    assert second.error is not None
    assert second.error.details["purse"] == {"scope": "agent"}, "others' figures are theirs"
    assert counted.spent == 30, "prompt and answer"
    assert (soft.spent, soft.reserved) == (CALL, 0)
    assert len(reserved) == 2, "a soft limit is looked at before a run's first call"


async def test_the_price_of_an_answer_is_told_everywhere(database: Database, tmp_path: Path) -> None:
    async with paying(database, tmp_path) as talk:
        result = await answered(talk)
        (told,) = [event for event in talk.events if event.type == "run.completed"]

    assert result.cost_usd == CALL
    assert b'"costUsd":0.0002' in bytes(told.body)


async def test_an_empty_purse_fails_a_run_by_name_before_its_first_call(database: Database, tmp_path: Path) -> None:
    async with paying(database, tmp_path) as talk:
        await limit(talk, CALL / 2, "user", "lan", window="month")
        result = await answered(talk)
        (row,) = await talk.rows()

        assert talk.vendor.asked == []
    assert (row.state, row.reason_code) == ("FAILED", "FAILED_QUOTA")
    assert result.error is not None
    assert not result.error.retryable
    details = dict(result.error.details)
    assert str(details.pop("resets_at")).endswith("+00:00")
    assert details == {
        "reason": "budget",
        "purse": {"scope": "user", "key": "lan", "unit": "usd", "window": "month"},
        "limit": 0.0001,
        "spent": 0.0,
        "reserved": 0.0,
        "needed": 0.0002,
    }


async def test_a_long_answer_is_shortened_to_what_the_purse_pays(database: Database, tmp_path: Path) -> None:
    async with paying(database, tmp_path, min_output_tokens=5) as talk:
        await limit(talk, CALL / 2)
        await answered(talk, "hello")
        assert talk.vendor.asked == ["hello"]
    assert await database.run(amounts) == [CALL / 2]


async def test_who_fits_only_without_others_waits_for_them_in_order(database: Database, tmp_path: Path) -> None:
    async with paying(database, tmp_path, wait_sec=10) as talk:
        await limit(talk, CALL * 3 / 2)
        other = Talk(database, talk.system, talk.vendor, "agent:default:ws:direct:2")
        first = await talk.say(HOLD, request=RunRequest(message=HOLD, options=SHORT))
        await talk.vendor.holds(1)
        second = await other.say("hi", request=RunRequest(message="hi", options=SHORT))
        await talk.until(lambda: any(e.type == "run.started" and e.run_id == second.run_id for e in talk.events))
        assert len(talk.vendor.asked) == 1

        talk.vendor.release()
        one, two = await talk.ended(first.run_id, second.run_id)

    assert (one.error, two.error, two.content) == (None, None, "echo hi")


async def test_who_waited_too_long_for_others_may_come_again(database: Database, tmp_path: Path) -> None:
    async with paying(database, tmp_path, wait_sec=0.05) as talk:
        await limit(talk, CALL * 3 / 2)
        other = Talk(database, talk.system, talk.vendor, "agent:default:ws:direct:2")
        await talk.say(HOLD, request=RunRequest(message=HOLD, options=SHORT))
        await talk.vendor.holds(1)
        run = await other.say("hi", request=RunRequest(message="hi", options=SHORT))
        (refused,) = await talk.ended(run.run_id)
        talk.vendor.release()

    assert refused.error is not None
    assert (refused.error.retryable, refused.error.retry_after) == (True, 0.05)


async def test_a_run_has_a_purse_of_its_own(database: Database, tmp_path: Path) -> None:
    async with paying(database, tmp_path) as talk:
        poor = await answered(talk, max_cost_usd=CALL / 2)
        rich = await answered(talk, max_cost_usd=CALL)
        found = await talk.database.run(budgets.find, tenant=MASTER_TENANT, scope="run")

    assert poor.error is not None
    assert poor.error.details["purse"]["scope"] == "run"
    assert rich.error is None
    assert [(row.key, row.spent) for row in found if row.spent] == [(rich.run_id, CALL)]


@pytest.mark.parametrize(("unknown", "asked"), [("allow", 1), ("refuse", 0)])
async def test_a_model_without_a_price(database: Database, tmp_path: Path, unknown: Any, asked: int) -> None:
    async with talking(database, tmp_path, spending=Spending(Budgets(unknown_price=unknown))) as talk:
        await limit(talk, CALL)
        result = await answered(talk)

        assert len(talk.vendor.asked) == asked
    assert result.cost_usd is None
    if not asked:
        assert result.error is not None
        assert result.error.details["reason"] == "budget_unpriced"


@transaction(readonly=True)
async def amounts(db: Connection) -> list[Decimal]:
    return await many(Decimal, db.execute("SELECT amount FROM budget_reservations ORDER BY created_at"))


@transaction(readonly=True)
async def states(db: Connection) -> list[str]:
    return await many(str, db.execute("SELECT state FROM budget_reservations ORDER BY created_at"))


async def test_a_call_that_failed_is_given_back_and_one_that_was_stopped_is_booked_as_far_as_it_came(
    database: Database, tmp_path: Path
) -> None:
    async with paying(database, tmp_path) as talk:
        await limit(talk, 10 * CALL)
        await answered(talk, "!fault-filter")
        run = await talk.say(HOLD, request=RunRequest(message=HOLD, options=SHORT))
        await talk.vendor.holds(1)
        await talk.until(lambda: any(event.type == "chunk" for event in talk.events))
        await talk.abort(run_id=run.run_id)
        await talk.ended(run.run_id)
        with trio.fail_after(5):
            while (left := await purse(talk)).reserved:
                await trio.lowlevel.checkpoint()

    assert left.spent == Decimal("0.00002"), "six characters are two tokens"
    assert await database.run(states) == ["RELEASED", "LOST"]


async def test_owners_hear_once_of_a_purse_that_is_nearly_or_wholly_spent(database: Database, tmp_path: Path) -> None:
    heard: list[tuple[str, float]] = []
    news = trio.Event()

    def hear(message: Message[Any]) -> Told:
        if isinstance(message, BudgetEvent):
            heard.append((message.type, len(heard)))
            if len(heard) == 2:
                news.set()
        return Told.ACCEPTED

    async with paying(database, tmp_path, warn_share=0.5) as talk:
        await limit(talk, 3 * CALL)
        with inbox(talk.system, Address("edge", "http", "owner"), "Ear", hear) as ear:
            ear.join(of_admins(MASTER_TENANT))
            for _ in range(2):
                await answered(talk)
            with trio.fail_after(10):
                while not heard:
                    await trio.lowlevel.checkpoint()
                await answered(talk)
                await news.wait()

    assert [kind for kind, _ in heard] == ["budget.warning", "budget.reached"]


async def test_a_summary_is_paid_from_the_same_purses(database: Database, tmp_path: Path) -> None:
    async with paying(database, tmp_path) as talk:
        for number in range(4):
            await answered(talk, f"number {number}")
        await limit(talk, CALL * 1000)
        await limit(talk, None, "user", "lan", unit="tokens")
        asked = len(talk.vendor.asked)
        done = await talk.system.ask(talk.here, CompactSession(user_id="lan", as_admin=False, keep=4), within=10)
        paid = await purse(talk, scope="tenant")
        counted = await purse(talk, scope="user")

        assert (done.skipped, len(talk.vendor.asked)) == (False, asked + 1)
    assert (paid.spent > 0, paid.reserved, counted.spent > 0) == (True, 0, True)
    assert await database.run(states) == ["SETTLED"]


async def test_an_agents_own_monthly_limit_is_a_soft_purse(database: Database, tmp_path: Path) -> None:
    """OB-28, in cents that the store holds with the agent."""
    async with paying(database, tmp_path) as talk:
        first = await answered(talk)
        await database.run(cents, 100)
        await talk.system.ask(BUDGETS, LimitsChanged(), within=5)
        found = await purse(talk, scope="agent")
        await database.run(cents, 200)
        await talk.system.ask(BUDGETS, LimitsChanged(), within=5)
        changed = await purse(talk, scope="agent")

        await database.run(cents, None)
        await talk.system.ask(BUDGETS, LimitsChanged(), within=5)
        left = await talk.database.run(budgets.find, tenant=MASTER_TENANT)

    assert first.error is None
    assert (found.key, found.mode, found.window, found.limit) == ("default", "soft", "month", 1)
    assert changed.limit == 2
    assert left == [], "an agent without a limit of its own has no purse of its own"


async def test_what_calls_hold_and_take_beyond_that_is_measured_by_scope(database: Database, tmp_path: Path) -> None:
    async with paying(database, tmp_path) as talk:
        await limit(talk, 10 * CALL)
        await limit(talk, 10 * CALL, "user", "lan")
        run = await talk.say(HOLD, request=RunRequest(message=HOLD, options=SHORT))
        await talk.vendor.holds(1)
        await talk.system.ask(BUDGETS, Reap(), within=5)
        while_held = figures(talk, "budget_reserved_usd")
        talk.vendor.release()
        await talk.ended(run.run_id)
        await answered(talk, "!fixed-30")
        await talk.system.ask(BUDGETS, Reap(), within=5)

        assert while_held == {"tenant": 0.0002, "user": 0.0002, "agent": 0.0, "run": 0.0}
        assert not any(figures(talk, "budget_reserved_usd").values())
        assert figures(talk, "budget_overshoot_usd_total") == {"tenant": 0.0001, "user": 0.0001}


def figures(talk: Talk, name: str) -> dict[str, float]:
    samples = talk.system.meter.samples()
    return {sample.labels[0][1]: round(sample.value, 8) for sample in samples if sample.name == name}


@transaction
async def cents(db: Connection, amount: int | None) -> None:
    await db.execute("UPDATE agents SET budget_monthly_cents = %s", [amount])


async def test_after_a_word_was_said_the_budget_ends_an_answer_and_fails_no_run() -> None:
    class Poor:
        name = "poor"

        @asynccontextmanager
        async def stream(self, ask: ChatRequest, *, tell: Tell = silent) -> AsyncIterator[AsyncIterator[StreamChunk]]:
            raise Rejected(unpriced("fake", "m"))
            yield

    ask = ChatRequest(messages=(), model="m")
    with pytest.raises(Rejected):
        async with Thrifty(Poor(), lambda: "").stream(ask):
            raise AssertionError("nothing was said")
    async with Thrifty(Poor(), lambda: "I found it.").stream(ask) as chunks:
        said, done = [chunk async for chunk in chunks]

    assert said.content.startswith("I found it.\n\nThe budget is used up")
    assert done.done is not None
    assert done.done.out_of_budget
