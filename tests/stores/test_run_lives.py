"""Runs that fail, die, are stopped or tried again: what commits together, and what is refused. durability.md §4–§8."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.chat import Usage
from goclaw.domain.errors import agent_timeout
from goclaw.domain.ids import new_id
from goclaw.domain.run import ReplyTo, RunRequest
from goclaw.domain.texts import text_of
from goclaw.stores import run_claims, run_ends, run_recovery, run_replies, run_retries, run_steps, run_stops, runs
from goclaw.stores.database import Database
from goclaw.stores.run_ends import Fault
from goclaw.stores.run_kept import Blob, Kept, Record, Step
from goclaw.stores.run_steps import Counters, NewEffect, Outcome
from goclaw.stores.runs import Claimed, Depth, StaleOwner
from goclaw.stores.unit import Connection, many, transaction
from tests.stores.test_runs import NODE, OTHER, accept, claim, head, result, said, trail

FAULT = Fault(fingerprint="f" * 64, alike=1)
COUNTERS = Counters(iteration=1, current_step=1, tokens_used=5)


@transaction
async def rows(db: Connection, query: str, *params: Any) -> list[Any]:
    return await many(str, db.execute(query, params))


async def state(database: Database, run_id: str) -> str:
    query = "SELECT concat_ws(' ', state, coalesce(reason_code, ''), attempt, crash_count) FROM runs WHERE run_id = %s"
    (found,) = await database.run(rows, query, run_id)
    return str(found)


async def due(database: Database, run_id: str) -> None:
    """The time a run waits for has come."""
    await database.run(rows, "UPDATE runs SET available_at = now() WHERE run_id = %s RETURNING ''", run_id)
    await database.run(rows, "UPDATE session_heads SET head_at = now() WHERE head_at IS NOT NULL RETURNING ''")


async def broken_links(database: Database) -> list[Any]:
    """Events whose hash is not theirs, or that do not name the one before them."""
    query = """
    SELECT event_id::text FROM (SELECT e, event_id, hash, prev_hash,
      lag(hash, 1, repeat('0', 64)) OVER (PARTITION BY run_id ORDER BY event_id) AS before FROM run_events e) AS link
    WHERE hash <> run_event_hash(e) OR prev_hash <> before
    """
    return await database.run(rows, query)


async def retry(database: Database, run: Claimed, delay: float = 60.0) -> Depth:
    return await database.run(
        run_ends.retry, run, reason="RETRY_PROVIDER", error="overload: busy", fault=FAULT, delay=delay
    )


async def test_a_run_that_waits_for_its_next_try_holds_up_those_behind_it_until_it_is_due(database: Database) -> None:
    first, second = await accept(database, "one"), await accept(database, "two")
    (run,) = await claim(database)

    assert await retry(database, run) == Depth(queued=2, running=0)
    assert await claim(database) == [], "nobody overtakes it"
    await database.run(rows, "UPDATE session_heads SET head_at = now() RETURNING ''")
    assert await claim(database) == [], "nor when somebody looks too early"
    await due(database, first)
    (again,) = await claim(database)

    assert (again.run_id, again.attempt, again.fence, again.fingerprint_count) == (first, 2, 2, 1)
    assert (again.last_error, again.reason_code) == ("overload: busy", "RETRY_PROVIDER")
    await database.run(run_ends.succeed, again, result=result(again), messages=[])
    assert [run.run_id for run in await claim(database)] == [second]
    assert [type for _, type in await database.run(trail)][4:8] == [
        "task.retry_wait",
        "task.requeued",
        "task.claimed",
        "task.running",
    ]
    assert await broken_links(database) == []


async def test_a_run_nobody_may_try_again_is_a_dead_letter_in_the_same_commit(database: Database) -> None:
    run_id = await accept(database)
    (run,) = await claim(database)
    await database.run(
        run_ends.fail,
        run,
        result=result(run),
        reason="FAILED_PROVIDER",
        error="busy",
        messages=said(run, "hi"),
        dead="DEAD_LETTER_POISON_PILL",
        fault=FAULT,
    )

    assert await state(database, run_id) == "DEAD_LETTER DEAD_LETTER_POISON_PILL 1 0"
    assert [type for _, type in await database.run(trail)][-2:] == ["task.failed", "task.dead_letter"]
    assert await database.run(head) == Depth(queued=0, running=0)


@pytest.mark.parametrize(
    ("cause", "after"),
    [
        ("crash", "RETRY_WAIT RETRY_ACTOR_CRASH 0 1"),
        ("lease", "QUEUED LEASE_EXPIRED 0 1"),
        ("restart", "QUEUED NODE_RESTARTED 0 1"),
    ],
)
async def test_a_death_is_no_attempt(database: Database, cause: Any, after: str) -> None:
    run_id = await accept(database)
    (run,) = await claim(database)

    assert await database.run(run_recovery.recover, run, cause) == "requeued"

    assert await state(database, run_id) == after
    assert await database.run(head) == Depth(queued=1, running=0)


@pytest.mark.parametrize(("kind", "key", "outcome"), [("heartbeat", None, "CANCELED"), ("http", None, "CLIENT_GONE")])
async def test_a_kind_that_is_not_resumed_is_cancelled_after_a_death(
    database: Database, kind: Any, key: str | None, outcome: str
) -> None:
    run_id = await accept(database, kind=kind, ingress_key=key)
    (run,) = await claim(database)

    assert await database.run(run_recovery.recover, run, "restart") == "cancelled"
    assert await state(database, run_id) == f"CANCELED {outcome} 0 1"


async def test_an_http_run_whose_asker_can_come_back_is_resumed(database: Database) -> None:
    await accept(database, kind="http", ingress_key="http:x:1")
    (run,) = await claim(database)
    assert await database.run(run_recovery.recover, run, "restart") == "requeued"


# --- stopping -------------------------------------------------------------------------------------


async def stop(database: Database, *run_ids: str) -> list[tuple[str, bool]]:
    found = await database.run(run_stops.request_cancel, tenant=MASTER_TENANT, run_ids=run_ids, by="lan", reason="user")
    return [(one.run_id, one.over) for one in found]


async def test_who_was_told_to_stop_cannot_succeed_any_more(database: Database) -> None:
    one, two = await accept(database, "one"), await accept(database, "two")
    (run,) = await claim(database)

    assert await stop(database, one, two) == [(one, False), (two, True)]
    assert await stop(database, one, two) == [(one, False)], "twice is the same as once"
    with pytest.raises(StaleOwner):
        await database.run(run_ends.succeed, run, result=result(run), messages=[])
    assert await database.run(runs.standing, run) == "stopping"
    assert [one.stopping for one in await database.run(run_claims.renew, node=NODE)] == [True]
    await database.run(run_ends.cancel, run, result=result(run), reason="CANCELED", messages=[])

    assert await database.run(head) == Depth(queued=0, running=0)
    assert [type for _, type in await database.run(trail)].count("task.cancel_requested") == 1
    assert await stop(database, one, two) == []
    assert await broken_links(database) == []


async def test_a_run_that_was_told_to_stop_and_died_is_not_resumed(database: Database) -> None:
    run_id = await accept(database)
    (run,) = await claim(database)
    await stop(database, run_id)

    assert await database.run(run_recovery.recover, run, "restart") == "cancelled"
    assert await state(database, run_id) == "CANCELED CANCELED 0 1"


async def test_a_run_that_waits_for_its_next_try_can_be_stopped(database: Database) -> None:
    run_id = await accept(database)
    (run,) = await claim(database)
    await retry(database, run)

    assert await stop(database, run_id) == [(run_id, True)]
    query = "SELECT state_from || ' ' || state_to FROM run_events WHERE type = 'task.canceled'"
    assert await database.run(rows, query) == ["RETRY_WAIT CANCELED"]
    assert await database.run(head) == Depth(queued=0, running=0)


async def test_an_answer_of_the_time_before_a_reset_is_refused(database: Database) -> None:
    await accept(database)
    (run,) = await claim(database)
    await database.run(rows, "UPDATE sessions SET generation = generation + 1 RETURNING ''")

    with pytest.raises(StaleOwner):
        await database.run(run_ends.succeed, run, result=result(run), messages=said(run, "late"))
    assert await database.run(runs.standing, run) == "reset"
    await database.run(run_ends.cancel, run, result=result(run), reason="LANE_CLEARED", messages=said(run, "late"))
    assert await database.run(rows, "SELECT content FROM session_messages") == []


# --- again ----------------------------------------------------------------------------------------


async def again(database: Database, run_id: str, **more: Any) -> run_retries.Retried | None:
    found: run_retries.Retried | None = await database.run(
        run_retries.try_again, tenant=MASTER_TENANT, run_id=run_id, new_id=new_id(), kind="chat", by="op", **more
    )
    return found


async def keep(database: Database, run: Claimed, *numbers: int, **more: Any) -> None:
    steps = tuple(Step(step_no=n, kind="llm", message=msgspec.Raw(b'{"role":"assistant"}')) for n in numbers)
    kept = Kept(steps=steps, records=more.pop("records", ()), blobs=more.pop("blobs", ()))
    await database.run(run_steps.keep, run, COUNTERS, kept=kept, **more)


async def test_an_operator_tries_a_failed_run_again_as_itself(database: Database) -> None:
    run_id = await accept(database)
    (run,) = await claim(database)
    await keep(database, run, 0)
    await database.run(
        run_ends.fail, run, result=result(run), reason="FAILED_AUTH", error="no", messages=[], fault=FAULT
    )

    back = await again(database, run_id)
    assert back is not None
    assert (back.run_id, back.new) == (run_id, False)
    assert await state(database, run_id) == "RETRY_WAIT RETRY_OPERATOR 0 0"
    (second,) = await claim(database)
    assert (second.attempt, second.fence, second.fingerprint) == (1, 2, None)
    assert len(await database.run(run_steps.of_run, tenant=MASTER_TENANT, run_id=run_id)) == 1
    assert await again(database, run_id) is None, "it runs"


@pytest.mark.parametrize("fresh", [False, True])
async def test_a_dead_letter_is_tried_again_as_a_new_run(database: Database, fresh: bool) -> None:
    run_id = await accept(database, "do it")
    (run,) = await claim(database)
    await keep(database, run, 0)
    await database.run(
        run_ends.fail,
        run,
        result=result(run),
        reason="FAILED_PROVIDER",
        error="no",
        messages=[],
        dead="DEAD_LETTER_MAX_ATTEMPTS",
    )

    back = await again(database, run_id, fresh=fresh)
    assert back is not None
    assert back.new
    assert await state(database, run_id) == "DEAD_LETTER DEAD_LETTER_MAX_ATTEMPTS 1 0", "it rests for ever"
    (second,) = await claim(database)
    assert (second.run_id, second.requeued_from, second.request.message) == (back.run_id, run_id, "do it")
    steps = await database.run(run_steps.of_run, tenant=MASTER_TENANT, run_id=back.run_id)
    assert len(steps) == (0 if fresh else 1)
    await database.run(run_ends.succeed, second, result=result(second), messages=[])
    assert await again(database, back.run_id) is None, "success is final"
    assert await broken_links(database) == []


async def effect_at(database: Database, run_id: str) -> run_steps.Effect | None:
    """The first call of a run's first step."""
    place: dict[str, Any] = {"log": 0, "key": f"{run_id}:0:0", "request_hash": "1" * 64}
    return await database.run(run_steps.effect, tenant=MASTER_TENANT, run_id=run_id, **place)


