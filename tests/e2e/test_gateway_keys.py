"""Idempotency keys through real sockets. Contract: edge-http.md §0.1, §2.5; sessions-lanes-cron.md §9.6."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import httpx
import pytest
import trio

from tests.e2e.gateway import Client, Gateway, Json, ObedientVendor, Refusal

PATH = "/v1/chat/completions"
_keys = count(1)


@pytest.fixture
def once() -> str:
    """A key nobody has used."""
    return f"key-{next(_keys)}"


@pytest.fixture
async def http(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway.http(x_goclaw_user_id="lan") as http:
        yield http


def asking(text: str, **more: Any) -> Json:
    return {"model": "goclaw-v1", "messages": [{"role": "user", "content": text}], **more}


def texts(body: str) -> list[str]:
    """The content deltas of a stream."""
    lines = [line.removeprefix("data: ") for line in body.splitlines() if line.startswith("data: {")]
    deltas = [choice["delta"] for line in lines for choice in json.loads(line)["choices"]]
    return [delta["content"] for delta in deltas if delta.get("content")]


def replayed(answer: httpx.Response) -> str | None:
    return answer.headers.get("Idempotent-Replay")


async def test_a_repeated_request_gets_the_stored_answer(
    http: httpx.AsyncClient, vendor: ObedientVendor, once: str
) -> None:
    sent = {"json": asking("pay"), "headers": {"Idempotency-Key": once}}
    first = await http.post(PATH, **sent)
    again = await http.post(PATH, **sent)
    streamed = await http.post(PATH, json=asking("pay", stream=True), headers={"Idempotency-Key": once})

    assert (first.status_code, replayed(first), replayed(again), replayed(streamed)) == (200, None, "true", "true")
    assert again.content == first.content
    assert "".join(texts(streamed.text)) == "echo pay"
    for name in ("X-GoClaw-Run-Id", "X-GoClaw-Session-Key"):
        assert first.headers[name] == again.headers[name] == streamed.headers[name]
    assert vendor.asked.count("pay") == 1


async def test_a_failure_is_repeated_too(http: httpx.AsyncClient, vendor: ObedientVendor, once: str) -> None:
    sent = {"json": asking("!fault-html"), "headers": {"Idempotency-Key": once}}
    first = await http.post(PATH, **sent)
    calls = vendor.calls["fault-html"]
    again = await http.post(PATH, **sent)

    assert (first.status_code, again.status_code, replayed(again)) == (502, 502, "true")
    assert again.json() == first.json()
    assert vendor.calls["fault-html"] == calls


@pytest.mark.parametrize(
    "other",
    [
        asking("pay more"),
        asking("pay", temperature=0.5),
        asking("pay", tool_choice="none"),
        {"messages": [{"role": "system", "content": "be brief"}, *asking("pay")["messages"]]},
        {"messages": [{"role": "user", "content": "before"}, *asking("pay")["messages"]]},
    ],
    ids=["message", "option", "tools", "instructions", "history"],
)
async def test_a_key_with_another_body_is_refused(
    http: httpx.AsyncClient, vendor: ObedientVendor, once: str, other: Json
) -> None:
    await http.post(PATH, json=asking("pay"), headers={"Idempotency-Key": once})
    refused = await http.post(PATH, json=other, headers={"Idempotency-Key": once})

    assert refused.status_code == 409
    error = refused.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "idempotency_conflict")
    assert len(vendor.asked) == 1


async def test_a_key_belongs_to_its_user(gateway: Gateway, vendor: ObedientVendor, once: str) -> None:
    runs = set()
    for user in ("lan", "minh"):
        async with gateway.http(x_goclaw_user_id=user, idempotency_key=once) as http:
            answer = await http.post(PATH, json=asking("pay"))
            assert replayed(answer) is None
            runs.add(answer.headers["X-GoClaw-Run-Id"])
    assert len(runs) == 2


async def test_a_key_that_is_none_is_refused_by_name(http: httpx.AsyncClient, vendor: ObedientVendor) -> None:
    for key in ("k" * 201, ""):
        refused = await http.post(PATH, json=asking("pay"), headers={"Idempotency-Key": key})
        assert refused.status_code == 400
        assert refused.json()["error"]["param"] == "Idempotency-Key"
    assert vendor.asked == []


async def test_of_many_requests_at_once_one_runs_and_all_get_its_answer(
    gateway: Gateway, http: httpx.AsyncClient, vendor: ObedientVendor, once: str
) -> None:
    """Some streamed, some whole, some while it runs: each key is one turn."""
    answers: dict[str, list[httpx.Response]] = {f"{once}-{n}": [] for n in range(4)}

    async def request(key: str, stream: bool) -> None:
        asked = asking(f"!hold-2 {key}", stream=stream)
        answers[key].append(await http.post(PATH, json=asked, headers={"Idempotency-Key": key}))

    async with trio.open_nursery() as nursery:
        for n in range(24):
            nursery.start_soon(request, f"{once}-{n % 4}", n % 3 == 0)
        await vendor.holds(4)
        for key in answers:
            nursery.start_soon(request, key, True)
            nursery.start_soon(request, key, False)
        vendor.release()

    for same in answers.values():
        assert len(same) == 8
        assert {answer.status_code for answer in same} == {200}
        assert len({answer.headers["X-GoClaw-Run-Id"] for answer in same}) == 1
        assert [replayed(answer) for answer in same].count(None) == 1
        for answer in same:
            if answer.headers["content-type"].startswith("text/event-stream"):
                assert "".join(texts(answer.text)) == "word0 word1 end"
            else:
                assert answer.json()["choices"][0]["message"]["content"] == "word0 word1 end"
    assert len(vendor.asked) == 4


async def test_a_client_that_left_finds_its_answer_under_its_key(
    http: httpx.AsyncClient, vendor: ObedientVendor, once: str
) -> None:
    sent = {"json": asking("!hold-2", stream=True), "headers": {"Idempotency-Key": once}}
    request = http.build_request("POST", PATH, **sent)
    lines = [f"{name.decode()}: {value.decode()}" for name, value in request.headers.raw]
    head = "\r\n".join([f"POST {PATH} HTTP/1.1", *lines, "", ""]).encode()
    async with await trio.open_tcp_stream(http.base_url.host, http.base_url.port or 80) as leaving:
        await leaving.send_all(head + request.content)
        got = b""
        while b"word1" not in got:
            got += await leaving.receive_some()
    run = next(line.split()[1] for line in got.decode().lower().splitlines() if line.startswith("x-goclaw-run-id"))
    heard = ""
    async with http.stream("POST", PATH, **sent) as back:
        async for line in back.aiter_lines():
            heard += line + "\n"
            if "word1" in line:  # from the first word on, while it still goes on
                vendor.release()
    again = await http.post(PATH, **sent)

    assert (back.headers["X-GoClaw-Run-Id"], replayed(back)) == (run, "true")
    assert "".join(texts(heard)) == "".join(texts(again.text)) == "word0 word1 end"
    assert (len(vendor.asked), vendor.abandoned) == (1, 0)


async def test_on_the_socket_a_key_works_without_a_session_and_covers_all_that_was_asked(
    client: Client, vendor: ObedientVendor, once: str, key: str
) -> None:
    requests = [await client.send("chat.send", message="pay", idempotencyKey=once, stream=n == 0) for n in range(4)]
    answers = [await client.answer(request) for request in requests]

    assert len({answer["runId"] for answer in answers}) == len({answer["sessionKey"] for answer in answers}) == 1
    assert vendor.asked == ["pay"]
    other = await client.chat("pay", key, idempotencyKey=once)
    assert other["runId"] != answers[0]["runId"], "in a named session it is another key"
    with pytest.raises(Refusal) as conflict:
        await client.ask("chat.send", message="pay more", idempotencyKey=once)
    assert (conflict.value.code, conflict.value.reason) == ("FAILED_PRECONDITION", "idempotency_conflict")
