"""One run that crashes whoever works on it: its neighbours do not notice. Contract: reliability.md §4 rows 1, 2."""

from __future__ import annotations

import psycopg
import pytest

from tests.e2e.gateway import Client, Gateway, ObedientVendor, Refusal

KEY = "agent:default:ws:direct:chaos"
NEIGHBOUR = f"{KEY}-neighbour"
UNREADABLE = "Expected `str`, got `int` - at `$.message`"


async def poison(gateway: Gateway, client: Client, vendor: ObedientVendor) -> str:
    """A waiting run whose row nobody can read, as after a downgrade, and a neighbour's that waits like it."""
    for key, text in ((KEY, "poison"), (NEIGHBOUR, "neighbour")):
        await client.chat("!hold-1", key, **{"async": True})
        await client.send("chat.send", id=text, message=text, sessionKey=key, idempotencyKey=text)
    run = await client.run_of("poison")
    await client.run_of("neighbour")
    await vendor.holds(2)
    with psycopg.connect(host=str(gateway.home / "data/pg"), user="goclaw", dbname="postgres") as db:
        db.execute("""UPDATE runs SET request = '{"message": 5}' WHERE run_id = %s""", [run])
    gateway.forgiven = UNREADABLE
    return run


async def incarnations(gateway: Gateway) -> dict[str, int]:
    async with gateway.http() as http:
        nodes = [(await http.get("/v1/actors", params={"depth": 4})).json()["root"]]
    for node in nodes:
        nodes += node.get("children", [])
    return {node["path"]: node["incarnation"] for node in nodes}


async def test_a_run_that_crashes_is_given_up_after_three_times_and_nobody_else_restarts(
    gateway: Gateway, vendor: ObedientVendor
) -> None:
    async with gateway.client() as client:
        run = await poison(gateway, client, vendor)
        vendor.release()

        with pytest.raises(Refusal) as lost:
            await client.answer("poison")
        assert (lost.value.code, lost.value.reason) == ("UNAVAILABLE", "crashed")
        assert (await client.answer("neighbour"))["content"] == "echo neighbour"
        assert [event["type"] for event in client.run_events(run)] == ["run.queued", "run.failed"]
        assert (await client.chat("go on", KEY))["content"] == "echo go on"
    assert gateway.rows("SELECT state, crash_count FROM runs WHERE run_id = %s", run) == [("DEAD_LETTER", 3)]
    assert len(gateway.complaints(all=True)) == 3
    assert set((await incarnations(gateway)).values()) == {1}


async def test_a_gateway_starts_with_a_row_it_cannot_read(gateway: Gateway, vendor: ObedientVendor) -> None:
    async with gateway.client() as client:
        await poison(gateway, client, vendor)
        gateway.kill()
        await client.close_code()
    vendor.release()

    gateway.start()

    async with gateway.client() as client:
        assert (await client.chat("neighbour", NEIGHBOUR, idempotencyKey="neighbour"))["content"] == "echo neighbour"
        with pytest.raises(Refusal) as lost:
            await client.chat("poison", KEY, idempotencyKey="poison")
        assert lost.value.reason == "crashed"
