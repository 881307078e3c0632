"""Every model call of a run is in the store when the run's step or end is, whatever became of it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from msgspec.structs import replace

from goclaw.actors.engine.calls import TOKENS, CallLog
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.address import session
from goclaw.domain.chat import ChatResponse, Usage
from goclaw.domain.ids import new_id
from goclaw.domain.run import Replay, RunRequest
from goclaw.operations.feed import listening
from goclaw.runtime.clock import Clock
from goclaw.settings.telemetry import ModelPrice
from goclaw.stores.database import Database
from goclaw.stores.unit import Connection, many, transaction
from goclaw.tools.tool import collect
from tests.actors.house import KEY, house, turn
from tests.actors.talk import HOLD, talking


@transaction(readonly=True)
async def rows(db: Connection) -> list[str]:
    query = """
    SELECT concat_ws(' ', provider, model, status, error, finish_reason, tool_calls, input_tokens > 0,
      coalesce(total_cost::int::text, 'unpriced')) FROM model_calls ORDER BY start_time, number
    """
    return await many(str, db.execute(query))


class Counting:
    """A database that remembers what it was asked to write."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.written: list[str] = []

    async def run(self, work: Any, /, *args: Any, **kwargs: Any) -> Any:
        if not work.readonly:
            self.written.append(work.name)
        return await self._database.run(work, *args, **kwargs)


async def test_a_turn_with_a_tool_is_two_calls_and_no_write_more(database: Database, tmp_path: Path) -> None:
    counting: Any = Counting(database)
    async with house(counting, tmp_path, tools=collect("goclaw.tools")) as system:
        send = await turn(database, "what time is it?")
        counting.written.clear()
        with trio.fail_after(10), listening(system, send.run_id, only_result=True) as feed:
            await system.ask(session(MASTER_TENANT, KEY), send, within=5)
            await feed.result()

    assert await database.run(rows) == [
        "offline offline-1 completed tool_calls 1 t 0",
        "offline offline-1 completed stop 0 t 0",
    ]
    written = [name for name in counting.written if name.startswith("run")]
    assert written == ["run_acceptance.accept", "run_steps.keep", "run_steps.keep", "run_ends.succeed"]


async def test_calls_that_fail_or_are_stopped_are_calls(database: Database, tmp_path: Path) -> None:
    async with talking(database, tmp_path) as talk:
        first = await talk.say("!fault-filter")
        await talk.ended(first.run_id)
        second = await talk.say(HOLD)
        await talk.vendor.holds(1)
        await talk.abort(run_id=second.run_id)
        await talk.ended(second.run_id)

    failed, stopped = await database.run(rows)
    assert failed.startswith("fake echo error content_policy")
    assert stopped == "fake echo cancelled 0 f unpriced"


async def test_a_replay_counts_the_living_model_and_not_the_recorded_one(database: Database, tmp_path: Path) -> None:
    async with house(database, tmp_path) as system:
        plain = await turn(database, "hello there")
        with trio.fail_after(10), listening(system, plain.run_id, only_result=True) as feed:
            await system.ask(session(MASTER_TENANT, KEY), plain, within=5)
            await feed.result()
        for mode, calls in (("verify", 1), ("what_if", 2)):
            ask = Replay(of=plain.run_id, mode=mode, user="calculate 6 * 7")  # type: ignore[arg-type]
            send = replace(plain, run_id=new_id(), kind="replay", request=RunRequest(message="", replay=ask))
            place = session(MASTER_TENANT, f"agent:default:replay:{new_id()[-8:]}")
            with trio.fail_after(10), listening(system, send.run_id, only_result=True) as feed:
                await system.ask(place, send, within=5)
                assert (await feed.result()).error is None
            assert len(await database.run(rows)) == calls, mode


PRICE = ModelPrice(input_per_million=2, output_per_million=10)


@pytest.mark.parametrize(
    ("answer", "answered", "price"),
    [
        ({}, "groq m", None),
        ({"provider": "fake", "model": "m-9"}, "fake m-9", "0.00040000"),
        ({"provider": "fake", "model": "m-9", "vendor_cost": Decimal("0.5")}, "fake m-9", "0.5"),
        ({"provider": "fake", "model": "m-9", "vendor_cost": Decimal("1e30")}, "fake m-9", "1000000"),
        ({"offline": True}, "groq m", "0"),
    ],
)
async def test_a_call_is_on_the_bill_of_who_answered(answer: Any, answered: str, price: str | None) -> None:
    calls = CallLog(Clock(), {"fake/m-9": PRICE})
    calls.begin("groq", "m")
    calls.end(ChatResponse(usage=Usage(prompt_tokens=100, completion_tokens=20), **answer))
    (call,) = calls.waiting()

    assert f"{call.provider} {call.model}" == answered
    assert call.total_cost == (None if price is None else Decimal(price))


async def test_what_a_vendor_counts_fits_into_a_number() -> None:
    calls = CallLog(Clock(), {})
    calls.begin("p", "m")
    calls.end(ChatResponse(usage=Usage(prompt_tokens=10**30, completion_tokens=-5)))
    calls.begin("p", "m")
    first, second = calls.waiting()

    assert (first.input_tokens, first.output_tokens, first.status) == (TOKENS, 0, "completed")
    assert (second.number, second.status) == (1, "cancelled")
    assert msgspec.json.encode(first)
    calls.stored((first,))
    assert calls.waiting() == (second,)