# --- steps ----------------------------------------------------------------------------------------


async def test_what_is_kept_twice_is_there_once(database: Database) -> None:
    await accept(database)
    (run,) = await claim(database)
    effect = NewEffect(
        key=f"{run.run_id}:0:0", step_no=0, call_index=0, tool="exec", effect_class="unsafe", request_hash="0" * 64
    )
    more: dict[str, Any] = {
        "records": (Record(seq=0, kind="open", body=msgspec.Raw(b'{"log":"aa"}'), blob="b" * 64),),
        "blobs": (Blob(hash="b" * 64, body="prompt"),),
    }
    for _ in range(2):
        await keep(database, run, 0, **more)
        await keep(database, run, effects=[effect])
        done = Outcome(key=effect.key, status="SUCCEEDED", result=msgspec.Raw(b'{"text":"ok"}'))
        await keep(database, run, 1, outcomes=[done])

    known = await effect_at(database, run.run_id)
    assert known is not None
    assert (known.status, known.stored) == ("SUCCEEDED", '{"text": "ok"}')
    assert [type for _, type in await database.run(trail)][3:] == [
        "step.committed",
        "effect.started",
        "effect.succeeded",
        "step.committed",
    ]
    seqs = [seq for seq, _ in await database.run(trail)]
    assert seqs == list(range(1, len(seqs) + 1)), "no hole in the order"
    assert await database.run(run_steps.recorded, tenant=MASTER_TENANT, run_id=run.run_id) == (1, "aa")
    assert await broken_links(database) == []


