"""Subagents on the real database: asked for once, held back, steered, ended with what they leave in one commit.

Contract: orchestration.md §3, §5, §11.
"""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from msgspec import Struct

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.errors import Err
from goclaw.domain.ids import new_id
from goclaw.domain.run import RunRequest, RunResult
from goclaw.domain.subagent import Refused, Spawned, Subagent, Wish
from goclaw.settings.orchestration import ChildRuns, Orchestration, Subagents
from goclaw.stores import (
    announcements,
    run_claims,
    run_ends,
    run_queue,
    run_retries,
    run_stops,
    runs,
    subagent_ends,
    subagent_places,
    subagent_steering,
    subagent_views,
    subagents,
)
from goclaw.stores.database import Database
from goclaw.stores.run_ends import Fault
from goclaw.stores.runs import Claimed
from goclaw.stores.subagent_steering import Steered
from goclaw.stores.unit import Connection, Json, many, one, transaction
from tests.stores.test_runs import KEY, NODE, accept, result

PARENT = RunRequest(message="work", tool_allow=("read_file", "spawn"), provider="fake", model="echo")


class Row(Struct, frozen=True):
    state: str
    parent_run_id: str | None
    root_run_id: str | None
    request: dict[str, Any]
    max_attempts: int
    session_key: str


@transaction(readonly=True)
async def row(db: Connection, run_id: str) -> Row:
    query = """
    SELECT state, parent_run_id, root_run_id, request, max_attempts, session_key FROM runs WHERE run_id = %s
    """
    return await one(Row, db.execute(query, [run_id]))


@transaction(readonly=True)
async def notes(db: Connection) -> list[str]:
    query = """
    SELECT t.label || ' ' || a.state FROM announcements a JOIN subagent_tasks t ON t.id::text = a.item->>'task'
    ORDER BY a.created_at, t.label
    """
    return await many(str, db.execute(query))


@transaction
async def change(db: Connection, query: str, *values: object) -> None:
    await db.execute(query, list(values))


async def parent(database: Database, key: str = KEY) -> str:
    """A run that works."""
    return await accept(database, "work", key=key, node=NODE, request=PARENT)


async def spawn(
    database: Database,
    parent: str,
    label: str = "digger",
    *,
    id: str = "",
    limits: Subagents = Subagents(),  # noqa: B008 - frozen
    rules: Orchestration = Orchestration(),  # noqa: B008 - frozen
    **more: Any,
) -> Spawned:
    wish = Wish(
        id=id or str(uuid.uuid4()),
        run_id=new_id(),
        tenant_id=MASTER_TENANT,
        parent_run_id=parent,
        task=f"do {label}",
        label=label,
        **more,
    )
    return await database.run(subagents.spawn, wish=wish, defaults=limits, rules=rules)


async def claim(database: Database, *born: Spawned) -> list[Claimed]:
    wanted = [(MASTER_TENANT, one.session_key) for one in born]
    return await database.run(run_claims.claim, node=NODE, lane="subagent", sessions=wanted, limit=50)


async def succeed(database: Database, born: Spawned, text: str = "found it") -> None:
    (run,) = await claim(database, born)
    done = RunResult(run_id=run.run_id, session_key=run.session_key, content=text)
    await database.run(run_ends.succeed, run, result=done, messages=[])


async def known(database: Database, **more: Any) -> list[Subagent]:
    return await database.run(subagent_views.listed, tenant=MASTER_TENANT, key=KEY, archive=60, **more)


async def statuses(database: Database) -> dict[str, str]:
    return {one.label: one.status for one in await known(database)}


# --- asking for one -------------------------------------------------------------------------------


async def test_a_child_is_a_run_of_its_own_session_below_its_parent(database: Database) -> None:
    top = await parent(database)

    born = await spawn(database, top, "Dig deep!", role="miner")

    stored = await database.run(row, born.run_id)
    assert (stored.state, stored.parent_run_id, stored.root_run_id, stored.max_attempts) == ("QUEUED", top, top, 3)
    assert stored.session_key == f"agent:default:subagent:dig-deep-{born.id[:8]}"
    asked = stored.request
    assert asked["tool_allow"] == ["read_file", "spawn"], "no more than its parent has"
    assert (asked["provider"], asked["model"]) == ("fake", "echo")
    assert asked["child_of"] == {"root": top}
    assert asked["instructions"].endswith("Your role: miner")
    assert asked["max_iterations"] == 20
    assert (born.active, born.limit, born.held) == (1, 5, False)
    (seen,) = await known(database)
    assert (seen.n, seen.id, seen.status) == (1, born.id, "queued")


