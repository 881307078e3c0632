"""Chaos plans against a living gateway. Contract: supervision.md §21, checks C-1 to C-6."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from socket import gethostname

import httpx
import pytest
import trio

from tests.e2e.gateway import Client, Gateway, Json, Refusal, running

KEY = "agent:default:ws:direct:hit"
CONSENT = {"chaos": {"enabled": True, "allow_production": True}, "gateway": {"drain_sec": 3}}
QUICK = {"before_sec": 5, "duration_sec": 60, "after_sec": 5}
PLANS = "/v1/chaos/plans"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One for the whole file, with the file's consent to chaos. The offline model answers."""
    with running(Gateway(tmp_path_factory.mktemp("chaos") / "home", CONSENT)) as gateway:
        yield gateway


async def goclaw(gateway: Gateway, *words: str) -> Json:
    """What the command line says of the running gateway."""
    command = [sys.executable, "-m", "goclaw", "--url", gateway.address, "--token", gateway.token, *words]
    done = await trio.run_process(command, env=gateway.environ, cwd=gateway.home, capture_stdout=True)
    return dict(json.loads(done.stdout))


def item(path: str, what: str | Json, message: str = "*", times: int = 1, **when: float) -> Json:
    return {"path": path, "what": what, "message": message, "times": times, "when": when}


BELL = item("/engine/queue/keeper", "kill", at_sec=0.0)  # its `chaos.fired` says that the faults have begun