async def test_who_lost_a_run_keeps_nothing_of_it(database: Database) -> None:
    await accept(database)
    (first,) = await claim(database)
    await database.run(run_recovery.recover, first, "lease")
    (second,) = await claim(database, node=OTHER)

    with pytest.raises(StaleOwner):
        await keep(database, first, 0)
    await keep(database, second, 0)
    assert await database.run(rows, "SELECT fence::text FROM run_steps") == ["2"]


async def test_an_effect_that_is_open_when_its_run_ends_is_unknown(database: Database) -> None:
    await accept(database)
    (run,) = await claim(database)
    effect = NewEffect(key="k", step_no=0, call_index=0, tool="t", effect_class="unsafe", request_hash="0" * 64)
    await keep(database, run, effects=[effect])
    await database.run(run_ends.cancel, run, result=result(run), reason="CANCELED", messages=[])

    assert await database.run(rows, "SELECT status FROM tool_effects") == ["UNKNOWN"]


async def test_an_answer_comes_with_its_step_and_its_records(database: Database) -> None:
    await accept(database)
    (run,) = await claim(database)
    step = Step(step_no=0, kind="llm", message=msgspec.Raw(b'{"role":"assistant"}'), usage=Usage(prompt_tokens=1))
    kept = Kept(steps=(step,), records=(Record(seq=0, kind="end", body=msgspec.Raw(b"{}")),))
    await database.run(run_ends.succeed, run, result=result(run), messages=[], kept=kept)

    assert await database.run(rows, "SELECT kind FROM run_steps UNION ALL SELECT kind FROM run_records") == [
        "llm",
        "end",
    ]