async def test_the_same_call_makes_one_child(database: Database) -> None:
    top, id = await parent(database), str(uuid.uuid4())

    first = await spawn(database, top, id=id)
    again = await spawn(database, top, id=id)

    assert (first.fresh, again.fresh) == (True, False)
    assert again.run_id == first.run_id
    assert len(await known(database)) == 1


async def test_a_run_that_was_told_to_stop_has_no_more_children(database: Database) -> None:
    top = await parent(database)
    await database.run(run_stops.request_cancel, tenant=MASTER_TENANT, run_ids=[top], by="lan", reason="user")

    with pytest.raises(Refused, match=r"^cancelled"):
        await spawn(database, top)
    assert await known(database) == []


async def test_a_sixth_child_is_refused_until_one_has_ended(database: Database) -> None:
    top = await parent(database)
    five = [await spawn(database, top, str(n)) for n in range(5)]

    with pytest.raises(Refused, match=r"^spawn_children: 5 of 5"):
        await spawn(database, top, "sixth")
    await succeed(database, five[0])
    await spawn(database, top, "sixth")

    assert len(await known(database)) == 6


async def test_children_at_the_bottom_have_none(database: Database) -> None:
    top = await parent(database)
    born = await spawn(database, top)
    await claim(database, born)
    with pytest.raises(Refused, match=r"^spawn_depth"):
        await spawn(database, born.run_id)

    deep = Subagents(max_spawn_depth=2)
    second = await spawn(database, top, "second", limits=deep)
    await claim(database, second)
    below = await spawn(database, second.run_id, "below", limits=deep)

    asked = (await database.run(row, below.run_id)).request["child_of"]
    assert asked == {"root": top, "depth": 2}
    assert (await database.run(row, second.run_id)).request["child_of"] == {"root": top, "leaf": False}
    assert (await database.run(row, below.run_id)).root_run_id == top


async def test_an_agents_own_limits_come_first_and_are_kept_in_range(database: Database) -> None:
    top = await parent(database)
    await database.run(
        change,
        """UPDATE agents SET subagents_config = '{"maxChildrenPerAgent": 0, "model": "tiny", "maxRetries": 99}'""",
    )

    born = await spawn(database, top)

    assert born.limit == 1
    stored = await database.run(row, born.run_id)
    assert (stored.request["model"], stored.max_attempts) == ("tiny", 11)
    with pytest.raises(Refused, match=r"^spawn_children: 1 of 1"):
        await spawn(database, top)


async def test_a_tree_starts_so_many_and_no_more(database: Database) -> None:
    top, rules = await parent(database), Orchestration(max_runs_per_root=1)
    await succeed(database, await spawn(database, top, rules=rules))

    with pytest.raises(Refused, match=r"^queue_full: this task has started 1"):
        await spawn(database, top, rules=rules)


# --- held back ------------------------------------------------------------------------------------


async def admitted(database: Database, limits: Subagents, rules: ChildRuns = ChildRuns()) -> list[str]:  # noqa: B008
    return [one.label for _, one in await database.run(subagent_places.admit, defaults=limits, rules=rules)]


async def test_who_is_one_too_many_begins_when_one_has_ended_in_order(database: Database) -> None:
    top, limits = await parent(database), Subagents(max_concurrent=1)
    first = await spawn(database, top, "first", limits=limits)
    second = await spawn(database, top, "second", limits=limits)
    third = await spawn(database, top, "third", limits=limits)
    assert [first.held, second.held, third.held] == [False, True, True]
    assert await claim(database, second, third) == []
    assert await admitted(database, limits) == []
    assert await database.run(run_queue.waiting) != []

    await succeed(database, first)

    assert await admitted(database, limits) == ["second"]
    assert await admitted(database, limits) == []
    (run,) = await claim(database, second, third)
    assert run.run_id == second.run_id
    assert 1700 < run.left <= 1800, "its time counts from now on"


