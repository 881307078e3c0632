"""Subagents of a real gateway that is killed. Contract: orchestration.md §14, §18 (36); durability.md §7.2."""

from __future__ import annotations

from pathlib import Path

import trio

from tests.actors.orch.boss import Boss, call, spoken
from tests.e2e.gateway import Gateway, VendorPlace, with_vendor

ASYNC, SYNC = "agent:default:ws:direct:1", "agent:default:ws:direct:2"

RUNS = """
SELECT kind, state, count(*) FROM runs WHERE session_key = ANY(%s) OR kind = 'subagent' GROUP BY 1, 2 ORDER BY 1, 2
"""
CHILDREN = "SELECT label, status, result FROM subagent_tasks ORDER BY label"


async def test_nothing_is_lost_or_doubled_by_two_deaths(tmp_path: Path) -> None:
    """The first while children work and a parent waits, the second between a result's hand-over and its note."""
    place = VendorPlace(Boss)
    gateway = Gateway(tmp_path / "home", with_vendor(place))
    try:
        async with place.open() as vendor:
            gateway.start()
            async with gateway.client() as client:
                accepted = spoken((await client.chat(call(task="!hold-1", label="async"), ASYNC))["content"])
                await client.send("chat.send", message=call(task="!hold-2", label="sync", mode="sync"), sessionKey=SYNC)
                await vendor.holds(2)
                (listed,) = (await client.ask("runs.list", kind="chat", state="RUNNING"))["runs"]
                below = (await client.ask("runs.list", kind="subagent"))["runs"]
            gateway.kill()
            vendor.release()
            gateway.environ["GOCLAW_CRASH_AT"] = "announce.sent"
            gateway.start()
            assert await gateway.ended() != 0
            del gateway.environ["GOCLAW_CRASH_AT"]
            gateway.start()
            async with gateway.client() as client:
                with trio.fail_after(30):
                    while open_work(gateway):
                        await client.ask("health")
                told = await client.ask("chat.history", sessionKey=ASYNC)
                answer = await client.ask("chat.history", sessionKey=SYNC)
            runs = gateway.rows(RUNS, [ASYNC, SYNC])
            children = gateway.rows(CHILDREN)
            notes = gateway.rows("SELECT state FROM announcements")
    finally:
        gateway.stop()
        place.close()

    assert accepted["status"] == "accepted"
    assert {run["parent_run_id"] for run in below} >= {listed["id"]}, "an operator sees whose they are"
    assert [(label, status) for label, status, _ in children] == [("async", "completed"), ("sync", "completed")]
    assert runs == [("announce", "SUCCEEDED", 1), ("chat", "SUCCEEDED", 2), ("subagent", "SUCCEEDED", 2)]
    assert notes == [("INJECTED",)]
    said = [message["content"] for message in told["messages"] if message["role"] == "assistant"]
    assert sum(text.startswith("told: ## async: completed") for text in said) == 1
    assert not any(message["content"].startswith("[Results") for message in told["messages"]), "nobody said that"
    assert spoken(answer["messages"][-1]["content"])["label"] == "sync"


def open_work(gateway: Gateway) -> bool:
    query = """
    SELECT (SELECT count(*) FROM runs WHERE state IN ('QUEUED', 'CLAIMED', 'RUNNING', 'RETRY_WAIT'))
      + (SELECT count(*) FROM announcements WHERE state <> 'INJECTED')
    """
    ((left,),) = gateway.rows(query)
    return bool(left)