async def test_an_answer_and_its_message_to_the_chat_are_one_commit(database: Database) -> None:
    to = ReplyTo(channel_instance="telegram-1", chat_id="42")
    await accept(database)
    (lost,) = await claim(database)
    await database.run(run_recovery.recover, lost, "lease")
    (run,) = await claim(database)
    said = {"text": "hello", "kind": "final"}
    with pytest.raises(StaleOwner):
        await database.run(
            run_replies.ended, run_ends.succeed, lost, to, ending={"result": result(lost), "messages": []}, **said
        )
    assert await database.run(rows, "SELECT dedupe_key FROM outbox") == []
    await database.run(
        run_replies.ended, run_ends.succeed, run, to, ending={"result": result(run), "messages": []}, **said
    )

    query = "SELECT concat_ws(' ', dedupe_key, local_key, state, payload->>'text') FROM outbox"
    assert await database.run(rows, query) == [f"{run.run_id}:out:2 42 PENDING hello"]
    assert await state(database, run.run_id) == "SUCCEEDED  1 1"


async def test_a_chat_hears_of_the_end_of_a_run_that_crashed_too_often_or_did_not_end(database: Database) -> None:
    to = ReplyTo(channel_instance="telegram-1", chat_id="42")
    crashing = await accept(database, request=RunRequest(message="boom", reply_to=to))
    for _ in range(3):
        (run,) = await claim(database)
        await database.run(run_replies.recover, run, "restart")
    hanging = await accept(database, request=RunRequest(message="sleep", reply_to=to))
    (run,) = await claim(database)
    overdue: dict[str, Any] = {"err": agent_timeout(600), "reason": "TIMEOUT", "error": "the run did not end"}
    await database.run(run_replies.lost, run, **overdue)
    with pytest.raises(StaleOwner):
        await database.run(run_replies.lost, run, **overdue)

    query = "SELECT concat_ws(' ', dedupe_key, chat_id, kind, payload->>'text') FROM outbox ORDER BY outbox_id"
    assert await database.run(rows, query) == [
        f"{crashing}:out:3 42 notice {text_of(run_recovery.LOST, 'en')}",
        f"{hanging}:out:1 42 notice {text_of(agent_timeout(600), 'en')}",
    ]


