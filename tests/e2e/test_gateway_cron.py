"""Jobs, heartbeats and wakes through the doors of a real gateway.

Contract: edge-websocket.md §7.7, §7.13; edge-http.md §5; wire-compat.md C5, C8.
"""

from __future__ import annotations

import json
import sys
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.e2e.gateway import PATIENCE, Client, Gateway, Json, ObedientVendor, Refusal, running

HOURLY = {"kind": "cron", "expr": "0 * * * *", "tz": "Europe/Berlin"}
_names = count(1)


async def make(client: Client, **more: Any) -> Json:
    given = {"name": f"job-{next(_names)}", "schedule": HOURLY, "message": "look after it", **more}
    job: Json = (await client.ask("cron.create", **given))["job"]
    return job


async def cron_event(client: Client, job: str, action: str) -> Json:
    def found() -> Any:
        told = [frame["payload"] for frame in client.frames if frame.get("event") == "cron"]
        return next((one for one in told if one["jobId"] == job and one["action"] == action), None)

    return dict(await client.until(found))


async def test_a_job_is_made_changed_run_and_deleted(client: Client, vendor: ObedientVendor) -> None:
    job = await make(client)

    assert (job["enabled"], job["deleteAfterRun"], job["userId"]) == (True, False, "lan")
    assert job["schedule"] == HOURLY
    assert job["payload"] == {
        "kind": "agent_turn",
        "message": "look after it",
        "deliver": False,
        "channel": "",
        "to": "",
        "stateless": True,
        "wake_heartbeat": False,
    }
    assert job["state"]["nextRunAtMs"] > job["createdAtMs"]
    changed = await client.ask("cron.update", jobId=job["id"], message="two", patch={"message": "three"}, enabled=True)
    assert changed["job"]["payload"]["message"] == "three", "in both places the patch wins"
    ran = await client.ask("cron.run", jobId=job["id"], mode="force")
    assert ran["ran"]
    await cron_event(client, job["id"], "completed")
    (entry,) = (await client.ask("cron.runs", jobId=job["id"], limit=10, offset=0))["entries"]
    assert (entry["status"], entry["runId"]) == ("ok", ran["runId"])
    assert vendor.asked[-1].startswith(f'[Cron job "{job["name"]}" fired at ')
    assert vendor.asked[-1].endswith("three")
    assert entry["summary"] == f"echo {vendor.asked[-1]}"
    assert await client.ask("cron.run", jobId=job["id"]) == {"ok": True, "ran": False}, "it is not due"
    assert (await client.ask("cron.toggle", jobId=job["id"]))["enabled"] is False
    listed = await client.ask("cron.list", includeDisabled=False)
    assert job["id"] not in [one["id"] for one in listed["jobs"]]
    assert listed["status"]["enabled"] is True
    assert await client.ask("cron.delete", jobId=job["id"]) == {"deleted": True}
    with pytest.raises(Refusal) as refused:
        await client.ask("cron.status", jobId=job["id"])
    assert refused.value.code == "NOT_FOUND"


async def test_a_single_time_runs_and_is_gone(client: Client, vendor: ObedientVendor) -> None:
    now = (await client.ask("cron.status"), await make(client))[1]["createdAtMs"]
    job = await make(client, schedule={"kind": "at", "atMs": now + 900}, stateless=False)
    assert job["deleteAfterRun"] is True

    await cron_event(client, job["id"], "completed")

    assert [m["role"] for m in await client.history(f"agent:default:cron:{job['id']}")] == ["user", "assistant"]
    with pytest.raises(Refusal):
        await client.ask("cron.status", jobId=job["id"])


@pytest.mark.parametrize(
    ("given", "field", "says"),
    [
        ({"schedule": {"kind": "cron", "expr": "0 0 9 * * *"}}, "schedule.expr", "5 fields"),
        ({"schedule": {"kind": "cron", "expr": "61 * * * *"}}, "schedule.expr", "bad minute"),
        ({"schedule": {"kind": "cron", "expr": "0 9 * * *", "tz": "Mars/Olympus"}}, "schedule.tz", "no time zone"),
        ({"schedule": {"kind": "at", "atMs": 1000}}, "schedule.atMs", "at time is in the past"),
        ({"schedule": {"kind": "every", "everyMs": 10}}, "schedule.everyMs", "at least 1000"),
        ({"schedule": {"kind": "every"}}, "schedule.everyMs", "needs"),
        ({"schedule": {"kind": "often"}}, "schedule.kind", "often"),
        ({"name": "No Slug"}, "name", "regex"),
        ({"name": "slug\n"}, "name", "regex"),
        ({"name": "x" * 101}, "name", "100"),
        ({"message": "  "}, "message", "required"),
        ({"deliver": True}, "channel", "required"),
        ({"agentId": "nobody"}, None, None),
    ],
)
async def test_sl32_what_cannot_be_is_refused_by_name(
    client: Client, given: Json, field: str | None, says: str | None
) -> None:
    with pytest.raises(Refusal) as refused:
        await make(client, **given)

    assert refused.value.details.get("field") == field
    assert says is None or says in refused.value.details["reason"]


