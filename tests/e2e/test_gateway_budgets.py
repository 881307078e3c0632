"""Budgets through every door of a real gateway. Contract: providers.md §18."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.e2e.gateway import Gateway, ObedientVendor, Refusal


async def test_a_purse_made_at_one_door_is_felt_at_the_others(gateway: Gateway, vendor: ObedientVendor) -> None:
    async with gateway.client(user="saver") as client, gateway.http(x_goclaw_user_id="saver") as http:
        made = (await http.put("/v1/budgets/user/saver", json={"unit": "tokens", "limit": 5})).json()
        changed = await client.until(
            lambda: next((event for event in client.events if event["event"] == "budget.changed"), None)
        )
        with pytest.raises(Refusal) as refusal:
            await client.ask("chat.send", message="hello", agentId="default")
        turn = {"model": "goclaw:default", "messages": [{"role": "user", "content": "hello"}]}
        refused = await http.post("/v1/chat/completions", json=turn)
        capped = await http.post("/v1/chat/completions", json=turn | {"max_cost_usd": -1})
        (shown,) = (await client.ask("budgets.get", scope="user", key="saver"))["purses"]
        command = [sys.executable, "-m", "goclaw", "--json", "--url", gateway.address, "--token", gateway.token]
        listed = subprocess.run(  # noqa: ASYNC221 - our own program, a second of it
            [*command, "budget", "show", "user", "saver"], capture_output=True, text=True, env=gateway.environ
        )
        gone = await http.delete("/v1/budgets/user/saver")
        answer = await client.ask("chat.send", message="hello", agentId="default")

    assert (made["limit"], made["unit"], made["window"], made["mode"]) == (5, "tokens", "month", "hard")
    assert changed["payload"]["limit"] == 5
    assert (refusal.value.code, refusal.value.reason) == ("RESOURCE_EXHAUSTED", "budget")
    assert refusal.value.details["purse"]["key"] == "saver"
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "budget"
    assert refused.json()["error"]["details"]["purse"]["key"] == "saver"
    assert capped.json()["error"]["param"] == "max_cost_usd"
    assert shown == made | {"updated_at": shown["updated_at"]}
    assert json.loads(listed.stdout)["purses"][0]["key"] == "saver", listed.stderr
    assert gone.json() == {"deleted": True}
    assert answer["content"] == "echo hello"