async def test_a_parent_that_waits_takes_no_place(database: Database) -> None:
    top, limits = await parent(database), Subagents(max_concurrent=1, max_spawn_depth=2)
    middle = await spawn(database, top, "middle", limits=limits)
    await claim(database, middle)
    below = await spawn(database, middle.run_id, "below", limits=limits)
    assert below.held
    assert await admitted(database, limits) == []

    await database.run(subagent_places.waits, tenant=MASTER_TENANT, run_id=middle.run_id, waiting=True)

    assert await admitted(database, limits) == ["below"]
    assert (await statuses(database))["middle"] == "waiting_child"


async def test_all_children_together_have_a_limit_and_so_have_those_that_wait(database: Database) -> None:
    rules = Orchestration(child_runs=ChildRuns(process_cap=1, pending_cap=1))
    top = await parent(database)
    await spawn(database, top, "works", rules=rules)
    assert (await spawn(database, top, "waits", rules=rules)).held
    with pytest.raises(Refused, match=r"^queue_full"):
        await spawn(database, top, "refused", rules=rules)


# --- their end ------------------------------------------------------------------------------------


async def test_an_end_is_told_in_the_commit_that_makes_it(database: Database) -> None:
    top = await parent(database)
    born = await spawn(database, top)

    await succeed(database, born, "gold")

    (seen,) = await known(database)
    assert (seen.status, seen.content) == ("completed", "gold")
    assert await database.run(notes) == ["digger HELD"]


async def test_nobody_is_told_who_waits_for_it_himself(database: Database) -> None:
    top = await parent(database)
    waited, sync = await spawn(database, top, "waited"), await spawn(database, top, "sync", announces=False)
    await succeed(database, waited)
    await succeed(database, sync)

    await database.run(subagent_views.consume, tenant=MASTER_TENANT, ids=[waited.id])

    assert await database.run(notes) == ["waited INJECTED"]


async def test_who_gave_up_waiting_is_told_after_all(database: Database) -> None:
    top = await parent(database)
    late, early = await spawn(database, top, "late", announces=False), await spawn(database, top, "x", announces=False)
    await succeed(database, early)

    for born in (late, early, early):
        await database.run(subagent_ends.announce, tenant=MASTER_TENANT, id=born.id)
    await succeed(database, late)

    assert sorted(await database.run(notes)) == ["late HELD", "x HELD"]


async def test_a_failure_is_told_once_even_as_a_dead_letter_and_again_after_another_try(database: Database) -> None:
    top = await parent(database)
    born = await spawn(database, top)
    (run,) = await claim(database, born)
    failed = RunResult(run_id=run.run_id, session_key=run.session_key, error=Err("UNAVAILABLE", "store", {}))
    more: dict[str, Any] = {"reason": "FAILED_PROVIDER", "error": "no", "messages": []}
    await database.run(run_ends.fail, run, result=failed, dead="DEAD_LETTER_MAX_ATTEMPTS", **more)
    assert await database.run(notes) == ["digger HELD"]
    assert [(one.status, one.error) for one in await known(database)] == [("failed", "FAILED_PROVIDER")]

    again = await database.run(
        run_retries.try_again, tenant=MASTER_TENANT, run_id=run.run_id, new_id=new_id(), kind="subagent", by="minh"
    )

    assert again is not None
    assert again.new
    stored = await database.run(row, again.run_id)
    assert (stored.parent_run_id, stored.root_run_id) == (top, top)
    assert await statuses(database) == {"digger": "queued"}
    await succeed(database, born, "at last")
    assert await database.run(notes) == ["digger HELD", "digger HELD"]


async def test_a_retry_of_its_own_is_no_end(database: Database) -> None:
    top = await parent(database)
    (run,) = await claim(database, await spawn(database, top))
    fault = Fault(fingerprint="0" * 64, alike=1)

    await database.run(run_ends.retry, run, reason="RETRY_PROVIDER", error="x", fault=fault, delay=1.0)

    assert await statuses(database) == {"digger": "queued"}
    assert await database.run(notes) == []


async def test_an_operator_who_stops_one_is_not_kept_from_its_parent(database: Database) -> None:
    top = await parent(database)
    born = await spawn(database, top)

    await database.run(run_stops.request_cancel, tenant=MASTER_TENANT, run_ids=[born.run_id], by="minh", reason="user")

    assert await statuses(database) == {"digger": "cancelled"}
    assert await database.run(notes) == ["digger HELD"]


