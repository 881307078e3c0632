"""A call of a model is written down once, with what its run keeps, however often that is tried."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from goclaw.domain.access import MASTER_TENANT
from goclaw.stores import model_calls, run_ends, run_recovery, run_steps
from goclaw.stores.database import Database
from goclaw.stores.model_calls import ModelCall, Wanted
from goclaw.stores.run_ends import Fault
from goclaw.stores.run_kept import Kept
from goclaw.stores.runs import Claimed, StaleOwner
from goclaw.stores.unit import Connection, many, transaction
from tests.stores.test_run_lives import COUNTERS, again
from tests.stores.test_runs import OTHER, accept, claim, result

AT = datetime(2026, 11, 21, 10, 30, tzinfo=UTC)


def call(number: int = 0, at: datetime = AT, **more: Any) -> ModelCall:
    given: dict[str, Any] = {"provider": "openai", "model": "m-1", "input_tokens": 10, "output_tokens": 3, **more}
    return ModelCall(number=number, status=given.pop("status", "completed"), start_time=at, duration_ms=7, **given)


@transaction(readonly=True)
async def rows(db: Connection) -> list[str]:
    query = """
    SELECT concat_ws(' ', fence, number, user_id, run_kind, channel, provider, model, status, input_tokens,
      coalesce(total_cost::text, 'unpriced')) FROM model_calls ORDER BY run_id, fence, number
    """
    return await many(str, db.execute(query))


async def test_a_call_has_what_its_run_knows_and_is_there_once_however_often_it_is_kept(database: Database) -> None:
    await accept(database)
    (run,) = await claim(database)
    kept = Kept(calls=(call(), call(1, total_cost=Decimal("0.00000015"), model="m" * 300)))
    for _ in range(2):
        await database.run(run_steps.keep, run, COUNTERS, kept=kept)
    await database.run(run_ends.succeed, run, result=result(run), messages=[], kept=kept)

    assert await database.run(rows) == [
        "1 0 lan chat ws openai m-1 completed 10 unpriced",
        f"1 1 lan chat ws openai {'m' * 200} completed 10 0.00000015",
    ]


Ending = Callable[[Database, Claimed, Kept], Any]
FAULT = Fault(fingerprint="f" * 64, alike=1)
ENDINGS: dict[str, Ending] = {
    "answered": lambda db, run, kept: db.run(run_ends.succeed, run, result=result(run), messages=[], kept=kept),
    "failed": lambda db, run, kept: db.run(
        run_ends.fail, run, result=result(run), reason="FAILED_PROVIDER", error="no", messages=[], kept=kept
    ),
    "tried again": lambda db, run, kept: db.run(
        run_ends.retry, run, reason="RETRY_PROVIDER", error="no", fault=FAULT, delay=0.0, kept=kept
    ),
    "stopped": lambda db, run, kept: db.run(
        run_ends.cancel, run, result=result(run), reason="CANCELED", messages=[], kept=kept
    ),
    "given back": lambda db, run, kept: db.run(run_recovery.put_back, run, reason="RELEASE_SHUTDOWN", kept=kept),
}


@pytest.mark.parametrize("end", ENDINGS.values(), ids=list(ENDINGS))
async def test_every_end_of_a_life_keeps_its_calls(database: Database, end: Ending) -> None:
    await accept(database)
    (run,) = await claim(database)
    await end(database, run, Kept(calls=(call(),)))

    assert len(await database.run(rows)) == 1


async def test_a_run_tried_again_adds_its_new_calls_and_counts_no_old_one_twice(database: Database) -> None:
    run_id = await accept(database)
    (run,) = await claim(database)
    await database.run(run_steps.keep, run, COUNTERS, kept=Kept(calls=(call(),)))
    await ENDINGS["failed"](database, run, Kept(calls=(call(1, status="error"),)))
    await again(database, run_id)
    (second,) = await claim(database)
    await database.run(
        run_ends.fail, second, result=result(run), reason="X", error="no", messages=[], dead="DEAD_LETTER_X"
    )
    await again(database, run_id)
    (third,) = await claim(database)
    await database.run(run_ends.succeed, third, result=result(run), messages=[], kept=Kept(calls=(call(),)))

    assert third.run_id != run_id, "it goes on from copies of the steps"
    assert [row.split()[:2] for row in await database.run(rows)] == [["1", "0"], ["1", "1"], ["1", "0"]]


async def test_who_lost_a_run_counts_nothing_of_it(database: Database) -> None:
    await accept(database)
    (first,) = await claim(database)
    await database.run(run_recovery.recover, first, "lease")
    (second,) = await claim(database, node=OTHER)
    kept = Kept(calls=(call(),))

    with pytest.raises(StaleOwner):
        await database.run(run_steps.keep, first, COUNTERS, kept=kept)
    with pytest.raises(StaleOwner):
        await database.run(run_ends.succeed, first, result=result(first), messages=[], kept=kept)
    await database.run(run_steps.keep, second, COUNTERS, kept=kept)
    assert [row.split()[0] for row in await database.run(rows)] == ["2"], "the same call of another life is another"


async def test_conversations_are_added_up_and_those_without_tokens_left_out(database: Database) -> None:
    async def ended(key: str, *calls: ModelCall, **more: Any) -> None:
        await accept(database, key=key, **more)
        (run,) = await claim(database, key)
        await database.run(run_ends.succeed, run, result=result(run), messages=[], kept=Kept(calls=calls))

    later = AT + timedelta(hours=1)
    await ended("agent:default:ws:direct:1", call(), call(1, later, model="m-2"))
    await ended("agent:default:ws:direct:1", call(at=AT - timedelta(hours=1)))
    await ended("agent:default:ws:direct:2", call(provider="groq"), user="ann")
    await ended("agent:default:ws:direct:3", call(input_tokens=0, output_tokens=0, status="error"))

    wanted = Wanted(tenant=MASTER_TENANT)
    first, second = await database.run(model_calls.by_session, wanted, limit=10, offset=0)
    assert (first.session_key[-1], first.input_tokens, first.output_tokens, first.total) == ("1", 30, 9, 2)
    assert (first.model, first.last, first.agent_key) == ("m-2", later, "default")
    assert (second.session_key[-1], second.provider) == ("2", "groq")
    (all_of_them,) = await database.run(model_calls.by_agent, wanted)
    assert (all_of_them.agent_key, all_of_them.input_tokens, all_of_them.sessions) == ("default", 40, 2)

    for narrower, count in (
        ({"user": "ann"}, 1),
        ({"provider": "openai"}, 1),
        ({"agent": "default"}, 2),
        ({"agent": "nobody"}, 0),
        ({"since": later}, 1),
        ({"until": AT}, 1),
    ):
        some = Wanted(tenant=MASTER_TENANT, **narrower)
        assert await database.run(model_calls.sessions, some) == count, narrower
        assert len(await database.run(model_calls.by_session, some, limit=10, offset=0)) == count, narrower
