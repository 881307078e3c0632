"""Forgetting what is old: one row per rule, a batch per transaction. Contract: data-model.md §18, durability.md §15.

A batch can be stopped at any moment and done again; what a rule has to delete does not depend on any other rule.
"""

from __future__ import annotations

from datetime import date, timedelta

from msgspec import Struct

from goclaw.domain.cooldown import FORGOTTEN
from goclaw.settings.retention import Retention
from goclaw.stores.trim import TRIMMED
from goclaw.stores.unit import Connection, many, maybe, one, transaction

AHEAD = 4  # weeks that have a partition before they begin
RESERVATIONS = 90  # days after they were closed, and purses of runs
HISTORY = 7  # days until a chat's run is emptied whose messages are in the history
DEAD_LETTERS = 30  # days
EFFECTS = 30
DELIVERED = 7
REDELIVERIES = 7  # days a platform's message ids are known
SUBAGENTS = 30  # days after they ended; orchestration.md §3.2
GONE_NODES = 30
UNUSED_VECTORS = 30
VECTORS = 200_000  # remembered at most


class Rule(Struct, frozen=True):
    """Rows of `table` for which `old` holds; `%(days)s` in it is the number of `days`."""

    table: str
    old: str
    order: str  # the oldest first
    days: float
    sets: str = ""  # what is emptied instead of deleting the row

    @property
    def name(self) -> str:
        return f"{self.table}.emptied" if self.sets else self.table

    @property
    def statement(self) -> str:
        found = f"SELECT ctid FROM {self.table} t WHERE {self.old} ORDER BY {self.order} LIMIT {TRIMMED}"
        what = f"UPDATE {self.table} SET {self.sets}" if self.sets else f"DELETE FROM {self.table}"
        return f"""
        WITH gone AS (
          {what} WHERE ctid = ANY(ARRAY({found} FOR UPDATE SKIP LOCKED)) RETURNING 1
        )
        SELECT count(*) FROM gone
        """


def before(column: str) -> str:
    return f"{column} < now() - make_interval(secs => %(days)s * 86400)"


REPLAYS = "^agent:[^:]+:replay:"  # sessions of a run that was run again
MAY = "set_config('goclaw.retention', 'on', true) = 'on'"  # a trigger keeps everybody else from it
ENDED = "('SUCCEEDED', 'FAILED', 'CANCELED')"
OVER = """EXISTS (SELECT FROM runs r WHERE r.run_id = t.run_id AND r.finished_at < now() - CASE r.state
    WHEN 'SUCCEEDED' THEN interval '24 hours' ELSE interval '7 days' END)
  OR NOT EXISTS (SELECT FROM runs r WHERE r.run_id = t.run_id)"""


def rules(settings: Retention) -> tuple[Rule, ...]:
    """What is forgotten, in the order it is done: first what others would still lead to."""
    heard = "t.kind IN ('chat', 'channel') AND (t.request <> '{}' OR t.result IS NOT NULL)"
    in_history = "EXISTS (SELECT FROM session_messages m WHERE m.run_id = t.run_id)"
    pinned = "EXISTS (SELECT FROM run_records p WHERE p.run_id = t.run_id AND p.pinned)"
    emptied = f"t.state = 'SUCCEEDED' AND {before('t.finished_at')} AND {heard} AND {in_history} AND NOT {pinned}"
    alone = "NOT EXISTS (SELECT FROM runs r WHERE r.run_id = t.run_id)"
    idle = "NOT EXISTS (SELECT FROM runs r WHERE r.tenant_id = t.tenant_id AND r.session_key = t.session_key)"
    replayed = f"t.session_key ~ '{REPLAYS}' AND {before('t.updated_at')} AND {idle}"
    newest = f"SELECT v.last_used_at FROM embedding_cache v ORDER BY v.last_used_at DESC OFFSET {VECTORS} LIMIT 1"
    referred = "EXISTS (SELECT FROM run_records r WHERE r.blob = t.hash)"
    return (
        Rule("runs", emptied, "t.finished_at", HISTORY, sets="request = '{}', result = NULL, updated_at = now()"),
        Rule(
            "runs",
            f"t.state IN {ENDED} AND {before('t.finished_at')} AND NOT {pinned}",
            "t.finished_at",
            settings.runs_days,
        ),
        Rule(
            "runs",
            f"t.state = 'DEAD_LETTER' AND (t.discarded OR {before('t.finished_at')} AND NOT {pinned})",
            "t.finished_at",
            DEAD_LETTERS,
        ),
        Rule("run_records", f"NOT t.pinned AND {before('t.at')}", "t.at", settings.records_days),
        Rule("run_records", f"t.pinned AND {before('t.at')} AND {alone}", "t.at", settings.records_days),
        Rule("record_blobs", f"{before('t.at')} AND NOT {referred}", "t.at", 1),
        Rule("run_steps", f"{before('t.at')} AND ({OVER})", "t.at", 1),
        Rule("loop_checkpoints", f"{before('t.updated_at')} AND ({OVER})", "t.updated_at", 1),
        Rule("model_calls", before("t.start_time"), "t.start_time", settings.traces_days),
        Rule("tool_effects", before("t.started_at"), "t.started_at", EFFECTS),
        Rule(
            "ingress_log",
            f"CASE WHEN t.expires_at IS NULL THEN {before('t.received_at')} ELSE t.expires_at < now() END",
            "t.received_at",
            REDELIVERIES,
        ),
        Rule("outbox", f"t.state = 'SENT' AND {before('t.sent_at')}", "t.outbox_id", DELIVERED),
        Rule(
            "outbox",
            f"t.state IN ('DEAD', 'FAILED', 'PENDING') AND {before('t.created_at')}",
            "t.outbox_id",
            settings.runs_days,
        ),
        Rule("provider_cooldowns", before("t.updated_at"), "t.updated_at", FORGOTTEN / 86_400),
        Rule("announcements", f"t.state = 'INJECTED' AND {before('t.updated_at')}", "t.announce_id", 1),
        Rule("subagent_tasks", before("t.completed_at"), "t.completed_at", SUBAGENTS),
        Rule("node_inbox", f"t.state = 'TAKEN' AND {before('t.at')}", "t.id", 1),
        Rule(
            "cluster_nodes",
            f"{before('coalesce(t.stopped_at, t.lease_expires_at)')}",
            "t.node_id",
            GONE_NODES,
        ),
        Rule("sessions", replayed, "t.updated_at", 1),
        Rule("session_heads", replayed, "t.updated_at", 1),
        Rule("session_messages", before("t.archived_at"), "t.archived_at", settings.archived_messages_days),
        Rule(
            "embedding_cache",
            f"{before('t.last_used_at')} OR t.last_used_at <= ({newest})",
            "t.last_used_at",
            UNUSED_VECTORS,
        ),
        Rule("budget_reservations", before("t.closed_at"), "t.closed_at", RESERVATIONS),
        Rule(
            "budget_purses",
            f"t.scope = 'run' AND t.reserved = 0 AND {before('t.updated_at')}",
            "t.updated_at",
            RESERVATIONS,
        ),
        Rule("audit_log", f"{MAY} AND {before('t.at')}", "t.chain, t.seq", settings.audit_log_days),
        Rule("activity_logs", before("t.created_at"), "t.created_at", settings.audit_log_days),
    )


