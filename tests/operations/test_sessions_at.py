"""Conversations as they were, for those who ask. Contract: observability.md §21 (TT-2 to TT-5)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from goclaw.domain.access import MASTER_TENANT, Caller, Role
from goclaw.domain.address import session
from goclaw.domain.errors import Rejected
from goclaw.domain.ids import new_id
from goclaw.domain.session import GetActivity
from goclaw.operations.context import Context, House
from goclaw.operations.params import decode
from goclaw.operations.session_changes import ask_session
from goclaw.operations.session_past import Fork, LookBack, SessionPast, at, fork
from goclaw.runtime.system import System
from goclaw.settings.queue import Queue
from goclaw.settings.settings import Settings
from goclaw.stores import session_changes, sessions
from goclaw.stores.database import Database
from goclaw.stores.session_changes import Patch
from tests.actors.house import house, turn
from tests.actors.talk import talking
from tests.stores.test_runs import KEY, accept
from tests.stores.test_session_past import HERE, answered, do


def context(system: System, user: str = "lan", role: Role = Role.OPERATOR) -> Context:
    return Context(House(Settings(), system, "1.2.3", "node", 0), Caller(user_id=user, role=role))


@pytest.fixture
async def ctx(database: Database, tmp_path: Path) -> AsyncIterator[Context]:
    async with house(database, tmp_path, Queue(poll_ms=3_600_000.0)) as system:
        yield context(system)


async def refused(ctx: Context, **asked: Any) -> tuple[str, object]:
    """The code and what it was about."""
    with pytest.raises(Rejected) as error:
        await at(ctx, decode(LookBack, {"key": KEY, **asked}))
    details = error.value.err.details
    return error.value.err.code, details.get("field") or details.get("reason") or details.get("kind")


async def look(ctx: Context, seq: int, **more: Any) -> SessionPast:
    return await at(ctx, LookBack(key=KEY, seq=seq, **more))


async def test_a_moment_has_its_messages_its_names_and_its_figures(database: Database, ctx: Context) -> None:
    run_id = await answered(database, KEY, "hi", "hello")
    await database.run(session_changes.patch, **HERE, change=Patch(label="Trip", model="m"))
    await answered(database, KEY, "more", "much")

    past = await look(ctx, 2)

    assert [(m.seq, m.role, m.content, m.run_id) for m in past.messages] == [
        (1, "user", "hi", run_id),
        (2, "user", "hello", run_id),
    ]
    assert (past.seq, past.last_seq, past.label, past.model, past.total) == (2, 5, "hi", None, 2)
    assert (past.generation, past.agent_key, past.next_marker, past.gap) == (0, "default", 3, None)
    assert msgspec.to_builtins(past.counts) == {"messages": 2, "input_tokens": 3, "output_tokens": 2, "compactions": 0}
    assert (await look(ctx, 0)).messages == []
    wire = msgspec.to_builtins(past)
    assert {"lastSeq", "agentKey", "next_marker"} < set(wire), "the names of observability.md §21"


async def test_older_messages_are_paged_from_the_end(database: Database, ctx: Context) -> None:
    for _ in range(3):
        await answered(database)

    newest = await look(ctx, 6, limit=4)
    older = await look(ctx, 6, limit=4, before=newest.before)

    assert ([m.seq for m in newest.messages], newest.before, newest.total) == ([3, 4, 5, 6], 3, 6)
    assert ([m.seq for m in older.messages], older.before) == ([1, 2], None)


async def test_a_moment_is_compared_with_another(database: Database, ctx: Context) -> None:
    await answered(database)
    await database.run(session_changes.patch, **HERE, change=Patch(model="m"))
    rows = await database.run(session_changes.live, **HERE)
    await database.run(session_changes.archive, **HERE, covered=rows[:1], summary="s")
    await answered(database)

    past = await look(ctx, 2, against=6)

    assert (past.added, past.removed, past.summary_changed) == ([5, 6], [1], True)
    assert past.patched == {"model": [None, "m"]}
    assert (await look(ctx, 2)).added is None


async def test_tt_3_the_session_of_somebody_else_is_not_found(database: Database, ctx: Context) -> None:
    await answered(database)
    other = context(ctx.system, "eve")

    assert await refused(other, seq=1) == ("NOT_FOUND", "session")
    with pytest.raises(Rejected) as error:
        await fork(other, Fork(key=KEY, seq=1))
    assert error.value.err.code == "NOT_FOUND"
    assert (await at(context(ctx.system, "root", Role.ADMIN), LookBack(key=KEY, seq=1))).total == 1


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, ("INVALID_REQUEST", "seq")),
        ({"seq": 1, "at": "2026-01-01T00:00:00Z"}, ("INVALID_REQUEST", "seq")),
        ({"seq": 3}, ("INVALID_REQUEST", "seq")),
        ({"seq": -1}, ("INVALID_REQUEST", "seq")),
        ({"seq": 1, "against": 3}, ("INVALID_REQUEST", "against")),
        ({"seq": 1, "limit": 201}, ("INVALID_REQUEST", "limit")),
        ({"at": "2026-01-01T00:00:00"}, ("INVALID_REQUEST", "at")),
        ({"runId": "no"}, ("NOT_FOUND", "run")),
        ({"runId": new_id()}, ("NOT_FOUND", "run")),
        ({"seq": 1, "key": "agent:default:ws:direct:nobody"}, ("NOT_FOUND", "session")),
    ],
)
async def test_what_is_no_moment_is_refused(
    database: Database, ctx: Context, asked: dict[str, Any], said: tuple[str, str]
) -> None:
    await answered(database)

    assert await refused(ctx, **asked) == said


async def test_a_run_that_has_not_begun_has_read_nothing(database: Database, ctx: Context) -> None:
    run_id = await accept(database)

    assert await refused(ctx, runId=run_id) == ("FAILED_PRECONDITION", "not_started")


async def test_below_what_retention_left_is_a_gap(database: Database, ctx: Context) -> None:
    await answered(database)
    rows = await database.run(session_changes.live, **HERE)
    await database.run(session_changes.archive, **HERE, covered=rows[:1])
    await database.run(do, "DELETE FROM session_messages WHERE archived_at IS NOT NULL")

    for seq in (0, 1):
        assert await refused(ctx, seq=seq) == ("FAILED_PRECONDITION", "replay_gap")
    assert ((await look(ctx, 2)).gap, (await look(ctx, 3)).total) == (2, 1)


async def test_the_prompt_is_what_the_model_was_shown(database: Database, tmp_path: Path) -> None:
    async with talking(database, tmp_path) as talk:
        first = await talk.say("hello")
        await talk.ended(first.run_id)
        second = await talk.say("again")
        await talk.ended(second.run_id)
        ctx = context(talk.system)
        past = await look(ctx, 2)
        read = await at(ctx, LookBack(key=KEY, run_id=second.run_id))

    assert past.prompt is not None
    assert (len(past.prompt.system_hash), len(past.prompt.tools_hash)) == (64, 64)
    assert past.prompt.tokens is not None
    assert [m.content for m in read.messages] == ["hello", "echo hello"]
    assert [(one.run_id, one.state_then) for one in past.runs] == [(first.run_id, "SUCCEEDED")]


async def test_tt_4_a_fork_goes_on_from_there(database: Database, tmp_path: Path) -> None:
    async with talking(database, tmp_path) as talk:
        for text in ("one", "two"):
            await talk.ended((await talk.say(text)).run_id)
        ctx = context(talk.system)
        forked = await fork(ctx, Fork(key=KEY, seq=2, new_key="agent:default:ws:direct:copy"))
        await ask_session(ctx, forked.key, GetActivity())
        talk.key = forked.key
        await talk.ended((await talk.say("three")).run_id)
        history = await database.run(sessions.history, tenant=MASTER_TENANT, key=forked.key, limit=50)
        original = await database.run(sessions.history, **HERE, limit=50)
        fresh = await fork(ctx, Fork(key=KEY, seq=0))

    assert [row.content for row in history] == ["one", "echo one", "three", "echo three"]
    assert [row.content for row in original] == ["one", "echo one", "two", "echo two"]
    assert (forked.session.user_id, forked.session.message_count, forked.session.input_tokens) == ("lan", 2, 0)
    assert forked.session.metadata == {"forked_from": KEY, "forked_seq": "2"}
    assert (fresh.session.message_count, fresh.session.key.startswith("agent:default:ws:direct:")) == (0, True)


async def test_a_fork_belongs_to_nobody_but_who_made_it(database: Database, ctx: Context) -> None:
    """Also where the new session was looked at before, by its actor, and was nobody's then."""
    key = "agent:default:ws:direct:copy"
    await answered(database)
    await ask_session(ctx, key, GetActivity())
    await fork(ctx, Fork(key=KEY, seq=1, new_key=key))

    with pytest.raises(Rejected) as intruder:
        await ctx.ask(session(MASTER_TENANT, key), replace(await turn(database), user_id="eve"), within=5)
    assert intruder.value.err.code == "NOT_FOUND"
    for taken, code in ((key, "ALREADY_EXISTS"), ("agent:other:ws:direct:1", "INVALID_REQUEST")):
        with pytest.raises(Rejected) as error:
            await fork(ctx, Fork(key=KEY, seq=1, new_key=taken))
        assert error.value.err.code == code
    with pytest.raises(Rejected) as foreign:
        await at(context(ctx.system, "eve"), LookBack(key=key, seq=1))
    assert foreign.value.err.code == "NOT_FOUND"
