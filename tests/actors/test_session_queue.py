"""How turns of one conversation wait, merge and give way. Contract: sessions-lanes-cron.md §3, §13 (SL-01 to SL-12)."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.address import agent
from goclaw.domain.agent import GetProfile
from goclaw.domain.errors import Rejected, StoreError
from goclaw.domain.ids import new_id
from goclaw.domain.queue_policy import Override
from goclaw.domain.run import RunRequest
from goclaw.domain.session import OPEN_WINDOWS, Accepted, FlushWindows, GetActivity, RunLost
from goclaw.runtime.cell import Cell
from goclaw.runtime.faults import RuntimeFault
from goclaw.runtime.message import Passivate
from goclaw.settings.queue import ChannelQueue, ChannelQueues, Queue
from goclaw.stores import session_queue, sessions
from goclaw.stores.database import Database
from goclaw.stores.session_queue import Aside, Place
from goclaw.stores.sessions import NewMessage
from goclaw.stores.unit import Connection, many, maybe, transaction
from tests.actors.house import Weather
from tests.actors.talk import HOLD, stored, talking
from tests.stores.test_runs import accept

GROUP = "agent:default:telegram:group:-100"
OTHER = "agent:default:ws:direct:2"


def alternates(story: list[tuple[str, str]], at_once: int = 1) -> bool:
    """Whether never more than so many worked at the same time."""
    busy = most = 0
    for what, _ in story:
        busy += 1 if what == "began" else -1
        most = max(most, busy)
    return most <= at_once


async def test_sl_01_five_messages_are_answered_in_order_and_never_two_at_once(
    database: Database, tmp_path: Path
) -> None:
    async with talking(database, tmp_path) as talk:
        sent = [(await talk.say(str(n))).run_id for n in range(5)]
        results = await talk.ended(*sent)

    assert [result.content for result in results] == [f"echo {n}" for n in range(5)]
    assert [run_id for what, run_id in talk.story() if what == "began"] == sent
    assert alternates(talk.story())


async def test_sl_02_five_senders_of_a_group_are_answered_three_at_once(database: Database, tmp_path: Path) -> None:
    async with talking(database, tmp_path, key=GROUP) as talk:
        sent = [(await talk.say(f"{HOLD} {n}", user=f"u{n}")).run_id for n in range(5)]
        with trio.fail_after(10):
            await talk.vendor.holds(3)
        activity = await talk.system.ask(talk.here, GetActivity(), within=5)
        talk.vendor.release()
        await talk.ended(*sent)

    assert (activity.running, activity.waiting) == (tuple(sent[:3]), tuple(sent[3:]))
    assert alternates(talk.story(), 3)


async def test_sl_03_a_group_with_a_long_history_works_one_by_one_until_it_is_short(
    database: Database, tmp_path: Path
) -> None:
    @transaction(readonly=True)
    async def slots(db: Connection) -> int | None:
        return await maybe(int, db.execute("SELECT max_concurrent FROM session_heads"))

    async with talking(database, tmp_path, key=GROUP) as talk:
        first = await talk.say("hello")
        await talk.ended(first.run_id)
        assert await database.run(slots) == 3
        long = NewMessage(id=new_id(), role="user", content="much", token_estimate=120_001)  # of 200,000
        await database.run(sessions.inject, tenant=MASTER_TENANT, key=GROUP, message=long)
        await talk.ended((await talk.say("and now")).run_id)
        await talk.system.ask(talk.here, GetActivity(), within=5)  # behind the news of the end
        assert await database.run(slots) == 1
        sent = [(await talk.say(str(n))).run_id for n in range(3)]
        await talk.ended(*sent)
        await talk.system.ask(talk.here, GetActivity(), within=5)

    assert alternates(talk.story())


async def test_sl_04_the_oldest_give_way_when_too_many_wait(database: Database, tmp_path: Path) -> None:
    async with talking(database, tmp_path) as talk:
        held = await talk.say(HOLD)
        await talk.vendor.holds(1)
        sent = [(await talk.say(str(n))).run_id for n in range(12)]
        dropped = await talk.ended(*sent[:2])
        rows = {row.run_id: row for row in await talk.rows()}
        talk.vendor.release()
        await talk.ended(held.run_id, *sent[2:])

    assert [rows[run_id].reason_code for run_id in sent[:2]] == ["QUEUE_DROPPED"] * 2
    assert [rows[run_id].state for run_id in sent] == ["CANCELED"] * 2 + ["QUEUED"] * 10
    for result in dropped:
        assert result.error is not None
        assert (result.error.code, result.error.details["reason"]) == ("RESOURCE_EXHAUSTED", "queue_dropped")


async def test_a_result_is_told_while_turns_wait_and_takes_nobodys_place(database: Database, tmp_path: Path) -> None:
    async with talking(database, tmp_path, Queue(cap=2, drop="new")) as talk:
        held = await talk.say(HOLD)
        await talk.vendor.holds(1)
        turns = [(await talk.say(str(n))).run_id for n in range(2)]
        results = [(await talk.say(f"result {n}", kind="announce")).run_id for n in range(2)]
        told = await talk.ended(*results)
        with pytest.raises(Rejected):
            await talk.say("one too many")
        talk.vendor.release()
        await talk.ended(held.run_id, *turns)

    assert [result.content for result in told] == ["echo result 0", "echo result 1"]


async def test_sl_05_the_newcomer_is_refused_when_that_is_wanted(database: Database, tmp_path: Path) -> None:
    async with talking(database, tmp_path, Queue(drop="new")) as talk:
        await talk.say(HOLD)
        await talk.vendor.holds(1)
        for n in range(10):
            await talk.say(str(n))
        with pytest.raises(Rejected) as refused:
            await talk.say("one too many")
        talk.vendor.release()

    assert (refused.value.err.code, refused.value.err.details["reason"]) == ("RESOURCE_EXHAUSTED", "queue_full")


async def test_sl_06_texts_in_one_window_become_one_run(database: Database, tmp_path: Path) -> None:
    answers = {}
    async with talking(database, tmp_path) as talk:

        async def say(text: str) -> None:
            answers[text] = await talk.say(text, debounce_ms=300)

        async with trio.open_nursery() as nursery:
            for n, text in enumerate(("one", "two", "three"), 1):
                nursery.start_soon(say, text)
                await talk.holds_back(n)
        (result,) = await talk.ended(answers["three"].run_id)
        rows = await talk.rows()

    assert result.content == "echo one\ntwo\nthree"
    assert {answer.run_id for answer in answers.values()} == {result.run_id}
    assert {text: answer.merged for text, answer in answers.items()} == {"one": True, "two": True, "three": False}
    merged = [row for row in rows if row.reason_code == "MERGED"]
    assert [(row.text, row.state, row.merged_into) for row in merged] == [
        ("one", "CANCELED", result.run_id),
        ("two", "CANCELED", result.run_id),
    ]


async def test_a_text_that_is_sent_again_is_said_once_before_and_after_its_window(
    database: Database, tmp_path: Path
) -> None:
    answers: list[Accepted] = []
    async with talking(database, tmp_path) as talk:

        async def say(text: str, key: str) -> None:
            answers.append(await talk.say(text, debounce_ms=300, idempotency_key=key))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(say, "one", "1")
            await talk.holds_back(1)
            nursery.start_soon(say, "one", "1")
            nursery.start_soon(say, "two", "2")
            await talk.holds_back(2)
            with pytest.raises(Rejected) as refused:
                await talk.say("something else", debounce_ms=300, idempotency_key="1")
        (result,) = await talk.ended(answers[0].run_id)
        again = [await talk.say("one", idempotency_key="1"), await talk.say("two", idempotency_key="2")]

    assert refused.value.err.details["reason"] == "idempotency_conflict"
    assert result.content == "echo one\ntwo"
    assert {answer.run_id for answer in (*answers, *again)} == {result.run_id}
    assert [answer.merged for answer in again] == [True, False]


async def test_a_text_sent_again_with_its_key_joins_the_window_it_is_in_even_without_one(
    database: Database, tmp_path: Path
) -> None:
    answers: list[Accepted] = []
    async with talking(database, tmp_path) as talk:

        async def say() -> None:
            answers.append(await talk.say("one", debounce_ms=60_000, idempotency_key="1"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(say)
            await talk.holds_back(1)
            answers.append(await talk.say("one", idempotency_key="1"))
        (result,) = await talk.ended(answers[0].run_id)

    assert {answer.run_id for answer in answers} == {result.run_id}
    assert result.content == "echo one"


async def test_a_full_queue_is_the_answer_to_a_window(database: Database, tmp_path: Path) -> None:
    refused: list[str] = []
    async with talking(database, tmp_path, Queue(max_depth=1)) as talk:

        async def say(text: str) -> None:
            with pytest.raises(Rejected) as refusal:
                await talk.say(text, debounce_ms=60_000)
            refused.append(refusal.value.err.details["reason"])

        held = await talk.say(HOLD)
        await talk.vendor.holds(1)
        waiting = await talk.say("waits")
        session = talk.system.cell(talk.here)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(say, "one")
            nursery.start_soon(say, "two")
            await talk.holds_back(2)
            talk.system.tell(talk.here, FlushWindows())
        assert session is talk.system.cell(talk.here)
        assert session is not None
        assert session.incarnation == 1, "it did not stumble over it"
        talk.vendor.release()
        await talk.ended(held.run_id, waiting.run_id)

    assert refused == ["queue_full", "queue_full"]


async def test_a_key_that_another_session_uses_at_the_same_moment_is_told_of(
    database: Database, tmp_path: Path
) -> None:
    async def beaten(_work: object, **_how: object) -> None:
        await accept(database, key=OTHER)
        place = Place(tenant=MASTER_TENANT, key=OTHER, lane="main", agent_id=new_id(), agent_key="default")
        request = RunRequest(message="also")
        aside = Aside(
            run_id=new_id(), user="lan", kind="chat", request=request, request_hash="0" * 64, ingress_key="ws:k"
        )
        await database.run(session_queue.pass_over, place=place, aside=aside)

    async with talking(database, tmp_path, weather=Weather(database, "ingress.find", beaten)) as talk:
        await talk.say(HOLD)
        await talk.vendor.holds(1)
        waiting = await talk.say("and", mode="followup")
        with pytest.raises(Rejected) as refused:
            await talk.say("also", mode="followup", idempotency_key="ws:k")
        talk.vendor.release()
        (result,) = await talk.ended(waiting.run_id)

    assert refused.value.err.details["reason"] == "idempotency_conflict"
    assert result.content == "echo and"


async def test_a_window_waits_for_a_database_that_is_away(database: Database, tmp_path: Path) -> None:
    answers: list[Accepted] = []

    async def away(*_: object, **__: object) -> None:
        raise StoreError("unavailable", "away")

    weather = Weather(database, "session_changes.known", away)
    async with talking(database, tmp_path, weather=weather) as talk:

        async def say() -> None:
            answers.append(await talk.say("one", debounce_ms=60_000, fresh=True))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(say)
            await talk.holds_back(1)
            talk.system.tell(talk.here, RunLost())  # what it knew is forgotten
            talk.system.tell(talk.here, FlushWindows())
        (result,) = await talk.ended(answers[0].run_id)

    assert result.content == "echo one"


async def test_a_turn_that_interrupts_needs_no_room_while_another_gives_way_for_it(
    database: Database, tmp_path: Path
) -> None:
    async with talking(database, tmp_path, Queue(max_depth=1)) as talk:
        await talk.say(HOLD)
        await talk.vendor.holds(1)
        await talk.say("waits")
        last = await talk.say("now", mode="interrupt")
        (result,) = await talk.ended(last.run_id)

    assert result.content == "echo now"


async def test_sl_07_an_idle_session_starts_with_the_commit_that_accepts_the_turn(
    database: Database, tmp_path: Path
) -> None:
    async with talking(database, tmp_path) as talk:
        accepted = await talk.say(HOLD)
        (row,) = await talk.rows()
        talk.vendor.release()
        await talk.ended(accepted.run_id)

    assert (accepted.position, row.state) == (0, "RUNNING")


async def test_sl_08_stop_cancels_the_oldest_and_the_other_completes(database: Database, tmp_path: Path) -> None:
    async with talking(database, tmp_path, key=GROUP) as talk:
        sent = [(await talk.say(f"{HOLD} {n}")).run_id for n in range(2)]
        await talk.vendor.holds(2)
        stopped = await talk.abort(oldest=True)
        (cancelled,) = await talk.ended(sent[0])
        talk.vendor.release()
        (other,) = await talk.ended(sent[1])

    assert stopped.run_ids == (sent[0],)
    assert cancelled.cancelled
    assert not other.cancelled


async def test_sl_09_stopall_leaves_nothing_and_what_was_sent_before_it_is_stale(
    database: Database, tmp_path: Path
) -> None:
    async with talking(database, tmp_path) as talk:
        held = await talk.say(HOLD)
        await talk.vendor.holds(1)
        waiting = [(await talk.say(str(n))).run_id for n in range(2)]
        now = talk.system.clock.epoch_ms()
        stopped = await talk.abort(drain=True, received_at=now)
        await talk.ended(held.run_id, *waiting)
        late = await talk.say("sent before, arrived after", received_at=now - 1)
        (skipped,) = await talk.ended(late.run_id)
        fresh = await talk.say("sent after", received_at=now)
        (answered,) = await talk.ended(fresh.run_id)
        await talk.system.ask(talk.here, GetActivity(), within=5)
        talk.system.tell(talk.here, Passivate())  # the cutoff is no memory, it is a row
        again = await talk.say("still stale", received_at=now - 1)
        rows = {row.run_id: row for row in await talk.rows()}

    assert (stopped.run_ids, stopped.drained) == ((held.run_id,), 2)
    assert skipped.cancelled
    assert answered.content == "echo sent after"
    assert [rows[id].reason_code for id in (*waiting, late.run_id, again.run_id)] == [
        "CANCELED",
        "CANCELED",
        "MESSAGE_STALE",
        "MESSAGE_STALE",
    ]


async def test_sl_10_followups_become_part_of_the_turn_that_waits(database: Database, tmp_path: Path) -> None:
    async with talking(database, tmp_path) as talk:
        await talk.say(HOLD)
        await talk.vendor.holds(1)
        first = await talk.say("and", mode="followup")
        second = await talk.say("also", mode="followup", idempotency_key="k")
        again = await talk.say("also", mode="followup", idempotency_key="k")
        other = await talk.say("me too", user="boss", mode="followup")
        talk.vendor.release()
        (answer, others) = await talk.ended(first.run_id, other.run_id)
        rows = {row.text: row for row in await talk.rows()}

    assert (first.merged, second.merged, again.merged, other.merged) == (False, True, True, False)
    assert second.run_id == again.run_id == first.run_id
    assert (answer.content, others.content) == ("echo and\nalso", "echo me too")
    assert (rows["also"].state, rows["also"].reason_code, rows["also"].merged_into) == (
        "CANCELED",
        "MERGED",
        first.run_id,
    )


async def test_sl_11_an_interrupting_turn_ends_everything_before_it(database: Database, tmp_path: Path) -> None:
    async with talking(database, tmp_path) as talk:
        held = await talk.say(HOLD)
        await talk.vendor.holds(1)
        waiting = await talk.say("never mind")
        now = await talk.say("this instead", mode="interrupt")
        first, second, third = await talk.ended(held.run_id, waiting.run_id, now.run_id)
        rows = {row.run_id: row for row in await talk.rows()}

    assert (first.cancelled, second.cancelled) == (True, True)
    assert third.content == "echo this instead"
    assert [rows[id].state for id in (held.run_id, waiting.run_id, now.run_id)] == [
        "CANCELED",
        "CANCELED",
        "SUCCEEDED",
    ]
    assert rows[waiting.run_id].reason_code == "INTERRUPTED"


async def test_sl_12_two_sessions_work_at_the_same_time(database: Database, tmp_path: Path) -> None:
    async with talking(database, tmp_path) as talk:
        one = await talk.say(HOLD)
        talk.key = "agent:default:ws:direct:2"
        two = await talk.say(HOLD)
        await talk.vendor.holds(2)
        talk.vendor.release()
        await talk.ended(one.run_id, two.run_id)


async def test_sl_44_a_killed_session_goes_on_with_what_waits(database: Database, tmp_path: Path) -> None:
    async with talking(database, tmp_path) as talk:
        held = await talk.say(HOLD)
        await talk.vendor.holds(1)
        waiting = [(await talk.say(str(n))).run_id for n in range(2)]
        session = talk.system.members[talk.here]
        assert isinstance(session, Cell)
        session.kill()
        activity = await talk.system.ask(talk.here, GetActivity(), within=5)
        talk.vendor.release()
        await talk.ended(held.run_id, *waiting)
        history = await database.run(sessions.history, tenant=MASTER_TENANT, key=talk.key, limit=20)

    assert (activity.running, activity.waiting) == ((held.run_id,), tuple(waiting))
    assert [row.content for row in history if row.role == "user"] == [HOLD, "0", "1"]


async def test_a_sleeping_session_wakes_for_what_waits(database: Database, tmp_path: Path) -> None:
    async with talking(database, tmp_path) as talk:
        held = await talk.say(HOLD)
        await talk.vendor.holds(1)
        waiting = await talk.say("later")
        talk.system.tell(talk.here, Passivate())
        with trio.fail_after(10):
            while talk.here in talk.system.members:
                await trio.lowlevel.checkpoint()
        talk.vendor.release()
        _, answer = await talk.ended(held.run_id, waiting.run_id)
        activity = await talk.system.ask(talk.here, GetActivity(), within=5)

    assert answer.content == "echo later"
    assert activity.running == activity.waiting == ()


async def test_a_window_that_is_open_at_the_end_goes_into_the_queue(database: Database, tmp_path: Path) -> None:
    asleep = Queue(poll_ms=3_600_000)  # nobody looks for work on the way down
    async with talking(database, tmp_path, asleep) as talk, trio.open_nursery() as nursery:

        async def say(text: str) -> None:
            with suppress(RuntimeFault):  # whoever asks is told what he is told
                await talk.say(text, debounce_ms=10_000)

        for n, text in enumerate(("do not", "lose me"), 1):
            nursery.start_soon(say, text)
            await talk.holds_back(n)
        await talk.system.stop()

    rows = {row.text: row for row in await database.run(stored)}
    assert rows["do not\nlose me"].state == "QUEUED"
    assert rows["do not"].merged_into == rows["do not\nlose me"].run_id


async def test_an_open_window_is_closed_when_the_gateway_drains(database: Database, tmp_path: Path) -> None:
    async with talking(database, tmp_path) as talk, trio.open_nursery() as nursery:
        answers: list[Accepted] = []

        async def say() -> None:
            answers.append(await talk.say("now", debounce_ms=10_000))

        nursery.start_soon(say)
        await talk.holds_back(1)
        talk.system.publish(OPEN_WINDOWS, FlushWindows())
        await talk.until(lambda: answers)
        (result,) = await talk.ended(answers[0].run_id)

    assert result.content == "echo now"


async def test_a_window_ends_when_its_sender_says_something_at_once(database: Database, tmp_path: Path) -> None:
    async with talking(database, tmp_path) as talk, trio.open_nursery() as nursery:
        nursery.start_soon(lambda: talk.say("first", debounce_ms=10_000))
        await talk.holds_back(1)
        last = await talk.say("second")
        await talk.ended(last.run_id)

    assert [row.text for row in await database.run(stored)] == ["first", "second"]


async def test_a_text_nobody_takes_waits_like_any_other(database: Database, tmp_path: Path) -> None:
    """No run is there that could take it: it is a turn of its own."""
    async with talking(database, tmp_path) as talk:
        accepted = await talk.say("hello", mode="inject")
        (result,) = await talk.ended(accepted.run_id)

    assert (accepted.injected, result.content) == (False, "echo hello")


async def test_an_abort_is_in_the_database_before_it_is_answered(database: Database, tmp_path: Path) -> None:
    @transaction(readonly=True)
    async def asked_to_stop(db: Connection) -> list[str]:
        return await many(str, db.execute("SELECT type FROM run_events WHERE type = 'task.cancel_requested'"))

    async with talking(database, tmp_path) as talk:
        held = await talk.say(HOLD)
        await talk.vendor.holds(1)
        await talk.abort()
        flagged = await database.run(asked_to_stop)
        await talk.abort()  # twice is harmless
        (result,) = await talk.ended(held.run_id)

    assert flagged == ["task.cancel_requested"]
    assert result.cancelled


async def test_a_channel_and_an_agent_have_queues_of_their_own(database: Database, tmp_path: Path) -> None:
    """The agent's word counts more than the channel's, and a request's most."""
    slack = ChannelQueues(named={"slack": ChannelQueue(cap=1, drop="new", mode="followup", max_concurrent_dm=2)})
    async with talking(database, tmp_path, Queue(channels=slack), key="agent:default:slack:direct:1") as talk:
        sent = [(await talk.say(f"{HOLD} {n}")).run_id for n in range(2)]
        await talk.vendor.holds(2)
        waits = await talk.say("waits")
        merged = await talk.say("merged")
        with pytest.raises(Rejected) as refused:
            await talk.say("too many", mode="queue")
        agents = await talk.say("of the agent", queue=Override(cap=2, mode="queue"))
        talk.vendor.release()
        await talk.ended(*sent, waits.run_id, agents.run_id)

    assert (merged.merged, merged.run_id) == (True, waits.run_id)
    assert refused.value.err.details["reason"] == "queue_full"
    assert alternates(talk.story(), 2)
    assert not alternates(talk.story(), 1)


