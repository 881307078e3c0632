"""Durable runs through the doors of a real gateway: started, followed, packed. Contract: edge-http.md §23."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import trio
from typer.testing import CliRunner

from goclaw.edge.cli.commands import app
from goclaw.edge.cli.options import Failure, Options
from tests.e2e.gateway import PATIENCE, Client, Gateway, Json, ObedientVendor, Refusal, VendorPlace, with_vendor


@pytest.fixture
async def http(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway.http(x_goclaw_user_id="lan") as client:
        yield client


async def follow(http: httpx.AsyncClient, path: str, begun: trio.Event | None = None, **headers: str) -> list[Json]:
    """All frames of a stream until it ends; `begun` is set with the first."""
    frames: list[Json] = []
    with trio.fail_after(PATIENCE):
        async with http.stream("GET", path, headers=headers) as answer:
            assert answer.status_code == 200, await answer.aread()
            number: Json = {}
            async for line in answer.aiter_lines():
                if line.startswith("id: "):
                    number = {"id": int(line[4:])}
                if line.startswith("data: "):
                    frames.append({**json.loads(line[6:]), **number})
                    number = {}
                    if begun is not None:
                        begun.set()
    return frames


async def start(http: httpx.AsyncClient, content: str, where: str = "/v1/runs", **more: object) -> Json:
    answer = await http.post(where, json={"content": content, **more})
    assert answer.status_code == 202, answer.text
    run: Json = answer.json()
    assert answer.headers["location"] == f"{where}/{run['id']}"
    return run


def text_of(frames: list[Json]) -> str:
    return "".join(frame["token"] for frame in frames if frame["type"] == "token")


async def test_a_run_is_followed_to_its_end_by_any_number_of_readers(
    http: httpx.AsyncClient, vendor: ObedientVendor, client: Client
) -> None:
    run = await start(http, "!hold-3", where="/v1/tasks")
    await vendor.holds(1)
    heard: list[list[Json]] = []

    async with trio.open_nursery() as nursery:

        async def reader(path: str, begun: trio.Event) -> None:
            heard.append(await follow(http, path, begun))

        places = (f"/v1/runs/{run['id']}/stream", f"/v1/tasks/{run['id']}/stream")
        readers = [(path, trio.Event()) for path in (*places, f"/api/v1/task/stream?task_id={run['id']}")]
        for path, begun in readers:
            nursery.start_soon(reader, path, begun)
        leaving = await trio.open_tcp_stream(http.base_url.host, http.base_url.port or 80)
        head = f"GET /v1/runs/{run['id']}/stream HTTP/1.1\r\nHost: x\r\n"
        await leaving.send_all(f"{head}Authorization: {http.headers['authorization']}\r\n\r\n".encode())
        with trio.fail_after(PATIENCE):
            while b'"RUNNING"' not in await leaving.receive_some():
                pass
        await leaving.aclose()
        for _, begun in readers:
            await begun.wait()
        vendor.release()

    assert len(heard) == 3
    for frames in heard:
        assert frames[0] == {"type": "status", "state": "RUNNING", "attempt": 1}
        assert frames[-1]["type"] == "done"
        assert (frames[-1]["state"], frames[-1]["result"]["content"]) == ("SUCCEEDED", "word0 word1 word2 end")
        assert text_of(frames) == "word0 word1 word2 end", "who comes in the middle hears the beginning too"
    after = await follow(http, f"/v1/runs/{run['id']}/stream")
    assert [frame["type"] for frame in after] == ["status", "token", "done"]
    assert text_of(after) == "word0 word1 word2 end"
    second = [frame["id"] for frame in heard[0] if frame["type"] == "token"][1]
    rest = await follow(http, f"/v1/runs/{run['id']}/stream", **{"Last-Event-ID": str(second)})
    assert list(dict.fromkeys(frame["type"] for frame in rest)) == ["status", "token", "done"]
    assert text_of(rest) == "word2 end", "who comes back hears what it missed"
    missed = await follow(http, f"/v1/runs/{run['id']}/stream", **{"Last-Event-ID": "2"})
    assert list(dict.fromkeys(frame["type"] for frame in missed)) == ["status", "token", "done"]
    assert text_of(missed) == "word0 word1 word2 end"
    started = await client.hears("run.started", run["id"])
    assert started["runKind"] == "task"


async def test_a_run_is_the_same_on_both_surfaces(http: httpx.AsyncClient, client: Client) -> None:
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    run = await start(http, "for later", priority=100, run_at=later)
    run_id = run["id"]

    assert (run["state"], run["priority"], run["kind"]) == ("QUEUED", 10, "task")
    shown = (await http.get(f"/v1/runs/{run_id}")).json()
    assert shown == run == (await client.ask("runs.get", runId=run_id))["run"]
    assert shown == (await client.ask("tasks.get", taskId=run_id))["run"]
    listed = (await http.get("/v1/runs", params={"state": "QUEUED", "kind": "task"})).json()
    assert run_id in [one["id"] for one in listed["runs"]]
    assert run_id in [one["id"] for one in (await http.get("/v1/tasks")).json()["tasks"]]
    events = (await http.get(f"/v1/runs/{run_id}/events")).json()
    socket = await client.ask("runs.events", runId=run_id)
    assert (socket["events"], socket["nextEventId"]) == (events["events"], events["next_event_id"])
    assert [event["type"] for event in events["events"]] == ["task.enqueued"]

    cancelled = (await http.post(f"/v1/runs/{run_id}/cancel", json={"reason": "not needed"})).json()
    assert cancelled["state"] == "CANCELED"
    again = await http.post(f"/v1/runs/{run_id}/cancel")
    assert (again.status_code, again.json()["details"]["reason"]) == (409, "terminal")
    with pytest.raises(Refusal) as refused:
        await client.ask("tasks.cancel", taskId=run_id)
    assert refused.value.code == "FAILED_PRECONDITION"
    verdict = (await http.get(f"/v1/runs/{run_id}/verify")).json()
    assert (verdict["ok"], verdict["events"]) == (True, 2)


async def test_an_idempotency_key_attaches_to_the_first_run(http: httpx.AsyncClient) -> None:
    ask = {"content": "once", "run_at": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}
    key = {"Idempotency-Key": "only-once"}

    first = await http.post("/v1/runs", json=ask, headers=key)
    second = await http.post("/v1/runs", json=ask, headers=key)
    other = await http.post("/v1/runs", json={**ask, "content": "something else"}, headers=key)

    assert (first.json()["id"], "idempotent-replay" in first.headers) == (second.json()["id"], False)
    assert second.headers["idempotent-replay"] == "true"
    assert other.status_code == 409
    assert (await http.post("/v1/runs", json=ask, headers={"Idempotency-Key": "x" * 201})).status_code == 400


async def test_a_failed_run_is_tried_again_itself_and_one_that_was_cancelled_as_a_new_one(
    http: httpx.AsyncClient, vendor: ObedientVendor, client: Client
) -> None:
    failed = await start(http, "!flaky-401-1")
    frames = await follow(http, f"/v1/runs/{failed['id']}/stream")
    assert (frames[-1]["state"], frames[-1]["error"]["code"]) == ("FAILED", "UNAVAILABLE")

    again = await http.post(f"/v1/tasks/{failed['id']}/retry")
    assert (again.status_code, again.json()["id"]) == (200, failed["id"])
    frames = await follow(http, f"/v1/runs/{failed['id']}/stream")
    assert frames[-1]["state"] == "SUCCEEDED"
    late = await http.post(f"/v1/runs/{failed['id']}/retry")
    assert (late.status_code, late.json()["details"]) == (409, {"reason": "state", "state": "SUCCEEDED"})
    verdict = (await http.get(f"/v1/runs/{failed['id']}/verify")).json()
    assert verdict["problems"] == []
    said = (await http.get(f"/v1/sessions/{failed['session_key']}")).json()["messages"]
    assert [message["role"] for message in said] == ["user", "assistant"], "what was asked is there once"

    waiting = await start(http, "hello", run_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    await http.post(f"/v1/runs/{waiting['id']}/cancel")
    new = await http.post(f"/v1/runs/{waiting['id']}/retry")
    assert (new.status_code, new.json()["requeued_from"]) == (201, waiting["id"])
    assert new.headers["location"] == f"/v1/runs/{new.json()['id']}"
    assert (await follow(http, f"{new.headers['location']}/stream"))[-1]["state"] == "SUCCEEDED"


async def test_a_task_is_tried_as_often_as_it_asked_for(http: httpx.AsyncClient, vendor: ObedientVendor) -> None:
    run = await start(http, "!fault-html", max_attempts=1)
    frames = await follow(http, f"/v1/runs/{run['id']}/stream")

    assert (frames[-1]["state"], "RETRY_WAIT" in str(frames)) == ("FAILED", False)


async def test_a_run_that_works_is_stopped_and_stays_stopped(
    http: httpx.AsyncClient, vendor: ObedientVendor, client: Client
) -> None:
    run = await start(http, "!hold-3")
    await vendor.holds(1)

    stopped = await client.ask("runs.cancel", runId=run["id"], reason="too slow")

    assert stopped["run"]["state"] in ("RUNNING", "CANCELED")
    frames = await follow(http, f"/v1/runs/{run['id']}/stream")
    assert frames[-1]["state"] == "CANCELED"
    events = (await http.get(f"/v1/runs/{run['id']}/events")).json()["events"]
    wish = next(event for event in events if event["type"] == "task.cancel_requested")
    assert (wish["actor"], wish["payload"]["reason"]) == ("lan", "too slow")


async def test_what_is_wrong_with_a_request_is_named(http: httpx.AsyncClient) -> None:
    assert (await http.get("/api/v1/task/stream")).json()["details"]["field"] == "task_id"
    for path in ("/v1/runs/x", "/v1/runs/x/stream", "/v1/tasks/0193a5b0-0000-7000-8000-000000000000/stream"):
        assert (await http.get(path)).status_code == 404, path
    refused = await http.post("/v1/runs", json={"content": "x", "priority": 1000})
    assert (refused.status_code, refused.json()["details"]["field"]) == (400, "priority")
    run = await start(http, "x", run_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    bad = await http.get(f"/v1/runs/{run['id']}/stream", headers={"Last-Event-ID": "x"})
    assert (bad.status_code, bad.json()["details"]["field"]) == (400, "Last-Event-ID")


async def test_a_reader_hears_that_the_gateway_goes_and_the_run_stays(
    tmp_path: Path, vendor: ObedientVendor, vendor_place: VendorPlace
) -> None:
    gateway = Gateway(tmp_path / "home", with_vendor(vendor_place, gateway={"drain_sec": 1}))
    gateway.start()
    try:
        async with gateway.http(x_goclaw_user_id="lan") as http, trio.open_nursery() as nursery:
            run = await start(http, "!hold-3")
            await vendor.holds(1)
            heard: list[Json] = []
            begun = trio.Event()

            async def reader() -> None:
                heard.extend(await follow(http, f"/v1/runs/{run['id']}/stream", begun))

            nursery.start_soon(reader)
            await begun.wait()
            await gateway.terminate()
        assert (heard[-1]["type"], heard[-1]["error"]["code"]) == ("done", "UNAVAILABLE")
    finally:
        gateway.stop()


async def test_a_task_that_was_accepted_survives_the_death_of_the_process(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "home")
    gateway.start()
    try:
        async with gateway.http(x_goclaw_user_id="lan") as http:
            soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
            later = await start(http, "hello later", run_at=soon)
            now = await start(http, "hello")
            gateway.kill()
        gateway.start()
        async with gateway.http(x_goclaw_user_id="lan") as http:
            frames = await follow(http, f"/v1/runs/{now['id']}/stream", **{"Last-Event-ID": "0"})
            assert (frames[0]["type"], frames[-1]["state"]) == ("gap", "SUCCEEDED")
            assert text_of(frames) == frames[-1]["result"]["content"]
            verdict = (await http.get(f"/v1/runs/{now['id']}/verify")).json()
            assert verdict["problems"] == []
            assert (await http.get(f"/v1/runs/{later['id']}")).json()["state"] == "QUEUED"
            assert (await http.post("/v1/runs/repair")).json() == {"heads": [], "mended": 0}
    finally:
        gateway.stop()


# --- the command line -----------------------------------------------------------------------------


async def goclaw(gateway: Gateway, *arguments: str) -> tuple[int, str]:
    """The command line in a thread of its own: its exit code and what it said."""
    chosen = Options(lambda *_: 0)
    command = ["--url", gateway.address, "--token", gateway.token, *arguments]
    with trio.fail_after(PATIENCE):
        done = await trio.to_thread.run_sync(lambda: CliRunner().invoke(app, command, obj=chosen))
    if isinstance(done.exception, Failure):
        return int(done.exception.code), str(done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


async def test_operators_look_after_runs_from_the_command_line(
    gateway: Gateway, client: Client, vendor: ObedientVendor, tmp_path: Path, key: str
) -> None:
    run_id = (await client.chat("hello", key))["runId"]
    kept, bundle = tmp_path / "kept.json", tmp_path / "bundle.tar.gz"

    _, listed = await goclaw(gateway, "tasks", "list", "--session", key)
    assert [run_id in line for line in listed.splitlines()] == [False, True]
    _, shown = await goclaw(gateway, "runs", "show", run_id)
    assert "echo hello" in shown
    assert "RUNNING → SUCCEEDED" in shown
    verified, says = await goclaw(gateway, "runs", "verify", run_id)
    assert (verified, "the chain holds" in says) == (0, True)
    repaired, says = await goclaw(gateway, "runs", "repair", "--dry-run")
    assert (repaired, "counts its runs right" in says) == (0, True)
    packed, says = await goclaw(gateway, "incident", run_id, "-o", str(bundle))
    assert (packed, says.strip()) == (0, str(bundle))
    with tarfile.open(fileobj=io.BytesIO(bundle.read_bytes())) as tar:
        assert {"manifest.json", "run.json", "events.jsonl", "steps.jsonl"} <= set(tar.getnames())
    unknown, says = await goclaw(gateway, "incident", "../nobody", "-o", str(kept))
    assert (unknown, "NOT_FOUND" in says, kept.exists()) == (1, True, False)

    refused, says = await goclaw(gateway, "runs", "purge", run_id, "-o", str(tmp_path / "not-yet.json"))
    assert (refused, "not_a_dead_letter" in says) == (1, True)
    gateway.rows("UPDATE runs SET state = 'DEAD_LETTER' WHERE run_id = %s RETURNING 1", run_id)
    assert run_id in (await goclaw(gateway, "queue", "dead"))[1]
    broken, says = await goclaw(gateway, "runs", "verify", run_id)
    assert (broken, "the trail ends SUCCEEDED" in says) == (1, True)
    twice, says = await goclaw(gateway, "runs", "purge", run_id, "-o", str(bundle))
    assert (twice, "is there already" in says) == (2, True), "nothing is thrown away without a copy"
    purged, says = await goclaw(gateway, "runs", "purge", run_id, "-o", str(kept))
    assert (purged, str(kept) in says) == (0, True)
    document = json.loads(kept.read_text())
    assert (document["run"]["id"], document["request"]["message"]) == (run_id, "hello")
    assert (await goclaw(gateway, "runs", "show", run_id))[0] == 1


async def test_a_run_is_run_again_from_its_record(
    gateway: Gateway, client: Client, http: httpx.AsyncClient, vendor: ObedientVendor, key: str
) -> None:
    await client.chat("first", key)
    run_id = (await client.chat("second", key))["runId"]
    asked = len(vendor.asked)

    replay = (await http.post(f"/v1/runs/{run_id}/replay", json={})).json()
    frames = await follow(http, f"/v1/runs/{replay['replay_id']}/stream")
    same = (await http.get(f"/v1/runs/{replay['replay_id']}")).json()

    assert frames[-1]["state"] == "SUCCEEDED"
    assert same["kind"] == "replay"
    assert (same["result"]["verdict"], same["result"]["of"]) == ("identical", run_id)
    assert len(vendor.asked) == asked, "nobody was asked"
    other = await client.ask("runs.replay", runId=run_id, mode="what_if", prompt={"user": "third"})
    await follow(http, f"/v1/runs/{other['replayId']}/stream")
    found = (await client.ask("runs.get", runId=other["replayId"]))["run"]["result"]
    assert (found["final"]["recorded"], found["final"]["replayed"]) == ("echo second", "echo third")
    assert [message["content"] for message in await client.history(key)] == [
        "first",
        "echo first",
        "second",
        "echo second",
    ]
    refused = await http.post(f"/v1/runs/{run_id}/replay", json={"model": "x"})
    assert (refused.status_code, refused.json()["details"]["field"]) == (400, "mode")


async def test_a_replay_from_the_command_line(
    gateway: Gateway, client: Client, vendor: ObedientVendor, key: str
) -> None:
    run_id = (await client.chat("again and again", key))["runId"]

    code, output = await goclaw(gateway, "runs", "replay", run_id)
    assert (code, output.split()[0]) == (0, "identical"), output
    code, output = await goclaw(gateway, "runs", "replay", run_id, "--model", "echo")
    assert (code, output.split()[0]) == (0, "identical"), "the same model says the same"
    assert "≠" not in output
    assert (await goclaw(gateway, "runs", "replay", run_id, "--verify", "--model", "x"))[0] == 2
    assert (await goclaw(gateway, "runs", "replay", "nobody"))[0] != 0
