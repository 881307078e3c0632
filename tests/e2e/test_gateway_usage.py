"""What a turn used is known through every door as soon as it is answered. Contract: edge-http.md §18."""

from __future__ import annotations

from tests.e2e.gateway import Client, Gateway, ObedientVendor


async def test_a_turn_is_on_the_bill_when_it_is_answered(
    client: Client, gateway: Gateway, vendor: ObedientVendor, key: str
) -> None:
    async with gateway.http(x_goclaw_user_id="lan") as http:

        async def calls() -> int:
            summary = (await http.get("/v1/usage/summary", params={"period": "24h"})).json()
            return int(summary["current"]["llm_calls"])

        before = await calls()
        answer = await client.chat("hello", key)
        assert await calls() == before + 1
        series = (await http.get("/v1/usage/timeseries")).json()["points"]
        rows = (await http.get("/v1/usage/breakdown", params={"group_by": "model"})).json()["rows"]
        listed = (await http.get("/v1/usage", params={"limit": "200"})).json()["records"]
        refused = await http.get("/v1/usage/summary", params={"period": "1y"})

    assert sum(point["llm_call_count"] for point in series) >= 1
    assert sum(row["llm_call_count"] for row in rows) >= 1
    (mine,) = [record for record in listed if record["session_key"] == key]
    assert (mine["input_tokens"], mine["output_tokens"]) == (
        answer["usage"]["inputTokens"],
        answer["usage"]["outputTokens"],
    )
    assert refused.status_code == 400
    (told,) = [row for row in (await client.ask("usage.get", limit=200))["records"] if row["sessionKey"] == key]
    assert told["totalTokens"] == answer["usage"]["totalTokens"]
    assert (await client.ask("usage.summary"))["byAgent"]["default"]["sessions"] >= 1