async def test_other_slots_count_from_the_next_turn_on(database: Database, tmp_path: Path) -> None:
    @transaction(readonly=True)
    async def slots(db: Connection) -> int | None:
        return await maybe(int, db.execute("SELECT max_concurrent FROM session_heads"))

    seen = []
    async with talking(database, tmp_path) as talk:
        for wish in (Override(), Override(max_concurrent_dm=3), Override(max_concurrent_dm=3), Override()):
            await talk.ended((await talk.say("hi", queue=wish)).run_id)
            seen.append(await database.run(slots))

    assert seen == [1, 3, 3, 1]


async def test_only_texts_from_a_channel_wait_for_more_unless_one_asks_for_it(
    database: Database, tmp_path: Path
) -> None:
    async with talking(database, tmp_path, Queue(debounce_ms=10_000)) as talk:
        await talk.ended((await talk.say("at once")).run_id)
        async with trio.open_nursery() as nursery:
            for text in ("a", "b"):
                nursery.start_soon(partial(talk.say, text, kind="channel"))
            await talk.holds_back(2)
            talk.system.tell(talk.here, FlushWindows())
        off = await talk.say("c", kind="channel", queue=Override(debounce_ms=-1))
        await talk.ended(off.run_id)

    assert [row.text for row in await talk.rows() if row.state == "SUCCEEDED"] in (
        ["at once", "a\nb", "c"],
        ["at once", "b\na", "c"],
    )


