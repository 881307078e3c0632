"""What operators find out whatever happens meanwhile. Contract: edge-http.md §26, §26.1; supervision.md §20."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx
import pytest
import trio

from goclaw.domain.access import MASTER_TENANT
from tests.e2e.gateway import PATIENCE, Gateway, Json, ObedientVendor, VendorPlace, running, with_vendor
from tests.e2e.operators import following, node_of, told_of

DATABASE = "/infra/stores/pg.embedded"
SESSIONS = 5000
SOCKETS = 28  # each may send fewer than 200 frames in ten seconds


async def crashes(http: httpx.AsyncClient, **asked: str) -> list[Json]:
    """Lines of the log as soon as there are some; 503 while the database is away."""
    with trio.fail_after(PATIENCE):
        while True:
            answer = await http.get("/v1/actor-crashes", params=asked)
            assert answer.status_code in (200, 503), answer.text
            if answer.status_code == 200 and (found := answer.json()["crashes"]):
                return list(found)


async def test_a_crash_is_written_down_although_the_database_is_what_crashed(
    gateway: Gateway, vendor: ObedientVendor
) -> None:
    gateway.forgiven = "DatabaseGone"
    async with gateway.http(x_goclaw_user_id="system") as http, gateway.client() as client:
        await client.ask("actors.subscribe", action="start", path="/infra", types=["actor.crashed", "actor.restarted"])
        os.kill(gateway.postmaster, signal.SIGKILL)
        told = await client.until(lambda: told_of(client, "actor.crashed", DATABASE))
        assert told["error"]["type"] == "DatabaseGone"
        assert set(told["error"]) == {"type", "message", "fingerprint"}
        assert (await http.get("/health")).json()["status"] == "degraded"  # a critical actor is not there
        await client.until(lambda: told_of(client, "actor.restarted", DATABASE))

        (crash,) = await crashes(http, path=DATABASE, event="crashed")
        assert crash.items() >= {"class": "EmbeddedDatabase", "incarnation": 1, "error_type": "DatabaseGone"}.items()
        assert crash["fingerprint"] == told["error"]["fingerprint"]
        assert "raise DatabaseGone" in crash["traceback"]
        assert (crash["supervisor"], crash["strategy"]) == ("/infra/stores", "one_for_one")
        (again,) = await crashes(http, path="/infra", event="restarted", **{"class": "EmbeddedDatabase"})
        assert again["backoff_ms"] >= 0
        assert (await node_of(http, "/infra/actor_log"))["restarts_total"] == 0
        assert (await http.get("/health")).json()["status"] == "ok"
        assert (await node_of(http, DATABASE))["last_crash"]["traceback"] == crash["traceback"]

    assert await gateway.terminate() == 0
    gateway.start()

    async with gateway.http(x_goclaw_user_id="system") as http:
        assert await crashes(http, fingerprint=crash["fingerprint"], event="crashed") == [crash]
        groups = (await http.get("/v1/actor-crashes?group=true")).json()["groups"]
        assert [(group["fingerprint"], group["count"], group["paths"]) for group in groups] == [
            (crash["fingerprint"], 1, [DATABASE])
        ]
        for asked, field in (
            ({"event": "born"}, "event"),
            ({"fingerprint": "abc"}, "fingerprint"),
            ({"from": "yesterday"}, "from"),
            ({"to": "2026-01-01T00:00:00"}, "to"),
            ({"limit": "501"}, "limit"),
            ({"group": "maybe"}, "group"),
        ):
            refused = await http.get("/v1/actor-crashes", params=asked)
            assert (refused.status_code, refused.json()["details"]["field"]) == (400, field)
        later = {"from": crash["at"], "to": crash["at"]}
        assert (await http.get("/v1/actor-crashes", params=later)).json()["crashes"] == []


async def test_orders_work_while_the_database_is_away_and_are_written_afterwards(
    gateway: Gateway, vendor: ObedientVendor
) -> None:
    gateway.forgiven = "DatabaseGone"
    async with gateway.http(x_goclaw_user_id="system") as http:
        async with following(http, path=DATABASE) as told:
            assert (await http.post(f"/v1/actors{DATABASE}/stop", json={"reason": "storm"})).status_code == 202
            os.kill(gateway.postmaster, signal.SIGKILL)
            await told.hears("actor.stopped", DATABASE)
            assert (await http.get("/health")).json()["status"] == "degraded"
            assert (await http.get("/v1/actors?depth=16")).status_code == 200
            assert (await http.post("/v1/actors/system/watchdog/restart")).status_code == 202
            assert (await http.post(f"/v1/actors{DATABASE}/restart")).status_code == 202
            await told.hears("actor.restarted", DATABASE)

        (stopped,) = await crashes(http, path=DATABASE, event="stopped")
        assert stopped["by"] == "system"
        assert len(await crashes(http, path="/system/watchdog", event="restarted")) == 1
        with trio.fail_after(PATIENCE):
            while (await node_of(http, "/infra/activity"))["snapshot"]["waiting"]:
                pass
    written = gateway.rows("SELECT action, entity_id FROM activity_logs ORDER BY created_at, id")
    assert written == [
        ("actor.stopped", DATABASE),
        ("actor.restarted", "/system/watchdog"),
        ("actor.restarted", DATABASE),
    ]


async def test_a_stream_ends_with_the_gateway(gateway: Gateway) -> None:
    async with gateway.http(x_goclaw_user_id="system") as http:
        assert (await http.head("/v1/actors/events")).content == b""
        async with following(http) as told:
            assert await gateway.terminate() == 0
            with pytest.raises(EOFError):
                await told.until(lambda frame: False)


async def test_five_thousand_sessions_fit_into_one_look(gateway: Gateway) -> None:
    adds = """INSERT INTO sessions (id, tenant_id, session_key, agent_key, user_id)
        SELECT gen_random_uuid(), %s, 'agent:default:ws:direct:' || n, 'default', 'lan' FROM generate_series(1, %s) n
        RETURNING session_key"""
    keys = [row[0] for row in gateway.rows(adds, MASTER_TENANT, SESSIONS)]

    async def wake(mine: list[str]) -> None:
        async with gateway.client() as client:
            for some in range(0, len(mine), 50):
                asked = [await client.send("chat.session.status", sessionKey=key) for key in mine[some : some + 50]]
                for id in asked:
                    await client.answer(id)

    async with trio.open_nursery() as nursery:
        for number in range(SOCKETS):
            nursery.start_soon(wake, keys[number::SOCKETS])

    async with gateway.http(x_goclaw_user_id="system") as http:
        answer = await http.get("/v1/actors?depth=16")

        found = answer.json()
        assert answer.status_code == 200
        sessions = next(child for child in found["root"]["children"] if child["path"] == "/sessions")
        assert (sessions["children_total"], len(sessions["children"]), sessions["more"]) == (SESSIONS, 200, True)
        assert sessions["children_by_class"] == {"Session": SESSIONS}
        assert found["totals"]["by_class"]["Session"] == SESSIONS
        assert found["totals"]["actors"] == sum(found["totals"]["by_state"].values()) > SESSIONS
        flat = (await http.get("/v1/actors?format=flat&path=/sessions&class=Session&limit=500&offset=4900")).json()
        assert (flat["total"], len(flat["actors"])) == (SESSIONS, 100)


async def test_who_wants_no_admin_tree_has_none(tmp_path: Path, place: VendorPlace) -> None:
    config = with_vendor(place, gateway={"admin_tree": False, "drain_sec": 3})
    with running(Gateway(tmp_path / "closed", config)) as gateway:
        async with gateway.http() as http, gateway.client() as client:
            for verb, path in (
                ("GET", "/v1/actors"),
                ("GET", "/v1/actors/system"),
                ("GET", "/v1/actors/events"),
                ("GET", "/v1/actors/deadletters"),
                ("GET", "/v1/actor-crashes"),
                ("POST", "/v1/actors/system/watchdog/restart"),
                ("POST", "/v1/actors/system/watchdog/trace"),
            ):
                assert (await http.request(verb, path)).status_code == 404, path
            assert [name for name in client.welcome["methods"] if name.startswith("actors.")] == []
            assert not [path for path in (await http.get("/v1/openapi.json")).json()["paths"] if "/actor" in path]
            assert (await http.get("/v1/sessions")).status_code in (200, 400)
        assert gateway.complaints() == []
