"""The emergency stop of real gateways: what runs, what waits, what is due, a restart, a broken file, another node."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.durability.patience import until
from tests.e2e.gateway import Client, Gateway, Refusal, VendorPlace, running, with_vendor

A, B = "agent:default:ws:direct:a", "agent:default:ws:direct:b"


def goclaw(gateway: Gateway, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "goclaw", *words]
    return subprocess.run(command, env=gateway.environ, cwd=gateway.home, capture_output=True, text=True, timeout=30)


async def test_everything_stops_and_stays_so_until_it_is_released(tmp_path: Path) -> None:
    """SEC-45: a restart while engaged, and a file that says nothing."""
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


async def test_each_level_meets_a_command_that_runs_a_run_that_waits_and_a_job_that_is_due(tmp_path: Path) -> None:
    """SEC-45."""
    place = VendorPlace()
    few = {"queue": {"lanes": {"main": 1}}, "tools": {"allow": ["exec"]}}
    gateway = Gateway(tmp_path / "home", with_vendor(place, **few))
    long = "!tool " + json.dumps({"command": "echo $$ > pid; (setsid sleep 300 & echo $! > child; wait)"})

    async def begun(client: Client) -> tuple[str, str, list[int]]:
        for name in ("pid", "child"):
            for file in (gateway.home / "workspace").rglob(name):
                file.unlink()
        running_, waits = [
            await client.run_of(await client.send("chat.send", message=text, sessionKey=key))
            for text, key in ((long, A), ("hello", B))
        ]
        await until(lambda: len(pids()) == 2, within=10)
        return running_, waits, pids()

    def pids() -> list[int]:
        files = [file for name in ("pid", "child") for file in (gateway.home / "workspace").rglob(name)]
        return [int(text) for file in files if (text := file.read_text().strip())]

    def state(run: str) -> str:
        return str(gateway.rows("SELECT state FROM runs WHERE run_id = %s", run)[0][0])

    def alive(found: list[int]) -> list[int]:
        return [pid for pid in found if Path(f"/proc/{pid}/stat").exists()]

    async with place.open():
        with running(gateway):
            async with gateway.client() as client:
                first, waits, programs = await begun(client)
                for levels in ({"domains": ["example.com"]}, {"network": True}, {"tools": ["web_*"]}):
                    await client.ask("estop.set", engage=True, levels=levels)
                assert (len(alive(programs)), state(first), state(waits)) == (2, "RUNNING", "QUEUED")

                await client.ask("estop.set", engage=True, levels={"tools": ["ex?c"]})
                ended = await client.hears("run.completed", first)
                await client.hears("run.completed", waits)
                assert "stopped by the operator" in ended["payload"]["content"]
                await until(lambda: not alive(programs), within=5)
                await client.ask("estop.set", engage=False, levels={"tools": ["*"], "network": True})

                second, waits, programs = await begun(client)
                await client.ask("estop.set", engage=True, levels={"all": True})
                due = int(time.time() * 1000) + 1000
                job = await client.ask("cron.create", name="late", schedule={"kind": "at", "atMs": due}, message="x")
                await client.hears("run.cancelled", second)
                await until(lambda: not alive(programs), within=5)
                await until(lambda: time.time() * 1000 > due + 1500, within=5)
                assert state(waits) == "QUEUED"
                assert gateway.rows("SELECT count(*) FROM runs WHERE kind = 'cron'") == [(0,)]

                await client.ask("estop.set", engage=False, levels={"all": True})
                await client.hears("run.completed", waits)
                await until(lambda: gateway.rows("SELECT state FROM runs WHERE kind = 'cron'") == [("SUCCEEDED",)], 10)
                assert job["job"]["name"] == "late"
    place.close()


async def test_two_gateways_are_stopped_together_and_answer_for_each_other(dsn: str, tmp_path: Path) -> None:
    """An approval asked at one is answered at the other; a stop at one is in force at the other within a second."""
    place = VendorPlace()
    tools = {"tools": {"allow": ["exec"], "execApproval": {"ask": "always"}}, "database": {"pool_max": 5}}
    a, b = (
        Gateway(
            tmp_path / name,
            with_vendor(place, cluster={"node_name": name}, gateway={"drain_sec": 1}, **tools),
            GOCLAW_POSTGRES_DSN=dsn,
            GOCLAW_ENCRYPTION_KEY="ab" * 32,
        )
        for name in "ab"
    )
    call = "!tool " + json.dumps({"command": "echo yes"})
    async with place.open():
        with running(a), running(b):
            async with a.client() as at_a, b.client() as at_b:
                owners = "SELECT count(DISTINCT node_id) FROM shard_leases HAVING count(node_id) = 256"
                await until(lambda: a.rows(owners) == [(2,)], within=15)
                asked = await at_a.send("chat.send", message=call, sessionKey=A)
                found = lambda: next((e for e in at_b.events if e["event"] == "exec.approval.requested"), None)  # noqa: E731
                wanted = (await at_b.until(found))["payload"]
                yes = {"type": "req", "id": "yes", "method": "exec.approval.approve", "params": {"id": wanted["id"]}}
                await at_b.raw(json.dumps(yes))
                assert (await at_b.answer("yes"))["decision"] == "allow_once"
                assert (await at_a.answer(asked))["content"] == "the tool said: yes"

                await at_a.ask("estop.set", engage=True, levels={"tools": ["exec"]})
                began = time.monotonic()
                await at_b.until(lambda: any(event["event"] == "estop.engaged" for event in at_b.events))
                assert time.monotonic() - began < 1
                assert (await at_b.ask("estop.status"))["tools"] == ["exec"]
                assert json.loads((b.home / "data/estop.json").read_text())["tools"] == ["exec"]
    place.close()
