"""Heartbeats of agents and the log of their beats. Tables `agent_heartbeats`, `heartbeat_run_logs` (migration 0017).

What makes them beat is in `beats`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec
from msgspec import Struct

from goclaw.domain.heartbeat import Status, Terms
from goclaw.domain.ids import new_id
from goclaw.domain.schedule import Unscheduled, inside, zone_of
from goclaw.stores.unit import Connection, many, maybe, one, transaction


class Heartbeat(Terms, frozen=True, kw_only=True, rename="camel"):
    """E-Heartbeat (wire-compat.md E8)."""

    id: str
    agent_id: str
    agent_key: str
    provider_id: str | None
    next_run_at: datetime | None
    last_run_at: datetime | None
    last_status: Status | None
    last_error: str | None
    run_count: int
    suppress_count: int


class Row(Heartbeat, frozen=True, kw_only=True, rename="camel"):
    """With what is nobody's business but the clock's."""

    tenant_id: str
    owner_id: str
    workspace: str
    runnable: bool  # its agent is there and active
    active_run_id: str | None

    def awake(self, now: datetime) -> bool:
        """Whether `now` lies in its active hours. A zone the machine forgot is UTC."""
        if self.active_hours_start is None or self.active_hours_end is None:
            return True
        try:
            zone = zone_of(self.timezone or "")
        except Unscheduled:
            zone = zone_of("")
        return inside(self.active_hours_start, self.active_hours_end, now.astimezone(zone))


class LoggedBeat(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A line of the log (wire-compat.md C5)."""

    id: str
    status: Status
    ran_at: datetime
    input_tokens: int
    output_tokens: int
    skip_reason: str | None = None
    summary: str | None = None
    error: str | None = None
    duration_ms: int | None = None


class Chat(Struct, frozen=True, kw_only=True, rename="camel"):
    """Where a heartbeat may speak up."""

    channel: str
    chat_id: str
    title: str
    kind: Literal["dm", "group"]


SHOWN = """h.id, h.agent_id, a.agent_key, h.enabled, h.interval_sec, h.prompt, h.provider AS provider_id,
h.provider AS provider_name, h.model, h.isolated_session, h.light_context, h.ack_max_chars, h.max_retries,
h.active_hours_start, h.active_hours_end, h.timezone, h.channel, h.chat_id, h.next_run_at, h.last_run_at, h.last_status,
h.last_error, h.run_count, h.suppress_count"""

COLUMNS = f"""{SHOWN}, h.tenant_id, a.owner_id, a.workspace,
a.status = 'active' AND a.deleted_at IS NULL AS runnable, h.active_run_id"""

FROM = "FROM agent_heartbeats h JOIN agents a ON a.id = h.agent_id"
OF_AGENT = "WHERE h.tenant_id = %(tenant)s AND h.agent_id = %(agent)s"

PUT = """
INSERT INTO agent_heartbeats (id, tenant_id, agent_id, enabled, interval_sec, prompt, provider, model,
  isolated_session, light_context, ack_max_chars, max_retries, active_hours_start, active_hours_end, timezone, channel,
  chat_id, next_run_at)
VALUES (%(id)s, %(tenant)s, %(agent)s, %(enabled)s, %(interval_sec)s, %(prompt)s, %(provider_name)s, %(model)s,
  %(isolated_session)s, %(light_context)s, %(ack_max_chars)s, %(max_retries)s, %(active_hours_start)s,
  %(active_hours_end)s, %(timezone)s, %(channel)s, %(chat_id)s, %(next_run_at)s)
ON CONFLICT (agent_id) DO UPDATE SET enabled = excluded.enabled, interval_sec = excluded.interval_sec,
  prompt = excluded.prompt, provider = excluded.provider, model = excluded.model,
  isolated_session = excluded.isolated_session, light_context = excluded.light_context,
  ack_max_chars = excluded.ack_max_chars, max_retries = excluded.max_retries,
  active_hours_start = excluded.active_hours_start, active_hours_end = excluded.active_hours_end,
  timezone = excluded.timezone, channel = excluded.channel, chat_id = excluded.chat_id,
  next_run_at = excluded.next_run_at, updated_at = now()
"""


@transaction(readonly=True)
async def get(db: Connection, *, tenant: str, agent: str) -> Heartbeat | None:
    return await maybe(Heartbeat, db.execute(f"SELECT {SHOWN} {FROM} {OF_AGENT}", {"tenant": tenant, "agent": agent}))


@transaction(retry_safe=True)
async def put(db: Connection, *, tenant: str, agent: str, terms: Terms, next_run_at: datetime | None) -> Heartbeat:
    """Make or replace the heartbeat of an agent; what it has done so far stays."""
    values = {"id": new_id(), "tenant": tenant, "agent": agent, "next_run_at": next_run_at}
    await db.execute(PUT, {**values, **msgspec.structs.asdict(terms)})
    return await one(Heartbeat, db.execute(f"SELECT {SHOWN} {FROM} {OF_AGENT}", values))


@transaction(readonly=True)
async def log(db: Connection, *, tenant: str, agent: str, limit: int, offset: int) -> list[LoggedBeat]:
    """Beats of an agent, newest first."""
    query = """
    SELECT id, status, skip_reason, summary, error, duration_ms, input_tokens, output_tokens, ran_at
    FROM heartbeat_run_logs WHERE tenant_id = %(tenant)s AND agent_id = %(agent)s
    ORDER BY ran_at DESC, id DESC LIMIT %(limit)s OFFSET %(offset)s
    """
    return await many(
        LoggedBeat, db.execute(query, {"tenant": tenant, "agent": agent, "limit": limit, "offset": offset})
    )


@transaction(readonly=True)
async def logged(db: Connection, *, tenant: str, agent: str) -> int:
    query = "SELECT count(*) FROM heartbeat_run_logs WHERE tenant_id = %(tenant)s AND agent_id = %(agent)s"
    return await one(int, db.execute(query, {"tenant": tenant, "agent": agent}))


@transaction(readonly=True)
async def targets(db: Connection, *, tenant: str, agent: str) -> list[Chat]:
    """Chats of channels an agent was talked to in, last used first. Sockets and HTTP have no chat to come back to."""
    query = """
    SELECT channel, chat_id, coalesce(label, '') AS title, CASE WHEN kind = 'group' THEN 'group' ELSE 'dm' END AS kind
    FROM sessions
    WHERE tenant_id = %(tenant)s AND agent_id = %(agent)s AND channel IS NOT NULL AND chat_id IS NOT NULL
    ORDER BY last_active_at DESC LIMIT 200
    """
    return await many(Chat, db.execute(query, {"tenant": tenant, "agent": agent}))
