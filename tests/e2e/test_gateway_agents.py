"""Agents through the doors of a real gateway: statuses, bare bodies, the command line, a talk with a new one.

Contract: edge-http.md §5, edge-websocket.md §7.3, config-cli.md §7.2, wire-compat.md C2.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from subprocess import CompletedProcess
from typing import Any

import httpx
import pytest
import trio

from tests.e2e.gateway import Client, Gateway, ObedientVendor


@pytest.fixture
async def http(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway.http(x_goclaw_user_id="lan") as client:
        yield client


async def test_an_agent_lives_over_http(http: httpx.AsyncClient, client: Client, vendor: ObedientVendor) -> None:
    made = await http.post("/v1/agents", json={"agent_key": "ada", "display_name": "Ada", "provider": "", "model": ""})
    again = await http.post("/v1/agents", json={"agent_key": "ada"})
    assert (made.status_code, again.status_code) == (201, 409)
    assert (
        made.json().items() >= {"agent_key": "ada", "status": "active", "owner_id": "lan", "my_role": "owner"}.items()
    )
    id = made.json()["id"]

    changed = await http.put(f"/v1/agents/{id}", json={"frontmatter": "counts", "budget_monthly_cents": None})
    assert (changed.status_code, changed.json()["frontmatter"]) == (200, "counts")
    assert (await http.put(f"/v1/agents/{id}", json={"agent_key": "eve"})).status_code == 400
    shares = f"/v1/agents/{id}/shares"
    assert [
        (await http.post(shares, json={"user_id": "a/b", "role": role})).status_code for role in ("user", "admin")
    ] == [
        201,
        200,
    ]
    assert [share["role"] for share in (await http.get(shares)).json()["shares"]] == ["admin"]
    assert [(await http.delete(f"{shares}/a%2Fb")).status_code for _ in range(2)] == [200, 404]
    assert (await http.post(f"/v1/agents/{id}/regenerate", json={"prompt": "x"})).status_code == 400

    answer = await client.chat("hello", "agent:ada:ws:direct:1", agentId="ada")
    assert answer["content"] == "echo hello"
    await client.until(lambda: [e for e in client.frames if e.get("event") == "agent.updated"] or None)
    assert (await client.ask("agent", agentId="ada")).items() >= {"id": "ada", "isRunning": False}.items()
    assert (await client.ask("agent.identity.get", agentId=id))["name"] == "Ada"

    await client.send("chat.send", message="!hold-1", sessionKey="agent:ada:ws:direct:2", agentId="ada")
    await vendor.holds(1)

    gone = await http.delete("/v1/agents/ada")
    await client.hears("run.cancelled", key="agent:ada:ws:direct:2")
    assert (gone.status_code, gone.json()["deleted"]) == (200, True)
    assert (await http.get(f"/v1/agents/{id}")).status_code == 404
    assert (await http.delete("/v1/agents/default")).status_code == 403


async def test_metadata_of_a_user_may_come_bare(http: httpx.AsyncClient, gateway: Gateway) -> None:
    gateway.rows(
        """
        INSERT INTO user_agent_profiles (tenant_id, agent_id, user_id)
        SELECT tenant_id, id, 'minh' FROM agents WHERE agent_key = 'writer' RETURNING user_id
        """
    )
    place = "/v1/agents/writer/instances/minh/metadata"

    assert (await http.patch(place, json={"city": "Huế", "x": 1})).json()["metadata"] == {"city": "Huế", "x": 1}
    assert (await http.patch(place, json={"metadata": {"x": None}})).json()["metadata"] == {"city": "Huế"}
    assert (await http.patch(place, json=[1])).status_code == 400
    (one,) = (await http.get("/v1/agents/writer/instances")).json()["instances"]
    assert (one["user_id"], one["metadata"], one["file_count"]) == ("minh", {"city": "Huế"}, 0)


async def test_a_predefined_agent_is_summoned_and_then_answers(client: Client, vendor: ObedientVendor) -> None:
    """With a vendor that never writes what it should."""
    made = await client.ask("agents.create", name="oracle", agentType="predefined", description="it knows")
    assert (made["ok"], made["agentId"], made["agent"]["status"]) == (True, "oracle", "summoning")

    def end() -> Any:
        told = [frame["payload"] for frame in client.frames if frame.get("event") == "agent.summoning"]
        return next((one for one in told if one["type"] == "completed"), None)

    done = await client.until(end)
    assert (done["agent_id"], done["template"]) == (made["agent"]["id"], True)
    listed = {
        file["name"]: file["missing"] for file in (await client.ask("agents.files.list", agentId="oracle"))["files"]
    }
    assert (listed["SOUL.md"], listed["USER.md"]) == (False, True)
    assert (await client.chat("hello", "agent:oracle:ws:direct:2", agentId="oracle"))["content"] == "echo hello"
    await client.ask("agents.delete", agentId="oracle", deleteFiles=True)


async def test_agents_on_the_command_line(gateway: Gateway) -> None:
    async def goclaw(*arguments: str) -> CompletedProcess[bytes]:
        command = [sys.executable, "-m", "goclaw", "--url", gateway.address, "--token", gateway.token, "agent"]
        return await trio.run_process(
            [*command, *arguments], capture_stdout=True, capture_stderr=True, check=False, env=gateway.environ
        )

    made = await goclaw("add", "--name", "clerk", "--provider", "offline", "--workspace", "office", "--json")
    assert (
        json.loads(made.stdout).items() >= {"agent_key": "clerk", "provider": "offline", "workspace": "office"}.items()
    )
    assert b"clerk" in (await goclaw("list")).stdout
    assert (await goclaw("delete", "clerk")).returncode == 2, "nobody can be asked"
    assert b"deleted clerk" in (await goclaw("delete", "clerk", "--force")).stdout
    assert b"clerk" not in (await goclaw("list")).stdout
    assert (await goclaw("add")).returncode == 2
