"""Conversations as clients change them. Contract: edge-websocket.md §7.2, §7.4, edge-http.md §8, sessions §12."""

from __future__ import annotations

import json
import sys

import pytest
import trio

from tests.e2e.gateway import Client, Gateway, ObedientVendor, Refusal


async def held(client: Client, vendor: ObedientVendor, key: str) -> tuple[str | int, str]:
    """A turn whose answer waits in the middle: its request and its run."""
    request = await client.send("chat.send", message="!hold-1", sessionKey=key)
    run = await client.run_of(request)
    await vendor.holds(1)
    return request, run


async def test_a_session_is_renamed_and_null_clears(client: Client, vendor: ObedientVendor, key: str) -> None:
    await client.chat("hello", key)
    changed = await client.ask("sessions.patch", key=key, label="Trip", model="fixed-1", metadata={"chat_title": "x"})
    news = await client.until(
        lambda: next((e for e in client.events if e["event"] == "session.updated" and "label" in e["payload"]), None)
    )
    answer = await client.chat("hello", key)
    cleared = await client.ask("sessions.patch", key=key, model=None)

    assert (changed["ok"], changed["key"], changed["session"]["label"]) == (True, key, "Trip")
    assert changed["session"]["metadata"] == {"chat_title": "x"}
    assert (news["payload"]["sessionKey"], news["payload"]["label"]) == (key, "Trip")
    assert answer["content"] == "word0"
    assert (cleared["session"]["label"], cleared["session"]["model"]) == ("Trip", None)
    assert (await client.chat("hello", key))["content"] == "echo hello"


async def test_the_same_over_http(client: Client, gateway: Gateway, vendor: ObedientVendor, key: str) -> None:
    await client.chat("hello", key)
    async with gateway.http(x_goclaw_user_id="lan") as http:
        patched = (await http.patch(f"/v1/sessions/{key}", json={"label": "Trip"})).json()
        found = (await http.get(f"/v1/sessions/{key}")).json()
        previewed = (await http.post(f"/v1/sessions/{key}/preview")).json()
        exported = (await http.get(f"/v1/sessions/{key}/export")).json()
        compacted = (await http.post(f"/v1/sessions/{key}/compact")).json()
        reset = (await http.post(f"/v1/sessions/{key}/reset")).json()
        deleted = await http.delete(f"/v1/sessions/{key}")
        again = await http.delete(f"/v1/sessions/{key}")

    assert (patched["key"], patched["session_key"], patched["label"]) == (key, key, "Trip")
    assert (found["label"], [m["content"] for m in found["messages"]], found["summary"]) == (
        "Trip",
        ["hello", "echo hello"],
        "",
    )
    assert previewed["messages"] == found["messages"]
    assert [row["payload"].get("marker") for row in exported["messages"]] == [None, None, "patched"]
    assert exported["next_after"] is None
    assert compacted == {"ok": True, "before": 2, "after": 2, "skipped": True}
    assert (reset, deleted.json(), again.status_code) == ({"status": "reset"}, {"status": "deleted"}, 404)


async def test_deleting_several_is_all_or_nothing(client: Client, vendor: ObedientVendor, key: str) -> None:
    await client.chat("hello", key)
    with pytest.raises(Refusal) as refused:
        await client.ask("sessions.delete-bulk", keys=[key, f"{key}-never"])
    assert refused.value.code == "NOT_FOUND"
    assert await client.history(key)

    with pytest.raises(Refusal) as foreign:
        await client.ask("sessions.delete-bulk", keys=[key, "agent:default:cli:mine"])
    assert foreign.value.code == "INVALID_REQUEST"
    assert await client.ask("sessions.delete-bulk", keys=[key, key]) == {"ok": True, "count": 1}
    assert await client.history(key) == []


async def test_a_followup_says_where_it_went(
    client: Client, gateway: Gateway, vendor: ObedientVendor, key: str
) -> None:
    await held(client, vendor, key)
    first = await client.send("chat.send", message="and", sessionKey=key)
    run = await client.run_of(first)
    second = await client.send("chat.send", message="also", sessionKey=key, queueMode="followup")
    with trio.fail_after(10):
        while not gateway.rows("SELECT 1 FROM runs WHERE session_key = %s AND reason_code = 'MERGED'", key):
            await client.ask("chat.session.status", sessionKey=key)
    vendor.release()
    answers = [await client.answer(first), await client.answer(second)]

    assert [answer["content"] for answer in answers] == ["echo and\nalso"] * 2
    assert "merged" not in answers[0]
    assert (answers[1]["merged"], answers[1]["intoRunId"], answers[1]["runId"]) == (True, run, run)


