"""The socket's manners: who may speak, what is refused and how, when it hangs up. Contract: edge-websocket.md §1–§5."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
import trio

from tests.e2e.gateway import PATIENCE, Client, Gateway, ObedientVendor, Refusal


async def refusal(client: Client, text: str) -> dict[str, Any]:
    """The error a raw frame is answered with, and the id it is answered to."""
    seen = len(client.frames)
    await client.raw(text)
    frame = await client.until(lambda: next((f for f in client.frames[seen:] if f["type"] == "res"), None))
    assert frame["ok"] is False
    return {"id": frame["id"], **frame["error"]}


# --- connect --------------------------------------------------------------------------------------


async def test_whoever_shows_the_token_is_welcomed_as_admin(gateway: Gateway) -> None:
    async with gateway.client(user="minh") as client:
        assert client.welcome.items() >= {"protocol": 3, "role": "admin", "user_id": "minh", "locale": "en"}.items()
        assert client.welcome["is_owner"] is client.welcome["cross_tenant"] is False
        assert client.welcome["connection_id"].startswith("conn_")
        assert client.welcome["server"]["name"] == "goclaw"
        limits = {"maxMessageBytes": 524_288, "pingIntervalMs": 30_000, "outboxFrames": 256, "resumeWindowMs": 600_000}
        assert client.welcome["limits"] == limits
        assert set(client.welcome["stateVersion"]) == {"presence", "health"}
        assert {"chat.send", "tenants.mine", "sessions.list"} <= set(client.welcome["methods"])


async def test_a_configured_owner_is_told_so(client: Client) -> None:
    assert client.welcome["is_owner"] is client.welcome["cross_tenant"] is True


async def test_every_caller_has_a_tenant(client: Client) -> None:
    (mine,) = (await client.ask("tenants.mine"))["tenants"]

    assert mine["id"] == client.welcome["tenant_id"]


@pytest.mark.parametrize(
    ("params", "code", "details"),
    [
        ({}, "UNAUTHORIZED", {"reason": "unauthenticated"}),
        ({"token": ""}, "UNAUTHORIZED", {"reason": "unauthenticated"}),
        ({"token": "wrong"}, "UNAUTHORIZED", {"reason": "bad_credential"}),
        ({"token": "goclaw_0f3c9a7be1d24c6f8a90b1c2d3e4f506"}, "UNAUTHORIZED", {"reason": "bad_credential"}),
        ({"sender_id": "brw_1"}, "UNAUTHORIZED", {"reason": "revoked", "pairing": "required"}),
        ({"session_token": "brw_1"}, "UNAUTHORIZED", {"reason": "revoked", "pairing": "required"}),
        ({"pairing_code": "K7MWQ2XH"}, "NOT_PAIRED", {"status": "expired"}),
        ({"token": "OURS", "protocol": 2}, "FAILED_PRECONDITION", {"reason": "protocol", "supported": [3]}),
        ({"token": "OURS", "protocolVersion": 4}, "FAILED_PRECONDITION", {"reason": "protocol"}),
        ({"token": "OURS", "user_id": "x" * 256}, "INVALID_REQUEST", {"field": "user_id"}),
        ({"token": 5}, "INVALID_REQUEST", {"reason": "type", "field": "token"}),
    ],
)
async def test_a_connect_that_is_not_enough_is_refused_by_name(
    gateway: Gateway, params: dict[str, Any], code: str, details: dict[str, Any]
) -> None:
    params = {name: gateway.token if value == "OURS" else value for name, value in params.items()}
    async with gateway.socket() as client:
        with pytest.raises(Refusal) as refused:
            await client.ask("connect", **params)
        assert refused.value.code == code
        assert refused.value.details.items() >= details.items()
        assert (await client.ask("connect", token=gateway.token))["role"] == "admin"  # it may try again


async def test_the_web_client_connects_with_everything_it_sends(gateway: Gateway) -> None:
    async with gateway.socket() as client:
        welcome = await client.ask(
            "connect",
            token=gateway.token,
            user_id="lan",
            sender_id="",
            locale="zh-CN",
            tenant_hint="",
            tenant_id="no-such-tenant",
            protocolVersion=3,
        )
        assert (welcome["locale"], welcome["user_id"]) == ("zh", "lan")


async def test_the_token_may_come_with_the_upgrade(gateway: Gateway) -> None:
    async with gateway.socket({"authorization": f"Bearer {gateway.token}"}) as client:
        assert (await client.ask("connect"))["role"] == "admin"


async def test_a_second_connect_is_refused(client: Client, gateway: Gateway) -> None:
    with pytest.raises(Refusal) as again:
        await client.ask("connect", token=gateway.token)

    assert (again.value.code, again.value.reason) == ("FAILED_PRECONDITION", "already_connected")
    assert (await client.ask("health"))["currentId"] == client.welcome["connection_id"]


async def test_nothing_is_answered_before_connect_not_even_what_is_unknown(gateway: Gateway) -> None:
    async with gateway.socket() as client:
        for method in ("health", "no.such.method", "chat.send"):
            with pytest.raises(Refusal) as refused:
                await client.ask(method)
            assert (refused.value.code, refused.value.reason) == ("UNAUTHORIZED", "unauthenticated")


async def test_the_third_wrong_token_is_answered_and_then_the_door_closes(gateway: Gateway) -> None:
    async with gateway.socket() as client:
        ids = [await client.send("connect", token=f"wrong{n}") for n in range(3)]

        assert await client.close_code() == 4401
        assert client.closed == (4401, "auth_failed")
        assert [frame["id"] for frame in client.frames] == ids


async def test_without_a_user_nothing_of_a_user_is_done(gateway: Gateway) -> None:
    async with gateway.socket() as client:
        await client.ask("connect", token=gateway.token)
        with pytest.raises(Refusal) as refused:
            await client.chat("hello")
        assert (refused.value.code, refused.value.reason) == ("INVALID_REQUEST", "user_id_required")


# --- requests -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "params", "details"),
    [
        ("no.such.method", {}, {"reason": "unknown_method"}),
        ("chat.send", {}, {"reason": "required", "field": "message"}),
        ("chat.send", {"message": None}, {"reason": "required", "field": "message"}),
        ("chat.send", {"message": 5}, {"reason": "type", "field": "message", "expected": "str"}),
        ("chat.send", {"message": "x", "stream": "yes"}, {"reason": "type", "field": "stream", "expected": "bool"}),
        ("chat.send", {"message": "x", "sessionKey": "no key"}, {"field": "session_key"}),
        ("chat.send", {"message": "x", "idempotencyKey": "k" * 201}, {"field": "idempotency_key"}),
        ("chat.history", {"sessionKey": "agent:a:b", "sessionId": "agent:a:c"}, {"reason": "ambiguous_param"}),
        ("chat.history", {"sessionKey": "agent:a:b", "limit": -1}, {"field": "limit"}),
        ("chat.abort", {}, {"reason": "required", "field": "session_key"}),
        ("sessions.list", {"offset": 1.5}, {"reason": "type", "field": "offset"}),
    ],
)
async def test_a_bad_request_names_what_is_wrong_with_it(
    client: Client, method: str, params: dict[str, Any], details: dict[str, Any]
) -> None:
    with pytest.raises(Refusal) as refused:
        await client.ask(method, **params)

    assert refused.value.code == "INVALID_REQUEST"
    assert refused.value.details.items() >= details.items()
    assert refused.value.retryable is False


async def test_unknown_parameters_are_ignored(client: Client) -> None:
    assert (await client.ask("health", since="the beginning"))["status"] == "ok"


async def test_an_unknown_agent_is_not_found_but_default_always_is(client: Client) -> None:
    with pytest.raises(Refusal) as refused:
        await client.ask("chat.send", message="hello", agentId="nobody")

    assert refused.value.code == "NOT_FOUND"
    row, *starters = (await client.ask("agents.list"))["agents"]
    assert {"coder", "researcher", "writer"} <= {starter["id"] for starter in starters}
    assert row.items() >= {"id": "default", "model": "echo", "provider": "fake", "status": "active"}.items()


async def test_an_id_comes_back_as_it_was_sent(client: Client) -> None:
    await client.send("health", id=5)
    await client.send("health", id="5")
    await client.until(lambda: len(client.frames) == 3)

    ids = [frame["id"] for frame in client.frames[1:]]
    assert sorted(ids, key=str) in ([5, "5"], ["5", 5])


@pytest.mark.parametrize(
    ("text", "id", "reason"),
    [
        ("{not json", "", "malformed"),
        ("[1]", "", "malformed"),
        ('{"type":"res","id":"x","method":"health"}', "", "unexpected frame type"),
        ('{"type":"req","id":"","method":"health"}', "", None),
        ('{"type":"req","id":null,"method":"health"}', "", None),
        ('{"type":"req","id":"' + "x" * 129 + '","method":"health"}', "", None),
        ('{"type":"req","id":"x","method":"health","params":[1]}', "x", "type"),
        ('{"type":"req","id":"x"}', "x", "required"),
        ('{"type":"req","id":"x","method":"health","params":{"a":' + "[" * 64 + "]" * 64 + "}}", "x", None),
    ],
)
async def test_a_frame_that_is_no_request_is_refused_and_the_socket_stays(
    client: Client, text: str, id: str, reason: str | None
) -> None:
    refused = await refusal(client, text)

    assert (refused["id"], refused["code"]) == (id, "INVALID_REQUEST")
    assert reason in (None, refused["details"]["reason"])
    assert (await client.ask("health"))["status"] == "ok"


async def test_a_refusal_speaks_the_language_of_the_caller(gateway: Gateway) -> None:
    texts = set()
    for locale in ("en", "vi", "zh"):
        async with gateway.socket() as client:
            await client.ask("connect", token=gateway.token, locale=locale)
            texts.add((await refusal(client, '{"type":"req","id":"x","method":"none"}'))["message"])
    assert len(texts) == 3


async def test_an_id_in_flight_is_not_taken_twice_and_the_first_is_unaffected(
    client: Client, vendor: ObedientVendor, key: str
) -> None:
    await client.send("chat.send", id="same", message="!hold-1", sessionKey=key)
    await vendor.holds(1)
    second = await refusal(client, json.dumps({"type": "req", "id": "same", "method": "health"}))

    assert (second["code"], second["details"]["reason"]) == ("INVALID_REQUEST", "duplicate_id")
    vendor.release()
    await client.until(lambda: [f for f in client.frames if f.get("id") == "same" and f["ok"]])


async def test_the_sixty_fifth_request_in_flight_is_refused(client: Client, vendor: ObedientVendor, key: str) -> None:
    requests = [
        await client.send("chat.send", message="!hold-1", sessionKey=f"{key}-{n % 8}", id=f"f{n}") for n in range(64)
    ]
    with pytest.raises(Refusal) as refused:
        await client.ask("health")

    assert (refused.value.code, refused.value.reason) == ("RESOURCE_EXHAUSTED", "too_many_in_flight")
    assert refused.value.retryable
    vendor.release()
    assert {(await client.answer(request))["content"] for request in requests} == {"word0 end"}
    assert (await client.ask("health"))["status"] == "ok"


# --- hanging up -----------------------------------------------------------------------------------


def frame_of(size: int) -> str:
    empty = json.dumps({"type": "req", "id": "big", "method": "health", "params": {"x": ""}})
    return empty.replace('"x": ""', '"x": "' + "x" * (size - len(empty)) + '"')


async def test_the_largest_message_is_processed_and_one_byte_more_hangs_up(client: Client) -> None:
    """SEC-02."""
    await client.raw(frame_of(524_288))
    assert (await client.answer("big"))["status"] == "ok"

    with client.stream.socket.dup() as tcp:  # the client's own reader holds the other
        await client.raw(frame_of(524_289))

        assert await client.close_code() == 1009
        with trio.fail_after(PATIENCE), suppress(ConnectionResetError):
            assert await tcp.recv(1) == b""  # the connection itself is gone, too


async def test_a_binary_message_hangs_up(client: Client) -> None:
    await client.raw(b"\x00\x01")

    assert await client.close_code() == 1003


async def test_ten_malformed_frames_are_answered_and_then_the_socket_closes(client: Client) -> None:
    for _ in range(10):
        await client.raw("{")

    assert await client.close_code() == 4400
    refused = [frame for frame in client.frames[1:] if frame["type"] == "res"]
    assert [(frame["id"], frame["error"]["details"]["reason"]) for frame in refused] == [("", "malformed")] * 10


async def test_a_flood_of_frames_hangs_up(client: Client) -> None:
    for number in range(199):  # one frame was the connect
        await client.send("health", id=number)

    assert await client.close_code() == 4429


async def test_a_closed_socket_stops_no_run(gateway: Gateway, vendor: ObedientVendor, key: str) -> None:
    async with gateway.client() as client:
        await client.send("chat.send", message="!hold-1", sessionKey=key)
        await vendor.holds(1)
    vendor.release()
    async with gateway.client() as client:
        await client.idle(key)
        assert [message["content"] for message in await client.history(key)] == ["!hold-1", "word0 end"]


async def test_health_and_status_say_what_is_there(client: Client, vendor: ObedientVendor, key: str) -> None:
    await client.chat("hello", key)

    health, status = await client.ask("health"), await client.ask("status")

    assert health.items() >= {"status": "ok", "database": "ok", "mode": "standalone", "protocol": 3}.items()
    assert health["clientCount"] == len(health["clients"]) == status["clients"] == 1
    (me,) = health["clients"]
    assert set(me) == {"id", "remoteAddr", "userId", "role", "connectedAt", "client"}
    assert (me["id"], me["userId"], me["role"]) == (client.welcome["connection_id"], "lan", "admin")
    assert set(health["actors"]) == {"running", "backoff", "quarantined"}
    assert {lane["name"] for lane in status["lanes"]} == {"main", "subagent", "team", "cron"}
    assert status["sessions"] >= 1
    assert status["agentTotal"] == len(status["agents"]) >= 4
    models = (await client.ask("models.list"))["models"]
    assert {"id": "echo", "name": "echo", "provider": "fake"} in models
