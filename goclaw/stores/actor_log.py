"""What happened to actors, beyond the life of the process. Table `actor_restart_log` (migration 0012)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from msgspec import Struct, field, to_builtins

from goclaw.stores.trim import trimming
from goclaw.stores.unit import Connection, Json, many, maybe, transaction

DAYS = 30  # data-model.md §18, with the next one
ROWS = 200_000

Event = Literal["started", "stopped", "crashed", "restarted", "quarantined", "escalated", "killed"]


class Entry(Struct, frozen=True, kw_only=True):
    """One line. Texts fit their columns and hold nothing PostgreSQL refuses: see `cut` in values.py."""

    id: str
    at: datetime
    node_id: str
    tenant_id: str | None = None  # None: nobody's, or not known
    path: str
    kind: str
    of_class: str | None = field(name="class", default=None)
    incarnation: int
    event: Event
    reason: str | None = None
    strategy: str | None = None
    supervisor: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    fingerprint: str | None = None
    traceback: str | None = None
    in_hand_type: str | None = None
    in_hand_trace_id: str | None = None
    mailbox_depth: int | None = None
    uptime_ms: int | None = None
    restarts_in_window: int | None = None
    backoff_ms: int | None = None
    by: str | None = None
    note: str | None = None


class Wanted(Struct, frozen=True, kw_only=True):
    """Which lines; None fits all. `path` is an actor and all below it, `tenant` also lets nobody's lines through."""

    tenant: str | None = None
    path: str | None = None
    of_class: str | None = None
    event: Event | None = None
    fingerprint: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class Cause(Struct, frozen=True, kw_only=True):
    """Crashes with one fingerprint. `actors` are up to 20 of those they happened to, each with its tenant.

    `said_by` is the one the message is from.
    """

    fingerprint: str
    of_class: str | None = field(name="class")
    error_type: str | None
    error_message: str | None
    count: int
    actors: list[tuple[str, str | None]]
    said_by: tuple[str, str | None]
    first_at: datetime
    last_at: datetime


COLUMNS = """id, at, node_id, tenant_id, path, kind, class, incarnation, event, reason, strategy, supervisor,
error_type, error_message, fingerprint, traceback, in_hand_type, in_hand_trace_id, mailbox_depth, uptime_ms,
restarts_in_window, backoff_ms, by, note"""

APPEND = f"""
INSERT INTO actor_restart_log ({COLUMNS})
SELECT {COLUMNS} FROM jsonb_populate_recordset(NULL::actor_restart_log, %(rows)s)
ON CONFLICT (id) DO NOTHING
"""

WHERE = """
WHERE (%(tenant)s::uuid IS NULL OR tenant_id IS NULL OR tenant_id = %(tenant)s)
  AND (%(path)s::text IS NULL OR path = %(path)s OR starts_with(path, rtrim(%(path)s, '/') || '/'))
  AND (%(of_class)s::text IS NULL OR class = %(of_class)s)
  AND (%(event)s::text IS NULL OR event = %(event)s)
  AND (%(fingerprint)s::text IS NULL OR fingerprint = %(fingerprint)s)
  AND (%(since)s::timestamptz IS NULL OR at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR at < %(until)s)
"""

PAGE = f"SELECT {COLUMNS} FROM actor_restart_log {WHERE} ORDER BY at DESC, id DESC LIMIT %(limit)s OFFSET %(offset)s"

CAUSES = f"""
SELECT fingerprint, class, error_type, (array_agg(error_message ORDER BY at DESC))[1] AS error_message,
  count(*) AS count, (array_agg(DISTINCT jsonb_build_array(path, tenant_id)))[1:20] AS actors,
  (array_agg(jsonb_build_array(path, tenant_id) ORDER BY at DESC))[1] AS said_by,
  min(at) AS first_at, max(at) AS last_at
FROM actor_restart_log {WHERE} AND fingerprint IS NOT NULL
GROUP BY fingerprint, class, error_type
ORDER BY count DESC, last_at DESC, fingerprint LIMIT %(limit)s OFFSET %(offset)s
"""

TRIM = trimming(
    "actor_restart_log",
    "at",
    f"""at < now() - make_interval(days => {DAYS})
      OR at <= (SELECT at FROM actor_restart_log ORDER BY at DESC OFFSET %(rows)s LIMIT 1)""",
)


@transaction(retry_safe=True, single=True)
async def append(db: Connection, entries: Sequence[Entry]) -> None:
    """Add lines; those that are there already stay as they are."""
    await db.execute(APPEND, {"rows": Json(to_builtins(list(entries)))})


@transaction(readonly=True)
async def page(db: Connection, wanted: Wanted, *, limit: int, offset: int = 0) -> list[Entry]:
    """Newest first."""
    return await many(Entry, db.execute(PAGE, {**_asked(wanted), "limit": limit, "offset": offset}))


@transaction(readonly=True)
async def causes(db: Connection, wanted: Wanted, *, limit: int, offset: int = 0) -> list[Cause]:
    """The most frequent first."""
    return await many(Cause, db.execute(CAUSES, {**_asked(wanted), "limit": limit, "offset": offset}))


@transaction(retry_safe=True, single=True)
async def trim(db: Connection, rows: int = ROWS) -> int:
    """Forget lines that are too old or too many, 5,000 at most. Returns how many."""
    return await maybe(int, db.execute(TRIM, {"rows": rows})) or 0


def _asked(wanted: Wanted) -> dict[str, object]:
    return {name: getattr(wanted, name) for name in Wanted.__struct_fields__}