async def test_an_agents_free_configuration_says_how_turns_wait_for_it(database: Database, tmp_path: Path) -> None:
    @transaction
    async def configure(db: Connection) -> None:
        await db.execute("""UPDATE agents SET other_config = '{"inbound_debounce_ms": 300, "queue": {"cap": 2}}'""")

    await accept(database)
    await database.run(configure)
    async with talking(database, tmp_path) as talk:
        profile = await talk.system.ask(agent(MASTER_TENANT, "default"), GetProfile(), within=5)

    assert profile.queue == Override(debounce_ms=300, cap=2)


async def test_sl_14_the_31st_run_waits_for_a_slot_of_its_lane(database: Database, tmp_path: Path) -> None:
    async with talking(database, tmp_path) as talk:
        for n in range(30):
            talk.key = f"agent:default:ws:direct:{n}"
            await talk.say(HOLD)
        await talk.vendor.holds(30)
        talk.key = "agent:default:ws:direct:last"
        last = await talk.say("hello")
        queued = await talk.until(
            lambda: next((e for e in talk.events if (e.run_id, e.type) == (last.run_id, "run.queued")), None)
        )
        begun = {e.run_id for e in talk.events if e.type == "run.started"}
        talk.vendor.release()
        (result,) = await talk.ended(last.run_id)

    assert msgspec.json.decode(queued.body)["position"] == 1
    assert (len(begun), last.run_id in begun) == (30, False)
    assert result.content == "echo hello"