@transaction(retry_safe=True, single=True)
async def forget(db: Connection, rule: Rule) -> int:
    """One batch, 5,000 rows at most. Returns how many; a whole batch means that there may be more."""
    return await maybe(int, db.execute(rule.statement, {"days": rule.days})) or 0


# --- the trail of runs, by weeks ------------------------------------------------------------------

QUICKLY = "SET LOCAL lock_timeout = '2s'"  # whoever waits for the lock on the trail holds up every run behind it

PARTS = r"""
SELECT c.relname AS name, substring(bound.text FROM $$FROM \('(\d{4}-\d\d-\d\d)$$)::date AS since,
  substring(bound.text FROM $$TO \('(\d{4}-\d\d-\d\d)$$)::date AS until
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
CROSS JOIN LATERAL (SELECT pg_get_expr(c.relpartbound, c.oid) AS text) AS bound
WHERE i.inhparent = 'run_events'::regclass AND bound.text <> 'DEFAULT' ORDER BY until
"""

STRAYS = """
SELECT date_trunc('week', min(at))::date AS since, (date_trunc('week', max(at)) + interval '7 days')::date AS until
FROM run_events_default HAVING count(*) > 0
"""


class Weeks(Struct, frozen=True):
    """The days from `since` on, without `until`; both are Mondays."""

    since: date
    until: date

    @property
    def name(self) -> str:
        return f"run_events_{self.since:%Y%m%d}_{self.until:%Y%m%d}"

    @property
    def bounds(self) -> str:
        return f"FOR VALUES FROM ('{self.since} 00:00:00+00') TO ('{self.until} 00:00:00+00')"

    def meets(self, other: Weeks) -> bool:
        return self.since < other.until and other.since < self.until


@transaction
async def make_weeks(db: Connection) -> list[str]:
    """Partitions of the trail for this week and the four after it; the new ones.

    What was written while its week had none becomes a partition of its own, so that it can be dropped one day.
    """
    await db.execute(QUICKLY)
    there: list[Weeks] = list(await many(Weeks, db.execute(f"SELECT since, until FROM ({PARTS}) AS p")))
    made: list[str] = []
    strays = await maybe(Weeks, db.execute(STRAYS))
    if strays is not None and not any(strays.meets(weeks) for weeks in there):
        await db.execute("ALTER TABLE run_events DETACH PARTITION run_events_default")
        await db.execute(f"ALTER TABLE run_events_default RENAME TO {strays.name}")
        await db.execute(f"ALTER TABLE run_events ATTACH PARTITION {strays.name} {strays.bounds}")
        await db.execute("CREATE TABLE run_events_default PARTITION OF run_events DEFAULT")
        there.append(strays)
        made.append(strays.name)
    elif strays is not None:
        there.append(strays)  # weeks that nobody can have now
    monday = await one(date, db.execute("SELECT date_trunc('week', now())::date"))
    for ahead in range(AHEAD + 1):
        week = Weeks(monday + timedelta(weeks=ahead), monday + timedelta(weeks=ahead + 1))
        if not any(week.meets(weeks) for weeks in there):
            await db.execute(f"CREATE TABLE {week.name} PARTITION OF run_events {week.bounds}")
            made.append(week.name)
    return made


@transaction
async def drop_weeks(db: Connection, *, days: int) -> int:
    """Forget the parts of the trail whose last day is so long ago. About how many events that were."""
    await db.execute(QUICKLY)
    old = f"SELECT name FROM ({PARTS}) AS p WHERE until <= (now() - make_interval(days => %(days)s))::date LIMIT 10"
    gone = 0
    for name in await many(str, db.execute(old, {"days": days})):
        size = "SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = %(name)s::regclass"
        gone += await one(int, db.execute(size, {"name": name}))
        await db.execute(f'DROP TABLE "{name}"')
    return gone


# --- whose work it is -----------------------------------------------------------------------------
