"""A conversation as it was, read from its journal. Contract: observability.md §21 (TT-1, TT-4, TT-5)."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
from msgspec import Struct

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.ids import new_id
from goclaw.domain.session_past import Past, fold
from goclaw.stores import agents, run_ends, run_retries, session_changes, session_past, sessions
from goclaw.stores.database import Database
from goclaw.stores.session_changes import Patch
from goclaw.stores.session_past import Pruned, Scene
from goclaw.stores.sessions import NewMessage
from goclaw.stores.unit import Connection, maybe, transaction
from tests.stores.test_runs import KEY, accept, claim, result, said

HERE: dict[str, Any] = {"tenant": MASTER_TENANT, "key": KEY}
HISTORIES = 200
CHANGES = 5  # of a history


class State(Struct, frozen=True):
    """A session as everybody sees it."""

    messages: tuple[tuple[int, str], ...]
    label: str | None
    model: str | None
    summary: str
    count: int
    tokens: tuple[int, int]
    compactions: int


@transaction(readonly=True)
async def last_seq(db: Connection, key: str = KEY) -> int:
    return await maybe(int, db.execute("SELECT last_seq FROM sessions WHERE session_key = %s", [key])) or 0


@transaction
async def do(db: Connection, query: str) -> None:
    await db.execute(query)


async def now(database: Database, key: str) -> State:
    row = await database.run(sessions.find, tenant=MASTER_TENANT, key=key)
    assert row is not None
    rows = await database.run(sessions.history, tenant=MASTER_TENANT, key=key, limit=200)
    return State(
        tuple((one.seq, one.content) for one in rows),
        row.label,
        row.model,
        row.summary or "",
        row.message_count,
        (row.input_tokens, row.output_tokens),
        row.compaction_count,
    )


async def look(database: Database, seq: int, key: str = KEY, **more: Any) -> tuple[Past, Scene]:
    of = await database.run(session_past.journal, tenant=MASTER_TENANT, key=key, seq=seq)
    assert of is not None
    past = fold(of.markers, seq, of)
    given = {"limit": 200, **more}
    return past, await database.run(session_past.scene, tenant=MASTER_TENANT, key=key, of=of, past=past, **given)


async def then(database: Database, seq: int, key: str) -> State:
    past, scene = await look(database, seq, key)
    return State(
        tuple((one.seq, one.content) for one in scene.messages),
        past.label,
        past.model,
        scene.summary or "",
        scene.total,
        (scene.input_tokens, scene.output_tokens),
        past.compactions,
    )


async def answered(database: Database, key: str = KEY, *texts: str) -> str:
    run_id = await accept(database, texts[0] if texts else "hi", key=key)
    (run,) = await claim(database, key)
    await database.run(run_ends.succeed, run, result=result(run), messages=said(run, *(texts or ("hi", "hello"))))
    return run_id


async def change(database: Database, key: str, dice: Random) -> None:
    """One of the things that befall a conversation."""
    here: dict[str, Any] = {"tenant": MASTER_TENANT, "key": key}
    text = f"text {dice.randrange(1000)}"
    match dice.choice(("turn", "turn", "turn", "inject", "patch", "compact", "truncate", "reset", "again")):
        case "inject":
            message = NewMessage(id=new_id(), role="assistant", content=text)
            await database.run(sessions.inject, **here, message=message)
        case "patch":
            await database.run(session_changes.patch, **here, change=Patch(model=text))
            if dice.random() < 0.5:
                await database.run(session_changes.patch, **here, change=Patch(label=text, metadata={"a": "b"}))
        case "compact" | "truncate" as how:
            rows = await database.run(session_changes.live, **here)
            if len(rows) > 1:
                summary = text if how == "compact" else None
                covered = rows[: dice.randrange(1, len(rows))]
                await database.run(session_changes.archive, **here, covered=covered, summary=summary)
        case "reset":
            await database.run(session_changes.reset, **here, by="lan", cutoff=datetime(2026, 1, 1, tzinfo=UTC))
        case "again":
            run_id = await accept(database, text, key=key)
            (run,) = await claim(database, key)
            ending = {"result": result(run), "reason": "FAILED_PROVIDER", "error": "x"}
            await database.run(run_ends.fail, run, **ending, messages=said(run, text))
            again = {"run_id": run_id, "new_id": new_id(), "kind": "chat", "by": "op"}
            await database.run(run_retries.try_again, tenant=MASTER_TENANT, **again)
            (run,) = await claim(database, key)
            await database.run(run_ends.succeed, run, result=result(run), messages=said(run, text, "at last"))
        case _:
            await answered(database, key, text, "an answer")


async def test_tt_1_the_fold_at_every_row_is_the_state_of_when_it_was_written(database: Database) -> None:
    for seed in range(HISTORIES):
        key, dice = f"agent:default:ws:direct:{seed}", Random(seed)
        await answered(database, key)
        seen = {await last_seq_of(database, key): await now(database, key)}
        for _ in range(CHANGES):
            await change(database, key, dice)
            seen[await last_seq_of(database, key)] = await now(database, key)

        assert {seq: await then(database, seq, key) for seq in seen} == seen, seed


async def last_seq_of(database: Database, key: str) -> int:
    return await database.run(last_seq, key)


async def test_the_moment_of_a_run_and_of_a_time(database: Database) -> None:
    first = await answered(database)
    before = await database.run(session_past.journal, **HERE, at=datetime(2026, 1, 1, tzinfo=UTC))
    await database.run(session_changes.patch, **HERE, change=Patch(model="m"))
    second = await answered(database)
    waits = await accept(database, "later")
    _, scene = await look(database, 3)

    async def seq_of(**moment: Any) -> tuple[int | None, str | None, bool]:
        of = await database.run(session_past.journal, **HERE, **moment)
        assert of is not None
        return of.seq, of.run_state, of.run_spoke

    assert before is not None
    assert before.seq == 0
    assert await seq_of(at=scene.at) == (3, None, False)
    assert await seq_of(run_id=first) == (0, "SUCCEEDED", True)
    assert await seq_of(run_id=second) == (3, "SUCCEEDED", True), "with what was patched before it read"
    assert await seq_of(run_id=waits) == (None, "QUEUED", False)
    assert await seq_of(run_id=new_id()) == (None, None, False)


async def test_runs_are_told_as_they_stood_and_as_they_stand(database: Database) -> None:
    first = await accept(database, "one")
    second = await accept(database, "two")
    (run,) = await claim(database)
    await database.run(run_ends.succeed, run, result=result(run), messages=said(run, "one", "1"))
    (run,) = await claim(database)
    await database.run(run_ends.succeed, run, result=result(run), messages=said(run, "two", "2"))

    _, at_first = await look(database, 2)
    _, at_second = await look(database, 4, limit=1)

    told = [(one.run_id, one.state_then, one.state_now) for one in at_first.runs]
    assert told == [(first, "SUCCEEDED", "SUCCEEDED"), (second, "QUEUED", "SUCCEEDED")]
    assert [one.run_id for one in at_second.runs] == [second], "of the page, and what was open"


async def test_two_moments_are_compared(database: Database) -> None:
    await answered(database)
    await answered(database)
    rows = await database.run(session_changes.live, **HERE)
    await database.run(session_changes.archive, **HERE, covered=rows[:3], summary="s")
    await answered(database)
    of = await database.run(session_past.journal, **HERE, seq=4)
    assert of is not None

    past, other = fold(of.markers, 4, of), fold(of.markers, 7, of)
    scene = await database.run(session_past.scene, **HERE, of=of, past=past, limit=1, against=other)

    assert (scene.added, scene.removed) == ([6, 7], [1, 2, 3])


async def test_tt_4_a_fork_begins_with_the_fold_and_leaves_the_original_alone(database: Database) -> None:
    other = "agent:default:ws:direct:2"
    await answered(database)
    rows = await database.run(session_changes.live, **HERE)
    await database.run(session_changes.archive, **HERE, covered=rows[:1], summary="what was")
    await answered(database)
    at = await then(database, 5, KEY)
    await answered(database)
    before = await now(database, KEY)
    forking: dict[str, Any] = {"new_key": other, "kind": "ws", "channel": "ws", "user": "lan"}

    forked = await database.run(session_past.fork, **HERE, seq=5, id=new_id(), **forking)
    again = await database.run(session_past.fork, **HERE, seq=5, id=new_id(), **forking)
    copied = await now(database, other)
    await answered(database, other, "and then", "?")

    assert forked is not None
    assert (forked.messages, again) == (3, None)
    assert [text for _, text in copied.messages] == [text for _, text in at.messages] == ["hello", "hi", "hello"]
    assert (copied.label, copied.summary, copied.count, copied.tokens) == (at.label, "what was", 3, (0, 0))
    assert await then(database, 4, other) == copied
    assert [text for _, text in (await now(database, other)).messages] == ["hello", "hi", "hello", "and then", "?"]
    assert await now(database, KEY) == before


async def test_tt_5_what_retention_removed_is_a_gap_and_no_error_at_newer_rows(database: Database) -> None:
    await answered(database)
    rows = await database.run(session_changes.live, **HERE)
    await database.run(session_changes.archive, **HERE, covered=rows[:1])
    await answered(database)
    await database.run(do, "DELETE FROM session_messages WHERE archived_at IS NOT NULL")

    of = await database.run(session_past.journal, **HERE, seq=5)
    _, scene = await look(database, 5)

    assert of is not None
    assert (of.pruned_before, scene.gap) == (2, 2)
    assert [one.seq for one in scene.messages] == [2, 4, 5]
    with pytest.raises(Pruned):
        await database.run(
            session_past.fork, **HERE, seq=1, id=new_id(), new_key="agent:default:x", kind="main", channel="x", user="u"
        )


async def test_a_session_that_was_made_anew_knows_nothing_of_the_former_one(database: Database) -> None:
    await answered(database)
    await accept(database, "open")
    await database.run(session_changes.delete, **HERE, by="lan")
    run_id = await answered(database)

    _, scene = await look(database, 2)

    assert [one.run_id for one in scene.runs] == [run_id]
    assert await database.run(agents.default, tenant=MASTER_TENANT) is not None
