"""The emergency stop of a real gateway: what runs, what waits, a restart, a broken file. SEC-45."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.gateway import Gateway, Refusal, VendorPlace, running, with_vendor

A, B = "agent:default:ws:direct:a", "agent:default:ws:direct:b"


def goclaw(gateway: Gateway, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "goclaw", *words]
    return subprocess.run(command, env=gateway.environ, cwd=gateway.home, capture_output=True, text=True, timeout=30)


async def test_everything_stops_and_stays_so_until_it_is_released(tmp_path: Path) -> None:
    place = VendorPlace()
    gateway = Gateway(tmp_path / "home", with_vendor(place))
    file = gateway.home / "data/estop.json"
    async with place.open() as vendor:
        with running(gateway):
            async with gateway.client() as client:
                first = await client.run_of(await client.send("chat.send", message="!hold-3", sessionKey=A))
                await vendor.holds(1)
                state = await client.ask("estop.set", engage=True, levels={"all": True}, reason="odd")
                assert (state["all"], state["by"], state["reason"]) == (True, "lan", "odd")
                await client.hears("run.cancelled", first)
                assert [event["event"] for event in client.events if "estop" in event["event"]] == ["estop.engaged"]
                waiting = await client.run_of(await client.send("chat.send", message="hello", sessionKey=B))
                with pytest.raises(Refusal):
                    await client.ask("estop.set", engage=False, levels={})

        file.write_text("{")
        with running(gateway):
            async with gateway.client() as client:
                assert (await client.ask("estop.status"))["all"] is True
                assert file.with_name("estop.json.bad").read_text() == "{"
                states = [(await client.ask("runs.get", runId=run))["run"]["state"] for run in (first, waiting)]
                assert states == ["CANCELED", "QUEUED"]
                assert "hello" not in vendor.asked

        assert goclaw(gateway, "estop", "--release", "all").stdout == "stopped: nothing\n"  # nobody runs
        assert json.loads(goclaw(gateway, "--json", "estop", "--status").stdout)["by"] == "cli"
        with running(gateway):
            async with gateway.client() as client:
                await client.idle(B)
                assert vendor.asked[-1] == "hello"
    place.close()
