"""A conversation as it was behind any row of its journal, read from what is stored anyway; and a copy of it.

Tables `sessions`, `session_messages`, `run_events`, `run_records`, `record_blobs`. Contract: observability.md §21.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct, field

from goclaw.domain.run import RunState
from goclaw.domain.run_states import OPEN
from goclaw.domain.session_past import Marker, Past, Present, fold
from goclaw.stores.sessions import MessageRow
from goclaw.stores.unit import Connection, Json, maybe, one, transaction

MARKERS = 10_000  # of a session that are looked at, the newest
RUNS = 500  # shown of a moment
COMPARED = 10_000  # messages that two moments do not share
LONGEST = 10_000  # messages that are copied at once


class Journal(Present, frozen=True, kw_only=True):
    """A session with the markers of its journal. `seq` is the row that was asked for, None if there is none."""

    id: str
    user_id: str
    last_seq: int
    oldest: int | None  # row that is stored
    markers: list[Marker]
    seq: int | None
    run_state: RunState | None  # of the run that was asked for
    run_spoke: bool  # it left messages here
    created_at: datetime

    @property
    def pruned_before(self) -> int:
        """The first row that can be asked for."""
        return 0 if self.oldest in (None, 1) else self.oldest or 0


class RunThen(Struct, frozen=True, kw_only=True):
    run_id: str
    state_then: RunState
    state_now: RunState


class Shown(Struct, frozen=True, kw_only=True):
    """What the model was shown: the prompt and the tools as JSON, and the tokens it counted."""

    shared: str
    tokens: int | None


class Scene(Struct, frozen=True, kw_only=True):
    """What there was. `gap`: the first row from which on all up to this one are stored."""

    at: datetime | None
    total: int
    input_tokens: int
    output_tokens: int
    gap: int | None
    summary: str | None
    messages: list[MessageRow]
    runs: list[RunThen]
    prompt: Shown | None
    added: list[int] = field(default_factory=list)
    removed: list[int] = field(default_factory=list)


class Forked(Struct, frozen=True, kw_only=True):
    session_key: str
    messages: int


class TooLong(Exception):
    """There is more to copy than is copied at once. Nothing was stored."""


class Pruned(Exception):
    """Retention has removed rows that belong to it. Nothing was stored."""


JOURNAL = f"""
SELECT s.id, s.user_id, s.agent_key, s.generation, s.label, s.model, s.provider, s.queue_config->>'mode' AS queue,
  s.last_seq, s.created_at, (
    SELECT min(m.seq) FROM session_messages m WHERE m.session_id = s.id
  ) AS oldest, coalesce((
    SELECT jsonb_agg(jsonb_build_object('seq', m.seq, 'payload', m.payload - 'summary') ORDER BY m.seq) FROM (
      SELECT seq, payload FROM session_messages WHERE session_id = s.id AND hidden ORDER BY seq DESC LIMIT {MARKERS}
    ) AS m
  ), '[]') AS markers, CASE
    WHEN %(seq)s::bigint IS NOT NULL THEN %(seq)s::bigint
    WHEN %(at)s::timestamptz IS NOT NULL THEN coalesce((
      SELECT max(m.seq) FROM session_messages m WHERE m.session_id = s.id AND m.created_at <= %(at)s), 0)
    ELSE (
      SELECT greatest(0, (
        SELECT (o.body->'history'->>'last')::bigint FROM run_records o
        WHERE o.run_id = e.run_id AND o.tenant_id = e.tenant_id AND o.kind = 'open' ORDER BY o.seq DESC LIMIT 1
      ), (
        SELECT max(m.seq) FROM session_messages m
        WHERE m.session_id = s.id AND m.created_at <= e.at AND m.run_id IS DISTINCT FROM e.run_id
      )) FROM run_events e
      WHERE e.run_id = %(run)s::uuid AND e.tenant_id = s.tenant_id AND e.session_key = s.session_key
        AND e.at >= s.created_at AND e.type = 'task.running'
      ORDER BY e.event_id DESC LIMIT 1
    ) END AS seq, (
    SELECT r.state FROM runs r
    WHERE r.run_id = %(run)s::uuid AND r.tenant_id = s.tenant_id AND r.session_key = s.session_key
  ) AS run_state, EXISTS (
    SELECT FROM session_messages m WHERE m.session_id = s.id AND m.run_id = %(run)s::uuid
  ) AS run_spoke