async def start(http: httpx.AsyncClient, *items: Json, **more: object) -> Json:
    """A plan that was accepted."""
    answer = await http.post(PLANS, json={**QUICK, "items": items, "confirm": gethostname(), **more})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def stop(http: httpx.AsyncClient, id: str) -> Json:
    answer = await http.delete(f"{PLANS}/{id}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def hears(client: Client, event: str, times: int = 1) -> Json:
    """The payload of the last of so many events."""

    def told() -> list[Json]:
        return [frame["payload"] for frame in client.events if frame["event"] == event]

    with trio.fail_after(30):
        return dict((await client.until(lambda: told()[times - 1 :]))[0])


def check(report: Json) -> dict[str, bool]:
    return {one["name"]: one["ok"] for one in report["checks"]}


async def test_a_plan_is_made_once_per_key(gateway: Gateway) -> None:
    """edge-http.md §0.1, for what creates something and is no turn."""
    plan = {**QUICK, "items": [BELL], "confirm": gethostname()}
    answers: list[httpx.Response] = []
    async with gateway.http(x_goclaw_user_id="lan", idempotency_key="plan-1") as http:

        async def create() -> None:
            answers.append(await http.post(PLANS, json=plan))

        refused = await http.post(PLANS, json={**plan, "confirm": "elsewhere"})
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(create)
        await create()
        made = next(answer for answer in answers if "Idempotent-Replay" not in answer.headers and answer.is_success)
        other = await http.post(PLANS, json={**plan, "name": "other"})
        await stop(http, made.json()["id"])
        listed = (await http.get(PLANS)).json()["plans"]

    assert refused.status_code == 400, "and the key is free"
    last = answers[-1]
    assert (made.status_code, last.status_code, last.headers["Idempotent-Replay"]) == (201, 201, "true")
    assert last.content == made.content
    reasons = {a.json()["details"]["reason"] for a in answers if not a.is_success}
    assert reasons <= {"in_progress"}
    assert (other.status_code, other.json()["code"]) == (409, "IDEMPOTENCY_CONFLICT")
    assert [row["id"] for row in listed] == [made.json()["id"]]


async def test_crashes_under_load_lose_nothing_and_the_same_seed_hits_the_same(gateway: Gateway) -> None:
    """C-1 and C-2, and the second half of C-4."""
    load = {"turns_per_sec": 20, "sessions": 20}
    items = [
        item("/sessions/**", "crash", "session.enqueue", times=100, probability=0.05),
        item("/sessions/**", {"delay": {"ms": 20}}, "session.enqueue", times=100, probability=0.2),
    ]
    plan = {"duration_sec": 4, "seed": 4, "load": load}
    async with gateway.client() as client, gateway.http(x_goclaw_user_id="lan") as http:
        first = await start(http, *items, name="five in a hundred", **plan)
        again = await http.post(PLANS, json={**QUICK, "items": items, "confirm": gethostname()})
        assert (again.status_code, again.json()["details"]["reason"]) == (409, "chaos_active")
        with pytest.raises(Refusal) as active:
            await client.ask("chaos.start", items=items, confirm=gethostname())
        assert (active.value.code, active.value.reason) == ("FAILED_PRECONDITION", "chaos_active")
        assert (await hears(client, "chaos.started"))["id"] == first["id"]

        hit = await hears(client, "chaos.fired")
        live = (await http.get(f"{PLANS}/{first['id']}")).json()
        assert (live["state"], live["report"]["state"], live["report"]["verdict"]) == ("running", "running", None)
        report = await hears(client, "chaos.ended")

        assert hit["path"].startswith("/sessions/")
        assert (report["id"], report["state"], report["seed"]) == (first["id"], "ended", 4)
        assert {name for name, ok in check(report).items() if not ok} <= {"p99_after"}  # others use this machine too
        assert report["verdict"] == ("pass" if all(check(report).values()) else "fail")
        turns, crashes = report["turns"], report["faults"]["fired"]["crash"]
        assert turns["offered"] == turns["accepted"] + turns["refused"] == 280
        assert turns["answered"] == turns["accepted"]
        assert turns["refused"] == crashes > 0
        assert (turns["lost"], turns["pending"], turns["duplicate_answers"]) == (0, 0, 0)
        assert report["restarts"]["by_class"]["Session"] == report["restarts"]["total"] > 0
        assert report["dead_letters"] == {"crashed_handler": crashes}
        spans = report["latency_ms"]
        assert [spans[part]["n"] for part in ("before", "during", "after")] == [100, 80 - crashes, 100]
        assert 0 < spans["before"]["p50"] <= spans["before"]["p99"] <= spans["before"]["max"]
        assert report["recovery_ms"]["n"] > 0
        assert gateway.rows("SELECT count(*) FROM sessions") == [(0,)]
        assert gateway.rows("SELECT agent_key FROM agents WHERE provider = 'offline'") == []

        stored = (await http.get(f"{PLANS}/{first['id']}")).json()
        assert stored["report"] == report
        second = await start(http, *items, **plan)
        calm = "during"
        while calm == "during":  # until all turns of the second window went out
            await trio.sleep(0.5)
            seen = (await http.get(f"{PLANS}/{second['id']}")).json()["report"]["latency_ms"]
            calm = "after" if seen["after"]["n"] else "during"
        assert (await stop(http, second["id"]))["faults"]["fired"] == report["faults"]["fired"]
        listed = (await http.get(PLANS)).json()["plans"]
        assert [row["id"] for row in listed][:2] == [second["id"], first["id"]]
        assert listed[1]["verdict"] == report["verdict"]
    injected = [line["injected"] for line in gateway.log if line["event"] == "actor.crashed" and "injected" in line]
    assert set(injected) <= {first["id"], second["id"]}


async def test_a_kill_of_everything_hits_only_what_is_not_protected(gateway: Gateway) -> None:
    """C-3."""
    async with gateway.client() as client, gateway.http(x_goclaw_user_id="lan") as http:
        await client.chat("wake up", KEY)
        plan = await start(http, item("/**", "kill", times=1000, at_sec=0.0), duration_sec=30)
        await client.chat("count me", KEY)
        await hears(client, "chaos.fired")
        report = await stop(http, plan["id"])
        hit = [frame["payload"]["path"] for frame in client.events if frame["event"] == "chaos.fired"]

        counted = {name: report["turns"][name] for name in ("offered", "accepted", "refused", "answered")}
        assert counted == {"offered": 1, "accepted": 1, "refused": 0, "answered": 1}
        assert report["latency_ms"]["before"]["n"] == 1
        assert report["faults"]["fired"]["kill"] > 3
        assert report["faults"]["skipped"]["protected"] > 5
        assert hit
        spared = ("/system", "/infra/stores", "/infra/cluster", "/infra/activity", "/infra/actor_log", "/edge")
        assert [path for path in hit if path in ("/", "/sessions", "/agents") or path.startswith(spared)] == []
        assert check(report)["lost"]
        assert gateway.process is not None
        assert gateway.process.poll() is None
        assert (await client.chat("still there?", KEY))["content"]


async def test_a_stop_releases_a_hung_handler_at_once(gateway: Gateway) -> None:
    """C-5."""
    hang = item("/sessions/**", {"hang": {"sec": 60}}, "session.enqueue", nth=1)
    async with gateway.client() as client, gateway.http(x_goclaw_user_id="lan") as http:
        plan = await start(http, BELL, hang)
        await hears(client, "chaos.fired")
        request = await client.send("chat.send", message="hang", sessionKey=KEY)
        await hears(client, "chaos.fired", 2)
        report = await stop(http, plan["id"])
        assert (await client.answer(request))["content"]  # long before the minute is over

        assert (report["state"], report["reason"]) == ("ended", "stopped")
        assert report["faults"]["fired"] == {"kill": 1, "hang": 1}
        assert await stop(http, plan["id"]) == report


async def test_a_poisoned_turn_is_handled_twice_and_never_again(gateway: Gateway) -> None:
    """B2: the same turn five times; the faults are over after two, and still nobody touches it."""
    crash = item(f"/sessions/*/{KEY}", "crash", "session.enqueue", times=2, every=1)
    async with gateway.client() as client, gateway.http(x_goclaw_user_id="lan") as http:
        plan = await start(http, BELL, crash)
        await hears(client, "chaos.fired")
        for _ in range(5):
            with pytest.raises(Refusal) as refused:
                await client.chat("poison", KEY, idempotencyKey="poison")
            assert (refused.value.code, refused.value.reason) == ("UNAVAILABLE", "crashed")
        letters = (await http.get("/v1/actors/deadletters", params={"reason": "poison"})).json()
        report = await stop(http, plan["id"])

        assert [letter["type"] for letter in letters["deadletters"]] == ["session.enqueue"] * 3
        assert report["faults"]["fired"] == {"kill": 1, "crash": 2}
        assert (await client.chat("something else", KEY))["content"]
        assert (await client.chat("a neighbour", f"{KEY}-neighbour"))["content"]


async def test_a_bad_plan_is_refused_by_field_and_reason(gateway: Gateway) -> None:
    """Nothing of it starts."""
    good = {"items": [item("/sessions/**", "crash", nth=1)], "confirm": gethostname()}
    wrong: list[tuple[Json, str]] = [
        ({"confirm": "another"}, "confirm"),
        ({"items": []}, "items"),
        ({"items": [item("/a", "crash")]}, "items[0].when"),
        ({"items": [item("/a", "crash", nth=1, every=1)]}, "items[0].when"),
        ({"items": [item("/a", "crash", probability=0.6)]}, "items[0].when.probability"),
        ({"items": [item("/a", "explode", nth=1)]}, "items[0].what"),
        ({"items": [item("/a", {"delay": {"ms": 30_001}}, nth=1)]}, "items[0].what.delay.ms"),
        ({"items": [item("/a", {"hang": {"sec": 61}}, nth=1)]}, "items[0].what.hang.sec"),
        ({"items": [item("a", "crash", nth=1)]}, "items[0].path"),
        ({"items": [item("/a", "crash", times=1001, nth=1)]}, "items[0].times"),
        ({"duration_sec": 901}, "duration_sec"),
        ({"before_sec": 4}, "before_sec"),
        ({"load": {"turns_per_sec": 51, "sessions": 1}}, "load.turns_per_sec"),
        ({"limits": {"faults": 2001}}, "limits.faults"),
    ]
    async with gateway.http(x_goclaw_user_id="lan") as http:
        for change, field in wrong:
            answer = await http.post(PLANS, json={**good, **change})
            assert (answer.status_code, answer.json()["details"]["field"]) == (400, field)
            assert answer.json()["details"]["reason"]
        unknown = await http.post(PLANS, json={**good, "load": {"turns_per_sec": 1, "sessions": 1, "agent": "nobody"}})
        assert unknown.status_code == 404
        assert (await http.delete(f"{PLANS}/nothing")).status_code == 404
        assert "running" not in [plan["state"] for plan in (await http.get(PLANS)).json()["plans"]]


async def test_a_plan_dies_with_its_process_and_production_needs_two_consents(gateway: Gateway, tmp_path: Path) -> None:
    """C-6, from the command line, and C-4."""
    crash = item("/sessions/**", "crash", "session.enqueue", times=1000, every=1)
    file = tmp_path / "plan.json5"
    file.write_text("// a plan\n" + json.dumps({**QUICK, "items": [BELL, crash], "name": "to the death"}))
    async with gateway.client() as client:
        started = await goclaw(gateway, "chaos", "run", str(file), "--confirm", gethostname(), "--json")
        await hears(client, "chaos.fired")
        with pytest.raises(Refusal) as refused:
            await client.chat("hit", KEY)
        assert refused.value.reason == "crashed"
        gateway.kill()

    gateway.environ["GOCLAW_ENV"] = "production"
    gateway.start()

    async with gateway.client() as client, gateway.http(x_goclaw_user_id="lan") as http:
        assert (await client.chat("not hit", KEY))["content"]
        shown = await goclaw(gateway, "chaos", "show", started["id"])
        assert (shown["state"], shown["reason"], shown["report"]) == ("interrupted", "process ended", None)
        plan = {"items": [crash], "confirm": gethostname()}
        answer = await http.post(PLANS, json=plan)
        assert (answer.status_code, answer.json()["details"]["reason"]) == (403, "chaos_disabled")
        forced = await client.ask("chaos.start", **plan, force=True)
        assert set(forced) == {"id", "seed", "endsAt"}
        assert (await goclaw(gateway, "chaos", "stop"))["id"] == forced["id"]
