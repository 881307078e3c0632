"""Changes of a conversation and their markers. Contract: data-model.md §8, sessions-lanes-cron.md §2."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import trio
from msgspec import Struct

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.ids import new_id
from goclaw.domain.run import RunRequest
from goclaw.stores import run_ends, session_changes, session_queue, sessions
from goclaw.stores.database import Database
from goclaw.stores.runs import Depth, StaleOwner
from goclaw.stores.session_changes import Patch
from goclaw.stores.session_queue import Aside, Place
from goclaw.stores.sessions import NewMessage
from goclaw.stores.unit import Connection, many, transaction
from tests.stores.test_runs import KEY, accept, claim, head, result, said, trail

HERE: dict[str, Any] = {"tenant": MASTER_TENANT, "key": KEY}


class Marker(Struct, frozen=True):
    seq: int
    payload: dict[str, Any]


@transaction(readonly=True)
async def markers(db: Connection) -> list[Marker]:
    return await many(Marker, db.execute("SELECT seq, payload FROM session_messages WHERE hidden ORDER BY seq"))


@transaction(readonly=True)
async def seqs(db: Connection) -> list[int]:
    return await many(int, db.execute("SELECT seq FROM session_messages ORDER BY seq"))


async def talked(database: Database, *texts: str) -> None:
    """A session with a run that ended, and these messages."""
    await accept(database)
    (run,) = await claim(database)
    await database.run(run_ends.succeed, run, result=result(run), messages=said(run, *texts))


async def contents(database: Database) -> list[str]:
    return [row.content for row in await database.run(sessions.history, **HERE, limit=50)]


async def test_a_patch_sets_what_is_named_and_null_clears(database: Database) -> None:
    await talked(database, "hi")
    await database.run(session_changes.patch, **HERE, change=Patch(label="Trip", model="m", queue_mode="followup"))
    await database.run(session_changes.patch, **HERE, change=Patch(model=None, metadata={"chat_title": "x"}))

    row = await database.run(sessions.find, **HERE)
    known = await database.run(session_changes.known, **HERE)
    assert row is not None
    assert known is not None
    assert (row.label, row.model, row.metadata, row.message_count) == ("Trip", None, {"chat_title": "x"}, 1)
    assert known.queue_config == {"mode": "followup"}
    assert [(m.seq, m.payload) for m in await database.run(markers)] == [
        (
            2,
            {
                "marker": "patched",
                "label": "Trip",
                "model": "m",
                "queue": "followup",
                "was": {"label": "hi", "model": None, "queue": None},
            },
        ),
        (3, {"marker": "patched", "model": None, "was": {"model": "m"}}),
    ]
    assert await contents(database) == ["hi"], "markers are no messages"
    assert not await database.run(session_changes.patch, tenant=MASTER_TENANT, key="agent:a:b", change=Patch(label="x"))


async def test_a_reset_archives_ends_what_waits_and_begins_a_generation(database: Database) -> None:
    await talked(database, "hi", "hello")
    held = await accept(database, "works")
    await claim(database)
    waiting = await accept(database, "waits")

    stopped = await database.run(session_changes.reset, **HERE, by="lan", cutoff=datetime(2026, 1, 1, tzinfo=UTC))

    assert stopped is not None
    assert ([run.run_id for run in stopped.drained], stopped.running) == ([waiting], (held,))
    row = await database.run(sessions.find, **HERE)
    assert row is not None
    assert (row.message_count, row.input_tokens, row.output_tokens, row.summary) == (0, 0, 0, None)
    assert await contents(database) == []
    assert [m.payload for m in await database.run(markers)] == [{"marker": "reset", "generation": 1}]
    exported = await database.run(session_changes.export, **HERE, after=0, limit=10)
    assert [(row.content, row.archived_at is not None) for row in exported] == [
        ("hi", True),
        ("hello", True),
        ("", False),
    ]
    assert await database.run(head) == Depth(queued=0, running=1)
    types = [kind for _, kind in await database.run(trail)]
    assert types[-2:] == ["task.canceled", "task.cancel_requested"]
    numbers = [seq for seq, _ in await database.run(trail)]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_sl_41_what_a_run_says_after_a_reset_is_not_stored(database: Database) -> None:
    await talked(database, "hi")
    await accept(database, "works")
    (run,) = await claim(database)
    await database.run(session_changes.reset, **HERE, by="lan", cutoff=datetime(2026, 1, 1, tzinfo=UTC))

    with pytest.raises(StaleOwner):
        await database.run(run_ends.succeed, run, result=result(run), messages=said(run, "too late"))
    await database.run(run_ends.cancel, run, result=result(run), reason="LANE_CLEARED", messages=said(run, "too late"))

    assert await contents(database) == []
    assert await database.run(head) == Depth(queued=0, running=0)


async def test_a_deleted_session_leaves_nothing_and_its_run_can_never_write_into_the_next(database: Database) -> None:
    await talked(database, "hi")
    await accept(database, "works")
    (held,) = await claim(database)

    assert await database.run(session_changes.delete, **HERE, by="lan") is not None
    assert await database.run(session_changes.delete, **HERE, by="lan") is None
    assert await database.run(sessions.find, **HERE) is None

    @transaction(readonly=True)
    async def generation(db: Connection, run_id: str) -> list[int]:
        return await many(int, db.execute("SELECT generation FROM runs WHERE run_id = %s", [run_id]))

    assert await database.run(generation, held.run_id) == [session_changes.NOBODY]
    await accept(database, "anew")
    with pytest.raises(StaleOwner):
        await database.run(run_ends.succeed, held, result=result(held), messages=said(held, "of another life"))
    assert await contents(database) == []
    assert await database.run(head) == Depth(queued=1, running=1)
    numbers = [seq for seq, _ in await database.run(trail)]
    assert numbers == list(range(1, len(numbers) + 1)), "the order goes on"


async def test_compaction_puts_a_summary_in_the_place_of_the_head(database: Database) -> None:
    await talked(database, *"abcdefgh")
    live = await database.run(session_changes.live, **HERE)

    assert await database.run(session_changes.archive, **HERE, covered=live[:4], summary="once upon a time")
    assert not await database.run(session_changes.archive, **HERE, covered=live[:4], summary="again"), "it is another"

    row = await database.run(sessions.find, **HERE)
    assert row is not None
    assert (row.summary, row.message_count, row.compaction_count) == ("once upon a time", 4, 1)
    assert await contents(database) == list("efgh")
    recalled = await database.run(sessions.recall, **HERE, limit=50)
    assert [(m.role, m.content) for m in recalled[:3]] == [
        ("user", "[Previous conversation summary]\nonce upon a time"),
        ("assistant", sessions.UNDERSTOOD),
        ("user", "e"),
    ]
    assert [m.payload for m in await database.run(markers)] == [
        {"marker": "compacted", "summary": "once upon a time", "covered": [1, 4], "count": 4}
    ]
    assert await database.run(seqs) == list(range(1, 10)), "gapless, and nothing is gone"


async def test_a_history_that_was_reset_meanwhile_is_not_compacted(database: Database) -> None:
    await talked(database, *"abcdefgh")
    live = await database.run(session_changes.live, **HERE)
    await database.run(session_changes.reset, **HERE, by="lan", cutoff=datetime(2026, 1, 1, tzinfo=UTC))

    assert not await database.run(session_changes.archive, **HERE, covered=live[:4], summary="of another time")
    row = await database.run(sessions.find, **HERE)
    assert row is not None
    assert row.summary is None


async def test_truncation_archives_the_head_without_a_summary(database: Database) -> None:
    await talked(database, *"abcd")
    live = await database.run(session_changes.live, **HERE)

    assert await database.run(session_changes.archive, **HERE, covered=live[:3])

    assert await contents(database) == ["d"]
    assert [m.payload for m in await database.run(markers)] == [{"marker": "truncated", "covered": [1, 3]}]
    row = await database.run(sessions.find, **HERE)
    assert row is not None
    assert (row.message_count, row.compaction_count) == (1, 0)


async def test_an_injected_text_is_found_by_the_next_life_of_its_run(database: Database) -> None:
    await accept(database, "works")
    (run,) = await claim(database)
    place = Place(tenant=MASTER_TENANT, key=KEY, lane="main", agent_id=str(run.agent_id), agent_key="default")
    said = [(new_id(), text) for text in ("one more thing", "and another")]
    for id, text in said:
        aside = Aside(run_id=id, user="lan", kind="chat", request=RunRequest(message=text), request_hash="0" * 64)
        await database.run(session_queue.keep_injected, place=place, aside=aside, into=run.run_id)

    found = await database.run(session_queue.merged_texts, tenant=MASTER_TENANT, run_id=run.run_id)
    assert [(text.message_id, text.text, text.sender) for text in found] == [(id, text, "lan") for id, text in said]
    assert await database.run(head) == Depth(queued=0, running=1)
    numbers = [seq for seq, _ in await database.run(trail)]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_what_was_merged_into_a_waiting_turn_is_no_injected_text(database: Database) -> None:
    waiting = await accept(database, "first")
    place = Place(tenant=MASTER_TENANT, key=KEY, lane="main", agent_id=new_id(), agent_key="default")
    aside = Aside(run_id=new_id(), user="lan", kind="chat", request=RunRequest(message="2"), request_hash="0" * 64)

    assert await database.run(session_queue.join_waiting, place=place, aside=aside, into=waiting)
    (run,) = await claim(database)
    assert run.request.message == "first\n2"
    assert not await database.run(
        session_queue.join_waiting,
        place=place,
        aside=Aside(run_id=new_id(), user="lan", kind="chat", request=RunRequest(message="3"), request_hash="0" * 64),
        into=waiting,
    ), "it works by now"
    assert await database.run(session_queue.merged_texts, tenant=MASTER_TENANT, run_id=waiting) == []


async def test_nothing_is_kept_for_a_run_that_is_over(database: Database) -> None:
    waiting = await accept(database, "first")
    place = Place(tenant=MASTER_TENANT, key=KEY, lane="main", agent_id=new_id(), agent_key="default")
    aside = Aside(run_id=new_id(), user="lan", kind="chat", request=RunRequest(message="2"), request_hash="0" * 64)
    await database.run(session_queue.stop, tenant=MASTER_TENANT, key=KEY, by="lan", reason="user", drain=True)

    assert await database.run(session_queue.keep_injected, place=place, aside=aside, into=waiting) is False


async def test_a_turn_whose_key_is_used_is_refused_whole_and_left_out_as_a_part(database: Database) -> None:
    def aside(text: str, key: str | None) -> Aside:
        request = RunRequest(message=text)
        return Aside(run_id=new_id(), user="lan", kind="chat", request=request, request_hash="0" * 64, ingress_key=key)

    waiting = await accept(database, "first")
    place = Place(tenant=MASTER_TENANT, key=KEY, lane="main", agent_id=new_id(), agent_key="default")
    first = aside("2", "ws:1")
    assert await database.run(session_queue.join_waiting, place=place, aside=first, into=waiting)

    for work in (session_queue.join_waiting, session_queue.keep_injected):
        with pytest.raises(session_queue.KeyUsed) as used:
            await database.run(work, place=place, aside=aside("2", "ws:1"), into=waiting)
        assert used.value.first.run_id == first.run_id
    whole = aside("3", None)
    assert await database.run(
        session_queue.keep_injected, place=place, aside=whole, into=waiting, asides=[aside("2", "ws:1")]
    )

    merged = await database.run(session_queue.merged_texts, tenant=MASTER_TENANT, run_id=waiting)
    assert [text.text for text in merged] == ["3"]
    (run,) = await claim(database)
    assert run.request.message == "first\n2"


async def test_a_turn_grows_to_a_limit(database: Database) -> None:
    waiting = await accept(database, "x" * (session_queue.LONGEST - 10), label="x")
    place = Place(tenant=MASTER_TENANT, key=KEY, lane="main", agent_id=new_id(), agent_key="default")
    long = RunRequest(message="y" * 20)
    aside = Aside(run_id=new_id(), user="lan", kind="chat", request=long, request_hash="0" * 64)

    assert not await database.run(session_queue.join_waiting, place=place, aside=aside, into=waiting)


async def test_everybody_at_once_ends_in_a_whole_journal(database: Database) -> None:
    """Patches, messages and compactions of one session at the same time: every row has its own number."""
    await talked(database, *"abcdefgh")

    async def patch(n: int) -> None:
        await database.run(session_changes.patch, **HERE, change=Patch(label=str(n)))

    async def inject(n: int) -> None:
        message = NewMessage(id=new_id(), role="assistant", content=str(n))
        await database.run(sessions.inject, **HERE, message=message)

    async def compact(_n: int) -> None:
        live = await database.run(session_changes.live, **HERE)
        await database.run(session_changes.archive, **HERE, covered=live[:2], summary="s")

    async with trio.open_nursery() as nursery:
        for n in range(10):
            for work in (patch, inject, compact):
                nursery.start_soon(work, n)

    numbers = await database.run(seqs)
    assert numbers == list(range(1, len(numbers) + 1))
    row = await database.run(sessions.find, **HERE)
    assert row is not None
    assert row.message_count == len(await contents(database))