FROM sessions s WHERE s.tenant_id = %(tenant)s AND s.session_key = %(key)s
"""  # a run read its history when its last life began


def live(moment: str) -> str:
    """Whether the row `m` was a message of the history then."""
    return f"""(NOT m.hidden AND m.seq > %({moment}_since)s::bigint AND m.seq <= %({moment})s::bigint
      AND NOT m.seq <@ %({moment}_covered)s::int8multirange)"""


SCENE = f"""
WITH journal AS (
  SELECT m.seq, m.seq - lag(m.seq, 1, 0::bigint) OVER (ORDER BY m.seq) AS step, {live("then")} AS live,
    CASE WHEN m.seq > %(then_since)s::bigint THEN m.payload->'usage' END AS usage
  FROM session_messages m WHERE m.session_id = %(id)s AND m.seq <= %(then)s::bigint
), page AS (
  SELECT m.id, m.seq, m.role, m.content, m.payload, m.run_id, m.created_at FROM session_messages m
  WHERE m.session_id = %(id)s AND {live("then")} AND (%(before)s::bigint IS NULL OR m.seq < %(before)s::bigint)
  ORDER BY m.seq DESC LIMIT %(limit)s
), row AS (
  SELECT m.created_at AS at, coalesce((
    SELECT max(e.session_seq) FROM run_events e
    WHERE e.run_id = m.run_id AND e.tenant_id = %(tenant)s AND e.at = m.created_at
  ), (
    SELECT max(e.session_seq) FROM run_events e
    WHERE e.tenant_id = %(tenant)s AND e.session_key = %(key)s AND e.at <= m.created_at
  )) AS told
  FROM session_messages m WHERE m.session_id = %(id)s AND m.seq = %(then)s::bigint
), states AS (
  SELECT DISTINCT ON (e.run_id) e.run_id, e.state_to FROM run_events e
  WHERE e.tenant_id = %(tenant)s AND e.session_key = %(key)s AND e.session_seq <= (SELECT told FROM row)
    AND e.at >= %(born)s AND e.state_to IS NOT NULL
  ORDER BY e.run_id, e.session_seq DESC
), runs_then AS (
  SELECT s.run_id, s.state_to AS state_then, coalesce(r.state, (
    SELECT e.state_to FROM run_events e WHERE e.run_id = s.run_id AND e.tenant_id = %(tenant)s
      AND e.state_to IS NOT NULL ORDER BY e.event_id DESC LIMIT 1
  )) AS state_now
  FROM states s LEFT JOIN runs r ON r.run_id = s.run_id AND r.tenant_id = %(tenant)s
  WHERE s.state_to = ANY(%(open)s::text[]) OR s.run_id IN (SELECT run_id FROM page)
  ORDER BY s.run_id DESC LIMIT {RUNS}
), first_run AS (
  SELECT m.run_id FROM session_messages m
  WHERE m.session_id = %(id)s AND m.seq >= %(then)s::bigint AND m.run_id IS NOT NULL ORDER BY m.seq LIMIT 1
), prompt AS (
  SELECT b.body AS shared, (
    SELECT (a.body->'usage'->>'prompt_tokens')::bigint FROM run_records a
    WHERE a.run_id = o.run_id AND a.tenant_id = %(tenant)s AND a.kind = 'response' ORDER BY a.seq LIMIT 1
  ) AS tokens
  FROM first_run JOIN run_records o USING (run_id) JOIN record_blobs b ON b.hash = o.blob
  WHERE o.tenant_id = %(tenant)s AND o.kind = 'open' ORDER BY o.seq LIMIT 1
), differing AS (
  SELECT m.seq, {live("other")} AS added FROM session_messages m
  WHERE %(compare)s AND m.session_id = %(id)s AND m.seq <= greatest(%(then)s::bigint, %(other)s::bigint)
    AND {live("then")} <> {live("other")}
  ORDER BY m.seq DESC LIMIT {COMPARED}
)
SELECT (SELECT at FROM row) AS at, count(*) FILTER (WHERE live) AS total,
  coalesce(sum((usage->>'prompt_tokens')::bigint), 0)::bigint AS input_tokens,
  coalesce(sum((usage->>'completion_tokens')::bigint), 0)::bigint AS output_tokens,
  max(seq) FILTER (WHERE step > 1) AS gap,
  (SELECT payload->>'summary' FROM session_messages WHERE session_id = %(id)s AND seq = %(summarised_at)s) AS summary,
  coalesce((SELECT jsonb_agg(to_jsonb(page) ORDER BY page.seq) FROM page), '[]') AS messages,
  coalesce((SELECT jsonb_agg(to_jsonb(runs_then) ORDER BY run_id) FROM runs_then), '[]') AS runs,
  (SELECT to_jsonb(prompt) FROM prompt) AS prompt,
  coalesce((SELECT jsonb_agg(seq ORDER BY seq) FROM differing WHERE added), '[]') AS added,
  coalesce((SELECT jsonb_agg(seq ORDER BY seq) FROM differing WHERE NOT added), '[]') AS removed
FROM journal
"""

COPY_SESSION = """
INSERT INTO sessions (id, tenant_id, session_key, agent_id, agent_key, user_id, kind, channel, label, summary, model,
  provider, queue_config, context_window, message_count, compaction_count, last_seq, metadata)
