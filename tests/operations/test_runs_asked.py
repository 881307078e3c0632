"""Runs for those who ask: whose they are, what may be done to them, what is shown. Contract: edge-http.md §23."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import AsyncIterator
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from goclaw.domain.access import MASTER_TENANT, Caller, Role
from goclaw.domain.errors import Rejected
from goclaw.domain.ids import new_id
from goclaw.domain.run import RunResult
from goclaw.operations import incident, replays, run_checks, runs, tasks
from goclaw.operations.context import Context, House
from goclaw.operations.gateway import Nothing
from goclaw.operations.params import decode
from goclaw.operations.queue import stats
from goclaw.operations.replays import ReplayRun
from goclaw.operations.resume import ResumeChat, resume
from goclaw.operations.run_checks import ReadWork, Repair
from goclaw.operations.run_timeline import GetTimeline, get_timeline
from goclaw.operations.runs import CancelRun, CreateRun, GetRun, ListEvents, ListRuns, RetryRun, base_priority
from goclaw.runtime.system import System
from goclaw.settings.gateway import Gateway
from goclaw.settings.queue import Queue
from goclaw.settings.section import Secret
from goclaw.settings.settings import Settings
from goclaw.stores import run_ends, run_recovery, run_retries
from goclaw.stores.database import Database
from goclaw.stores.unit import Json
from tests.actors.house import house
from tests.stores.test_run_views import do
from tests.stores.test_runs import KEY, accept, claim, result, said


def context(system: System, user: str = "lan", role: Role = Role.OPERATOR) -> Context:
    return Context(House(Settings(), system, "1.2.3", "node", 0), Caller(user_id=user, role=role))


@pytest.fixture
async def system(database: Database, tmp_path: Path) -> AsyncIterator[System]:
    async with house(database, tmp_path, Queue(poll_ms=3_600_000.0)) as system:
        yield system


@pytest.fixture
def ctx(system: System) -> Context:
    return context(system)


async def ended(database: Database, **more: Any) -> str:
    run_id = await accept(database, **more)
    (run,) = await claim(database)
    await database.run(run_ends.succeed, run, result=result(run), messages=said(run, "hi"))
    return run_id


@pytest.mark.parametrize(
    ("asked", "base"), [(0, 5), (100, 10), (-100, 0), (19, 5), (-19, 5), (20, 6), (-20, 4), (99, 9), (-99, 1)]
)
def test_a_clients_priority_becomes_one_of_ours(asked: int, base: int) -> None:
    assert base_priority(asked) == base


async def test_the_metadata_of_a_task_is_kept_for_its_caller(ctx: Context) -> None:
    given = {"ticket": 7, "tags": ["a", {"b": None}]}

    created = await runs.create(ctx, decode(CreateRun, {"content": "work", "metadata": given}))
    plain = await runs.create(ctx, CreateRun(content="work"))

    assert created.run.metadata == (await runs.get(ctx, GetRun(run_id=created.run.id))).metadata == given
    assert plain.run.metadata is None
    with pytest.raises(Rejected) as refused:
        await runs.create(ctx, CreateRun(content="work", metadata={"long": "x" * 65_536}))
    assert refused.value.err.details["field"] == "metadata"


async def test_a_task_is_stored_with_its_terms_before_the_answer(ctx: Context) -> None:
    later = ctx.now() + timedelta(hours=2)
    ask = CreateRun(content="work", priority=60, max_attempts=2, run_at=later, resource_keys=["Repo:X", "repo:x"])

    created = await runs.create(ctx, ask)

    run = created.run
    assert (run.kind, run.state, run.lane, run.priority, run.max_attempts) == ("task", "QUEUED", "main", 8, 2)
    assert (run.content_preview, run.resource_keys, run.available_at) == ("work", ["repo:x"], later)
    assert run.session_key.startswith("agent:default:http:direct:lan-")
    assert not created.replayed
    assert await runs.get(ctx, GetRun(run_id=run.id)) == run


async def test_the_same_key_again_is_the_same_task(ctx: Context) -> None:
    ask = CreateRun(content="work", run_at=ctx.now() + timedelta(hours=1), idempotency_key="k")
    first = await runs.create(ctx, ask)

    again = await runs.create(ctx, ask)
    other = await runs.create(context(ctx.system, "mai"), ask)

    assert (again.run.id, again.replayed) == (first.run.id, True)
    assert (other.run.id == first.run.id, other.replayed) == (False, False)
    with pytest.raises(Rejected) as refused:
        await runs.create(ctx, CreateRun(content="other work", idempotency_key="k"))
    assert refused.value.err.details["reason"] == "idempotency_conflict"


async def test_a_task_is_put_off_for_a_year_at_most_and_in_any_zone(ctx: Context) -> None:
    last = decode(CreateRun, {"content": "x", "run_at": "9999-12-31T23:59:59-23:59"})
    far = CreateRun(content="x", run_at=ctx.now() + timedelta(days=367))
    for ask in (last, far):
        with pytest.raises(Rejected) as refused:
            await runs.create(ctx, ask)
        assert refused.value.err.details["field"] == "run_at"

    later = ctx.now() + timedelta(hours=2)
    odd = later.astimezone(timezone(timedelta(hours=23, minutes=59)))
    assert (await runs.create(ctx, CreateRun(content="x", run_at=odd))).run.available_at == later
    past = decode(CreateRun, {"content": "x", "run_at": "0001-01-01T00:00:00+23:59"})
    assert (await runs.create(ctx, past)).run.state != "FAILED"

    listed = await runs.list_runs(ctx, decode(ListRuns, {"from": "1990-01-01T00:00:00+23:59"}))
    assert listed.total == 2
    with pytest.raises(Rejected) as refused:
        await runs.list_runs(ctx, decode(ListRuns, {"to": "9999-12-31T23:59:59-23:59"}))
    assert refused.value.err.details["field"] == "to"


async def test_a_task_works_at_once_when_nothing_is_in_its_way(ctx: Context, database: Database) -> None:
    created = await runs.create(ctx, CreateRun(content="hello", run_at=ctx.now() - timedelta(days=1)))

    assert created.run.state in ("QUEUED", "CLAIMED", "RUNNING", "SUCCEEDED")
    assert created.run.attempt == 1


@pytest.mark.parametrize(
    "given",
    [
        {"content": ""},
        {"content": "x", "priority": 101},
        {"content": "x", "max_attempts": 0},
        {"content": "x", "maxAttempts": 11},
        {"content": "x", "resourceKeys": ["a"] * 21},
        {"content": "x", "run_at": "tomorrow"},
        {"content": "x", "run_at": "2026-01-01T00:00:00"},
        {},
    ],
)
def test_a_task_that_makes_no_sense_is_refused_by_name(given: dict[str, Any]) -> None:
    with pytest.raises(Rejected) as refused:
        decode(CreateRun, given)

    named = {"priority", "max_attempts", "resource_keys", "run_at", "content"}
    assert refused.value.err.details["field"].split(".")[0] in named


async def test_somebody_elses_run_does_not_exist_except_for_admins(ctx: Context, database: Database) -> None:
    run_id = await ended(database)
    stranger, admin = context(ctx.system, "mai"), context(ctx.system, "mai", Role.ADMIN)
    one = GetRun(run_id=run_id)

    asked: list[Any] = [
        lambda c: runs.get(c, one),
        lambda c: runs.list_events(c, ListEvents(run_id=run_id)),
        lambda c: run_checks.work(c, ReadWork(run_id=run_id)),
        lambda c: run_checks.verify(c, one),
        lambda c: run_checks.export(c, one),
    ]
    for ask in asked:
        await ask(ctx)
        await ask(admin)
        with pytest.raises(Rejected, match="NOT_FOUND"):
            await ask(stranger)
    for act in (
        runs.cancel(stranger, CancelRun(run_id=run_id)),
        runs.retry(stranger, RetryRun(run_id=run_id)),
        runs.get(ctx, GetRun(run_id=new_id())),
        runs.get(ctx, GetRun(run_id="../x")),
        tasks.get_task(ctx, one),
    ):
        with pytest.raises(Rejected, match="NOT_FOUND"):
            await act
    assert (await runs.list_runs(stranger, ListRuns())).runs == []
    assert (await runs.list_runs(stranger, ListRuns(user_id="lan"))).total == 0
    assert (await runs.list_runs(admin, ListRuns(user_id="lan"))).total == 1
    assert (await tasks.list_tasks(ctx, ListRuns(kind="chat"))).runs == []


async def test_a_run_shows_its_result_or_its_error_in_the_callers_language(ctx: Context, database: Database) -> None:
    good = await ended(database)
    await accept(database, "bad")
    (run,) = await claim(database)
    failed = RunResult(run_id=run.run_id, session_key=KEY, error=run_recovery.LOST)
    await database.run(run_ends.fail, run, result=failed, reason="FAILED_PROVIDER", error="boom", messages=[])

    shown = await runs.get(ctx, GetRun(run_id=good))
    bad = await runs.get(ctx, GetRun(run_id=run.run_id))

    assert shown.result is not None
    assert (shown.result["content"], shown.result["usage"]["totalTokens"], shown.error) == ("hello", 5, None)
    assert (bad.state, bad.reason) == ("FAILED", "FAILED_PROVIDER")
    assert bad.error == {"code": "UNAVAILABLE", "message": "temporarily unavailable: crashed"}


async def test_a_cursor_into_what_retention_took_is_a_gap(ctx: Context, database: Database) -> None:
    run_id = await ended(database)
    trail = await runs.list_events(ctx, ListEvents(run_id=run_id, limit=2))
    assert [event.type for event in trail.events] == ["task.enqueued", "task.claimed"]
    rest = await runs.list_events(ctx, ListEvents(run_id=run_id, from_event_id=trail.next_event_id))
    assert [event.type for event in rest.events] == ["task.running", "task.succeeded"]
    nothing = await runs.list_events(ctx, ListEvents(run_id=run_id, from_event_id=rest.next_event_id))
    assert (nothing.events, nothing.next_event_id) == ([], rest.next_event_id)

    await database.run(do, "ALTER TABLE run_events_default DISABLE TRIGGER USER")
    await database.run(do, "DELETE FROM run_events WHERE event_id < %(n)s", n=rest.events[-1].event_id)

    with pytest.raises(Rejected) as refused:
        await runs.list_events(ctx, ListEvents(run_id=run_id, from_event_id=trail.next_event_id))
    assert refused.value.err.details["reason"] == "replay_gap"
    kept = await runs.list_events(ctx, ListEvents(run_id=run_id))
    assert [event.type for event in kept.events] == ["task.succeeded"]
    verdict = await run_checks.verify(ctx, GetRun(run_id=run_id))
    assert (verdict.ok, verdict.whole, verdict.problems) == (True, False, [])


async def test_a_waiting_run_is_cancelled_at_once(ctx: Context) -> None:
    created = await runs.create(ctx, CreateRun(content="work", run_at=ctx.now() + timedelta(hours=1)))

    run = await runs.cancel(ctx, CancelRun(run_id=created.run.id))

    assert run.state == "CANCELED"
    with pytest.raises(Rejected) as refused:
        await runs.cancel(ctx, CancelRun(run_id=created.run.id))
    assert (refused.value.err.code, refused.value.err.details["state"]) == ("FAILED_PRECONDITION", "CANCELED")


async def test_the_wish_to_cancel_a_run_that_works_is_stored(ctx: Context, database: Database) -> None:
    run_id = await accept(database)
    await claim(database)

    run = await runs.cancel(ctx, CancelRun(run_id=run_id, reason="too slow"))

    assert (run.state, run.cancel_requested) == ("RUNNING", True)


async def test_a_dead_letter_is_tried_again_as_a_new_run(ctx: Context, database: Database) -> None:
    run_id = await ended(database)
    with pytest.raises(Rejected) as refused:
        await runs.retry(ctx, RetryRun(run_id=run_id))
    assert refused.value.err.details == {"reason": "state", "state": "SUCCEEDED"}
    await database.run(do, "UPDATE runs SET state = 'DEAD_LETTER'")

    retried = await runs.retry(ctx, RetryRun(run_id=run_id))

    assert retried.new
    assert (retried.run.id == run_id, retried.run.requeued_from) == (False, run_id)


async def test_a_dead_letter_is_tried_again_once_at_a_time(ctx: Context, database: Database) -> None:
    run_id = await ended(database)
    await database.run(do, "UPDATE runs SET state = 'DEAD_LETTER'")
    again = {"new_id": new_id(), "kind": "chat", "by": "lan", "timeout": 600.0, "fresh": False}
    assert await database.run(run_retries.try_again, tenant=MASTER_TENANT, run_id=run_id, **again)

    with pytest.raises(Rejected) as refused:
        await runs.retry(ctx, RetryRun(run_id=run_id))
    assert refused.value.err.details == {"reason": "retried"}

    await database.run(do, "UPDATE runs SET state = 'CANCELED', finished_at = now() WHERE requeued_from IS NOT NULL")
    assert (await runs.retry(ctx, RetryRun(run_id=run_id))).new


async def test_a_run_whose_request_was_forgotten_is_not_tried_again(ctx: Context, database: Database) -> None:
    run_id = await accept(database)
    await database.run(do, "UPDATE runs SET state = 'FAILED', finished_at = now(), request = '{}'")

    with pytest.raises(Rejected) as refused:
        await runs.retry(ctx, RetryRun(run_id=run_id))

    assert refused.value.err.details == {"reason": "no_request"}


async def test_a_replay_asked_for_again_is_the_replay_of_that_time(ctx: Context, database: Database) -> None:
    run_id = await ended(database)
    await database.run(do, RECORD, run=run_id, tenant=MASTER_TENANT)
    ctx = Context(ctx.house, ctx.caller, route="POST /v1/runs/{run_id}/replay", idempotency_key="k")

    first = await replays.replay(ctx, ReplayRun(run_id=run_id))
    again = await replays.replay(ctx, ReplayRun(run_id=run_id))

    assert again.replay_id == first.replay_id
    assert (await runs.get(ctx, GetRun(run_id=again.replay_id))).kind == "replay"


async def test_a_run_outlives_its_session_and_is_still_its_owners_alone(ctx: Context, database: Database) -> None:
    run_id = await ended(database)
    ask = ResumeChat(session_key=KEY, run_id=run_id)
    await database.run(do, "DELETE FROM sessions")

    for other in (context(ctx.system, "mai"), context(ctx.system, "mai", Role.VIEWER)):
        with pytest.raises(Rejected, match="NOT_FOUND"):
            await resume(other, ask)
    assert (await resume(ctx, ask)).status == "completed"
    assert (await resume(context(ctx.system, "boss", Role.ADMIN), ask)).status == "completed"


async def test_a_failed_run_is_tried_again_itself(ctx: Context, database: Database) -> None:
    run_id = await accept(database)
    (run,) = await claim(database)
    await database.run(run_ends.fail, run, result=result(run), reason="FAILED_PROVIDER", error="boom", messages=[])

    retried = await runs.retry(ctx, RetryRun(run_id=run_id))

    assert (retried.run.id, retried.new) == (run_id, False)


# --- looking inside -------------------------------------------------------------------------------

STEP = """
INSERT INTO run_steps (run_id, step_no, tenant_id, kind, message)
VALUES (%(run)s, %(n)s, %(tenant)s, 'llm', %(message)s)
"""
EFFECT = """
INSERT INTO tool_effects (idempotency_key, run_id, tenant_id, step_no, call_index, tool, effect_class, request_hash,
  status, result) VALUES ('k' || %(n)s, %(run)s, %(tenant)s, %(n)s, 0, 'mail', 'unsafe', '', 'UNKNOWN', %(result)s)
