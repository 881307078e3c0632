"""Coming back to a run over the socket. Contract: edge-websocket.md §6.4, §7.2, §10.6."""

from __future__ import annotations

import pytest

from tests.e2e.gateway import Client, Gateway, Json, ObedientVendor, Refusal


async def held(client: Client, vendor: ObedientVendor, key: str, words: int = 2) -> str:
    """A run whose answer stops after some words that have been heard."""
    request = await client.send("chat.send", message=f"!hold-{words}", sessionKey=key, stream=True)
    run = await client.run_of(request)
    await client.until(lambda: [e for e in client.run_events(run) if e["type"] == "chunk"][words - 1 :])
    return run


def seqs(frames: list[Json]) -> list[int | str]:
    """Events by their number, other frames by their type."""
    return [frame["payload"]["runSeq"] if frame.get("event") == "agent" else frame["type"] for frame in frames]


async def test_what_was_missed_comes_first_then_the_answer_then_the_run_itself(
    gateway: Gateway, client: Client, vendor: ObedientVendor, key: str
) -> None:
    run = await held(client, vendor, key)
    told = [event["runSeq"] for event in client.run_events(run)]

    async with gateway.client() as back:
        status = await back.ask("chat.session.status", sessionKey=key)
        assert (status["runId"], status["lastRunSeq"]) == (run, told[-1])
        before = len(back.frames)
        resumed = await back.ask("chat.resume", sessionKey=key, runId=run, afterRunSeq=told[1])
        missed = told[2:]
        assert seqs(back.frames[before:]) == [*missed, "res"]
        assert resumed == {
            "runId": run, "status": "running", "replayed": len(missed), "lastRunSeq": told[-1], "gap": False,
            "text": None, "final": None, "error": None,
        }  # fmt: skip
        vendor.release()
        completed = await back.hears("run.completed", run)
        heard = [event["runSeq"] for event in back.run_events(run)]
        assert heard == list(range(told[2], completed["runSeq"] + 1))
        assert [event["seq"] for event in back.events] == list(range(1, len(back.events) + 1))

    original = [event for event in client.run_events(run) if event["runSeq"] in missed]
    assert [event for event in back.run_events(run) if event["runSeq"] in missed] == original


async def test_a_run_that_ended_is_told_again_with_its_answer(
    gateway: Gateway, client: Client, vendor: ObedientVendor, key: str
) -> None:
    answer = await client.chat("hello", key)
    async with gateway.client() as back:
        resumed = await back.ask("chat.resume", sessionKey=key)

    run = answer["runId"]
    assert (resumed["runId"], resumed["status"], resumed["gap"]) == (run, "completed", False)
    assert resumed["final"]["content"] == answer["content"] == "echo hello"
    assert resumed["replayed"] == len(back.run_events(run)) == resumed["lastRunSeq"]
    assert back.run_events(run)[-1]["type"] == "run.completed"


async def test_a_run_that_failed_says_why(client: Client, vendor: ObedientVendor, key: str) -> None:
    with pytest.raises(Refusal) as refused:
        await client.chat("!fault-html", key)
    resumed = await client.ask("chat.resume", sessionKey=key, afterRunSeq=10**9)

    assert (resumed["status"], resumed["replayed"], resumed["final"]) == ("failed", 0, None)
    assert resumed["error"]["code"] == refused.value.code
    assert resumed["error"]["details"] == refused.value.details


async def test_runs_that_are_not_there_or_not_mine_are_not_found(
    gateway: Gateway, client: Client, vendor: ObedientVendor, key: str
) -> None:
    mine = (await client.chat("hello", key))["runId"]
    await client.chat("hello", f"{key}-2")

    for session, run in ((f"{key}-3", None), (key, "nobody"), (f"{key}-2", mine)):
        with pytest.raises(Refusal) as refused:
            await client.ask("chat.resume", sessionKey=session, runId=run)
        assert refused.value.code == "NOT_FOUND"
    with pytest.raises(Refusal) as refused:
        await client.ask("chat.resume", sessionKey=key, afterRunSeq=-1)
    assert refused.value.details["field"] == "after_run_seq"


async def test_a_long_replay_is_heard_whole(gateway: Gateway, client: Client, vendor: ObedientVendor, key: str) -> None:
    """More events than a socket's outbox has frames, and the socket is not closed over them."""
    request = await client.send("chat.send", message="!fixed-900", sessionKey=key, stream=True)
    run = (await client.answer(request))["runId"]

    async with gateway.client() as back:
        resumed = await back.ask("chat.resume", sessionKey=key, runId=run)
        chunks = [event for event in back.run_events(run) if event["type"] == "chunk"]

    assert resumed["replayed"] == len(back.run_events(run)) > 256
    assert "".join(chunk["text"] for chunk in chunks).rstrip() == resumed["final"]["content"]