SELECT %(new)s, s.tenant_id, %(new_key)s, CASE WHEN s.agent_key = %(agent_key)s THEN s.agent_id ELSE (
    SELECT a.id FROM agents a WHERE a.tenant_id = s.tenant_id AND a.agent_key = %(agent_key)s AND a.deleted_at IS NULL
  ) END, %(agent_key)s, %(user)s, %(kind)s, %(channel)s, %(label)s, %(summary)s, %(model)s, %(provider)s,
  %(queue)s::jsonb, s.context_window, %(count)s, %(compactions)s, %(count)s + %(compactions)s, %(metadata)s::jsonb
FROM sessions s WHERE s.id = %(id)s
ON CONFLICT (tenant_id, session_key) DO NOTHING RETURNING session_key
"""

COPY_SUMMARY = """
INSERT INTO session_messages (session_id, seq, tenant_id, id, role, payload, hidden)
SELECT %(new)s, 1, %(tenant)s, gen_random_uuid(), 'system', jsonb_build_object(
  'marker', 'compacted', 'summary', %(summary)s::text, 'covered', jsonb_build_array(0, 0), 'count', 0), true
WHERE %(compactions)s = 1
"""

COPY_MESSAGES = f"""
WITH copied AS (
  INSERT INTO session_messages (session_id, seq, tenant_id, id, role, content, payload, token_estimate, created_at)
  SELECT %(new)s, %(compactions)s + row_number() OVER (ORDER BY m.seq), m.tenant_id, gen_random_uuid(), m.role,
    m.content, m.payload - 'usage', m.token_estimate, m.created_at
  FROM session_messages m WHERE m.session_id = %(id)s AND {live("then")}
  RETURNING 1
)
SELECT count(*) FROM copied
"""


@transaction(readonly=True)
async def journal(
    db: Connection,
    *,
    tenant: str,
    key: str,
    seq: int | None = None,
    run_id: str | None = None,
    at: datetime | None = None,
) -> Journal | None:
    """A session and the row of a moment: of `seq`, of what a run had read, or the last not after `at`."""
    params = {"tenant": tenant, "key": key, "seq": seq, "run": run_id, "at": at}
    return await maybe(Journal, db.execute(JOURNAL, params))


@transaction(readonly=True)
async def scene(
    db: Connection,
    *,
    tenant: str,
    key: str,
    of: Journal,
    past: Past,
    limit: int,
    before: int | None = None,
    against: Past | None = None,
) -> Scene:
    """What there was in that moment: the newest `limit` messages before `before`; and what differs from another."""
    params = {
        "tenant": tenant,
        "key": key,
        "id": of.id,
        "born": of.created_at,
        "before": before,
        "limit": limit,
        "open": sorted(OPEN),
        "summarised_at": past.summarised_at,
        "compare": against is not None,
        **_moment("then", past),
        **_moment("other", against or past),
    }
    return await one(Scene, db.execute(SCENE, params))


@transaction
async def fork(
    db: Connection, *, tenant: str, key: str, seq: int, id: str, new_key: str, kind: str, channel: str, user: str
) -> Forked | None:
    """A new session that begins as the old one was behind the row `seq`; the old one stays as it is.

    None if there is a session of that key already, or the old one is gone. Raises `TooLong` and `Pruned`.
    """
    await db.execute(
        "SELECT 1 FROM sessions WHERE tenant_id = %(tenant)s AND session_key = %(key)s FOR KEY SHARE",
        {"tenant": tenant, "key": key},
    )  # nobody deletes it meanwhile
    of = await journal(db, tenant=tenant, key=key, seq=seq)
    if of is None:
        return None
    past = fold(of.markers, seq, of)
    there = await scene(db, tenant=tenant, key=key, of=of, past=past, limit=0)
    if there.at is None and (seq or of.pruned_before):
        raise Pruned(key)
    if there.total > LONGEST:
        raise TooLong(key)
    params = {
        "tenant": tenant,
        "id": of.id,
        "new": id,
        "new_key": new_key,
        "agent_key": past.agent_key,
        "user": user,
        "kind": kind,
        "channel": channel,
        "label": past.label,
        "summary": there.summary,
        "model": past.model,
        "provider": past.provider,
        "queue": Json({"mode": past.queue}) if past.queue else None,
        "count": there.total,
        "compactions": int(there.summary is not None),
        "metadata": {"forked_from": key, "forked_seq": str(seq)},
        **_moment("then", past),
    }
    if await maybe(str, db.execute(COPY_SESSION, params)) is None:
        return None
    await db.execute(COPY_SUMMARY, params)
    return Forked(session_key=new_key, messages=await one(int, db.execute(COPY_MESSAGES, params)))


def _moment(name: str, past: Past) -> dict[str, Any]:
    covered = ",".join(f"[{first},{last}]" for first, last in past.covered)
    return {name: past.seq, f"{name}_since": past.since, f"{name}_covered": f"{{{covered}}}"}
