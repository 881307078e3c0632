"""The configuration through the door of a living gateway, and a restart that an agent asked for."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tests.e2e.gateway import (
    PATIENCE,
    Client,
    Gateway,
    Json,
    ObedientVendor,
    Refusal,
    VendorPlace,
    running,
    with_vendor,
)


def told(client: Client, name: str) -> list[Json]:
    return [one["payload"] for one in client.events if one["event"] == name]


async def test_the_configuration_is_read_changed_and_guarded_over_the_socket(tmp_path: Path) -> None:
    """CF-08, CF-10, CF-11, CF-16; DB-10. `***` keeps the key, an old hash is refused, lanes change at once, the
    quota waits; a broken edit by hand is told of and changes nothing; the command line asks the gateway."""
    gateway = Gateway(tmp_path / "home", {"providers": {"groq": {"api_key": "gsk-very-secret-1"}}})
    file = tmp_path / "home/config.json"
    with running(gateway):
        async with gateway.client() as client:
            before = await client.ask("config.get")
            sent = {
                "providers": before["config"]["providers"],
                "queue": {"lanes": {"main": 7}},
                "gateway": {"quota": {"enabled": True}},
            }
            done = await client.ask("config.patch", raw=json.dumps(sent), baseHash=before["hash"])
            after = await client.ask("config.get")
            lanes = {lane["name"]: lane["limit"] for lane in (await client.ask("status"))["lanes"]}
            with pytest.raises(Refusal) as stale:
                await client.ask("config.apply", raw="{}", baseHash=before["hash"])
            with pytest.raises(Refusal) as unknown:
                await client.ask("config.patch", raw="{gateway: {prot: 1}}")
            part = await client.ask("config.get", key="queue.lanes.main")
            whole = await client.ask("config.apply", **json.loads(file.read_text()) | {"queue": {"lanes": {"main": 9}}})
            by_key = await client.ask("config.patch", key="queue.lanes.cron", value=2)
            schema = await client.ask("config.schema")

            good = file.read_bytes()
            file.write_text("{broken")
            await client.until(lambda: told(client, "config.rejected"))
            same = await client.ask("status")
            file.write_bytes(good)
            heard = len(told(client, "config.reloaded"))
            for size in range(10, 20):
                file.write_text(json.dumps(json.loads(good) | {"queue": {"lanes": {"main": size}}}))
            await client.until(lambda: told(client, "config.reloaded")[heard:])
            written = await trio.to_thread.run_sync(_goclaw, gateway, "config", "set", "queue.lanes.main", "21")
            reloads = told(client, "config.reloaded")[heard:]

    assert before["config"]["providers"]["groq"]["api_key"] == after["config"]["providers"]["groq"]["api_key"] == "***"
    assert "gsk-very-secret-1" in (tmp_path / "home/.env.local").read_text()
    assert "gsk-very-secret-1" not in file.read_text() + json.dumps(client.frames)
    assert done["ok"]
    assert done["restart"]
    assert (done["applied"], done["restartNeeded"]) == (["queue.lanes.main"], ["gateway.quota.enabled"])
    assert after["restartNeeded"] == ["gateway.quota.enabled"]
    assert lanes["main"] == 7
    assert (stale.value.code, unknown.value.code) == ("FAILED_PRECONDITION", "INVALID_REQUEST")
    assert unknown.value.details["path"] == "gateway.prot"
    assert part == {"key": "queue.lanes.main", "value": 7}
    assert (whole["changed"], by_key["changed"]) == (["queue.lanes.main"], ["queue.lanes.cron"])
    assert "gateway" in schema["json"]["properties"]
    assert {lane["name"]: lane["limit"] for lane in same["lanes"]}["main"] == 9
    main, cron = "queue.lanes.main", "queue.lanes.cron"
    assert [one["applied"] for one in reloads] == [[cron, main], [main]]  # ten writes are one, and the command's
    assert (written.returncode, written.stdout.strip()) == (0, "queue.lanes.main: 19 → 21")
    assert gateway.complaints() == []


def _goclaw(gateway: Gateway, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "goclaw", *arguments]
    port = gateway.address.rpartition(":")[2]
    environ = {**gateway.environ, "GOCLAW_GATEWAY_URL": "", "GOCLAW_PORT": port}
    return subprocess.run(command, env=environ, cwd=gateway.home, capture_output=True, text=True, timeout=PATIENCE)


async def test_a_restart_that_an_agent_asked_for_is_approved_and_the_run_goes_on(
    vendor_place: VendorPlace, vendor: ObedientVendor, tmp_path: Path
) -> None:
    """tools.md §10, §12.3. Nothing waits for the run: it is cut, the same process begins again, and the run ends with
    its answer. The restart is made once."""
    tools = {"allow": ["gateway"], "execApproval": {"ask": "on-miss"}}
    gateway = Gateway(tmp_path / "home", with_vendor(vendor_place, tools=tools, gateway={"drain_sec": 0}))
    call = f"!tool {json.dumps({'action': 'restart'})}"
    with running(gateway):
        pid, first = gateway.pid, gateway.address
        async with gateway.client("system") as client:
            request = await client.send("chat.send", message=call, sessionKey="agent:default:ws:direct:system")
            run = await client.run_of(request)
            wanted = (await client.until(lambda: told(client, "exec.approval.requested")))[0]
            yes = {"type": "req", "id": "yes", "method": "exec.approval.approve", "params": {"id": wanted["id"]}}
            await client.raw(json.dumps(yes))
            await client.answer("yes")
            with trio.fail_after(PATIENCE):
                assert await client.close_code() == 1001
        gateway.address = await trio.to_thread.run_sync(_printed, gateway)
        async with gateway.client("system") as client:
            await client.idle("agent:default:ws:direct:system")
            row = await client.ask("runs.get", runId=run)
            history = await client.history("agent:default:ws:direct:system")
        assert gateway.pid == pid
        assert gateway.process is not None
        assert gateway.process.poll() is None

    assert row["run"]["state"] == "SUCCEEDED"
    assert row["run"]["attempt"] <= 1  # a restart is nobody's failure
    assert first
    assert wanted["detail"]["kind"] == "gateway.restart"
    assert "restart" in history[-1]["content"]
    assert len([line for line in gateway.log if line["event"] == "gateway.ready"]) == 2
    assert gateway.complaints() == []


def _printed(gateway: Gateway) -> str:
    """The address it prints when it is there again."""
    assert gateway.process is not None
    assert gateway.process.stdout is not None
    for line in gateway.process.stdout:
        if found := re.search(r"http://\S+?(?=/ui/)", line):
            return found[0]
    raise AssertionError("it did not come back")
