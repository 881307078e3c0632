"""A turn as clients of the socket see it. Contract: edge-websocket.md §6–§8, §10; wire-compat.md E2, E3, F2."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.e2e.gateway import TERMINAL, Client, Gateway, Json, ObedientVendor, Refusal

ENVELOPE = {"type", "runId", "agentId", "sessionKey", "runSeq", "userId", "ts", "payload"}
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def types(events: list[Json]) -> list[str]:
    return [event["type"] for event in events]


def text(events: list[Json]) -> str:
    return "".join(event["text"] for event in events if event["type"] == "chunk")


# --- one turn -------------------------------------------------------------------------------------


async def test_a_streamed_turn_has_the_events_of_the_contract_in_its_order(
    client: Client, vendor: ObedientVendor, key: str
) -> None:
    answer = await client.chat("hello there", key, stream=True)
    events = client.run_events(answer["runId"])

    assert types(events) == ["run.queued", "run.started", "activity", "chunk", "chunk", "chunk", "run.completed"]
    assert [event["runSeq"] for event in events] == [1, 2, 3, 4, 5, 6, 7]
    assert all(set(event) - {"text"} == ENVELOPE for event in events)
    assert {(e["agentId"], e["sessionKey"], e["userId"]) for e in events} == {("default", key, "lan")}
    queued, started, activity, *_, completed = (event["payload"] for event in events)
    asked = [frame["id"] for frame in client.frames if frame["type"] == "res"]
    assert queued == {"position": 0, "requestId": asked[-1]}
    assert (started["model"], started["provider"], started["attempt"]) == ("echo", "fake", 1)
    assert started["message"] == "hello there"
    assert activity == {"phase": "thinking", "iteration": 1}
    assert completed["content"] == text(events) == "echo hello there"
    assert completed["finishReason"] == "stop"
    assert (completed["iterations"], completed["toolCalls"]) == (1, 0)
    assert completed["usage"].items() >= {"inputTokens": 10, "prompt_tokens": 10, "total_tokens": 13}.items()


async def test_chunks_carry_their_text_twice_for_old_and_new_clients(
    client: Client, vendor: ObedientVendor, key: str
) -> None:
    await client.chat("one two", key, stream=True)

    chunks = [event for event in client.run_events() if event["type"] == "chunk"]
    assert [chunk["text"] for chunk in chunks] == [chunk["payload"]["content"] for chunk in chunks] == [
        "echo ",
        "one ",
        "two",
    ]  # fmt: skip


async def test_the_response_comes_after_the_terminal_event_and_says_the_same(
    client: Client, vendor: ObedientVendor, key: str
) -> None:
    answer = await client.chat("hello", key, stream=True)

    *_, terminal, response = [f for f in client.frames if f.get("event") in ("agent", None)]
    assert terminal["payload"]["type"] == "run.completed"
    assert response["payload"] == answer
    assert answer["content"] == terminal["payload"]["payload"]["content"]
    assert answer["usage"] == terminal["payload"]["payload"]["usage"]
    assert (answer["sessionKey"], answer["media"], answer["finishReason"]) == (key, [], "stop")
    assert UUID.fullmatch(answer["runId"])


async def test_a_turn_with_a_tool_tells_the_call_before_its_result(
    client: Client, vendor: ObedientVendor, key: str
) -> None:
    answer = await client.chat("!tool", key, stream=True)
    events = client.run_events(answer["runId"])

    assert types(events)[:6] == ["run.queued", "run.started", "activity", "activity", "tool.call", "tool.result"]
    assert types(events)[-1] == "run.completed"
    call, result = events[4]["payload"], events[5]["payload"]
    assert set(call) == {"id", "name", "arguments", "iteration", "truncated"}
    assert (result["id"], result["name"]) == (call["id"], call["name"])
    assert result["is_error"] == result["isError"]
    assert result["result"] == result["preview"]
    assert events[3]["payload"] == {
        "phase": "tool_exec",
        "iteration": 1,
        "tool": call["name"],
        "tools": [call["name"]],
    }
    assert (events[-1]["payload"]["iterations"], events[-1]["payload"]["toolCalls"]) == (2, 1)
    assert [e["runSeq"] for e in events] == list(range(1, len(events) + 1))
    last = events[types(events).index("tool.result") + 1 :]
    assert text(last) == answer["content"]  # the last segment is the answer


async def test_without_streaming_the_whole_text_is_one_chunk(client: Client, vendor: ObedientVendor, key: str) -> None:
    answer = await client.chat("one two three", key, stream=False)

    chunks = [event for event in client.run_events(answer["runId"]) if event["type"] == "chunk"]
    assert [chunk["text"] for chunk in chunks] == ["echo one two three"]


async def test_the_sequence_of_a_socket_has_no_holes(client: Client, vendor: ObedientVendor, key: str) -> None:
    for message in ("one", "two", "!tool"):
        await client.chat(message, key, stream=True)

    assert [event["seq"] for event in client.events] == list(range(1, len(client.events) + 1))


async def test_every_socket_of_a_user_hears_the_run(
    gateway: Gateway, client: Client, vendor: ObedientVendor, key: str
) -> None:
    async with gateway.client() as other:
        answer = await client.chat("hello", key, stream=True)
        await other.hears("run.completed", answer["runId"])

        assert types(other.run_events(key=key)) == types(client.run_events(key=key))
        assert text(other.run_events(key=key)) == "echo hello"
        assert not [frame for frame in other.frames if frame["type"] == "res"][1:]  # only its own connect


async def test_the_answer_is_in_the_history_before_the_run_is_said_to_be_over(
    gateway: Gateway, client: Client, vendor: ObedientVendor, key: str
) -> None:
    request = await client.send("chat.send", message="hello", sessionKey=key, stream=True)
    async with gateway.client() as reader:
        await client.hears("run.completed", key=key)
        stored = await reader.history(key)

    assert [(message["role"], message["content"]) for message in stored] == [
        ("user", "hello"),
        ("assistant", "echo hello"),
    ]
    assert (await client.answer(request))["content"] == "echo hello"


async def test_without_a_session_key_the_turn_opens_a_session_of_the_default_agent(
    client: Client, vendor: ObedientVendor
) -> None:
    answer = await client.ask("chat.send", message="hello", agentId="default", sessionKey="")

    assert re.fullmatch(rf"agent:default:ws:direct:{UUID.pattern}", answer["sessionKey"])


async def test_the_model_remembers_what_was_said_in_the_session(
    client: Client, vendor: ObedientVendor, key: str
) -> None:
    await client.chat("my name is Lan", key)
    await client.chat("who am I", key)

    told = [m["content"] for m in vendor.last_body["messages"] if m["role"] != "system"]
    assert told == ["my name is Lan", "echo my name is Lan", "who am I"]


async def test_an_overlong_message_is_cut_and_the_run_says_so(client: Client, vendor: ObedientVendor, key: str) -> None:
    """AL-06, through the door."""
    answer = await client.chat("x" * 32_001, key)

    started = await client.hears("run.started", answer["runId"])
    assert started["payload"]["truncated"] is True
    assert len(started["payload"]["message"]) == 200
    assert answer["content"] == "echo " + "x" * 32_000 + "\n[message cut: 32000 of 32001 characters]"


async def test_asynchronously_the_answer_comes_by_events(client: Client, vendor: ObedientVendor, key: str) -> None:
    accepted = await client.chat("hello", key, **{"async": True})

    assert accepted == {"runId": accepted["runId"], "sessionKey": key, "status": "accepted", "queued": 0}
    completed = await client.hears("run.completed", accepted["runId"])
    assert completed["payload"]["content"] == "echo hello"


# --- stopping -------------------------------------------------------------------------------------


async def held(client: Client, vendor: ObedientVendor, key: str, words: int = 2) -> tuple[str | int, str]:
    """A run that has said so many words and waits; the request's id and the run's."""
    request = await client.send("chat.send", message=f"!hold-{words}", sessionKey=key, stream=True)
    run = (await client.hears("run.queued", key=key))["runId"]
    await client.until(lambda: text(client.run_events(run)).count("word") == words)
    return request, run


async def test_a_stopped_run_keeps_what_it_said(client: Client, vendor: ObedientVendor, key: str) -> None:
    request, run = await held(client, vendor, key)

    stopped = await client.ask("chat.abort", sessionKey=key)
    answer = await client.answer(request)

    assert stopped.items() >= {"ok": True, "aborted": True, "count": 1, "runIds": [run], "drained": 0}.items()
    assert answer.items() >= {"cancelled": True, "finishReason": "cancelled", "content": "word0 word1 "}.items()
    *_, cancelled, echo = client.run_events(run)
    assert cancelled["type"] == "run.cancelled"
    assert cancelled["payload"] == {"reason": "user", "by": "lan"}
    assert echo["type"] == "run.completed"
    assert echo["payload"].items() >= {"content": "word0 word1 ", "cancelled": True, "echo": True}.items()
    assert echo["payload"]["finishReason"] == "cancelled"
    assert [e["runSeq"] for e in client.run_events(run)] == list(range(1, echo["runSeq"] + 1))
    partial = (await client.history(key))[-1]
    assert (partial["role"], partial["content"], partial["cancelled"]) == ("assistant", "word0 word1 ", True)
    await vendor.is_left()  # the stop reached the model's stream
    assert (await client.chat("go on", key))["content"] == "echo go on"


async def test_stopping_nothing_is_fine(client: Client, vendor: ObedientVendor, key: str) -> None:
    await client.chat("hello", key)

    for params in ({"sessionKey": key}, {"runId": "0193a5b0-7000-7000-8000-0000000000ff"}, {"sessionKey": key + "x"}):
        stopped = await client.ask("chat.abort", **params)
        assert stopped.items() >= {"ok": True, "aborted": False, "count": 0, "runIds": [], "drained": 0}.items()


async def test_a_run_is_not_stopped_under_the_name_of_another_session(
    client: Client, vendor: ObedientVendor, key: str
) -> None:
    request, run = await held(client, vendor, key)

    assert (await client.ask("chat.abort", runId=run, sessionKey=key + "x"))["aborted"] is False
    assert (await client.ask("chat.abort", runId=run))["runIds"] == [run]
    assert (await client.answer(request))["cancelled"] is True


async def test_the_word_stop_cancels_the_oldest_run_and_the_next_one_starts(
    client: Client, vendor: ObedientVendor, key: str
) -> None:
    first, run = await held(client, vendor, key)
    second = await client.send("chat.send", message="next", sessionKey=key)
    await client.until(lambda: len([e for e in client.run_events(key=key) if e["type"] == "run.queued"]) == 2)

    stopped = await client.chat(" /STOP ", key)

    assert stopped.items() >= {"cancelled": True, "aborted": True, "count": 1, "runIds": [run]}.items()
    assert (await client.answer(first))["cancelled"] is True
    assert (await client.answer(second))["content"] == "echo next"
    assert "/STOP" not in "".join(vendor.asked)


async def test_draining_answers_every_waiting_turn_as_cancelled(
    client: Client, vendor: ObedientVendor, key: str
) -> None:
    first, run = await held(client, vendor, key)
    waiting = [await client.send("chat.send", message=f"later {n}", sessionKey=key) for n in range(3)]
    await client.until(lambda: len([e for e in client.run_events(key=key) if e["type"] == "run.queued"]) == 4)

    stopped = await client.ask("chat.abort", sessionKey=key, drain=True)

    assert (stopped["runIds"], stopped["count"], stopped["drained"]) == ([run], 1, 3)
    for request in [first, *waiting]:
        assert (await client.answer(request)).items() >= {"cancelled": True, "finishReason": "cancelled"}.items()
    await client.idle(key)
    assert vendor.asked == ["!hold-2"]
    assert [m["content"] for m in await client.history(key)] == ["!hold-2", "word0 word1 "]


# --- the queue ------------------------------------------------------------------------------------


async def test_of_twelve_turns_the_oldest_that_waits_gives_way(
    client: Client, vendor: ObedientVendor, key: str
) -> None:
    """edge-websocket.md §11.4: one runs, ten wait, the twelfth evicts the oldest waiting one."""
    await held(client, vendor, key)
    requests = [await client.send("chat.send", message=f"turn {n}", sessionKey=key) for n in range(11)]

    with pytest.raises(Refusal) as dropped:
        await client.answer(requests[0])

    assert (dropped.value.code, dropped.value.reason) == ("RESOURCE_EXHAUSTED", "queue_dropped")
    assert dropped.value.retryable
    gone = (await client.hears("run.cancelled", key=key))["runId"]
    assert types(client.run_events(gone)) == ["run.queued", "run.cancelled"]  # no start, no echo
    assert client.run_events(gone)[-1]["payload"]["reason"] == "dropped"
    vendor.release()
    answers = [await client.answer(request) for request in requests[1:]]
    assert [answer["content"] for answer in answers] == [f"echo turn {n}" for n in range(1, 11)]
    said = [m["content"] for m in await client.history(key) if m["role"] == "user"]
    assert said == ["!hold-2", *(f"turn {n}" for n in range(1, 11))]


async def test_a_turn_that_waited_past_its_deadline_ends_as_timed_out(
    client: Client, gateway: Gateway, vendor: ObedientVendor, key: str
) -> None:
    await held(client, vendor, key)
    late = await client.send("chat.send", message="late", sessionKey=key)
    run = await client.run_of(late)
    gateway.rows("UPDATE runs SET deadline = deadline - interval '1 hour' WHERE run_id = %s RETURNING 1", run)
    vendor.release()

    with pytest.raises(Refusal) as refused:
        await client.answer(late)

    assert refused.value.code == "AGENT_TIMEOUT"
    assert gateway.rows("SELECT state, reason_code, crash_count FROM runs WHERE run_id = %s", run) == [
        ("FAILED", "TIMEOUT", 0)
    ]
    assert (await client.chat("in time", key))["content"] == "echo in time"


async def test_a_waiting_turn_is_shown_in_the_history_and_in_the_status(
    client: Client, vendor: ObedientVendor, key: str
) -> None:
    _, run = await held(client, vendor, key)
    await client.chat("later", key, **{"async": True})

    status = await client.ask("chat.session.status", sessionKey=key)
    pending = [message["content"] for message in await client.history(key) if message.get("pending")]

    assert (status["isRunning"], status["running"], status["runId"], status["queued"]) == (True, True, run, 1)
    assert pending == ["!hold-2", "later"]
    vendor.release()
    await client.idle(key)
    assert not any(message.get("pending") for message in await client.history(key))


async def test_the_same_key_and_message_are_answered_once(client: Client, vendor: ObedientVendor, key: str) -> None:
    await held(client, vendor, key)
    once = await client.send("chat.send", message="pay", sessionKey=key, idempotencyKey="k1")
    again = await client.send("chat.send", message="pay", sessionKey=key, idempotencyKey="k1")
    vendor.release()

    attached = await client.answer(again)
    assert attached == await client.answer(once)
    assert await client.chat("pay", key, idempotencyKey="k1") == attached  # also long after
    assert vendor.asked.count("pay") == 1
    with pytest.raises(Refusal) as conflict:
        await client.chat("pay more", key, idempotencyKey="k1")
    assert (conflict.value.code, conflict.value.reason) == ("FAILED_PRECONDITION", "idempotency_conflict")


async def test_a_repeated_turn_that_was_dropped_meanwhile_is_answered_too(
    client: Client, vendor: ObedientVendor, key: str
) -> None:
    await held(client, vendor, key)
    waiting = await client.send("chat.send", message="pay", sessionKey=key, idempotencyKey="k1")
    await client.until(lambda: len([e for e in client.run_events(key=key) if e["type"] == "run.queued"]) == 2)
    await client.ask("chat.abort", sessionKey=key, drain=True)
    first = await client.answer(waiting)

    assert await client.chat("pay", key, idempotencyKey="k1") == first
    assert first["cancelled"] is True


# --- beside runs ----------------------------------------------------------------------------------


async def test_an_injected_text_is_part_of_the_conversation(client: Client, vendor: ObedientVendor, key: str) -> None:
    with pytest.raises(Refusal) as unknown:
        await client.ask("chat.inject", sessionKey=key, message="nobody here")
    assert unknown.value.code == "NOT_FOUND"
    await client.chat("hello", key)

    injected = await client.ask("chat.inject", sessionKey=key, content="the deploy is done", label="ci")

    assert injected["ok"] is True
    last = (await client.history(key))[-1]
    assert (last["id"], last["role"]) == (injected["messageId"], "assistant")
    assert last["content"] == "[ci]\n\nthe deploy is done"
    await client.chat("what happened", key)
    assert last["content"] in [message["content"] for message in vendor.last_body["messages"]]


async def test_a_listed_session_has_the_members_deployed_clients_read(
    client: Client, vendor: ObedientVendor, key: str
) -> None:
    await client.chat("hello", key)

    page = await client.ask("sessions.list", agentId="default", channel="ws", limit=1)
    (row,) = page["sessions"]

    assert (page["limit"], page["offset"]) == (1, 0)
    assert page["total"] >= 1
    assert row["key"] == key
    assert (row["messageCount"], row["channel"], row["agentName"]) == (2, "ws", "default")
    assert (row["userID"], row["userId"], row["isRunning"], row["queued"]) == ("lan", "lan", False, 0)
    assert (row["inputTokens"], row["outputTokens"], row["compactionCount"]) == (10, 2, 0)
    assert row["created"] <= row["updated"]
    assert row["metadata"] == {}
    assert not [name for name in row if "_" in name]


async def test_a_previewed_session_has_messages_of_text(client: Client, vendor: ObedientVendor, key: str) -> None:
    await client.chat("!tool", key)

    preview = await client.ask("sessions.preview", key=key)

    assert set(preview) == {"key", "messages", "summary"}
    assert [message["role"] for message in preview["messages"]] == ["user", "assistant", "tool", "assistant"]
    assert all(isinstance(message["content"], str) for message in preview["messages"])
    _, called, result, _ = preview["messages"]
    (call,) = called["tool_calls"]
    assert set(call) == {"id", "name", "arguments"}
    assert result["tool_call_id"] == call["id"]
    with pytest.raises(Refusal) as unknown:
        await client.ask("sessions.preview", key=key + "x")
    assert unknown.value.code == "NOT_FOUND"


async def test_a_session_nobody_spoke_in_has_an_empty_history(client: Client, key: str) -> None:
    history = await client.ask("chat.history", sessionKey=key)

    assert history == {"sessionKey": key, "messages": [], "summary": "", "hasMore": False}


async def test_history_is_read_in_pages(client: Client, vendor: ObedientVendor, key: str) -> None:
    for message in ("one", "two", "three"):
        await client.chat(message, key)

    newest = await client.ask("chat.history", sessionKey=key, limit=2)
    before = await client.ask("chat.history", sessionKey=key, limit=10, beforeId=newest["messages"][0]["id"])

    assert [message["content"] for message in newest["messages"]] == ["three", "echo three"]
    assert newest["hasMore"] is True
    assert [message["content"] for message in before["messages"]] == ["one", "echo one", "two", "echo two"]
    assert before["hasMore"] is False


# --- a vendor in trouble --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trouble", "code", "details"),
    [
        ("fault-hang", "UNAVAILABLE", {"reason": "provider_error", "kind": "timeout"}),
        ("fault-midclose", "UNAVAILABLE", {"reason": "provider_error"}),
        ("fault-html", "UNAVAILABLE", {"reason": "provider_error", "kind": "server_error"}),
        ("fault-429", "UNAVAILABLE", {"reason": "provider_error", "kind": "rate_limit"}),
        ("fault-500", "UNAVAILABLE", {"reason": "provider_error", "kind": "server_error"}),
        ("fault-401", "UNAVAILABLE", {"reason": "provider_error", "kind": "auth"}),
    ],
)
async def test_a_vendor_in_trouble_is_one_named_error_and_the_session_works_on(
    client: Client, vendor: ObedientVendor, key: str, trouble: str, code: str, details: dict[str, Any]
) -> None:
    with pytest.raises(Refusal) as failed:
        await client.chat(f"!{trouble}", key, stream=True)

    assert failed.value.code == code
    assert failed.value.details.items() >= details.items()
    events = client.run_events(key=key)
    assert [type for type in types(events) if type in TERMINAL] == ["run.failed"]
    said = events[-1]["payload"]
    assert (said["code"], said["retryable"]) == (code, failed.value.retryable)
    assert said["error"]
    assert (await client.chat("still there?", key))["content"] == "echo still there?"
    assert [m["content"] for m in await client.history(key) if m["role"] == "user"] == [
        f"!{trouble}",
        "still there?",
    ]


async def test_a_page_of_long_messages_is_a_short_page(client: Client, vendor: ObedientVendor, key: str) -> None:
    await client.chat("first", key)
    for number in range(76):  # 64 KB each as JSON, almost 5 MiB together
        await client.ask("chat.inject", sessionKey=key, message=f"{number:03}" + '"' * 31_997)

    pages, before = [], None
    while before is None or pages[-1]["hasMore"]:
        pages.append(await client.ask("chat.history", sessionKey=key, **({"beforeId": before} if before else {})))
        before = pages[-1]["messages"][0]["id"]

    said = [message["content"][:3] for page in reversed(pages) for message in page["messages"]]
    assert said[2:] == [f"{number:03}" for number in range(76)]
    assert [len(page["messages"]) for page in pages[:-1]] == [8] * 9