async def test_a_tree_ends_with_whoever_is_at_its_top_and_nobody_hears_of_it(database: Database) -> None:
    top, deep = await parent(database), Subagents(max_spawn_depth=2)
    middle = await spawn(database, top, "middle", limits=deep)
    (run,) = await claim(database, middle)
    below = await spawn(database, middle.run_id, "below", limits=deep)
    other = await spawn(database, top, "other", limits=deep)

    doomed = await database.run(subagent_ends.stop, tenant=MASTER_TENANT, ids=[middle.id], by="lan")

    assert {one.run_id for one in doomed} == {middle.run_id, below.run_id}
    assert await database.run(runs.standing, run) == "stopping"
    await database.run(run_ends.cancel, run, result=result(run), reason="CANCELED", messages=[])
    await database.run(
        run_stops.cancel_waiting, tenant=MASTER_TENANT, key=below.session_key, reason="CANCELED", runs=[below.run_id]
    )
    assert await database.run(notes) == []
    assert (await statuses(database))["middle"] == "cancelled"
    assert (await database.run(row, other.run_id)).state == "QUEUED"


@pytest.mark.parametrize(
    ("change_", "stay"),
    [
        ("UPDATE runs SET cancel_requested = '{}' WHERE session_key = %s", ["detached"]),
        ("UPDATE sessions SET generation = generation + 1 WHERE session_key = %s", []),
        ("UPDATE sessions SET stale_before = now() + interval '1 s' WHERE session_key = %s", []),
        ("DELETE FROM sessions WHERE session_key = %s", []),
    ],
    ids=["stopped", "reset", "stopped as a whole", "deleted"],
)
async def test_children_of_what_is_over_are_orphans(database: Database, change_: str, stay: list[str]) -> None:
    top = await parent(database)
    born = [await spawn(database, top, "bound"), await spawn(database, top, "detached", detached=True)]
    assert await database.run(subagent_ends.orphans) == []

    await database.run(change, change_, KEY)

    found = {one.task for one in await database.run(subagent_ends.orphans)}
    assert [one.label for one in born if one.id not in found] == stay


# --- steering -------------------------------------------------------------------------------------


async def steer(database: Database, born: Spawned, message: str, key: str = "") -> Steered:
    return await database.run(
        subagent_steering.steer, tenant=MASTER_TENANT, id=born.id, key=key or new_id(), run_id=new_id(), message=message
    )


async def test_who_has_not_begun_gets_another_task(database: Database) -> None:
    top = await parent(database)
    born = await spawn(database, top)

    done = await steer(database, born, "dig elsewhere")

    assert (done.generation, done.old_run) == (1, "")
    assert (await database.run(row, born.run_id)).request["message"] == "dig elsewhere"
    assert [(one.steers, one.task) for one in await known(database)] == [(1, "dig elsewhere")]


async def test_who_works_begins_again_under_the_same_name(database: Database) -> None:
    top = await parent(database)
    born = await spawn(database, top)
    (run,) = await claim(database, born)

    done = await steer(database, born, "dig elsewhere", key="k")
    same = await steer(database, born, "dig elsewhere", key="k")

    assert (done.generation, done.old_run, same.generation) == (2, born.run_id, 2)
    assert same.task.run_id == done.task.run_id
    assert await database.run(runs.standing, run) == "stopping"
    await database.run(run_ends.cancel, run, result=result(run), reason="CANCELED", messages=[])
    assert await database.run(notes) == [], "it goes on"
    asked = await database.run(row, done.task.run_id)
    assert asked.parent_run_id == top
    assert asked.request["message"].startswith("do digger\n\n[What you have done so far]\n")
    assert asked.request["message"].endswith("[New instruction]\ndig elsewhere")
    await succeed(database, done.task, "there")
    assert [(one.id, one.status, one.content, one.generation) for one in await known(database)] == [
        (born.id, "completed", "there", 2)
    ]


async def test_five_instructions_are_enough_and_the_dead_take_none(database: Database) -> None:
    top = await parent(database)
    born = await spawn(database, top)
    for n in range(5):
        await steer(database, born, str(n))
    with pytest.raises(Refused, match=r"^bad_state: it was steered 5 times"):
        await steer(database, born, "6")
    over = await spawn(database, top, "over")
    await succeed(database, over)
    with pytest.raises(Refused, match=r"^bad_state: it is completed"):
        await steer(database, over, "more")


