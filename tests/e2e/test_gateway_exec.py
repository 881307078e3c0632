"""Commands of agents, and people who are asked about them, through the door. Contract: tools.md §12.3, T15; SEC-11."""

from __future__ import annotations

import json
from pathlib import Path

import trio

from tests.e2e.gateway import Client, Gateway, Json, ObedientVendor, VendorPlace, running, with_vendor


async def asked(client: Client) -> Json:
    def found() -> Json | None:
        told = [one["payload"] for one in client.events if one["event"] == "exec.approval.requested"]
        return told[-1] if told else None

    return dict(await client.until(found))


async def test_a_command_waits_for_a_yes_alone(
    vendor_place: VendorPlace, vendor: ObedientVendor, tmp_path: Path
) -> None:
    """While it waits, others are answered; after `always`, the same line is not asked about again."""
    tools = {"allow": ["exec"], "execApproval": {"ask": "on-miss"}}
    gateway = Gateway(tmp_path / "home", with_vendor(vendor_place, tools=tools))
    call = json.dumps({"command": "ls / >/dev/null; printf '%s' said; ssh-keygen --help 2>/dev/null; true"})
    with running(gateway):
        async with gateway.client() as client, trio.open_nursery() as nursery:
            answers: list[Json] = []

            async def turn(key: str) -> None:
                answers.append(await client.chat(f"!tool {call}", key))

            nursery.start_soon(turn, "agent:default:ws:direct:1")
            wanted = await asked(client)
            (listed,) = (await client.ask("exec.approval.list"))["pending"]
            waiting = await client.hears("activity", wanted["runId"])
            other = await client.chat("hello", "agent:default:ws:direct:2")
            yes = {"id": wanted["id"], "always": True}
            await client.raw(json.dumps({"type": "req", "id": "yes", "method": "exec.approval.approve", "params": yes}))
            resolved = await client.answer("yes")
            await client.until(lambda: answers)
            await client.chat(f"!tool {call}", "agent:default:ws:direct:3")
            rules = (await _http(gateway, "/v1/approvals/rules"))["rules"]

    assert listed == wanted
    assert wanted["toolName"] == "exec"
    assert waiting["payload"]["phase"] == "thinking"
    assert other["content"] == "echo hello"
    assert resolved == {"resolved": True, "decision": "allow_always"}
    assert answers[0]["content"] == "the tool said: said"
    assert [rule["match_kind"] for rule in rules] == ["exact_hash"]
    assert gateway.complaints() == []


async def _http(gateway: Gateway, path: str) -> Json:
    async with gateway.http() as http:
        answer: Json = (await http.get(path)).json()
        return answer