async def test_a_name_is_taken_once(client: Client) -> None:
    job = await make(client)
    other = await make(client)

    for ask in (make(client, name=job["name"]), client.ask("cron.update", jobId=other["id"], name=job["name"])):
        with pytest.raises(Refusal) as refused:
            await ask
        assert refused.value.code == "ALREADY_EXISTS"


async def test_the_next_times_of_a_schedule(gateway: Gateway) -> None:
    async with gateway.http() as http:
        good = await http.get("/v1/cron/preview", params={"schedule": "0 9 * * mon", "tz": "Asia/Ho_Chi_Minh"})
        also = await http.get("/v1/cron/preview", params={"schedule": json.dumps({"kind": "every", "everyMs": 60000})})
        bad = await http.get("/v1/cron/preview", params={"schedule": "0 9 * *"})

    assert len(good.json()["times"]) == len(also.json()["times"]) == 5
    assert all(time[10:] == "T02:00:00Z" for time in good.json()["times"])
    assert bad.status_code == 400
    assert bad.json()["details"]["field"] == "schedule.expr"


async def test_the_command_line_speaks_of_jobs(gateway: Gateway) -> None:
    """CF-28"""

    async def goclaw(*arguments: str) -> str:
        command = [
            sys.executable,
            "-m",
            "goclaw",
            "--url",
            gateway.address,
            "--token",
            gateway.token,
            "cron",
            *arguments,
        ]
        done = await trio.run_process(command, capture_stdout=True, env=gateway.environ)
        return done.stdout.decode()

    id = (await goclaw("add", "-n", "from-the-shell", "-m", "hi", "-e", "300")).split()[0]
    assert "every 300 s" in await goclaw("list")
    await goclaw("disable", id)
    assert id not in await goclaw("list")
    assert id in await goclaw("list", "--all")


async def test_an_agent_makes_a_job_for_the_one_it_talks_to(gateway: Gateway, vendor: ObedientVendor, key: str) -> None:
    job = {"name": f"job-{next(_names)}", "schedule": HOURLY, "message": "look after it"}
    called = json.dumps({"action": "add", "job": job})

    async with gateway.client("minh") as minh:
        await minh.chat(f"!tool {called}", key + "-minh")
        jobs = (await minh.ask("cron.list"))["jobs"]

    (made,) = [one for one in jobs if one["name"] == job["name"]]
    assert (made["userId"], made["agentKey"], made["payload"]["message"]) == ("minh", "default", "look after it")
    assert vendor.calls["tool"] == 2


# --- heartbeats -----------------------------------------------------------------------------------


async def test_a_heartbeat_is_set_tested_and_logged(client: Client, gateway: Gateway, vendor: ObedientVendor) -> None:
    assert (await client.ask("heartbeat.get", agentId="default"))["heartbeat"] is None
    with pytest.raises(Refusal) as unset:
        await client.ask("heartbeat.toggle", agentId="default", enabled=True)
    assert unset.value.code == "NOT_FOUND"
    beat = (await client.ask("heartbeat.set", agentId="default", enabled=True, timezone="Asia/Ho_Chi_Minh"))[
        "heartbeat"
    ]
    assert (beat["intervalSec"], beat["ackMaxChars"], beat["maxRetries"], beat["isolatedSession"]) == (
        1800,
        300,
        2,
        True,
    )
    assert beat["nextRunAt"]
    await client.ask("heartbeat.set", agentId="default", providerName="fake", model="slow-900cps")
    text = "# Every day\n- [ ] is the backup there?"
    assert await client.ask("heartbeat.checklist.set", agentId="default", content=text) == {
        "ok": True,
        "length": len(text),
    }
    assert (await client.ask("heartbeat.checklist.get", agentId="default"))["content"] == text

    await client.ask("heartbeat.test", agentId="default")

    def over() -> Any:
        told = [frame["payload"] for frame in client.frames if frame.get("event") == "heartbeat"]
        return next((one for one in told if one["action"] not in ("running", "skipped")), None)

    assert (await client.until(over))["action"] == "completed"
    page = await client.ask("heartbeat.logs", agentId="default", limit=5, offset=0)
    assert (page["total"], page["logs"][0]["status"]) == (1, "ok")
    assert text in vendor.asked[-1]
    assert vendor.calls["slow-900cps"] == 1, "a model of its own"
    assert (await client.ask("heartbeat.targets", agentId="default"))["targets"] == []
    with pytest.raises(Refusal) as hours:
        await client.ask("heartbeat.set", agentId="default", activeHoursStart="25:00", activeHoursEnd="06:00")
    assert hours.value.details["field"] == "active_hours_start"
    off = await client.ask("heartbeat.toggle", agentId="default", enabled=False)
    assert off["enabled"] is False
    assert (await client.ask("heartbeat.get", agentId="default"))["heartbeat"]["runCount"] == 1


