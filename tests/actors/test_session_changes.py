"""What is done to a living conversation. Contract: sessions-lanes-cron.md §2, §10; agent-loop.md §9.4, §13."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from goclaw.actors.engine.lane_news import Start
from goclaw.actors.sessions.tree import sessions
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.errors import Rejected, StoreError
from goclaw.domain.ids import new_id
from goclaw.domain.run import InjectText, RunQueued, RunRequest, TakeSlot
from goclaw.domain.session import GetActivity
from goclaw.domain.session_change import (
    CompactSession,
    DeleteSession,
    PatchSession,
    ResetSession,
    TruncateSession,
)
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.child import Child, child
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import open_system
from goclaw.settings.queue import Queue
from goclaw.stores import agents as agent_rows
from goclaw.stores import run_recovery, session_queue
from goclaw.stores import sessions as rows
from goclaw.stores.database import Database
from goclaw.stores.session_queue import Aside, Place
from tests.actors.house import KEY, Weather, house, turn
from tests.actors.talk import HOLD, Talk, talking
from tests.stores.test_runs import accept, claim

OWN: dict[str, Any] = {"user_id": "lan", "as_admin": False}
FOREIGN: dict[str, Any] = {"user_id": "eve", "as_admin": False}


async def history(talk: Talk) -> list[str]:
    said = await talk.database.run(rows.history, tenant=MASTER_TENANT, key=talk.key, limit=100)
    return [row.content for row in said]


def changed(**change: object) -> PatchSession:
    return PatchSession(**OWN, change=msgspec.Raw(msgspec.json.encode(change)))


async def test_a_reset_ends_what_works_and_what_waits(database: Database, tmp_path: Path) -> None:
    async with talking(database, tmp_path) as talk:
        await talk.ended((await talk.say("hello")).run_id)
        held = await talk.say(HOLD)
        await talk.vendor.holds(1)
        waiting = await talk.say("later")
        now = talk.system.clock.epoch_ms()
        cleared = await talk.system.ask(talk.here, ResetSession(**OWN, received_at=now), within=5)
        first, second = await talk.ended(held.run_id, waiting.run_id)
        empty = await history(talk)
        await talk.ended((await talk.say("anew")).run_id)
        ended = {row.run_id: row for row in await talk.rows()}
        anew = await history(talk)

    assert cleared.runs == 2
    assert first.cancelled
    assert second.cancelled
    assert ended[waiting.run_id].reason_code == "LANE_CLEARED"
    assert empty == [], "what was stopped belongs to what is over"
    assert anew == ["anew", "echo anew"]


async def test_a_deleted_session_is_gone_and_its_key_may_be_used_again(database: Database, tmp_path: Path) -> None:
    async with talking(database, tmp_path) as talk:
        await talk.ended((await talk.say("hello")).run_id)
        await talk.system.ask(talk.here, DeleteSession(**OWN), within=5)
        with pytest.raises(Rejected):
            await talk.system.ask(talk.here, DeleteSession(**OWN), within=5)
        gone = await database.run(rows.find, tenant=MASTER_TENANT, key=talk.key)
        await talk.ended((await talk.say("anew")).run_id)
        anew = await history(talk)

    assert gone is None
    assert anew == ["anew", "echo anew"]


@pytest.mark.parametrize(
    "message",
    [
        ResetSession(**FOREIGN, received_at=0),
        DeleteSession(**FOREIGN),
        CompactSession(**FOREIGN, keep=4),
        TruncateSession(**FOREIGN, keep=4),
        PatchSession(**FOREIGN, change=msgspec.Raw(b'{"label":"mine"}')),
    ],
)
async def test_nobody_changes_a_session_of_somebody_else(
    database: Database, tmp_path: Path, message: ResetSession
) -> None:
    async with talking(database, tmp_path) as talk:
        await talk.ended((await talk.say("hello")).run_id)
        with pytest.raises(Rejected) as refused:
            await talk.system.ask(talk.here, message, within=5)
        said = await history(talk)

    assert refused.value.err.code == "NOT_FOUND"
    assert said == ["hello", "echo hello"]


async def test_a_session_has_its_own_model_and_queue_mode(database: Database, tmp_path: Path) -> None:
    async with talking(database, tmp_path) as talk:
        await talk.ended((await talk.say("hello")).run_id)
        await talk.system.ask(talk.here, changed(model="fixed-2", queue_mode="interrupt"), within=5)
        (result,) = await talk.ended((await talk.say("hello")).run_id)
        await talk.system.ask(talk.here, changed(model=None), within=5)
        held = await talk.say(HOLD)
        await talk.vendor.holds(1)
        last = await talk.say("instead")
        cancelled, answer = await talk.ended(held.run_id, last.run_id)

    assert result.content == "word0 word1"
    assert cancelled.cancelled
    assert answer.content == "echo instead"


async def test_compaction_keeps_four_and_the_rest_as_a_summary(database: Database, tmp_path: Path) -> None:
    """With the offline model, whose summary is what was said first in each message (providers.md §16.3)."""
    async with house(database, tmp_path) as system:
        talk = Talk(database, system, None, "agent:default:ws:direct:1")
        few = await _turns(talk, 2)
        skipped = await system.ask(talk.here, CompactSession(**OWN, keep=4), within=10)
        await _turns(talk, 2)
        done = await system.ask(talk.here, CompactSession(**OWN, keep=4), within=10)
        kept = await history(talk)
        row = await database.run(rows.find, tenant=MASTER_TENANT, key=talk.key)

    assert few == 4
    assert (skipped.skipped, skipped.before, skipped.after) == (True, 4, 4)
    assert (done.skipped, done.before, done.after) == (False, 8, 4)
    assert kept[0::2] == ["Remember ticket-2. Please.", "Remember ticket-3. Please."]
    assert row is not None
    assert row.summary is not None
    assert "User: Remember ticket-0." in row.summary
    assert "ticket-2" not in row.summary


async def _turns(talk: Talk, count: int) -> int:
    """Say something so often; how many messages there are then."""
    done = len(await history(talk)) // 2
    for n in range(done, done + count):
        send = await turn(talk.database, f"Remember ticket-{n}. Please.")
        await talk.system.ask(talk.here, send, within=5)
        with trio.fail_after(10):
            while len(await history(talk)) < 2 * n + 2:
                await trio.lowlevel.checkpoint()
    return len(await history(talk))


async def test_truncation_keeps_the_last(database: Database, tmp_path: Path) -> None:
    async with talking(database, tmp_path) as talk:
        for n in range(3):
            await talk.ended((await talk.say(str(n))).run_id)
        done = await talk.system.ask(talk.here, TruncateSession(**OWN, keep=2), within=5)
        again = await talk.system.ask(talk.here, TruncateSession(**OWN, keep=2), within=5)
        kept = await history(talk)

    assert (done.before, done.after, done.skipped) == (6, 2, False)
    assert again.skipped
    assert kept == ["2", "echo 2"]


# --- injection --------------------------------------------------------------------------------------


async def test_al_39_a_text_is_answered_within_the_run_that_works(database: Database, tmp_path: Path) -> None:
    """AL-39. `queueMode: "inject"`: the second message is answered within the same run."""
    async with talking(database, tmp_path) as talk:
        held = await talk.say(HOLD)
        await talk.vendor.holds(1)
        accepted = await talk.say("one more thing", mode="inject")
        talk.vendor.release()
        (result,) = await talk.ended(held.run_id)
        said = await history(talk)
        stored = await talk.rows()

    assert (accepted.injected, accepted.run_id) == (True, held.run_id)
    assert result.content == "echo one more thing"
    assert said == [HOLD, "word0 end", "one more thing", "echo one more thing"]
    (merged,) = stored[1:]
    assert (merged.state, merged.reason_code, merged.merged_into) == ("CANCELED", "MERGED", held.run_id)


async def test_a_text_that_was_taken_and_not_stored_is_said_once_by_whoever_sends_it_again(
    database: Database, tmp_path: Path
) -> None:
    async def fails(*_work: Any, **_text: Any) -> None:
        raise StoreError("unavailable", "the database is away")

    weather = Weather(database, "session_queue.keep_injected", fails)
    async with talking(database, tmp_path, weather=weather) as talk:
        held = await talk.say(HOLD)
        await talk.vendor.holds(1)
        more: dict[str, Any] = {"mode": "inject", "idempotency_key": "ws:k"}
        with pytest.raises(StoreError):
            await talk.say("one more thing", **more)
        accepted = await talk.say("one more thing", **more)
        talk.vendor.release()
        await talk.ended(held.run_id)
        said = await history(talk)

    assert (accepted.injected, accepted.run_id) == (True, held.run_id)
    assert said == [HOLD, "word0 end", "one more thing", "echo one more thing"]


async def test_a_run_that_begins_again_hears_what_its_former_life_was_told(database: Database, tmp_path: Path) -> None:
    run_id = await accept(database, "hello")
    (run,) = await claim(database)
    place = Place(tenant=MASTER_TENANT, key=KEY, lane="main", agent_id=str(run.agent_id), agent_key="default")
    more = RunRequest(message="one more thing")
    aside = Aside(run_id=new_id(), user="lan", kind="chat", request=more, request_hash="0" * 64)
    await database.run(session_queue.keep_injected, place=place, aside=aside, into=run_id)
    await database.run(run_recovery.put_back, run, reason="RELEASE_SHUTDOWN")

    async with talking(database, tmp_path) as talk:
        await talk.ended(run_id)
        said = await history(talk)

    assert "one more thing" in said
    assert said[-1] == "echo one more thing"


class Eager(Actor):
    """Stands for a run that takes texts, or does not any more."""

    def __init__(self, takes: bool) -> None:
        self.takes = takes

    @handles
    async def inject(self, ctx: Context, ask: InjectText) -> bool:
        return self.takes


class Lane(Actor):
    """Starts such runs."""

    def __init__(self, takes: bool) -> None:
        self.takes = takes

    @handles
    async def take_slot(self, ctx: Context, ask: TakeSlot) -> bool:
        return True

    @handles
    async def start(self, ctx: Context, news: Start) -> None:
        ctx.child(Child(news.run.run_id, Eager, (self.takes,)))

    @handles
    async def queued(self, ctx: Context, news: RunQueued) -> None:
        """They never end, so nothing that waits ever begins."""


@asynccontextmanager
async def waiting_house(database: Database, tmp_path: Path, takes: bool) -> AsyncIterator[Talk]:
    await database.run(agent_rows.seed, id=new_id(), tenant=MASTER_TENANT, key="default", name="G", owner="system")
    lanes = partial(Supervisor, [child("main", Lane, takes)])
    tree = partial(
        Supervisor,
        children=[
            child("engine", partial(Supervisor, [child("lanes", lanes)])),
            child("sessions", sessions, new_id(), Queue(), 600.0),
        ],
    )
    async with open_system(database) as system:
        await system.start(child("", tree))
        yield Talk(database, system, None, KEY)


@pytest.mark.parametrize("takes", [True, False])
async def test_an_injected_text_is_stored_before_it_is_acknowledged(
    database: Database, tmp_path: Path, takes: bool
) -> None:
    async with waiting_house(database, tmp_path, takes) as talk:
        held = await talk.say("work")
        accepted = await talk.say("one more thing", mode="inject", idempotency_key="k")
        again = await talk.say("one more thing", mode="inject", idempotency_key="k")
        texts = await database.run(session_queue.merged_texts, tenant=MASTER_TENANT, run_id=held.run_id)
        activity = await talk.system.ask(talk.here, GetActivity(), within=5)

    assert accepted.injected is takes
    assert again.run_id == accepted.run_id
    assert [text.text for text in texts] == (["one more thing"] if takes else [])
    assert (accepted.run_id == held.run_id) is takes
    assert activity.waiting == (() if takes else (accepted.run_id,))
