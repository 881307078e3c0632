"""What is old goes, what is young or needed stays, and it does not matter where a pass was cut short."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
import trio

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.ids import new_id
from goclaw.settings.retention import Retention
from goclaw.stores import retention, run_ends, sessions
from goclaw.stores.database import Database
from goclaw.stores.retention import rules
from goclaw.stores.trim import TRIMMED
from tests.stores.test_runs import KEY, NODE, accept, claim, result, said, trail

RUNS = """
INSERT INTO runs (run_id, tenant_id, session_key, shard, agent_key, user_id, kind, lane, state, request, result,
  finished_at, discarded)
SELECT gen_random_uuid(), %(tenant)s, %(name)s, 0, 'a', 'lan', %(kind)s, 'main', %(state)s, '{"message": "x"}',
  '{"run_id": "r", "session_key": "s"}', now() - make_interval(hours => %(hours)s), %(discarded)s
RETURNING run_id
"""


NOW = datetime.now(UTC)


class Shelf:
    """Rows with an age, through a connection of our own."""

    def __init__(self, dsn: str) -> None:
        self.db = psycopg.connect(dsn, autocommit=True)

    def run(
        self, name: str, hours: float, state: str = "SUCCEEDED", kind: str = "task", discarded: bool = False
    ) -> str:
        params = {"tenant": MASTER_TENANT, "name": name, "kind": kind, "state": state, "hours": hours}
        found = self.db.execute(RUNS, {**params, "discarded": discarded}).fetchone()
        assert found is not None
        return str(found[0])

    def add(self, table: str, hours: float, at: str, **values: Any) -> None:
        names = ", ".join([*values, at])
        marks = ", ".join(["%s"] * len(values))
        query = f"INSERT INTO {table} ({names}) VALUES ({marks}, now() - make_interval(hours => %s))"
        self.db.execute(query, [*values.values(), hours])  # type: ignore[arg-type]

    def left(self, table: str, column: str) -> list[Any]:
        rows = self.db.execute(f"SELECT {column} FROM {table} ORDER BY 1")  # type: ignore[arg-type]
        return [row[0] for row in rows.fetchall()]


@pytest.fixture
def shelf(dsn: str) -> Any:
    shelf = Shelf(dsn)
    yield shelf
    shelf.db.close()


async def forget_all(database: Database, settings: Retention = Retention()) -> dict[str, int]:  # noqa: B008 - frozen
    gone: dict[str, int] = {}
    for rule in rules(settings):
        while count := await database.run(retention.forget, rule):
            gone[rule.name] = gone.get(rule.name, 0) + count
    return gone


def old_and_young(shelf: Shelf) -> None:
    """Of everything one that is just too old and one that is not."""
    day, tenant = 24, {"tenant_id": MASTER_TENANT}
    for state in ("SUCCEEDED", "FAILED", "CANCELED", "DEAD_LETTER"):
        shelf.run(f"{state} old", 30 * day + 1, state)
        shelf.run(f"{state} young", 30 * day - 1, state)
    shelf.run("DEAD_LETTER discarded", 1, "DEAD_LETTER", discarded=True)
    for state, hours in (("SUCCEEDED", day), ("FAILED", 7 * day), ("CANCELED", 7 * day), ("DEAD_LETTER", 7 * day)):
        for age, name in ((hours + 1, "old"), (hours - 1, "young")):
            run = shelf.run(f"{state} steps {name}", age, state)
            steps = {"step_no": 0, "kind": "llm", "message": '"x"', **tenant}
            shelf.add("run_steps", 8 * day, "at", run_id=run, **steps)
            checkpoint = {"run_id": run, "started_at": "2020-01-01", "status_text": f"{state} {name}", **tenant}
            shelf.add("loop_checkpoints", 8 * day, "updated_at", **checkpoint)
    for age, name in ((1, "old"), (-1, "young")):
        key = {"step_no": 0, "call_index": 0, "tool": "t", "effect_class": "local", "request_hash": "", **tenant}
        effect = {**key, "idempotency_key": name, "run_id": new_id(), "status": "SUCCEEDED"}
        shelf.add("tool_effects", 30 * day + age, "started_at", **effect)
        for pinned in (False, True):
            record = {"seq": 0, "kind": "open", "blob": f"{name} {pinned}", "pinned": pinned, **tenant}
            run = shelf.run("steps and a record", 1) if pinned else new_id()
            shelf.add("run_records", 7 * day + age, "at", run_id=run, **record)
            shelf.add("record_blobs", 40 * day, "at", hash=f"{name} {pinned}", body="")
        shelf.add("ingress_log", 7 * day + age, "received_at", source="tg", external_id=name, **tenant)
        shelf.add("ingress_log", age, "expires_at", source="ws", external_id=name, **tenant)
        out = {"channel_instance": "c", "chat_id": "1", "local_key": "1", "kind": "final", "payload": "{}", **tenant}
        for state, at, days in (("SENT", "sent_at", 7), ("DEAD", "created_at", 30), ("PENDING", "created_at", 30)):
            named = {"outbox_id": new_id(), "dedupe_key": f"{state} {name}", "state": state}
            shelf.add("outbox", days * day + age, at, **named, **out)
        for state in ("HELD", "READY", "INJECTED"):
            item = {"origin_session_key": "s", "batch_key": f"{state} {name}", "item": "{}", **tenant}
            shelf.add("announcements", day + age, "updated_at", announce_id=new_id(), state=state, **item)
        for state in ("NEW", "TAKEN"):
            shelf.add(
                "node_inbox", day + age, "at", to_node=NODE, to_path=f"{state} {name}", type="t", body="{}", state=state
            )
        node = {"node_id": new_id(), "name": name, "version": "1", "advisory_key": 1, "lease_expires_at": "2020-01-01"}
        shelf.add("cluster_nodes", 30 * day + age, "stopped_at", **node)
        call = {"run_id": new_id(), "fence": 1, "number": 0, "user_id": "lan", "session_key": "s", "run_kind": "chat"}
        model = {"provider": name, "model": "m", "status": "completed", **tenant}
        shelf.add("model_calls", 90 * day + age, "start_time", **call, **model)
        purse = {"id": new_id(), "scope": "run", "key": name, "window_start": NOW, **tenant}
        shelf.add("budget_purses", 90 * day + age, "updated_at", **purse)
        held = {"id": new_id(), "run_id": new_id(), "fence": 1, "step_no": 0, "purse_ids": [], "windows": [], **tenant}
        paid = {"amount": 0, "provider": name, "model": "m", "state": "SETTLED", "expires_at": NOW}
        shelf.add("budget_reservations", 90 * day + age, "closed_at", **held, **paid)
        rest = {"provider": name, "model": "m", "until": NOW, "reason": "billing", **tenant}
        shelf.add("provider_cooldowns", day + age, "updated_at", **rest)
        line = {"id": new_id(), "actor_type": "user", "actor_id": "lan", "action": name, **tenant}
        shelf.add("activity_logs", 365 * day + age, "created_at", **line)
    shelf.add("run_records", 7 * day + 1, "at", run_id=new_id(), seq=0, kind="open", pinned=True, **tenant)
    shelf.add("record_blobs", 40 * day, "at", hash="nobody", body="")
    shelf.add("record_blobs", 1, "at", hash="just made", body="")


def what_is_left(shelf: Shelf) -> dict[str, list[Any]]:
    return {
        "runs": [name for name in shelf.left("runs", "session_key") if "steps" not in name],
        "steps": shelf.left("run_steps JOIN runs USING (run_id)", "session_key"),
        "checkpoints": shelf.left("loop_checkpoints", "status_text"),
        "effects": shelf.left("tool_effects", "idempotency_key"),
        "records": [blob.strip() for blob in shelf.left("run_records", "blob")],
        "blobs": [hash.strip() for hash in shelf.left("record_blobs", "hash")],
        "ingress": shelf.left("ingress_log", "source || ' ' || external_id"),
        "outbox": shelf.left("outbox", "dedupe_key"),
        "announcements": shelf.left("announcements", "batch_key"),
        "inbox": shelf.left("node_inbox", "to_path"),
        "nodes": shelf.left("cluster_nodes", "name"),
        "calls": shelf.left("model_calls", "provider"),
        "purses": shelf.left("budget_purses", "key"),
        "reservations": shelf.left("budget_reservations", "provider"),
        "cooldowns": shelf.left("provider_cooldowns", "provider"),
        "activity": shelf.left("activity_logs", "action"),
    }


STATES = ("CANCELED", "DEAD_LETTER", "FAILED", "SUCCEEDED")
LEFT = {
    "runs": [f"{state} young" for state in STATES],
    "steps": [f"{state} steps young" for state in STATES],
    "checkpoints": [f"{state} young" for state in STATES],
    "effects": ["young"],
    "records": ["old True", "young False", "young True"],
    "blobs": ["just made", "old True", "young False", "young True"],
    "ingress": ["tg young", "ws young"],
    "outbox": ["DEAD young", "PENDING young", "SENT young"],
    "announcements": ["HELD old", "HELD young", "INJECTED young", "READY old", "READY young"],
    "inbox": ["NEW old", "NEW young", "TAKEN young"],
    "nodes": ["young"],
    "calls": ["young"],
    "purses": ["young"],
    "reservations": ["young"],
    "cooldowns": ["young"],
    "activity": ["young"],
}


async def test_each_rule_takes_what_is_too_old_and_nothing_else(database: Database, shelf: Shelf) -> None:
    old_and_young(shelf)
    gone = await forget_all(database)

    assert what_is_left(shelf) == LEFT
    assert gone["runs"] == 5
    assert await forget_all(database) == {}, "doing it again finds nothing"


async def test_a_pass_cut_short_anywhere_ends_as_a_whole_one(database: Database, shelf: Shelf) -> None:
    """DM-19."""
    old_and_young(shelf)
    rng = random.Random(19)
    for _ in range(20):
        with trio.move_on_after(rng.random() * 0.02):
            await forget_all(database)
    await forget_all(database)

    assert what_is_left(shelf) == LEFT


async def test_the_settings_say_how_many_days(database: Database, shelf: Shelf) -> None:
    old_and_young(shelf)
    await forget_all(database, Retention(runs_days=40, records_days=1, audit_log_days=400))

    left = what_is_left(shelf)
    assert left["activity"] == ["old", "young"]
    assert left["records"] == ["old True", "young True"]
    assert "SUCCEEDED old" in left["runs"]
    assert "DEAD old" in left["outbox"]


async def test_a_big_table_is_forgotten_in_batches(database: Database, shelf: Shelf) -> None:
    shelf.db.execute(
        """INSERT INTO ingress_log (tenant_id, source, external_id, expires_at)
        SELECT %s, 'ws', n::text, now() - interval '1 hour' FROM generate_series(1, %s) AS n""",
        [MASTER_TENANT, TRIMMED + 7],
    )
    (rule,) = [rule for rule in rules(Retention()) if rule.table == "ingress_log"]
    assert [await database.run(retention.forget, rule) for _ in range(3)] == [TRIMMED, 7, 0]


async def test_a_chat_whose_messages_are_in_the_history_is_emptied_after_a_week(
    database: Database, shelf: Shelf
) -> None:
    for text in ("old", "young"):
        await accept(database, text)
        (run,) = await claim(database)
        await database.run(run_ends.succeed, run, result=result(run), messages=said(run, text))
        if text == "old":
            shelf.db.execute("UPDATE runs SET finished_at = finished_at - interval '8 days'")
    lost = shelf.run("never in the history", 8 * 24, "FAILED", "chat")

    assert await forget_all(database) == {"runs.emptied": 1}
    rows = shelf.db.execute("SELECT request = '{}', result IS NULL, state FROM runs ORDER BY finished_at").fetchall()
    assert rows == [(True, True, "SUCCEEDED"), (False, False, "FAILED"), (False, False, "SUCCEEDED")]
    assert lost in [str(run) for run in shelf.left("runs", "run_id")]


async def test_what_somebody_may_still_ask_for_stays_whole(database: Database, shelf: Shelf) -> None:
    tenant = {"tenant_id": MASTER_TENANT}
    pinned = {state: shelf.run(state, 31 * 24, state) for state in STATES}
    for run in pinned.values():
        shelf.add("run_records", 31 * 24, "at", run_id=run, seq=0, kind="open", pinned=True, **tenant)
    purged = shelf.run("purged", 1, "DEAD_LETTER", discarded=True)
    shelf.add("run_records", 8 * 24, "at", run_id=purged, seq=0, kind="open", pinned=True, **tenant)
    await accept(database, "stopped")
    (run,) = await claim(database)
    await database.run(run_ends.succeed, run, result=result(run), messages=said(run, "x"))
    shelf.db.execute(
        "UPDATE runs SET state = 'CANCELED', finished_at = now() - interval '8 days' WHERE run_id = %s", [run.run_id]
    )

    assert await forget_all(database) == {"runs": 1, "run_records": 1}
    assert sorted(map(str, shelf.left("runs", "run_id"))) == sorted([*pinned.values(), run.run_id])
    asked = shelf.db.execute("SELECT request->>'message' FROM runs WHERE run_id = %s", [run.run_id]).fetchone()
    assert asked == ("stopped",), "it may be tried again"


async def test_a_session_of_a_replay_goes_with_its_run(database: Database, shelf: Shelf) -> None:
    for key in (KEY, "agent:default:replay:1", "agent:default:replay:2"):
        await accept(database, "x", key=key)
    shelf.db.execute("DELETE FROM runs WHERE session_key <> 'agent:default:replay:2'")
    for table in ("sessions", "session_heads"):
        shelf.db.execute(f"UPDATE {table} SET updated_at = now() - interval '2 days'")  # type: ignore[arg-type]

    assert await forget_all(database) == {"sessions": 1, "session_heads": 1}
    for table in ("sessions", "session_heads"):
        assert shelf.left(table, "session_key") == ["agent:default:replay:2", KEY]
    listed = await database.run(sessions.page, sessions.Wanted(tenant=MASTER_TENANT), limit=9, offset=0)
    assert [row.session_key for row in listed] == [KEY]


async def test_archived_messages_go_and_others_stay(database: Database, shelf: Shelf) -> None:
    await accept(database, "x")
    (run,) = await claim(database)
    await database.run(run_ends.succeed, run, result=result(run), messages=said(run, "live", "archived", "long ago"))
    for text, days in (("archived", 89), ("long ago", 91)):
        shelf.db.execute(
            "UPDATE session_messages SET archived_at = now() - make_interval(days => %s) WHERE content = %s",
            [days, text],
        )
    assert await forget_all(database) == {"session_messages": 1}
    assert shelf.left("session_messages", "content") == ["archived", "live"]


# --- weeks ----------------------------------------------------------------------------------------


def parts(shelf: Shelf) -> list[str]:
    found = shelf.left(
        "pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = 'run_events'::regclass", "relname"
    )
    return [name for name in found if name != "run_events_default"]


def week(ahead: int) -> str:
    monday = date.today() - timedelta(days=date.today().weekday()) + timedelta(weeks=ahead)
    return f"run_events_{monday:%Y%m%d}_{monday + timedelta(weeks=1):%Y%m%d}"


async def test_the_trail_has_weeks_ahead_and_strays_become_one_of_them(database: Database, shelf: Shelf) -> None:
    await accept(database, "before")  # in no week yet
    assert await database.run(retention.make_weeks) == [week(n) for n in range(5)] == parts(shelf)
    assert await database.run(retention.make_weeks) == []
    (run,) = await claim(database)
    await database.run(run_ends.succeed, run, result=result(run), messages=said(run, "x"))

    assert shelf.left(week(0), "count(*)") == [4]
    assert shelf.left("run_events_default", "count(*)") == [0]
    assert [seq for seq, _ in await database.run(trail)] == [1, 2, 3, 4]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        shelf.db.execute(f"DELETE FROM {week(0)}")  # type: ignore[arg-type]
    (chained,) = shelf.left("run_events a JOIN run_events b ON b.prev_hash = a.hash", "count(*)")
    assert chained == 3


async def test_weeks_that_are_long_over_are_dropped_whole(database: Database, shelf: Shelf) -> None:
    for days in (120, 99, 30, 0):
        shelf.add(
            "run_events",
            days * 24,
            "at",
            run_id=new_id(),
            tenant_id=MASTER_TENANT,
            session_key=KEY,
            session_seq=days,
            type="x",
        )
        await database.run(retention.make_weeks)
    assert len(parts(shelf)) == 8
    shelf.db.execute("ANALYZE run_events")

    assert await database.run(retention.drop_weeks, days=90) == 2
    assert shelf.left("run_events", "session_seq") == [0, 30]
    assert await database.run(retention.drop_weeks, days=90) == 0


async def test_strays_that_fit_into_no_week_stay_and_hold_nothing_up(database: Database, shelf: Shelf) -> None:
    event = {"tenant_id": MASTER_TENANT, "session_key": KEY, "session_seq": 1, "type": "x"}
    await database.run(retention.make_weeks)
    for days in (7, -70):
        shelf.add("run_events", days * 24, "at", run_id=new_id(), **event)
    assert await database.run(retention.make_weeks) == []
    assert shelf.left("run_events_default", "count(*)") == [2]
