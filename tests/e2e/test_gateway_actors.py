"""Operators at work on a real gateway, over HTTP and over a socket. Contract: edge-http.md §26, supervision.md §15."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import trio

from goclaw.domain.access import MASTER_TENANT
from tests.e2e.gateway import PATIENCE, TERMINAL, Client, Gateway, Json, ObedientVendor, Refusal
from tests.e2e.operators import following, node_of, told_of

WATCHDOG = "/system/watchdog"
HOLDER = "/system/drain"  # somebody who has nothing to do


@pytest.fixture
async def http(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway.http(x_goclaw_user_id="lan") as client:
        yield client


def session_path(key: str) -> str:
    return f"/sessions/{MASTER_TENANT}/{key}"


# --- looking --------------------------------------------------------------------------------------


async def test_the_tree_is_filtered_and_ancestors_stay(http: httpx.AsyncClient) -> None:
    async def paths(**asked: Any) -> list[str]:
        found, nodes = [], [(await http.get("/v1/actors", params={"depth": 16, **asked})).json()["root"]]
        for node in nodes:
            nodes += node.get("children", [])
            found.append(node["path"])
        return found

    assert await paths(**{"class": "Watchdog"}) == ["/", "/system", WATCHDOG]
    assert await paths(text="pg.pool") == ["/", "/infra", "/infra/stores", "/infra/stores/pg.pool"]
    assert "/system/watchdog" not in await paths(kind="supervisor")
    assert await paths(state="quarantined") == ["/"]
    assert await paths(min_restarts=1000) == ["/"]
    assert await paths(path="/system", depth=1) == [
        "/system",
        "/system/watchdog",
        "/system/deadletters",
        "/system/drain",
        "/system/chaos",
    ]


async def test_live_fields_leave_out_what_rarely_changes(http: httpx.AsyncClient) -> None:
    asked = {"path": WATCHDOG, "fields": "live"}
    node = (await http.get("/v1/actors", params=asked)).json()["root"]
    (flat,) = (await http.get("/v1/actors", params={**asked, "format": "flat"})).json()["actors"]

    members = {"path", "state", "incarnation", "mailbox", "in_hand", "counters", "restarts_window", "latency_us"}
    assert set(flat) == members | {"node_id"}
    assert set(node) == set(flat) | {"children"}
    assert set(node["latency_us"]["wait"]) == {"p95"}


async def test_a_flat_list_is_paged_and_sorted(http: httpx.AsyncClient) -> None:
    async def page(**asked: Any) -> Json:
        found: Json = (await http.get("/v1/actors", params={"format": "flat", **asked})).json()
        return found

    whole = await page(limit=500)
    first, second = await page(limit=1), await page(limit=1, offset=1)
    assert set(whole) == {"actors", "total", "limit", "offset"}
    assert whole["total"] == len(whole["actors"]) > 15
    assert [first["actors"][0]["path"], second["actors"][0]["path"]] == ["/", "/system"]
    assert (second["limit"], second["offset"]) == (1, 1)
    assert (await page(text="/engine/lanes/"))["total"] == 4
    slowest = [node["latency_us"]["handle"]["p95"] for node in (await page(sort="handle"))["actors"]]
    assert slowest == sorted(slowest, reverse=True)
    assert (await page(sort="restarts", path="/engine"))["actors"] == []


async def test_an_actor_is_shown_with_what_it_says_about_itself(http: httpx.AsyncClient, client: Client) -> None:
    node = await node_of(http, WATCHDOG)

    assert set(node["snapshot"]) == {"loop_lag_ms", "worst_ms"}
    assert (node["kind"], node["state"], node["restart"]) == ("io", "running", "permanent")
    assert node["bytes"] > 0
    told = await client.ask("actors.get", path=WATCHDOG)
    assert {name: told[name] for name in ("path", "class", "node_id")} == {
        name: node[name] for name in ("path", "class", "node_id")
    }


async def test_a_path_in_a_url_may_be_spelt_in_three_ways(
    http: httpx.AsyncClient, client: Client, vendor: ObedientVendor
) -> None:
    await client.chat("hello", "agent:default:ws:direct:a/ü")
    path = session_path("agent:default:ws:direct:a%2F%C3%BC")

    for spelt in (path.replace("%", "%25"), path, path.replace("%", "%25").replace(":", "%3A")):
        answer = await http.get(f"/v1/actors{spelt}")
        assert (answer.status_code, answer.json()["path"]) == (200, path), spelt


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ("depth=0", "depth"),
        ("depth=17", "depth"),
        ("depth=x", "depth"),
        ("kind=animal", "kind"),
        ("state=asleep", "state"),
        ("min_restarts=-1", "min_restarts"),
        ("fields=dead", "fields"),
        ("format=cube", "format"),
        ("format=flat&sort=name", "sort"),
        ("sort=wait", "sort"),
        ("format=flat&limit=0", "limit"),
        ("format=flat&limit=501", "limit"),
        ("format=flat&offset=-1", "offset"),
        ("path=%2F..%2Fx", "path"),
    ],
)
async def test_a_bad_parameter_is_named(http: httpx.AsyncClient, asked: str, field: str) -> None:
    answer = await http.get(f"/v1/actors?{asked}")

    assert (answer.status_code, answer.json()["details"]["field"]) == (400, field)


@pytest.mark.parametrize(
    ("verb", "asked", "field"),
    [
        ("restart", {"mode": "gently"}, "mode"),
        ("restart", {"timeout_ms": 60_001}, "timeout_ms"),
        ("restart", {"timeout_ms": "5"}, "timeout_ms"),
        ("stop", {"reason": "x" * 501}, "reason"),
        ("stop", {"incarnation": "one"}, "incarnation"),
        ("suspend", {"reason": 5}, "reason"),
        ("probe", {"timeout_ms": 3001}, "timeout_ms"),
        ("probe", {"timeout_ms": 0}, "timeout_ms"),
        ("trace", {"count": 1001}, "count"),
        ("trace", {"seconds": 61}, "seconds"),
        ("trace", {"include_body": 1}, "include_body"),
    ],
)
async def test_a_bad_order_is_named(http: httpx.AsyncClient, verb: str, asked: Json, field: str) -> None:
    answer = await http.post(f"/v1/actors{WATCHDOG}/{verb}", json=asked)

    assert (answer.status_code, answer.json()["details"]["field"]) == (400, field)


# --- acting over HTTP -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["graceful", "kill"])
async def test_a_restart_is_accepted_told_and_written_down(
    gateway: Gateway, http: httpx.AsyncClient, mode: str
) -> None:
    before = (await node_of(http, WATCHDOG))["incarnation"]
    async with following(http, path="/system") as told:
        order = {"mode": mode, "reason": f"to see ({mode})", "incarnation": before}
        answer = await http.post(f"/v1/actors{WATCHDOG}/restart", json=order)

        assert answer.status_code == 202
        assert answer.json() == {"path": WATCHDOG, "action": "restart", "incarnation": before}
        ended = await told.hears("actor.stopped", WATCHDOG)
        again = await told.hears("actor.restarted", WATCHDOG)
    assert (ended["incarnation"], ended["by"]) == (before, "lan")
    assert (again["incarnation"], again["by"], again["class"], again["kind"]) == (before + 1, "lan", "Watchdog", "io")
    assert {"at", "node_id"} <= set(again)
    node = await node_of(http, WATCHDOG)
    assert (node["incarnation"], node["state"], node["restarts_window"]) == (before + 1, "running", 0)

    query = """SELECT actor_id, entity_type, entity_id, details, ip_address FROM activity_logs
        WHERE action = %s AND details->>'reason' = %s"""
    written = await rows(http, gateway, query, "actor.restarted", order["reason"])
    details = {"path": WATCHDOG, "incarnation": before, "mode": mode, "reason": order["reason"]}
    assert written == [("lan", "actor", WATCHDOG, details, "127.0.0.1")]


async def test_a_stopped_actor_stays_down_until_it_is_restarted(http: httpx.AsyncClient) -> None:
    async with following(http, path=HOLDER) as told:
        stopped = await http.post(f"/v1/actors{HOLDER}/stop?reason=quiet")
        assert (stopped.status_code, stopped.json()["action"], "state" in stopped.json()) == (202, "stop", False)
        await told.hears("actor.stopped", HOLDER)
        assert (await node_of(http, HOLDER))["state"] == "stopped"

        again = await http.post(f"/v1/actors{HOLDER}/stop")
        assert (again.status_code, again.json()["state"]) == (200, "stopped")
        held = await http.post(f"/v1/actors{HOLDER}/suspend")
        assert (held.status_code, held.json()["details"]["reason"]) == (409, "not_running")
        assert (await http.post(f"/v1/actors{HOLDER}/probe", json={"timeout_ms": 50})).json()["ok"] is False

        assert (await http.post(f"/v1/actors{HOLDER}/restart")).status_code == 202
        await told.hears("actor.restarted", HOLDER)
    assert (await node_of(http, HOLDER))["state"] == "running"


async def test_a_suspended_actor_lets_its_messages_wait(http: httpx.AsyncClient) -> None:
    assert (await http.post(f"/v1/actors{WATCHDOG}/suspend", json={"reason": "look"})).status_code == 202
    assert (await http.post(f"/v1/actors{WATCHDOG}/probe")).json()["ok"] is True
    assert (await node_of(http, WATCHDOG))["state"] == "suspended"

    assert (await http.post(f"/v1/actors{WATCHDOG}/resume")).status_code == 202
    assert (await http.post(f"/v1/actors{WATCHDOG}/probe")).json()["ok"] is True
    assert (await node_of(http, WATCHDOG))["state"] == "running"


async def test_a_trace_records_envelopes_as_an_array_and_as_a_stream(http: httpx.AsyncClient) -> None:
    asked = {"count": 2, "seconds": 10}
    whole = await http.post(
        f"/v1/actors{WATCHDOG}/trace", json={**asked, "include_body": True}, headers={"Accept": "application/json"}
    )
    assert whole.status_code == 200
    assert [one["type"] for one in whole.json()] == ["system.beat"] * 2
    members = {"at", "type", "from", "kind", "wait_ms", "handle_ms", "outcome", "body"}
    assert [set(one) for one in whole.json()] == [members] * 2
    assert {(one["kind"], one["outcome"], str(one["body"])) for one in whole.json()} == {("tell", "handled", "{}")}
    streamed = await http.post(f"/v1/actors{WATCHDOG}/trace", params=asked)
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert streamed.text.count("event: envelope\n") == 2
    assert '"body"' not in streamed.text


# --- acting over a socket -------------------------------------------------------------------------


async def test_a_socket_looks_acts_and_hears(client: Client) -> None:
    started = await client.ask("actors.subscribe", action="start", path="/system", types=["actor.restarted"])
    tree = await client.ask("actors.tree", path="/system", depth=1, **{"class": "Watchdog"})
    (node,) = tree["root"]["children"]
    assert started == {"status": "subscribed"}
    assert (tree["root"]["path"], node["path"]) == ("/system", WATCHDOG)
    assert {"generatedAt", "totals"} <= set(tree)

    restarted = await client.ask("actors.restart", path=WATCHDOG, timeoutMs=1000, incarnation=node["incarnation"])

    assert restarted == {"path": WATCHDOG, "action": "restart", "incarnation": node["incarnation"]}
    told = await client.until(lambda: told_of(client, "actor.restarted", WATCHDOG))
    assert (told["incarnation"], told["by"]) == (node["incarnation"] + 1, "lan")
    assert {frame["event"] for frame in client.events if frame["event"].startswith("actor.")} == {"actor.restarted"}

    with pytest.raises(Refusal) as refused:
        await client.ask("actors.restart", path=WATCHDOG, incarnation=node["incarnation"])
    assert (refused.value.code, refused.value.reason) == ("FAILED_PRECONDITION", "incarnation_changed")
    assert refused.value.details["incarnation"] == node["incarnation"] + 1


async def test_a_socket_stops_and_is_told_no_more_after_it_unsubscribed(client: Client) -> None:
    await client.ask("actors.subscribe", action="start", path=HOLDER)
    assert (await client.ask("actors.stop", path=HOLDER))["action"] == "stop"
    told = await client.until(lambda: told_of(client, "actor.stopped", HOLDER))
    assert (told["reason"], told["by"]) == ("shutdown", "lan")

    assert await client.ask("actors.subscribe", action="stop") == {"status": "unsubscribed"}
    heard = len(client.events)
    await client.ask("actors.restart", path=HOLDER)
    while (await client.ask("actors.get", path=HOLDER))["state"] != "running":
        pass
    assert [frame["event"] for frame in client.events[heard:] if frame["event"].startswith("actor.")] == []


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"action": "perhaps"}, "action"),
        ({}, "action"),
        ({"action": "start", "types": ["actor.born"]}, "types"),
        ({"action": "start", "path": "system"}, "path"),
    ],
)
async def test_a_bad_subscription_is_named(client: Client, asked: Json, field: str) -> None:
    with pytest.raises(Refusal) as refused:
        await client.ask("actors.subscribe", **asked)

    assert (refused.value.code, refused.value.details["field"]) == ("INVALID_REQUEST", field)


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["restart", "stop", "suspend", "resume"])
@pytest.mark.parametrize("path", ["/system", "/edge", "/sessions", "/edge/listener"])
async def test_what_holds_the_house_is_not_touched(http: httpx.AsyncClient, path: str, verb: str) -> None:
    answer = await http.post(f"/v1/actors{path}/{verb}")

    assert (answer.status_code, answer.json()["details"]["reason"]) == (403, "protected")


async def test_a_socket_can_neither_end_the_root_nor_itself(client: Client, http: httpx.AsyncClient) -> None:
    own = f"/edge/conns/{client.welcome['connection_id']}"
    for path, reason in (("/", "protected"), (own, "own_connection")):
        for method in ("actors.restart", "actors.stop"):
            with pytest.raises(Refusal) as refused:
                await client.ask(method, path=path)
            assert (refused.value.code, refused.value.reason) == ("FORBIDDEN", reason)
    others = await http.post(f"/v1/actors{own}/stop")
    assert (others.status_code, others.json()["details"]["reason"]) == (409, "no_actor")


async def test_a_run_is_not_restarted_and_gone_when_it_has_ended(
    http: httpx.AsyncClient, client: Client, vendor: ObedientVendor, key: str
) -> None:
    request = await client.send("chat.send", message="!hold-1", sessionKey=key)
    run = f"/engine/lanes/main/{await client.run_of(request)}"
    await vendor.holds(1)

    assert (await node_of(http, run))["restart"] == "temporary"
    answer = await http.post(f"/v1/actors{run}/restart")
    assert (answer.status_code, answer.json()["details"]["reason"]) == (409, "temporary")

    vendor.release()
    await client.answer(request)
    async with following(http, "0", path=run) as told:
        await told.hears("actor.stopped", run)
    gone = await http.post(f"/v1/actors{run}/stop")
    assert (gone.status_code, gone.json()["code"]) == (410, "GONE")
    assert gone.json()["details"]["last_incarnation"] == 1
    with pytest.raises(Refusal) as refused:
        await client.ask("actors.get", path=run)
    assert refused.value.code == "GONE"


@pytest.mark.parametrize("verb", ["restart", "stop", "suspend", "resume", "probe", "trace"])
async def test_nobody_lives_there(http: httpx.AsyncClient, verb: str) -> None:
    answer = await http.post(f"/v1/actors/no/such/actor/{verb}")

    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


async def test_only_verbs_are_posted(http: httpx.AsyncClient) -> None:
    assert (await http.post("/v1/actors/system/watchdog")).status_code == 405
    assert (await http.post("/v1/actors/system/watchdog/dance")).status_code == 405


# --- following ------------------------------------------------------------------------------------


async def test_a_stream_goes_on_where_it_broke_off(http: httpx.AsyncClient) -> None:
    async with following(http, path=WATCHDOG, types="actor.restarted") as told:
        await http.post(f"/v1/actors{WATCHDOG}/restart")
        first = await told.next()
        last = told.seen[0]["id"]
    await http.post(f"/v1/actors{WATCHDOG}/restart")

    async with following(http, last, path=WATCHDOG, types="actor.restarted") as told:
        again, second = await told.next(), await told.next()

    assert again == first
    assert second["data"]["incarnation"] == first["data"]["incarnation"] + 1
    assert int(second["id"]) > int(first["id"]) > int(last)


async def test_who_comes_with_a_foreign_number_is_told_of_a_gap(http: httpx.AsyncClient) -> None:
    async with following(http, "17", path="/system/watchdog", types="actor.started") as told:
        gap = await told.next()
        born = await told.next()

    assert (gap["event"], gap["data"]["missed"] >= 0) == ("gap", True)
    assert (born["event"], born["data"]["path"]) == ("actor.started", WATCHDOG)


@pytest.mark.parametrize(
    ("asked", "last", "field"),
    [
        ("types=actor.crashed,actor.born", "", "types"),
        ("kind=animal", "", "kind"),
        ("path=system", "", "path"),
        ("", "yesterday", "Last-Event-ID"),
    ],
)
async def test_a_stream_nobody_can_mean_is_refused(http: httpx.AsyncClient, asked: str, last: str, field: str) -> None:
    answer = await http.get(f"/v1/actors/events?{asked}", headers={"Last-Event-ID": last} if last else {})

    assert (answer.status_code, answer.json()["details"]["field"]) == (400, field)


# --- dead letters ---------------------------------------------------------------------------------


async def test_a_message_that_waited_in_a_stopped_actor_is_a_dead_letter(http: httpx.AsyncClient) -> None:
    await http.post(f"/v1/actors{WATCHDOG}/suspend")
    async with following(http, path=WATCHDOG) as told:
        while not (await node_of(http, WATCHDOG))["mailbox"]["depth"]:
            pass
        await http.post(f"/v1/actors{WATCHDOG}/stop")
        await told.hears("actor.stopped", WATCHDOG)
        found = (await http.get("/v1/actors/deadletters", params={"reason": "stopped", "limit": 1})).json()
        await http.post(f"/v1/actors{WATCHDOG}/restart")
        await told.hears("actor.restarted", WATCHDOG)

    (letter,) = found["deadletters"]
    assert set(letter) == {"seq", "at", "to", "from", "type", "reason", "size", "trace_id"}
    assert (letter["to"], letter["type"], letter["reason"]) == (WATCHDOG, "system.beat", "stopped")
    assert found["total"] >= 1
    assert next(c["count"] for c in found["counters"] if (c["reason"], c["type"]) == ("stopped", "system.beat")) >= 1
    assert (await http.get("/v1/actors/deadletters?limit=0")).json()["details"]["field"] == "limit"


# --- B1 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("surface", ["http", "socket"])
async def test_a_session_killed_while_its_run_streams_loses_nothing(
    http: httpx.AsyncClient, client: Client, vendor: ObedientVendor, key: str, surface: str
) -> None:
    request = await client.send("chat.send", message="!hold-3", sessionKey=key)
    run_id = await client.run_of(request)
    await vendor.holds(1)
    path = session_path(key)
    before = (await node_of(http, path))["incarnation"]
    async with following(http, path=path) as told:
        if surface == "http":
            answer = await http.post(f"/v1/actors{path}/restart?mode=kill")
            assert (answer.status_code, answer.json()["incarnation"]) == (202, before)
        else:
            assert (await client.ask("actors.restart", path=path, mode="kill"))["incarnation"] == before
        assert (await told.hears("actor.restarted", path))["incarnation"] == before + 1
    vendor.release()

    assert (await client.answer(request))["runId"] == run_id
    await client.idle(key)
    ends = [event["type"] for event in client.run_events(run_id) if event["type"] in TERMINAL]
    assert ends == ["run.completed"]
    said = [(message["role"], message["content"]) for message in await client.history(key)]
    assert said == [("user", "!hold-3"), ("assistant", "word0 word1 word2 end")]
    assert (await client.chat("next", key))["content"] == "echo next"


async def test_a_virtual_actor_that_was_stopped_comes_back_with_its_next_message(
    http: httpx.AsyncClient, client: Client, vendor: ObedientVendor, key: str
) -> None:
    await client.chat("hello", key)
    await client.idle(key)
    async with following(http, path=session_path(key)) as told:
        answer = await http.post(f"/v1/actors{session_path(key)}/stop", json={"mode": "kill"})
        assert (answer.status_code, answer.json()["virtual"]) == (202, True)
        await told.hears("actor.stopped", session_path(key))
    assert (await http.get(f"/v1/actors{session_path(key)}")).status_code == 410

    assert (await client.chat("again", key))["content"] == "echo again"
    assert (await node_of(http, session_path(key)))["state"] == "running"


async def rows(http: httpx.AsyncClient, gateway: Gateway, query: str, *values: object) -> list[tuple[Any, ...]]:
    """What is written within a second or two of being done."""
    with trio.fail_after(PATIENCE):
        while not (found := gateway.rows(query, *values)):
            await http.get("/health")
    return found