async def test_nobody_can_change_the_trail(database: Database) -> None:
    await accept(database)
    for query in ("UPDATE run_events SET type = 'x' RETURNING ''", "DELETE FROM run_events RETURNING ''"):
        with pytest.raises(Exception, match="append only"):
            await database.run(rows, query)


async def test_a_run_that_crashed_too_often_leaves_what_the_user_said(database: Database) -> None:
    run_id = await accept(database, "are you there?")
    for _ in range(3):
        (run,) = await claim(database)
        await database.run(run_recovery.recover, run, "restart")

    assert await state(database, run_id) == "DEAD_LETTER DEAD_LETTER_CRASH_LOOP 0 3"
    assert await database.run(rows, "SELECT content FROM session_messages") == ["are you there?"]


async def test_a_requeue_of_a_requeue_knows_what_the_first_did(database: Database) -> None:
    first = await accept(database)
    (run,) = await claim(database)
    effect = NewEffect(
        key=f"{first}:0:0", step_no=0, call_index=0, tool="t", effect_class="unsafe", request_hash="0" * 64
    )
    await keep(database, run, 0, effects=[effect])
    await database.run(
        run_ends.cancel, run, result=result(run), reason="CANCELED", messages=said(run, "do it", "partly")
    )
    second = await again(database, first)
    assert second is not None
    await stop(database, second.run_id)
    third = await again(database, second.run_id)
    assert third is not None

    known = await effect_at(database, third.run_id)
    assert known is not None
    assert known.status == "UNKNOWN"
    live = "SELECT content FROM session_messages WHERE archived_at IS NULL AND NOT hidden"
    assert await database.run(rows, live) == [], "what was said is said again by the new run"


async def test_who_was_told_to_stop_is_not_tried_again(database: Database) -> None:
    run_id = await accept(database)
    (run,) = await claim(database)
    await stop(database, run_id)
    with pytest.raises(StaleOwner):
        await retry(database, run)


async def test_a_failed_run_of_a_session_that_is_gone_is_not_tried_again(database: Database) -> None:
    run_id = await accept(database)
    (run,) = await claim(database)
    await database.run(run_ends.fail, run, result=result(run), reason="FAILED_AUTH", error="no", messages=[])
    await database.run(rows, "DELETE FROM sessions RETURNING ''")
    assert await again(database, run_id) is None