# --- wake -----------------------------------------------------------------------------------------


async def test_a_wake_waits_for_its_answer(gateway: Gateway, vendor: ObedientVendor) -> None:
    async with gateway.http() as http:
        answer = await http.post("/v1/agents/default/wake", json={"message": "good morning", "user_id": "n8n"})

    assert answer.status_code == 200
    woken = answer.json()
    assert woken["content"] == "echo good morning"
    assert woken["session_key"].startswith("agent:default:wake:direct:")
    assert set(woken["usage"]) == {"prompt_tokens", "completion_tokens", "total_tokens"}


@pytest.mark.parametrize("how", ["query", "header", "no body"])
async def test_a_wake_that_does_not_wait(gateway: Gateway, vendor: ObedientVendor, how: str) -> None:
    async with gateway.http() as http, gateway.client("system") as client:
        if how == "no body":
            answer = await http.post("/v1/agents/default/wake")
        else:
            answer = await http.post(
                "/v1/agents/default/wake",
                params={"async": "true"} if how == "query" else {},
                headers={"Prefer": "respond-async"} if how == "header" else {},
                json={"message": "!hold-1"},
            )
        accepted = answer.json()
        assert (answer.status_code, accepted["status"]) == (202, "accepted")
        vendor.release()
        await client.idle(accepted["session_key"])


async def test_a_wake_sent_again_is_the_same_wake(gateway: Gateway, vendor: ObedientVendor) -> None:
    sent: Any = {"json": {"message": "once"}, "headers": {"Idempotency-Key": "k-1"}}
    async with gateway.http() as http:
        first = await http.post("/v1/agents/default/wake", **sent)
        again = await http.post("/v1/agents/default/wake", **sent)
        other = await http.post("/v1/agents/default/wake", headers=sent["headers"], json={"message": "twice"})

    assert again.json() == first.json()
    assert again.headers["Idempotent-Replay"] == "true"
    assert vendor.asked.count("once") == 1
    assert other.status_code == 409


async def test_who_leaves_takes_his_wake_along(gateway: Gateway, vendor: ObedientVendor) -> None:
    async with gateway.http() as http, trio.open_nursery() as nursery:

        async def call() -> None:
            await http.post("/v1/agents/default/wake", json={"message": "!hold-2"})

        nursery.start_soon(call)
        await vendor.holds(1)
        nursery.cancel_scope.cancel()
    with trio.fail_after(PATIENCE):
        await vendor.is_left()


async def test_a_wake_that_takes_too_long_is_stopped(gateway: Gateway, vendor: ObedientVendor) -> None:
    async with gateway.http() as http:
        answer = await http.post("/v1/agents/default/wake", json={"message": "!hold-2", "timeout_sec": 1})

    assert (answer.status_code, answer.json()["code"]) == (504, "AGENT_TIMEOUT")
    with trio.fail_after(PATIENCE):
        await vendor.is_left()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "message"),
        ({"message": ""}, "message"),
        ({"message": "x", "timeout_sec": 0}, "timeout_sec"),
        ({"message": "x", "session_key": "agent:other:x"}, "session_key"),
        ({"message": "x", "metadata": {"a": "b" * 70_000}}, "metadata"),
        ({"message": "x", "user_id": "a\nb"}, "user_id"),
    ],
)
async def test_a_wake_that_cannot_be_is_refused_by_name(gateway: Gateway, body: Json, field: str) -> None:
    async with gateway.http() as http:
        answer = await http.post("/v1/agents/default/wake", json=body)

    assert answer.status_code == 400
    assert answer.json()["details"]["field"] == field


# --- a death between the commit and the bell ------------------------------------------------------


async def test_a_tick_that_was_committed_and_never_told_runs_once_after_the_restart(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "home", {}, GOCLAW_CRASH_AT="cron.fired")
    gateway.start()
    async with gateway.client() as client:
        job = await make(client, schedule={"kind": "every", "everyMs": 1000}, name="tick")
        await client.close_code()
    assert await gateway.ended() == -9

    del gateway.environ["GOCLAW_CRASH_AT"]
    with running(gateway):
        async with gateway.client() as client:
            await client.ask("cron.toggle", jobId=job["id"], enabled=False)

            async def more() -> None:
                seen = len(client.frames)
                await client.until(lambda: client.frames[seen:])

            while gateway.rows("SELECT FROM cron_run_logs WHERE status = 'running'"):
                await more()
        log = gateway.rows(
            "SELECT l.status, r.state FROM cron_run_logs l JOIN runs r ON r.run_id = l.run_id ORDER BY l.scheduled_at"
        )
        doubled = gateway.rows("SELECT ingress_key FROM runs GROUP BY 1 HAVING count(*) > 1")
    assert log[0] == ("ok", "SUCCEEDED")
    assert doubled == []