async def test_texts_of_one_window_are_answered_together(client: Client, vendor: ObedientVendor, key: str) -> None:
    requests = [await client.send("chat.send", message=text, sessionKey=key, debounceMs=400) for text in ("a", "b")]
    answers = [await client.answer(request) for request in requests]

    assert len({answer["runId"] for answer in answers}) == 1
    assert sorted(answer.get("merged", False) for answer in answers) == [False, True]
    assert sorted(answers[0]["content"].removeprefix("echo ").split("\n")) == ["a", "b"]


async def test_an_agent_alone_names_all_runs_of_the_caller(client: Client, vendor: ObedientVendor, key: str) -> None:
    request, run = await held(client, vendor, key)
    stopped = await client.ask("chat.abort", agentId="default")

    assert (stopped["aborted"], run in stopped["runIds"]) == (True, True)
    assert (await client.answer(request))["cancelled"]


async def test_stop_without_a_session_stops_nothing_and_asks_no_model(client: Client, vendor: ObedientVendor) -> None:
    stopped = await client.ask("chat.send", message=" /STOP ")

    assert (stopped["cancelled"], stopped["count"], vendor.asked) == (False, 0, [])


# --- slash words ------------------------------------------------------------------------------------


async def test_slash_words_are_commands(client: Client, vendor: ObedientVendor, key: str) -> None:
    for n in range(4):
        await client.chat(str(n), key)
    status = await client.chat("/status", key)
    run = await client.chat("/status run", key)
    wait = await client.chat("/status wait latest 1", key)
    compacted = await client.chat("/compact", key)
    queue = await client.chat("/queue followup", key)
    shown = await client.chat("/queue", key)
    reset = await client.chat("/RESET", key)

    assert (status["kind"], status["command"], status["sessionKey"]) == ("command_reply", "status", key)
    assert status["content"].startswith("8 messages,")
    assert "SUCCEEDED" in run["content"]
    assert run["content"] == wait["content"]
    assert compacted["content"] == "Compacted 4 messages into a summary, 4 are kept."
    assert queue["content"] == shown["content"] == "Queue mode: followup."
    assert reset["command"] == "reset"
    assert await client.history(key) == []
    assert [text for text in vendor.asked if text.startswith("/")] == []


async def test_an_unknown_word_is_text_for_the_agent(client: Client, vendor: ObedientVendor, key: str) -> None:
    assert (await client.chat("/frobnicate now", key))["content"] == "echo /frobnicate now"


@pytest.mark.parametrize("text", ["/queue sometimes", "/status wait latest 601", "/status what", "/status run nope"])
async def test_a_command_that_makes_no_sense_is_refused(
    client: Client, vendor: ObedientVendor, key: str, text: str
) -> None:
    await client.chat("hello", key)
    with pytest.raises(Refusal) as refused:
        await client.chat(text, key)
    assert refused.value.code in ("INVALID_REQUEST", "NOT_FOUND")


async def test_a_session_as_it_was_through_every_door(
    client: Client, gateway: Gateway, vendor: ObedientVendor, key: str
) -> None:
    await client.chat("one", key)
    await client.chat("two", key)
    past = await client.ask("sessions.at", key=key, seq=2)
    async with gateway.http(x_goclaw_user_id="lan") as http:
        over_http = await http.get(f"/v1/sessions/{key}/at", params={"seq": 2})
        forked = await http.post(f"/v1/sessions/{key}/fork", json={"seq": 2})
        gateway.rows("DELETE FROM session_messages WHERE run_id = %s RETURNING 1", past["runs"][0]["run_id"])
        pruned = await http.get(f"/v1/sessions/{key}/at", params={"seq": 1})
    with pytest.raises(Refusal) as gap:
        await client.ask("sessions.at", key=key, seq=1)
    copied = forked.json()
    shown = await goclaw(gateway, "sessions", "at", copied["key"], "--seq", "2", "--json")
    table = await goclaw(gateway, "sessions", "at", copied["key"], "--seq", "1")
    more = await goclaw(gateway, "sessions", "fork", copied["key"], "--seq", "1", "--json")

    assert [message["content"] for message in past["messages"]] == ["one", "echo one"]
    assert over_http.json() == past
    assert (forked.status_code, copied["message_count"], pruned.status_code) == (201, 2, 410)
    assert (pruned.json()["code"], gap.value.code) == ("REPLAY_GAP", "FAILED_PRECONDITION")
    assert [message["content"] for message in json.loads(shown)["messages"]] == ["one", "echo one"]
    assert table.splitlines()[-1].split() == ["1", "user", "one"]
    assert json.loads(more)["session"]["messageCount"] == 1


async def goclaw(gateway: Gateway, *words: str) -> str:
    """What the command line says of the running gateway."""
    command = [sys.executable, "-m", "goclaw", "--url", gateway.address, "--token", gateway.token, *words]
    done = await trio.run_process(command, env={**gateway.environ, "GOCLAW_USER_ID": "lan"}, capture_stdout=True)
    return done.stdout.decode()