"""


RECORD = "INSERT INTO run_records (run_id, seq, tenant_id, kind) VALUES (%(run)s, 0, %(tenant)s, 'open')"
NOTES = """
INSERT INTO run_events (run_id, tenant_id, session_key, session_seq, type)
SELECT %(run)s, %(tenant)s, %(key)s, 3 + n, 'run.note' FROM generate_series(1, %(notes)s) AS n
"""


CALL = {"id": "c1", "name": "mail", "arguments": {"api_key": "s3cret"}}


async def worked(database: Database) -> str:
    """A run with three steps and an effect, which hold a secret and a long text."""
    run_id = await ended(database)
    for n in range(3):
        message = {"role": "assistant", "content": "x" * 5000, "tool_calls": [CALL]}
        await database.run(do, STEP, run=run_id, n=n, tenant=MASTER_TENANT, message=Json(message))
    await database.run(do, EFFECT, run=run_id, n=1, tenant=MASTER_TENANT, result=Json({"password": "s3cret"}))
    return run_id


async def test_steps_are_shown_in_pages_without_secrets_and_without_endless_texts(
    ctx: Context, database: Database
) -> None:
    run_id = await worked(database)

    page = await run_checks.work(ctx, ReadWork(run_id=run_id, limit=2))
    rest = await run_checks.work(ctx, ReadWork(run_id=run_id, from_step=2))

    assert ([step.step_no for step in page.steps], page.next_step_no) == ([0, 1], 2)
    assert ([step.step_no for step in rest.steps], rest.next_step_no) == ([2], None)
    assert page.steps[0].message["content"] == "x" * 4000 + "… [1,000 more]"
    assert page.steps[0].message["tool_calls"] == [{**CALL, "arguments": {"api_key": "***"}}]
    (effect,) = page.effects
    assert (effect.status, effect.result, effect.idempotency_key) == ("UNKNOWN", {"password": "***"}, "k1")


async def test_a_sound_trail_is_verified_and_a_changed_one_says_where(ctx: Context, database: Database) -> None:
    run_id = await ended(database)
    good = await run_checks.verify(ctx, GetRun(run_id=run_id))
    assert (good.ok, good.events, good.hashed, good.problems) == (True, 4, 4, [])

    await database.run(do, "ALTER TABLE run_events_default DISABLE TRIGGER USER")
    await database.run(do, "UPDATE run_events SET state_to = 'FAILED' WHERE type = 'task.running'")
    await database.run(do, "DELETE FROM run_events WHERE type = 'task.claimed'")
    bad = await run_checks.verify(ctx, GetRun(run_id=run_id))

    assert not bad.ok
    assert bad.problems == [
        "event 2 (task.running) was changed after it was written",
        "event 2 (task.running) does not follow the one before",
        "event 2 (task.running) leaves CLAIMED, but the run was QUEUED",
        "event 2 (task.running): CLAIMED → FAILED is not legal",
        "event 3 (task.succeeded) leaves RUNNING, but the run was FAILED",
        "the session's order has 1 holes while the run lived",
    ]


async def test_of_an_endless_trail_the_beginning_is_verified(ctx: Context, database: Database) -> None:
    run_id = await accept(database)
    (run,) = await claim(database)
    await database.run(do, NOTES, run=run_id, tenant=MASTER_TENANT, key=KEY, notes=run_checks.TRAIL)
    await database.run(do, "UPDATE session_heads SET next_seq = next_seq + %(notes)s", notes=run_checks.TRAIL)
    await database.run(run_ends.succeed, run, result=result(run), messages=said(run, "hi"))

    verdict = await run_checks.verify(ctx, GetRun(run_id=run_id))

    assert (verdict.ok, verdict.cut, verdict.events, verdict.problems) == (True, True, run_checks.TRAIL, [])


async def test_heads_are_looked_at_before_they_are_mended(ctx: Context, database: Database) -> None:
    await ended(database)
    assert (await run_checks.repair(ctx, Repair())).heads == []
    await database.run(do, "UPDATE session_heads SET running = 2")

    looked = await run_checks.repair(ctx, Repair(dry_run=True))
    mended = await run_checks.repair(ctx, Repair())

    assert [(head.running, head.counted_running) for head in looked.heads] == [(2, 0)]
    assert (looked.mended, mended.mended) == (0, 1)
    assert (await run_checks.repair(ctx, Repair())).mended == 0


async def test_a_dead_letter_is_exported_whole_and_purged(ctx: Context, database: Database) -> None:
    run_id = await worked(database)
    with pytest.raises(Rejected) as refused:
        await run_checks.purge(ctx, GetRun(run_id=run_id))
    assert refused.value.err.details["reason"] == "not_a_dead_letter"
    await database.run(do, "UPDATE runs SET state = 'DEAD_LETTER'")

    document = await run_checks.export(ctx, GetRun(run_id=run_id))
    await run_checks.purge(ctx, GetRun(run_id=run_id))

    assert (document.run.id, len(document.events), len(document.steps), len(document.effects)) == (run_id, 4, 3, 1)
    assert document.steps[0].message["content"] == "x" * 5000
    assert document.request is not None
    assert document.request["message"] == "hi"
    with pytest.raises(Rejected, match="NOT_FOUND"):
        await runs.get(ctx, GetRun(run_id=run_id))


async def test_the_queue_is_counted_by_state_and_lane(ctx: Context, database: Database) -> None:
    await accept(database, key="agent:default:ws:direct:a")
    await accept(database, key="agent:default:ws:direct:b")
    await claim(database, "agent:default:ws:direct:a")

    mine = await stats(ctx, Nothing())
    nobodys = await stats(context(ctx.system, "mai"), Nothing())

    assert {state: n for state, n in mine.states.items() if n} == {"QUEUED": 1, "RUNNING": 1}
    main = next(lane for lane in mine.lanes if lane["name"] == "main")
    assert (main["waiting"], main["held"], main["limit"]) == (1, 1, 30)
    assert set(nobodys.states.values()) == {0}


async def test_what_the_gateway_must_not_tell_is_in_no_text_of_an_export(system: System, database: Database) -> None:
    settings = Settings(gateway=Gateway(token=Secret("door-token")))
    ctx = Context(House(settings, system, "1.2.3", "node", 0), Caller(user_id="lan", role=Role.ADMIN))
    run_id = await ended(database, text="the token is door-token")

    document = await run_checks.export(ctx, GetRun(run_id=run_id))
    bundle = await incident.bundle(ctx, GetRun(run_id=run_id))

    assert document.request is not None
    assert document.request["message"] == document.run.content_preview == "the token is [redacted:secret]"
    assert b"door-token" not in b"".join(unpacked(bundle.body).values())


async def test_a_bundle_holds_all_that_is_known_and_no_secret(ctx: Context, database: Database) -> None:
    run_id = await worked(database)

    bundle = await incident.bundle(context(ctx.system, role=Role.ADMIN), GetRun(run_id=run_id))

    assert bundle.name == f"incident-{run_id[:8]}.tar.gz"
    files = unpacked(bundle.body)
    names = ["run.json", "events.jsonl", "steps.jsonl", "effects.jsonl", "actors.json", "metrics.txt", "audit.jsonl"]
    assert list(files) == ["manifest.json", *names]
    manifest = json.loads(files["manifest.json"])
    assert manifest["members"] == {
        name: {"sha256": hashlib.sha256(files[name]).hexdigest(), "bytes": len(files[name])} for name in names
    }
    assert set(manifest["notes"]) == {"trace.json", "logs.jsonl"}
    assert files["metrics.txt"].startswith(b"# ")
    assert (manifest["run_id"], manifest["version"], len(manifest["config_hash"])) == (run_id, "1.2.3", 64)
    assert manifest["schema"] >= 16
    assert [json.loads(line)["type"] for line in files["events.jsonl"].splitlines()][-1] == "task.succeeded"
    assert len(files["steps.jsonl"].splitlines()) == 3
    assert b"s3cret" not in b"".join(files.values())


def test_a_bundle_that_would_be_too_large_says_what_it_left_out() -> None:
    packed = incident.pack({"run.json": [{"a": 1}], "events.jsonl": [{"n": "x" * 90}] * 5}, {}, limit=250)

    files = unpacked(packed)
    assert len(files["events.jsonl"].splitlines()) == 2
    assert json.loads(files["manifest.json"])["notes"]["events.jsonl"] == "3 of 5 lines had no room"


def unpacked(body: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(body))) as tar:
        return {entry.name: tar.extractfile(entry).read() for entry in tar.getmembers()}  # type: ignore[union-attr]


async def test_a_timeline_is_states_messages_and_tools_in_order_and_in_pages(ctx: Context, database: Database) -> None:
    run_id = await worked(database)
    await ended(database, text="another")

    whole = (await get_timeline(ctx, GetTimeline(run_id=run_id))).items
    page = (await get_timeline(ctx, GetTimeline(session_key=KEY, limit=3, offset=2))).items

    assert [(item.item_type, item.status) for item in whole[:4]] == [
        ("run.status", "queued"), ("run.status", "claimed"), ("run.status", "running"), ("run.status", "succeeded"),
    ]  # fmt: skip
    assert [item.item_type for item in whole[4:]] == ["assistant.message", "tool.call"] * 3
    assert len({item.id for item in whole}) == len(whole) == 10
    assert [len(item.preview) <= 200 and "s3cret" not in item.preview for item in whole] == [True] * 10
    assert [(item.seq, item.run_id == run_id) for item in page] == [(2, True), (3, True), (4, True)]
    for ask in (GetTimeline(run_id=run_id), GetTimeline(session_key=KEY)):
        with pytest.raises(Rejected, match="NOT_FOUND"):
            await get_timeline(context(ctx.system, "mai"), ask)
    with pytest.raises(Rejected, match="required"):
        await get_timeline(ctx, GetTimeline())
