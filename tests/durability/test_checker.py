"""The checker finds every kind of damage it is there to find, and nothing where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy

import psycopg
import pytest
import trio
from psycopg.conninfo import make_conninfo

from goclaw.stores import run_ends, run_recovery
from goclaw.stores.database import open_database
from tests.durability.checker import Evidence, Said, gather, violations
from tests.durability.turns import NODE, OTHER, accept, agent_of, claim, outcome, spoken
from tests.fakes.scripted import ScriptedVendor

KEY = "agent:default:ws:direct:ada"


async def two_turns(dsn: str) -> list[Said]:
    """Of one session: the first was taken over once, both were answered and told so."""
    said = [Said(text, KEY) for text in ("n1", "n2")]
    async with open_database(dsn, pool_min=1) as database:
        agent = await agent_of(database)
        for one in said:
            one.run_id = await accept(database, agent, one.text, KEY)
        (lost,) = await claim(database, KEY, node=OTHER)
        await database.run(run_recovery.recover, lost)
        for one in said:
            (run,) = await claim(database, KEY)
            one.content = f"answer {one.text}"
            await database.run(
                run_ends.succeed, run, result=outcome(run, one.content), messages=spoken(run, one.content)
            )
    return said


@pytest.fixture(scope="module")
def history(postgres: str) -> Iterator[tuple[str, list[Said]]]:
    """A database with two turns, and what their client knows."""
    dsn = make_conninfo(postgres, dbname="checked")
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute("CREATE DATABASE checked TEMPLATE migrated STRATEGY file_copy")
        yield dsn, trio.run(two_turns, dsn)
        admin.execute("DROP DATABASE checked WITH (FORCE)")


@pytest.fixture
def sound(history: tuple[str, list[Said]]) -> Evidence:
    dsn, said = history
    return gather(dsn, deepcopy(said), ScriptedVendor(0))


def change(table: str, place: int, **members: object) -> Callable[[Evidence], None]:
    def damage(e: Evidence) -> None:
        e.tables[table][place] = e.tables[table][place]._replace(**members)

    return damage


def drop(table: str, place: int) -> Callable[[Evidence], None]:
    def damage(e: Evidence) -> None:
        del e.tables[table][place]

    return damage


def again(table: str, place: int, **members: object) -> Callable[[Evidence], None]:
    def damage(e: Evidence) -> None:
        e.tables[table].append(e.tables[table][place]._replace(**members))

    return damage


def another_answer(e: Evidence) -> None:
    e.said[0].content = "other words"


def another_run(e: Evidence) -> None:
    e.said[0].run_id = NODE


def the_second_began_first(e: Evidence) -> None:
    starts = [n for n, event in enumerate(e.events) if event.state_to == "RUNNING"]
    first, last = e.events[starts[0]].run_id, e.events[starts[-1]].run_id
    for n in starts:
        e.events[n] = e.events[n]._replace(run_id=last if e.events[n].run_id == first else first)


def both_at_work(e: Evidence) -> None:
    begun = next(n for n, event in enumerate(e.events) if event.state_to == "CLAIMED")
    e.events.insert(begun, e.events[-1]._replace(state_to="CLAIMED"))


def a_line_twice(e: Evidence) -> None:
    e.lines = ["n1/0/0", "n1/0/0"]


def two_keys(e: Evidence) -> None:
    assert e.vendor is not None
    e.vendor.posted.update({"a": ["n1/0/0"], "b": ["n1/0/0"]})


def a_lie(e: Evidence) -> None:
    change("runs", 0, text="n1 append", content="answer n1 | did n1/0/0")(e)


def a_late_step(e: Evidence) -> None:
    """Of the first owner, after the second had claimed it."""
    after = next(ev.at for ev in e.events if ev.state_to == "CLAIMED" and ev.fence == 2) + 1
    step = e.events[0]._replace(run_id=e.runs[0].run_id, fence=1, at=after)
    e.tables["steps"].append(type("Step", (), {**step._asdict(), "step_no": 1, "kind": "llm"}))


def asked_again(e: Evidence) -> None:
    assert e.vendor is not None
    step = {"run_id": e.runs[0].run_id, "step_no": 1, "kind": "llm", "fence": 2, "at": 100.0}
    e.tables["steps"].append(type("Step", (), step))
    e.vendor.times["n1", 0] += [99.0, 101.0]


DAMAGE: dict[str, tuple[Callable[[Evidence], None], str]] = {
    "a run is gone": (drop("runs", 0), "loss"),
    "a run is there twice": (again("runs", 0, run_id=NODE), "loss"),
    "a run has not ended": (change("runs", 0, state="RUNNING"), "loss"),
    "a client was told other words": (another_answer, "loss"),
    "a client was told another run": (another_run, "loss"),
    "an answer is there twice": (again("messages", 1, seq=5), "double"),
    "an answer is missing": (drop("messages", 3), "double"),
    "a question is there twice": (again("messages", 0, seq=5), "double"),
    "a run began before an older one": (the_second_began_first, "order"),
    "two runs worked at once": (both_at_work, "order"),
    "an illegal step": (change("events", 2, state_to="SUCCEEDED"), "path"),
    "a step is missing": (drop("events", 3), "path"),
    "a claim is not counted": (change("runs", 0, fence=1), "path"),
    "an event was changed": (change("events", 3, expected="f" * 64), "chain"),
    "a number is missing": (change("events", 3, session_seq=99), "sequence"),
    "a message is missing": (drop("messages", 1), "sequence"),
    "somebody still waits": (change("heads", 0, queued=1), "heads"),
    "the end came from another node": (change("events", -1, node_id=OTHER), "fence"),
    "a lease outlived its run": (change("runs", 0, lease_owner=NODE), "fence"),
    "a step came late": (a_late_step, "fence"),
    "an effect happened twice": (a_line_twice, "effect"),
    "a keyed call has two keys": (two_keys, "effect"),
    "a promised effect did not happen": (a_lie, "effect"),
    "a stored step was asked for again": (asked_again, "repeated"),
}


def test_a_sound_history_has_no_violations(sound: Evidence) -> None:
    assert violations(sound) == []


@pytest.mark.parametrize("damage", DAMAGE)
def test_the_checker_finds(damage: str, sound: Evidence) -> None:
    plant, check = DAMAGE[damage]

    plant(sound)

    assert check in {problem.partition(":")[0] for problem in violations(sound)}


def test_an_event_edited_behind_the_back_of_its_trigger_breaks_the_chain(history: tuple[str, list[Said]]) -> None:
    dsn, said = history
    with psycopg.connect(dsn) as db:
        db.execute("ALTER TABLE run_events_default DISABLE TRIGGER USER")
        db.execute("UPDATE run_events_default SET reason_code = 'CANCELED' WHERE event_id = 3")
        db.commit()
        (problem,) = violations(gather(dsn, said))
        db.execute("UPDATE run_events_default SET reason_code = NULL WHERE event_id = 3")

    assert problem.startswith("chain: ")
