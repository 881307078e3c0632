"""A retry that is not due yet hides no older run of its session. Contract: durability.md §5.1, §2 (`head_at`)."""

from __future__ import annotations

from goclaw.stores import run_ends, run_recovery
from goclaw.stores.database import Database
from goclaw.stores.run_ends import Fault
from tests.durability.turns import accept, agent_of, claim

KEY = "agent:default:ws:group:1"


async def test_a_retry_that_is_not_due_hides_no_older_run(database: Database) -> None:
    agent = await agent_of(database)
    first, second = [await accept(database, agent, text, KEY, most=3) for text in ("n1", "n2")]
    (older,) = await claim(database, KEY)
    (younger,) = await claim(database, KEY)
    await database.run(run_recovery.put_back, older, reason="RELEASE_LANE_SHRINK")
    fault = Fault(fingerprint="f" * 64, alike=1)
    await database.run(run_ends.retry, younger, reason="RETRY_PROVIDER", error="no", fault=fault, delay=45.0)

    assert [run.run_id for run in await claim(database, KEY)] == [first]
    assert second
