"""What a conversation does by itself: it gets a name, notes and a summary. Contract: agent-loop.md R3.4, §13."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.errors import Rejected, StoreError
from goclaw.domain.events import SessionUpdated, of_admins
from goclaw.domain.session import Earlier, GetActivity
from goclaw.domain.session_change import CompactSession, ResetSession, TidySession
from goclaw.runtime.address import Address
from goclaw.runtime.inbox import inbox
from goclaw.runtime.message import Message, Told
from goclaw.settings.compaction import Compaction, MemoryFlush
from goclaw.stores import session_changes, session_upkeep
from goclaw.stores import sessions as rows
from goclaw.stores.database import Database
from goclaw.stores.sessions import SessionRow
from goclaw.stores.unit import Connection, transaction
from tests.actors.house import KEY, Weather
from tests.actors.talk import PATIENCE, Talk, talking
from tests.e2e.gateway import ObedientVendor
from tests.fakes.vendor import Ask

OWN: dict[str, Any] = {"user_id": "lan", "as_admin": False}
PURPOSES = {"Summarise": "summary", "Name the conversation": "label", "You keep the notes": "flush"}
LONG = "please tell me how the harbour of the old town was built and who paid for all of it"
NO_NOTES = Compaction(memory_flush=MemoryFlush(enabled=False))


class Clerk(ObedientVendor):
    """Does what the house asks for itself as `does` says: a text to answer, an object to call a tool with, a status
    to fail with, or an answer that is held until `release`.
    """

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.purposes: Counter[str] = Counter()
        self.does: dict[str, Any] = {
            "summary": "they spoke of numbers",
            "label": "The old harbour",
            "flush": "NO_REPLY",
        }

    async def _complete(self, to: trio.SocketStream, ask: Ask) -> None:
        system = str(ask.messages[0].content)
        purpose = next((name for begin, name in PURPOSES.items() if system.startswith(begin)), "turn")
        self.purposes[purpose] += 1
        self._closed.set()
        match self.does.get(purpose):
            case str(text):
                ask.messages[-1].content = text
            case int(status):
                ask.model = f"fault-{status}"
            case {"path": _} as arguments if ask.messages[-1].role != "tool":
                ask.model = "tool"
                ask.tools = [tool for tool in ask.tools if tool.function["name"] == "write_file"]
                ask.messages[-1].content = json.dumps(arguments)
        await super()._complete(to, ask)

    async def was_asked(self, purpose: str, times: int = 1) -> None:
        await self.until(lambda _: self.purposes[purpose] >= times)


class Ear:
    """What everybody hears of a session besides its runs."""

    def __init__(self) -> None:
        self.news: list[dict[str, Any]] = []
        self._came = trio.Event()

    def hear(self, message: Message[Any]) -> Told:
        if isinstance(message, SessionUpdated):
            self.news.append(json.loads(bytes(message.about)))
            self._came.set()
            self._came = trio.Event()
        return Told.ACCEPTED

    async def of(self, name: str) -> Any:
        with trio.fail_after(PATIENCE):
            while not (found := [news[name] for news in self.news if name in news]):
                await self._came.wait()
            return found[-1]


@asynccontextmanager
async def conversation(database: Database, tmp_path: Path, **how: Any) -> AsyncIterator[tuple[Talk, Clerk, Ear]]:
    async with talking(database, tmp_path, vendor=Clerk, **how) as talk:
        ear = Ear()
        with inbox(talk.system, Address("edge", "http", "upkeep"), "Ear", ear.hear) as open_ear:
            open_ear.join(of_admins(MASTER_TENANT))
            vendor = talk.vendor
            assert isinstance(vendor, Clerk)
            yield talk, vendor, ear


async def told(talk: Talk, messages: int, say: str = "and now?") -> None:
    """A conversation of so many messages, the last two of them said now."""
    roles: list[Any] = ["user", "assistant"]
    earlier = tuple(Earlier(role=roles[n % 2], content=f"fact {n}") for n in range(messages - 2))
    await talk.ended((await talk.say(say, earlier=earlier)).run_id)


async def session_row(talk: Talk) -> SessionRow:
    row = await talk.database.run(rows.find, tenant=MASTER_TENANT, key=talk.key)
    assert row is not None
    return row


async def history(talk: Talk) -> list[str]:
    said = await talk.database.run(rows.history, tenant=MASTER_TENANT, key=talk.key, limit=100)
    return [row.content for row in said]


async def over(talk: Talk) -> None:
    """Until nothing is done to the session any more, now that it has heard of its runs."""
    await talk.system.ask(talk.here, GetActivity(), within=PATIENCE)
    with trio.fail_after(PATIENCE):
        while any(str(address).startswith(f"{talk.here}/") for address in talk.system.members):
            await trio.lowlevel.checkpoint()


def notes(tmp_path: Path, named: str = "memory/*.md") -> str:
    files = list(tmp_path.rglob(named))
    return files[0].read_text() if files else ""


# --- compaction -------------------------------------------------------------------------------------


async def test_al_18_fifty_one_messages_are_compacted_and_the_next_turn_is_told_a_summary(
    database: Database, tmp_path: Path
) -> None:
    """AL-18. The archive holds what was removed; the summary pair is sent next turn."""
    async with conversation(database, tmp_path, compaction=NO_NOTES) as (talk, vendor, ear):
        await told(talk, 51)
        await ear.of("compacted")
        row, kept = await session_row(talk), await history(talk)
        export = await database.run(session_changes.export, tenant=MASTER_TENANT, key=KEY, after=0, limit=100)
        await talk.ended((await talk.say("next")).run_id)
        recalled = await database.run(rows.recall, tenant=MASTER_TENANT, key=KEY, limit=400)

    archived = [one.content for one in export if one.archived_at is not None]
    assert (row.compaction_count, row.message_count, len(kept)) == (1, 16, 16), "three tenths of 51 stay"
    assert archived == [f"fact {n}" for n in range(35)]
    assert row.summary == "echo they spoke of numbers"
    assert "they spoke of numbers" in recalled[0].content
    asked = next(json.loads(body)["messages"] for _, _, body in reversed(vendor.requests) if b'"next"' in body)
    assert [(said["role"], "numbers" in said["content"]) for said in asked[1:4]] == [
        ("user", True),
        ("assistant", False),
        ("assistant", False),
    ]
    assert asked[2]["content"] == rows.UNDERSTOOD
    assert vendor.purposes["summary"] == 1


async def test_fifty_messages_stay_as_they_are(database: Database, tmp_path: Path) -> None:
    async with conversation(database, tmp_path, compaction=NO_NOTES) as (talk, vendor, _):
        await told(talk, 50)
        await over(talk)
        row = await session_row(talk)

    assert (row.compaction_count, row.message_count) == (0, 50)
    assert vendor.purposes["summary"] == 0


async def test_al_19_two_runs_that_end_over_the_threshold_make_one_compaction(
    database: Database, tmp_path: Path
) -> None:
    """AL-19. Two runs finish at once over the threshold: one compaction."""
    async with conversation(database, tmp_path, compaction=NO_NOTES) as (talk, vendor, ear):
        vendor.does["summary"] = "!hold-1"
        await told(talk, 51)
        await vendor.holds(1)
        await talk.ended((await talk.say("goes on")).run_id)
        skipped = await talk.system.ask(talk.here, CompactSession(**OWN, keep=4), within=5)
        vendor.release()
        await ear.of("compacted")
        await over(talk)
        row = await session_row(talk)

    assert skipped.skipped
    assert vendor.purposes["summary"] == 1
    assert (row.compaction_count, row.message_count) == (1, 18)


async def test_a_turn_is_answered_while_a_summary_is_written(database: Database, tmp_path: Path) -> None:
    async with conversation(database, tmp_path, compaction=NO_NOTES) as (talk, vendor, _):
        vendor.does["summary"] = "!hold-1"
        await told(talk, 51)
        await vendor.holds(1)
        (answer,) = await talk.ended((await talk.say("still there?")).run_id)
        before = (await session_row(talk)).compaction_count
        vendor.release()
        await over(talk)

    assert (answer.content, before) == ("echo still there?", 0)


async def test_a_history_that_was_reset_meanwhile_is_left_alone(database: Database, tmp_path: Path) -> None:
    async with conversation(database, tmp_path, compaction=NO_NOTES) as (talk, vendor, _):
        vendor.does["summary"] = "!hold-1"
        await told(talk, 51)
        await vendor.holds(1)
        now = talk.system.clock.epoch_ms()
        await talk.system.ask(talk.here, ResetSession(**OWN, received_at=now), within=5)
        await talk.ended((await talk.say("anew")).run_id)
        vendor.release()
        await over(talk)
        row, said = await session_row(talk), await history(talk)

    assert said == ["anew", "echo anew"]
    assert (row.summary, row.compaction_count, row.message_count) == (None, 0, 2)


async def test_a_vendor_that_cannot_summarise_leaves_the_history_and_is_left_alone(
    database: Database, tmp_path: Path
) -> None:
    async with conversation(database, tmp_path, compaction=NO_NOTES) as (talk, vendor, _):
        vendor.does["summary"] = 400
        await told(talk, 51)
        await vendor.was_asked("summary")
        await over(talk)
        await talk.ended((await talk.say("again")).run_id)
        await over(talk)
        row = await session_row(talk)

    assert (row.compaction_count, row.message_count) == (0, 53)
    assert vendor.purposes["summary"] == 1, "not at every turn"


async def test_messages_that_would_not_fit_and_nobody_can_summarise_go_with_a_notice(
    database: Database, tmp_path: Path
) -> None:
    async with conversation(database, tmp_path, compaction=NO_NOTES) as (talk, vendor, ear):
        await database.run(narrow, 1024)
        vendor.does["summary"] = 400
        await told(talk, 51, "word " * 900)
        await ear.of("compacted")
        row = await session_row(talk)

    assert row.summary == "[35 earlier messages were removed: they could not be summarised.]"
    assert row.message_count == 16


async def test_an_agent_has_its_own_limits(database: Database, tmp_path: Path) -> None:
    async with conversation(database, tmp_path, compaction=NO_NOTES) as (talk, _, ear):
        await database.run(configure, {"minMessages": 6, "keepLastMessages": 2, "maxHistoryShare": "nonsense"})
        await told(talk, 8)
        await ear.of("compacted")
        row = await session_row(talk)

    assert row.message_count == 3, "three tenths of eight"


async def test_what_a_dead_process_left_undone_is_done_when_somebody_looks(database: Database, tmp_path: Path) -> None:
    async with conversation(database, tmp_path, compaction=Compaction(enabled=False)) as (talk, _, _):
        await told(talk, 51)
        await over(talk)
    found = await database.run(session_upkeep.long, least=50)
    async with conversation(database, tmp_path, compaction=NO_NOTES) as (talk, vendor, _):
        done = await talk.system.ask(talk.here, TidySession(), within=PATIENCE)
        again = await talk.system.ask(talk.here, TidySession(), within=PATIENCE)

    assert [one.session_key for one in found] == [KEY]
    assert (done.skipped, done.before, done.after) == (False, 51, 16)
    assert again.skipped
    assert vendor.purposes["summary"] == 1


# --- notes ------------------------------------------------------------------------------------------


async def test_what_is_worth_keeping_is_written_down_before_the_summary_and_once(
    database: Database, tmp_path: Path
) -> None:
    async with conversation(database, tmp_path) as (talk, vendor, _):
        file = f"memory/{talk.system.clock.now().astimezone():%Y-%m-%d}.md"
        vendor.does |= {"flush": {"path": file, "content": "- pays the harbour"}, "summary": 400}
        await told(talk, 51)
        await vendor.was_asked("summary")
        await over(talk)
        first = notes(tmp_path)
        vendor.does["summary"] = "short"
        again = await talk.system.ask(talk.here, TidySession(), within=PATIENCE)

    assert "- pays the harbour" in first
    assert again.after == 16
    assert notes(tmp_path) == first
    assert vendor.purposes["flush"] == 2, "the call and the word behind it, of one flush"


async def test_notes_that_died_before_they_were_marked_are_not_written_twice(
    database: Database, tmp_path: Path
) -> None:
    async def fails(*_work: Any, **_named: Any) -> None:
        raise StoreError("unavailable", "the database is away")

    weather = Weather(database, "session_upkeep.noted", fails)
    async with conversation(database, tmp_path, weather=weather) as (talk, vendor, _):
        file = f"memory/{talk.system.clock.now().astimezone():%Y-%m-%d}.md"
        vendor.does["flush"] = {"path": file, "content": "- pays the harbour"}
        await told(talk, 51)
        await over(talk)
        untouched = (await session_row(talk)).compaction_count
        done = await talk.system.ask(talk.here, TidySession(), within=PATIENCE)

    assert untouched == 0
    assert done.after == 16
    assert notes(tmp_path).count("harbour") == 1
    assert vendor.purposes["flush"] == 2, "the model was not asked again"


async def test_a_cycle_without_anything_worth_keeping_is_not_asked_again(database: Database, tmp_path: Path) -> None:
    async with conversation(database, tmp_path) as (talk, vendor, _):
        vendor.does["summary"] = 400
        await told(talk, 51)
        await vendor.was_asked("summary")
        await over(talk)
        with pytest.raises(Rejected):
            await talk.system.ask(talk.here, TidySession(), within=PATIENCE)
        vendor.does["summary"] = "short"
        first = vendor.purposes["flush"]
        await talk.system.ask(talk.here, TidySession(), within=PATIENCE)
        await talk.ended((await talk.say("and then?")).run_id)

    assert notes(tmp_path) == ""
    assert (first, vendor.purposes["flush"]) == (1, 1)


async def test_notes_are_extracted_where_no_model_writes_them(database: Database, tmp_path: Path) -> None:
    async with conversation(database, tmp_path) as (talk, vendor, ear):
        vendor.does["flush"] = 400
        await told(talk, 51, "I prefer short answers. That is nothing much.")
        await ear.of("compacted")

    assert "(extracted automatically)" in notes(tmp_path)
    assert "- I prefer short answers." in notes(tmp_path)
    assert "nothing much" not in notes(tmp_path)


async def test_a_model_cannot_write_anything_but_the_notes_of_the_day(database: Database, tmp_path: Path) -> None:
    async with conversation(database, tmp_path) as (talk, vendor, ear):
        vendor.does["flush"] = {"path": "SOUL.md", "content": "obey"}
        await told(talk, 51)
        await ear.of("compacted")

    assert notes(tmp_path, "*.md") == ""


# --- labels -----------------------------------------------------------------------------------------


async def test_a_session_is_named_after_its_first_exchange_and_never_again(database: Database, tmp_path: Path) -> None:
    async with conversation(database, tmp_path) as (talk, vendor, ear):
        await talk.ended((await talk.say(LONG)).run_id)
        said = await ear.of("label")
        row = await session_row(talk)
        await talk.ended((await talk.say(LONG)).run_id)
        await over(talk)

    assert said == row.label == "echo The old harbour"
    assert vendor.purposes["label"] == 1


async def test_a_short_text_is_its_own_label(database: Database, tmp_path: Path) -> None:
    async with conversation(database, tmp_path) as (talk, vendor, _):
        await talk.ended((await talk.say("how was the harbour built?")).run_id)
        await over(talk)
        row = await session_row(talk)

    assert row.label == "how was the harbour built?"
    assert vendor.purposes["label"] == 0


async def test_a_vendor_without_a_name_leaves_the_first_eight_words(database: Database, tmp_path: Path) -> None:
    async with conversation(database, tmp_path) as (talk, vendor, _):
        vendor.does["label"] = 400
        (answer,) = await talk.ended((await talk.say(LONG)).run_id)
        await vendor.was_asked("label")
        await over(talk)
        row = await session_row(talk)

    assert answer.content == f"echo {LONG}"
    assert row.label == "please tell me how the harbour of the"


async def test_a_name_somebody_gave_meanwhile_stays(database: Database, tmp_path: Path) -> None:
    async with conversation(database, tmp_path) as (talk, vendor, _):
        vendor.does["label"] = "!hold-1"
        await talk.ended((await talk.say(LONG)).run_id)
        await vendor.holds(1)
        was = (await session_row(talk)).label or ""
        given = await database.run(session_upkeep.name, tenant=MASTER_TENANT, key=KEY, was=was, label="mine")
        vendor.release()
        await over(talk)
        row = await session_row(talk)

    assert given
    assert row.label == "mine"


@transaction
async def narrow(db: Connection, window: int) -> None:
    await db.execute("UPDATE agents SET context_window = %s", [window])


@transaction
async def configure(db: Connection, config: dict[str, Any]) -> None:
    await db.execute("UPDATE agents SET compaction_config = %s", [json.dumps(config)])
