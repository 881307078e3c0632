"""What an operator would try on a living gateway. Contract: supervision.md §20 (B3, B5, B7, B9)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import psycopg
import pytest
import trio
from trio_websocket import ConnectionClosed

from goclaw.domain.access import MASTER_TENANT
from goclaw.stores.embedded import EmbeddedServer
from tests.e2e.gateway import Client, Gateway, ObedientVendor, Refusal, VendorPlace, running, with_vendor

KEY = "agent:default:ws:direct:flood"
OTHER = "agent:default:ws:direct:calm"
FLOOD = 200  # the contract says 1,000; each is two commits of one session, one after the other
SOCKETS, TOGETHER = 10, 20  # requests under way on each


async def test_one_broken_agent_is_left_alone_and_heals_with_its_row(gateway: Gateway, vendor: ObedientVendor) -> None:
    """B3. A row nobody can read; another agent of the same tenant notices nothing."""
    broken = "agent:broken:ws:direct:b3"
    database = psycopg.connect(host=str(gateway.home / "data/pg"), user="goclaw", dbname="postgres", autocommit=True)
    with database as db:
        db.execute(
            "INSERT INTO agents (id, tenant_id, agent_key, owner_id, provider, model, other_config)"
            " SELECT gen_random_uuid(), tenant_id, 'broken', 'lan', '', '', '[]' FROM agents LIMIT 1"
        )
        gateway.forgiven = "other_config"
        async with gateway.client() as client:
            codes = Counter[str]()
            for _ in range(6):
                with pytest.raises(Refusal) as refused:
                    await client.chat("hello", broken)
                codes[refused.value.code] += 1
            assert set(codes) == {"UNAVAILABLE"}
            assert (await client.chat("hello", OTHER))["content"] == "echo hello"
            async with gateway.http() as http:
                assert (await http.get("/health")).status_code == 200
                agent = f"/v1/actors/agents/{MASTER_TENANT}/broken"
                assert (await http.get(agent)).json()["state"] == "quarantined"
                db.execute("UPDATE agents SET other_config = '{}' WHERE agent_key = 'broken'")
                assert (await http.post(f"{agent}/restart")).status_code == 202
            answer = await client.chat("hello again", broken)
            assert answer["content"] == "echo hello again"


async def test_a_flooded_session_keeps_ten_and_answers_the_rest_by_name(
    gateway: Gateway, vendor: ObedientVendor
) -> None:
    """B7."""
    outcomes = Counter[str]()

    async def flood(client: Client, first: int) -> None:
        under_way = trio.Semaphore(TOGETHER)

        async def turn(n: int) -> None:
            async with under_way:
                try:
                    await client.chat(f"turn {n}", KEY)
                    outcomes["answered"] += 1
                except Refusal as refusal:
                    outcomes[refusal.reason or refusal.code] += 1

        async with trio.open_nursery() as nursery:
            for n in range(first, first + FLOOD // SOCKETS):
                nursery.start_soon(turn, n)

    async with gateway.client() as holder, gateway.client() as calm, trio.open_nursery() as nursery:
        await holder.send("chat.send", message="!hold-1", sessionKey=KEY)
        await vendor.holds(1)
        for place in range(SOCKETS):
            nursery.start_soon(_connected, gateway, flood, place * (FLOOD // SOCKETS))
        for n in range(10):  # a session beside it is served meanwhile
            assert (await calm.chat(f"calm {n}", OTHER))["content"] == f"echo calm {n}"
        with trio.fail_after(60):
            while outcomes.total() < FLOOD - 10:
                assert (await calm.chat("still calm", OTHER))["content"] == "echo still calm"
        vendor.release()

    assert outcomes == {"answered": 10, "queue_dropped": FLOOD - 10}


async def _connected(gateway: Gateway, work: Callable[[Client, int], Awaitable[None]], first: int) -> None:
    async with gateway.client() as client:
        await work(client, first)


async def test_an_orderly_stop_under_load_loses_and_doubles_nothing(gateway: Gateway, vendor: ObedientVendor) -> None:
    """B9: SIGTERM while ten clients talk; what was accepted is answered once, before it or after the next start."""
    accepted: dict[str, str] = {}  # run → text
    enough = trio.Event()

    async def talk(name: int) -> None:
        key = f"agent:default:ws:direct:b9-{name}"
        async with gateway.client() as client:
            for n in range(1_000):
                text = f"say {name}-{n}"
                try:
                    answer = await client.chat(text, key, **{"async": True})
                except (Refusal, AssertionError, ConnectionClosed):
                    return  # the gateway says goodbye
                accepted[answer["runId"]] = text
                if len(accepted) == 100:
                    enough.set()

    async with trio.open_nursery() as nursery:
        for name in range(10):
            nursery.start_soon(talk, name)
        with trio.fail_after(30):
            await enough.wait()
        assert await gateway.terminate() == 0

    gateway.start()
    with trio.fail_after(30):
        while gateway.rows("SELECT 1 FROM runs WHERE state NOT IN ('SUCCEEDED', 'CANCELLED') LIMIT 1"):  # noqa: ASYNC110
            await trio.sleep(0.05)  # another process works on it
    ended = dict(gateway.rows("SELECT run_id::text, state FROM runs"))
    lost = [run for run in accepted if run not in ended]
    assert lost == []
    answers = Counter(
        content
        for (content,) in gateway.rows("SELECT content FROM session_messages WHERE role = 'assistant'")
        if content
    )
    for run, text in accepted.items():
        if ended[run] == "SUCCEEDED":
            assert answers[f"echo {text}"] == 1, text


async def test_a_gateway_waits_for_a_database_that_was_stopped(tmp_path: Path, place: VendorPlace) -> None:
    """B5, with a database of its own that nobody starts again for the gateway."""
    server = EmbeddedServer(tmp_path / "outside")
    dsn = await server.start()
    home = tmp_path / "home"
    async with place.open() as vendor:
        with running(Gateway(home, with_vendor(place), GOCLAW_POSTGRES_DSN=dsn)) as gateway:
            async with gateway.client() as client, gateway.http() as http:
                await client.chat("before", OTHER)
                asked = [await client.send("chat.send", message="!hold-1", sessionKey=KEY)]
                await vendor.holds(1)
                for n in range(2):
                    asked.append(await client.send("chat.send", message=f"waits {n}", sessionKey=KEY))
                    await client.run_of(asked[-1])
                await server.stop()

                await _until(http, "degraded")
                with pytest.raises(Refusal) as refused:
                    await client.chat("meanwhile", OTHER)
                assert refused.value.code == "UNAVAILABLE"
                assert await server.start() == dsn
                await _until(http, "ok")
                vendor.release()

                answers = [(await client.answer(request))["content"] for request in asked]
                assert answers == ["word0 end", "echo waits 0", "echo waits 1"]
                said = [(m["role"], m["content"]) for m in await client.history(KEY)]
                assert [text for role, text in said if role == "assistant"] == answers
                assert (await client.chat("after", OTHER))["content"] == "echo after"
    await server.stop()


async def _until(http: httpx.AsyncClient, status: str) -> None:
    with trio.fail_after(30):
        while (await http.get("/health")).json()["status"] != status:  # noqa: ASYNC110 - another process
            await trio.sleep(0.1)