# --- results on their way -------------------------------------------------------------------------


async def due(database: Database, debounce: float = 0.0, cap: int = 20, hold: float = 120.0) -> int:
    return len(await database.run(announcements.due, debounce=debounce, cap=cap, hold=hold))


async def test_results_that_come_together_are_one_batch_and_taken_once(database: Database) -> None:
    top = await parent(database)
    for label in ("a", "b", "c"):
        await succeed(database, await spawn(database, top, label), label * 3)
    still = await spawn(database, top, "still")
    assert await due(database, debounce=60) == 0
    assert (await due(database, debounce=60, cap=3), await due(database, debounce=60, hold=0)) == (1, 1)
    batch = new_id()
    where: dict[str, Any] = {"tenant": MASTER_TENANT, "key": KEY}

    assert await database.run(announcements.take, **where, run_id=batch, cap=20) == 3
    assert await database.run(announcements.take, **where, run_id=new_id(), cap=20) == 0

    found = await database.run(announcements.batch, **where, run_id=batch)
    assert [(item.label, item.content) for item in found.items] == [("a", "aaa"), ("b", "bbb"), ("c", "ccc")]
    assert (found.roster[-1].label, found.roster[-1].status) == (still.label, "running")
    assert found.origin is not None
    assert found.origin.working
    assert [one.run_id for one in await database.run(announcements.due, debounce=60, cap=20, hold=120)] == [batch]
    await database.run(announcements.injected, tenant=MASTER_TENANT, run_id=batch)
    assert await due(database) == 0


async def test_results_for_a_conversation_that_began_anew_have_nobody_to_go_to(database: Database) -> None:
    top = await parent(database)
    await succeed(database, await spawn(database, top))
    await database.run(change, "UPDATE sessions SET generation = 1 WHERE session_key = %s", KEY)
    batch = new_id()
    where: dict[str, Any] = {"tenant": MASTER_TENANT, "key": KEY, "run_id": batch}
    await database.run(announcements.take, **where, cap=20)

    assert (await database.run(announcements.batch, **where)).origin is None


@transaction(readonly=True)
async def listed_sessions(db: Connection) -> set[str]:
    return set(await many(str, db.execute("SELECT session_key FROM sessions WHERE archived_at IS NULL")))


async def test_a_roster_names_those_that_have_not_ended(database: Database) -> None:
    run = await parent(database)
    limits = Subagents(max_concurrent=2)
    done, works, waits = [await spawn(database, run, label, limits=limits) for label in ("done", "works", "waits")]
    await succeed(database, done)

    lines = await database.run(subagent_views.roster, tenant=MASTER_TENANT, key=KEY)

    assert lines == [
        f"- works ({works.id[:8]}, running): do works",
        f"- waits ({waits.id[:8]}, queued): do waits",
    ]
    assert await database.run(subagent_views.roster, tenant=MASTER_TENANT, key=f"{KEY}-other") == []


@pytest.mark.parametrize(
    ("own", "gone"), [(None, True), ({"archiveAfterMinutes": 90}, False), ({"archiveAfterMinutes": "soon"}, True)]
)
async def test_a_conversation_of_a_subagent_leaves_the_lists_after_its_time(
    database: Database, own: dict[str, Any] | None, gone: bool
) -> None:
    """orchestration.md §3.2 (archive): 60 minutes after the end, or as its agent says."""
    run = await parent(database)
    old, fresh = await spawn(database, run, "old"), await spawn(database, run, "fresh")
    await succeed(database, old)
    await succeed(database, fresh)
    await database.run(
        change, "UPDATE subagent_tasks SET completed_at = now() - interval '61 min' WHERE id = %s", old.id
    )
    await database.run(change, "UPDATE agents SET subagents_config = %s", Json(own) if own else None)

    assert await database.run(subagent_places.archive, minutes=60) == int(gone)

    listed = await database.run(listed_sessions)
    assert (old.session_key in listed, fresh.session_key in listed) == (not gone, True)
    assert await database.run(subagent_places.archive, minutes=60) == 0
