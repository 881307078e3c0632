"""Resource locks and the quota through the doors. Contract: sessions-lanes-cron.md §8.1, §11; edge-http.md §23."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.gateway import Client, Gateway, Json, ObedientVendor, Refusal, running
from tests.e2e.test_gateway_cron import cron_event


async def test_two_tasks_with_one_key_take_turns_and_everybody_can_see_it(
    gateway: Gateway, client: Client, vendor: ObedientVendor
) -> None:
    async with gateway.http(x_goclaw_user_id="lan") as http:

        async def start(content: str, **more: object) -> Json:
            answer = await http.post("/v1/runs", json={"content": content, **more})
            assert answer.status_code == 202, answer.text
            run: Json = answer.json()
            return run

        first = await start("[keys: repo:A, src/x.py] !hold-1")
        await vendor.holds(1)
        second = await start("!hold-1", resource_keys=["Repo:A"])
        await start("[keys: repo:b] !hold-1")
        await vendor.holds(2)

        assert vendor.asked == ["!hold-1", "!hold-1"], "the model is not told of keys"
        shown = (await http.get(f"/v1/runs/{second['id']}")).json()
        assert (shown["state"], shown["sub_status"], shown["resource_keys"]) == ("QUEUED", "resource_lock", ["repo:a"])
        locks = {lock["key"]: lock for lock in (await http.get("/v1/locks")).json()["locks"]}
        assert set(locks) == {"file:src/x.py", "repo:a", "repo:b"}
        assert locks["repo:a"]["holder_run_id"] == first["id"]
        assert [waiter["run_id"] for waiter in locks["repo:a"]["waiters"]] == [second["id"]]
        assert locks["repo:b"]["waiters"] == []
        status = await client.chat("/status", second["session_key"])
        assert f"Run {second['id']} waits for repo:a." in status["content"]

        vendor.release()
        await client.hears("run.completed", second["id"])
        assert (await http.get("/v1/locks")).json() == {"locks": []}

        many = ", ".join(f"k{n}" for n in range(21))
        refused = await http.post("/v1/runs", json={"content": f"[keys: {many}] go"})
        assert (refused.status_code, refused.json()["details"]["field"]) == (400, "keys")
        empty = await http.post("/v1/runs", json={"content": "[keys: repo:a]"})
        assert empty.status_code == 400


async def test_who_has_used_up_his_quota_is_told_so_at_every_door(tmp_path: Path) -> None:
    quota = {"enabled": True, "default": {"hour": 2}, "channels": {"ws": {"hour": 3}}, "groups": {"-100": {"day": 1}}}
    with running(Gateway(tmp_path, {"gateway": {"quota": quota}})) as gateway:
        async with gateway.http(x_goclaw_user_id="minh") as http, gateway.client("minh") as client:
            for _ in range(2):
                assert (await http.post("/v1/runs", json={"content": "hello"})).status_code == 202

            asked = {"messages": [{"role": "user", "content": "hello"}]}
            for refused in (
                await http.post("/v1/runs", json={"content": "hello"}),
                await http.post("/v1/chat/completions", json=asked),
            ):
                assert refused.status_code == 429
                assert 3590 <= int(refused.headers["retry-after"]) <= 3600
                assert "Quota exceeded: 2/2 requests this hour. Try again later." in refused.text
            await client.chat("hello", "agent:default:ws:direct:1")  # this channel has a limit of its own
            with pytest.raises(Refusal) as over:
                await client.chat("hello", "agent:default:ws:direct:1")
            assert (over.value.code, over.value.reason) == ("RESOURCE_EXHAUSTED", "quota")

            used = await client.ask("quota.usage")
            assert used["inputTokensToday"] > 0
            assert {**used, "inputTokensToday": 0, "outputTokensToday": 0} == {
                "enabled": True,
                "requestsToday": 3,
                "inputTokensToday": 0,
                "outputTokensToday": 0,
                "costToday": None,
                "uniqueUsersToday": 1,
                "entries": [
                    {
                        "userId": "minh",
                        "hour": {"used": 3, "limit": 2},
                        "day": {"used": 3, "limit": 0},
                        "week": {"used": 3, "limit": 0},
                    }
                ],
            }
        async with gateway.http(x_goclaw_user_id="system") as owner:
            for _ in range(3):
                assert (await owner.post("/v1/runs", json={"content": "hello"})).status_code == 202


async def test_a_job_declares_keys_once_and_every_run_of_it_has_them(client: Client, vendor: ObedientVendor) -> None:
    given = {"name": "keyed", "schedule": {"kind": "cron", "expr": "0 * * * *"}}
    job = (await client.ask("cron.create", **given, message="[keys: repo:a] look"))["job"]

    ran = await client.ask("cron.run", jobId=job["id"], mode="force")
    await cron_event(client, job["id"], "completed")

    assert job["payload"]["message"] == "[keys: repo:a] look"
    assert vendor.asked[0].endswith("] look")
    assert (await client.ask("runs.get", runId=ran["runId"]))["run"]["resource_keys"] == ["repo:a"]
    with pytest.raises(Refusal) as refused:
        await client.ask("cron.update", jobId=job["id"], message=f"[keys: {'x' * 201}] look")
    assert refused.value.details["field"] == "keys"
    await client.ask("cron.delete", jobId=job["id"])
