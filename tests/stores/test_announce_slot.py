"""Results of other runs have a slot of their own in a session. Contract: sessions-lanes-cron.md §3.5."""

from __future__ import annotations

from typing import Any

import pytest

from goclaw.stores import run_claims, run_ends, run_queue
from goclaw.stores.database import Database
from goclaw.stores.run_ends import Fault
from goclaw.stores.runs import Claimed
from goclaw.stores.unit import Connection, maybe, transaction
from tests.stores.test_runs import KEY, NODE, accept, claim, result


async def announce(database: Database, text: str = "done") -> str:
    return await accept(database, text, kind="announce")


async def end(database: Database, run: Claimed) -> None:
    await database.run(run_ends.succeed, run, result=result(run), messages=[])


async def later(database: Database, run: Claimed, delay: float = 30.0) -> None:
    fault = Fault(fingerprint="0" * 64, alike=1)
    await database.run(run_ends.retry, run, reason="RETRY_PROVIDER", error="x", fault=fault, delay=delay)


async def waiting(database: Database) -> list[str]:
    return [one.session_key for one in await database.run(run_queue.waiting)]


@transaction(readonly=True)
async def due(db: Connection) -> bool | None:
    return await maybe(bool, db.execute("SELECT head_at <= now() FROM session_heads WHERE session_key = %s", [KEY]))


async def test_a_result_does_not_wait_behind_turns(database: Database) -> None:
    await accept(database, "works", node=NODE)
    turn = await accept(database, "waits")
    assert (await waiting(database), await claim(database)) == ([], []), "the only slot is taken"

    first, second = await announce(database), await announce(database)

    assert await waiting(database) == [KEY]
    (run,) = await claim(database)
    assert run.run_id == first
    assert (await waiting(database), await claim(database)) == ([], []), "one result at a time"
    await end(database, run)
    (run,) = await claim(database)
    assert run.run_id == second
    (mine,) = [one for one in await database.run(run_claims.owned, node=NODE, lane="main") if one.kind == "chat"]
    await end(database, mine)
    (run,) = await claim(database)
    assert run.run_id == turn


async def test_a_turn_does_not_wait_behind_a_result(database: Database) -> None:
    await announce(database)
    (result_run,) = await claim(database)
    turn = await accept(database, "hi")
    more = await announce(database)

    assert await waiting(database) == [KEY]
    (run,) = await claim(database)

    assert (result_run.kind, run.run_id) == ("announce", turn)
    assert (await waiting(database), await claim(database)) == ([], [])
    await end(database, result_run)
    assert [one.run_id for one in await claim(database)] == [more]


@pytest.mark.parametrize("first", ["chat", "announce"])
async def test_one_that_will_be_tried_again_holds_up_only_its_own_kind(database: Database, first: Any) -> None:
    other = "announce" if first == "chat" else "chat"
    await accept(database, "fails", kind=first)
    (failing,) = await claim(database)
    same, free = await accept(database, "behind", kind=first), await accept(database, "beside", kind=other)
    await later(database, failing)

    assert await database.run(due)
    (run,) = await claim(database)
    assert run.run_id == free
    assert await claim(database) == []
    assert not await database.run(due), "whoever waits for its next try is waited for, not asked again and again"
    await end(database, run)
    assert same not in [one.run_id for one in await claim(database)]
