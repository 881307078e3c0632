"""Coming back after the process died: with a key, or with the number of the last event heard.

Contract: sessions-lanes-cron.md §9.4, §9.6; edge-websocket.md §6.4, check 10 of §11.
"""

from __future__ import annotations

import httpx
import pytest
import trio

from tests.chaos.test_gateway_death import KEY, begin
from tests.e2e.gateway import TERMINAL, Gateway, ObedientVendor, Refusal

PATH = "/v1/chat/completions"
ASKED = {"messages": [{"role": "user", "content": "!hold-2"}]}


async def test_after_a_kill_a_key_finds_its_run_and_a_socket_its_events(
    gateway: Gateway, vendor: ObedientVendor
) -> None:
    async def lose(**headers: str) -> None:
        async with gateway.http(**headers) as http:
            with pytest.raises(httpx.RemoteProtocolError):
                await http.post(PATH, json=ASKED)

    async with gateway.client() as client:
        run = await begin(client, vendor)
        last = client.run_events(run)[-1]["runSeq"]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lose)
            await vendor.holds(2)
            nursery.start_soon(lambda: lose(idempotency_key="k"))
            await vendor.holds(3)
            gateway.kill()
        await client.close_code()
    gateway.start()
    # the chat run and the one with a key ask the model again; nobody comes back for the third
    await vendor.until(lambda _: (vendor.abandoned, vendor.held) == (3, 2))

    async with gateway.client() as client, gateway.http(idempotency_key="k") as http:
        resumed = await client.ask("chat.resume", sessionKey=KEY, runId=run, afterRunSeq=last)
        assert (resumed["status"], resumed["gap"], resumed["replayed"]) == ("running", True, 0)
        answers: list[httpx.Response] = []

        async def ask_again() -> None:
            answers.append(await http.post(PATH, json=ASKED))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask_again)
            vendor.release()
        assert (await client.hears("run.completed", run))["payload"]["content"] == "word0 word1 end"
        resumed = await client.ask("chat.resume", sessionKey=KEY, runId=run, afterRunSeq=last)
        assert (resumed["status"], resumed["final"]["content"]) == ("completed", "word0 word1 end")

    (answer,) = answers
    assert (answer.status_code, answer.headers["Idempotent-Replay"]) == (200, "true")
    assert answer.json()["choices"][0]["message"]["content"] == "word0 word1 end"
    ends = gateway.rows("SELECT kind, ingress_key IS NOT NULL, state, reason_code FROM runs ORDER BY kind, 2")
    assert ends == [
        ("chat", False, "SUCCEEDED", None),
        ("http", False, "CANCELED", "CLIENT_GONE"),
        ("http", True, "SUCCEEDED", None),
    ]


async def test_a_stop_gives_every_turn_its_run_back_and_resuming_it_reaches_the_end(
    gateway: Gateway, vendor: ObedientVendor
) -> None:
    async with gateway.client() as client:
        request = await client.send("chat.send", message="!hold-2", sessionKey=KEY, stream=True)
        run = await client.run_of(request)
        await client.until(lambda: [e["text"] for e in client.run_events(run) if e["type"] == "chunk"][1:])
        answers: list[httpx.Response] = []

        async def ask() -> None:
            async with gateway.http(idempotency_key="k") as http:
                answers.append(await http.post(PATH, json=ASKED))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await vendor.holds(2)
            assert await gateway.terminate() == 0
        assert await client.close_code() == 1001
        with pytest.raises(Refusal) as refused:
            await client.answer(request)
        assert (refused.value.reason, refused.value.details["runId"]) == ("shutting_down", run)
        assert [frame["event"] for frame in client.events if frame["event"] == "shutdown"]
        assert answers[0].status_code == 503
    vendor.release()
    gateway.start()

    async with gateway.client() as client, gateway.http(idempotency_key="k") as http:
        resumed = await client.ask("chat.resume", sessionKey=KEY, runId=run)
        if resumed["status"] == "running":
            await client.until(lambda: any(e["type"] in TERMINAL for e in client.run_events(run)))
            resumed = await client.ask("chat.resume", sessionKey=KEY, runId=run)
        assert (resumed["status"], resumed["final"]["content"]) == ("completed", "word0 word1 end")
        answer = await http.post(PATH, json=ASKED)
        assert answer.json()["choices"][0]["message"]["content"] == "word0 word1 end"
    assert gateway.rows("SELECT count(*) FROM runs WHERE kind = 'http'") == [(1,)]
