"""What a client finds after the process died. Contract: durability.md §9; config-cli.md §11."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

import pytest

from tests.e2e.gateway import Client, Gateway, Json, ObedientVendor, Refusal

KEY = "agent:default:ws:direct:chaos"
HELD = {"stream": True, "messages": [{"role": "user", "content": "!hold-2"}]}
STATES = "SELECT run_id::text, state, attempt, crash_count FROM runs ORDER BY run_id"


def said(history: Sequence[Json]) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in history]


async def begin(client: Client, vendor: ObedientVendor, key: str = KEY, **params: str) -> str:
    """A turn whose answer is held after two words; its run."""
    request = await client.send("chat.send", message="!hold-2", sessionKey=key, stream=True, **params)
    run = await client.run_of(request)
    await client.until(lambda: [e["text"] for e in client.run_events(run) if e["type"] == "chunk"][1:])
    return run


async def test_a_run_killed_while_it_streams_is_answered_once_after_the_restart(
    gateway: Gateway, vendor: ObedientVendor
) -> None:
    async with gateway.client() as client:
        await client.chat("before", KEY)
        run = await begin(client, vendor, idempotencyKey="k")
        gateway.kill()
        await client.close_code()
    vendor.release()

    gateway.start()

    async with gateway.client() as client:
        answer = await client.chat("!hold-2", KEY, idempotencyKey="k")
        assert (answer["runId"], answer["content"]) == (run, "word0 word1 end")
        assert said(await client.history(KEY)) == [
            ("user", "before"),
            ("assistant", "echo before"),
            ("user", "!hold-2"),
            ("assistant", "word0 word1 end"),
        ]
    assert gateway.rows(STATES)[1] == (run, "SUCCEEDED", 1, 1)


async def test_a_client_that_comes_back_hears_that_its_run_goes_on(gateway: Gateway, vendor: ObedientVendor) -> None:
    async with gateway.client() as client:
        run = await begin(client, vendor)
        last = client.run_events(run)[-1]["runSeq"]
        gateway.kill()
        await client.close_code()

    gateway.start()

    async with gateway.client() as client:
        await vendor.holds(1)  # the run asks the model again
        status = await client.ask("chat.session.status", sessionKey=KEY)
        assert (status["running"], status["runIds"]) == (True, [run])
        vendor.release()
        completed = await client.hears("run.completed", run)
        assert completed["payload"]["content"] == "word0 word1 end"
        assert completed["runSeq"] > last
        assert said(await client.history(KEY)) == [("user", "!hold-2"), ("assistant", "word0 word1 end")]


async def test_turns_that_waited_when_the_process_died_are_answered_once_and_in_order(
    gateway: Gateway, vendor: ObedientVendor
) -> None:
    keys = [f"{KEY}-{n}" for n in range(5)]
    async with gateway.client() as client:
        for key in keys:
            await client.chat("!hold-1", key, **{"async": True})
            for number in range(3):
                await client.chat(f"turn {number}", key, **{"async": True})
        await vendor.holds(5)
        gateway.kill()
        await client.close_code()
    vendor.release()

    gateway.start()

    async with gateway.client() as client:
        for key in keys:
            await client.idle(key)
            assert said(await client.history(key)) == [
                ("user", "!hold-1"),
                ("assistant", "word0 end"),
                *[
                    pair
                    for number in range(3)
                    for pair in [("user", f"turn {number}"), ("assistant", f"echo turn {number}")]
                ],
            ]
    states = gateway.rows("SELECT state, count(*) FROM runs GROUP BY state")
    assert states == [("SUCCEEDED", 20)]


async def test_an_idle_gateway_that_is_killed_comes_back_as_it_was(gateway: Gateway, vendor: ObedientVendor) -> None:
    async with gateway.client() as client:
        await client.chat("hello", KEY)
    token = gateway.token
    gateway.kill()

    gateway.start()

    async with gateway.client() as client:
        assert gateway.token == token
        assert said(await client.history(KEY)) == [("user", "hello"), ("assistant", "echo hello")]
        assert (await client.chat("again", KEY))["content"] == "echo again"


async def test_a_run_that_kills_its_process_every_time_is_given_up_and_says_so(
    gateway: Gateway, vendor: ObedientVendor
) -> None:
    async with gateway.client() as client:
        run = await begin(client, vendor, idempotencyKey="k")
    for life in (2, 3):
        gateway.kill()
        gateway.start()
        await vendor.is_asked(life)
    gateway.kill()
    gateway.start()

    async with gateway.client() as client:
        with pytest.raises(Refusal) as lost:
            await client.chat("!hold-2", KEY, idempotencyKey="k")
        assert (lost.value.code, lost.value.reason) == ("UNAVAILABLE", "crashed")
        assert (await client.chat("go on", KEY))["content"] == "echo go on"
    assert gateway.rows(STATES)[0] == (run, "DEAD_LETTER", 0, 3)


async def test_a_run_whose_asker_died_with_the_process_is_not_run_again(
    gateway: Gateway, vendor: ObedientVendor
) -> None:
    async with gateway.http() as http, http.stream("POST", "/v1/chat/completions", json=HELD) as streamed:
        run = streamed.headers["x-goclaw-run-id"]
        await vendor.holds(1)
        gateway.kill()

    gateway.start()

    assert gateway.rows("SELECT run_id::text, state, reason_code FROM runs") == [(run, "CANCELED", "CLIENT_GONE")]
    assert len(vendor.asked) == 1


# --- the orderly end ------------------------------------------------------------------------------


async def test_an_orderly_stop_lets_a_run_end_that_can(gateway: Gateway, vendor: ObedientVendor) -> None:
    async with gateway.client() as client:
        request = await client.send("chat.send", message="!hold-1", sessionKey=KEY)
        await vendor.holds(1)
        os.kill(gateway.pid, signal.SIGTERM)
        shutdown = await client.until(lambda: next((e for e in client.events if e["event"] == "shutdown"), None))
        assert set(shutdown["payload"]) == {"reason", "in_ms", "reconnectAfterMs"}
        with pytest.raises(Refusal) as refused:
            await client.chat("one more", KEY)
        assert (refused.value.code, refused.value.reason) == ("UNAVAILABLE", "shutting_down")
        assert "runId" not in refused.value.details
        vendor.release()

        assert (await client.answer(request))["content"] == "word0 end"
        assert await client.close_code() == 1001
    assert await gateway.ended() == 0


async def test_an_orderly_stop_puts_back_a_run_that_does_not_end_and_it_goes_on_after_the_start(
    gateway: Gateway, vendor: ObedientVendor
) -> None:
    async with gateway.client() as client:
        request = await client.send("chat.send", message="!hold-1", sessionKey=KEY)
        run = await client.run_of(request)
        await vendor.holds(1)
        os.kill(gateway.pid, signal.SIGTERM)

        with pytest.raises(Refusal) as refused:
            await client.answer(request)
        assert (refused.value.code, refused.value.reason) == ("UNAVAILABLE", "shutting_down")
        assert refused.value.details["runId"] == run
        assert refused.value.retryable
        assert await client.close_code() == 1001
    assert await gateway.ended() == 0
    vendor.release()

    gateway.start()

    async with gateway.client() as client:
        await client.idle(KEY)
        assert said(await client.history(KEY)) == [("user", "!hold-1"), ("assistant", "word0 end")]
    assert gateway.rows(STATES) == [(run, "SUCCEEDED", 1, 0)]  # no attempt and no crash was counted for the stop


async def test_an_orderly_stop_tells_a_stream_over_http_why_it_ends(gateway: Gateway, vendor: ObedientVendor) -> None:
    async with gateway.http() as http, http.stream("POST", "/v1/chat/completions", json=HELD) as streamed:
        await vendor.holds(1)
        os.kill(gateway.pid, signal.SIGTERM)
        body = b"".join([piece async for piece in streamed.aiter_raw()]).decode()

    *_, failed, done, empty = body.split("\n\n")
    assert '"code":"shutting_down"' in failed
    assert (done, empty) == ("data: [DONE]", "")
    assert await gateway.ended() == 0
    gateway.start()
    assert gateway.rows("SELECT state, reason_code FROM runs") == [("CANCELED", "CLIENT_GONE")]
    assert len(vendor.asked) == 1  # nobody would have heard another answer


async def test_a_second_signal_cuts_the_wait_short_and_loses_nothing(gateway: Gateway, vendor: ObedientVendor) -> None:
    async with gateway.client() as client:
        run = await begin(client, vendor)
        os.kill(gateway.pid, signal.SIGTERM)
        await client.until(lambda: [e for e in client.events if e["event"] == "shutdown"])
        os.kill(gateway.pid, signal.SIGTERM)
        await client.close_code()
    assert await gateway.ended() == 0
    vendor.release()

    gateway.start()

    async with gateway.client() as client:
        await client.idle(KEY)
        assert said(await client.history(KEY)) == [("user", "!hold-2"), ("assistant", "word0 word1 end")]
    assert gateway.rows(STATES)[0][:2] == (run, "SUCCEEDED")


async def test_a_stopped_gateway_leaves_no_process_and_no_socket_behind(gateway: Gateway) -> None:
    postmaster = gateway.postmaster

    assert await gateway.terminate() == 0

    assert not os.path.exists(f"/proc/{postmaster}")  # noqa: ASYNC240 - it does not block
    assert not list((gateway.home / "data/pg").glob(".s.PGSQL*"))
    assert not (gateway.home / "data/pg/postmaster.pid").exists()


# --- the database dies ----------------------------------------------------------------------------


async def test_the_gateway_outlives_its_database(gateway: Gateway, vendor: ObedientVendor) -> None:
    async with gateway.client() as client, gateway.http() as http:
        await client.chat("before", KEY)
        before = gateway.postmaster
        gateway.forgiven = "DatabaseGone"
        os.kill(before, signal.SIGKILL)

        refused: list[str] = []
        answer = None
        while answer is None:
            try:
                answer = await client.chat("after", KEY)
            except Refusal as refusal:
                refused.append(refusal.code)
                assert (await http.get("/health")).status_code == 200

        assert answer["content"] == "echo after"
        assert set(refused) <= {"UNAVAILABLE"}  # by name while it was away, never hung up on
        assert gateway.postmaster != before
        assert said(await client.history(KEY))[-2:] == [("user", "after"), ("assistant", "echo after")]
        node = (await http.get("/v1/actors/infra/stores/pg.embedded")).json()
        assert (node["state"], node["restarts_total"]) == ("running", 1)


async def test_a_run_under_way_when_the_database_dies_is_answered_once(
    gateway: Gateway, vendor: ObedientVendor
) -> None:
    async with gateway.client() as client:
        request = await client.send("chat.send", message="!hold-2", sessionKey=KEY, stream=True)
        await vendor.holds(1)
        gateway.forgiven = "DatabaseGone"
        os.kill(gateway.postmaster, signal.SIGKILL)
        vendor.release()

        assert (await client.answer(request))["content"] == "word0 word1 end"
        assert said(await client.history(KEY)) == [("user", "!hold-2"), ("assistant", "word0 word1 end")]
