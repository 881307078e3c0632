"""Commands of agents, and people who are asked about them, through the doors. Contract: tools.md §12.3, T15; SEC-11."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import trio

from tests.e2e.gateway import Client, Gateway, Json, ObedientVendor, Refusal, VendorPlace, running, with_vendor

LINE = "ls; curl https://example.com"


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory, vendor_place: VendorPlace) -> Iterator[Gateway]:
    tools = {"allow": ["exec"], "execApproval": {"ask": "on-miss"}}
    with running(Gateway(tmp_path_factory.mktemp("asking"), with_vendor(vendor_place, tools=tools))) as gateway:
        yield gateway
    assert gateway.complaints() == []


async def asked(client: Client) -> Json:
    def found() -> Json | None:
        told = [one["payload"] for one in client.events if one["event"] == "exec.approval.requested"]
        return told[-1] if told else None

    return dict(await client.until(found))


async def decide(client: Client, how: str, id: str, **more: object) -> Json:
    """The client's own `id` is that of a request."""
    asks = {"type": "req", "id": how, "method": f"exec.approval.{how}", "params": {"id": id, **more}}
    await client.raw(json.dumps(asks))
    return await client.answer(how)


async def test_a_command_waits_for_a_yes_alone(vendor: ObedientVendor, asking: Gateway) -> None:
    """While it waits, others are answered; after `always`, the same line is not asked about again."""
    call = json.dumps({"command": "ls / >/dev/null; printf '%s' said; ssh-keygen --help 2>/dev/null; true"})
    async with asking.client() as client:
        first = await client.send("chat.send", message=f"!tool {call}", sessionKey="agent:default:ws:direct:1")
        wanted = await asked(client)
        (listed,) = (await client.ask("exec.approval.list"))["pending"]
        waiting = await client.hears("activity", wanted["runId"])
        other = await client.chat("hello", "agent:default:ws:direct:2")
        resolved = await decide(client, "approve", wanted["id"], always=True)
        done = await client.answer(first)
        await client.chat(f"!tool {call}", "agent:default:ws:direct:3")
        async with asking.http() as http:
            rules = (await http.get("/v1/approvals/rules")).json()["rules"]

    assert listed == wanted
    assert wanted["toolName"] == "exec"
    assert waiting["payload"]["phase"] == "thinking"
    assert other["content"] == "echo hello"
    assert resolved == {"resolved": True, "decision": "allow_always"}
    assert done["content"] == "the tool said: said"
    assert [rule["match_kind"] for rule in rules] == ["exact_hash"]


async def test_t15_over_the_socket(vendor: ObedientVendor, asking: Gateway) -> None:
    """T15. `ls` alone asks nobody; the line of two is answered in its chat, where other texts go to the agent."""
    key = "agent:default:ws:direct:4"
    async with asking.client() as client:
        await client.chat(f"!tool {json.dumps({'command': 'ls'})}", key)
        assert not [one for one in client.events if one["event"].startswith("exec.approval.")]

        first = await client.send("chat.send", message=f"!tool {json.dumps({'command': LINE})}", sessionKey=key)
        wanted = await asked(client)
        code = wanted["detail"]["shortCode"]
        assert (wanted["command"], wanted["detail"]["commands"]) == (LINE, ["ls", "curl https://example.com"])
        near = await client.send("chat.send", message=f"{code} no thanks", sessionKey=key)
        said = await client.ask("chat.send", message=f"{code} no", sessionKey=key)
        assert (said["command"], said["content"]) == ("deny", f"Refused: {code}.")
        assert "not approved" in (await client.answer(first))["content"]
        assert (await client.answer(near))["content"] == f"echo {code} no thanks"
        with pytest.raises(Refusal, match="not found or already resolved"):
            await client.ask("chat.send", message=f"{code} yes", sessionKey=key)
        with pytest.raises(Refusal, match="not found or already resolved"):
            await decide(client, "approve", wanted["id"])
        assert (await client.chat("1", key))["content"] == "echo 1"


async def test_t15_over_http(asking: Gateway) -> None:
    """T15. A call over HTTP waits for its answer, which somebody else gives over HTTP."""
    answers: list[Json] = []

    async def invoke(command: str) -> None:
        async with asking.http(x_goclaw_user_id="lan") as http:
            body = {"tool": "exec", "args": {"command": command}}
            answer = await http.post("/v1/tools/invoke", json=body, timeout=60)
        assert answer.status_code == 200
        answers.append(answer.json())

    for command, how in ((LINE, "deny"), ("ls; ssh-keygen --help 2>/dev/null; echo said", "approve")):
        async with asking.client() as client, trio.open_nursery() as calls:
            calls.start_soon(invoke, command)
            await asked(client)
            async with asking.http(x_goclaw_user_id="lan") as http:
                (wanted,) = (await http.get("/v1/approvals")).json()["pending"]
                assert (wanted["command"], wanted["userId"], len(wanted["detail"]["commands"])) == (
                    command,
                    "lan",
                    len(command.split(";")),
                )
                url = f"/v1/approvals/{wanted['id']}/{how}"
                assert (await http.post(url, json={})).json()["decision"]
                late = await http.post(url, json={})
            assert late.status_code == 404, late.text

    denied, done = answers
    assert (denied["ok"], denied["result"]["error_code"]) == (False, "denied_approval")
    assert (done["ok"], done["result"]["content"].endswith("said")) == (True, True)
