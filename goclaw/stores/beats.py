"""What makes heartbeats beat, and what is said of it. Tables `agent_heartbeats`, `heartbeat_run_logs`.

A beat and the next time it is due are one transaction. The clock is the caller's. Contract: sessions-lanes-cron.md §6.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any, Literal

from msgspec import Struct

from goclaw.domain.budget import payers_of
from goclaw.domain.heartbeat import PROMPT, REPEATED, SETTLED, SUMMARY, Status, content_hash, idle, session_of, to_say
from goclaw.domain.ids import new_id
from goclaw.domain.run import RunRequest, RunResult, RunState
from goclaw.domain.run_states import OPEN
from goclaw.stores import budgets, outbox, run_acceptance, runs
from goclaw.stores.heartbeats import COLUMNS, FROM, OF_AGENT, Row, targets
from goclaw.stores.unit import Connection, many, maybe, one, transaction
from goclaw.stores.values import cut

LOGS = 200  # beats of a heartbeat that are remembered
AT_ONCE = 100  # looked at in one go
DEADLINE = 600.0  # seconds of a beat; README R11


class Beaten(Struct, frozen=True, kw_only=True):
    """What became of a beat. Without `run_id` it was skipped, for `reason`; `told`: that is no news."""

    heartbeat: Row
    run_id: str = ""
    session_key: str = ""
    reason: str = ""
    told: bool = False


class Rested(Struct, frozen=True, kw_only=True):
    """How a beat ended. `text` is what was worth saying."""

    heartbeat: Row
    status: Status
    reason: str = ""
    error: str = ""
    text: str = ""


class Outcome(Struct, frozen=True, kw_only=True):
    state: RunState
    session_key: str
    result: RunResult | None
    reason_code: str | None
    last_error: str | None
    started_at: datetime | None
    finished_at: datetime | None


SELECT = f"SELECT {COLUMNS} {FROM}"

BUSY = """
SELECT EXISTS (SELECT FROM runs WHERE tenant_id = %(tenant)s AND agent_id = %(agent)s
  AND kind IN ('chat', 'channel', 'http', 'wake') AND state IN ('CLAIMED', 'RUNNING'))
"""

DUE = f"""
{SELECT} WHERE h.enabled AND h.next_run_at <= %(now)s AND h.active_run_id IS NULL
ORDER BY h.next_run_at LIMIT {AT_ONCE}
"""

OVER = f"""
{SELECT} WHERE h.active_run_id IS NOT NULL AND NOT EXISTS (
  SELECT FROM runs r WHERE r.run_id = h.active_run_id AND r.state = ANY(%(open)s::text[]))
ORDER BY h.id LIMIT {AT_ONCE}
"""

LOG = """
INSERT INTO heartbeat_run_logs (id, tenant_id, heartbeat_id, agent_id, run_id, status, skip_reason, summary,
  content_hash, error, duration_ms, input_tokens, output_tokens, ran_at)
VALUES (%(id)s, %(tenant)s, %(heartbeat)s, %(agent)s, %(run)s, %(status)s, %(reason)s, %(summary)s, %(hash)s, %(error)s,
  %(duration)s, %(input)s, %(output)s, %(at)s)
"""

TRIM = """
DELETE FROM heartbeat_run_logs WHERE tenant_id = %(tenant)s AND id IN (
  SELECT id FROM heartbeat_run_logs WHERE heartbeat_id = %(heartbeat)s ORDER BY ran_at DESC, id DESC OFFSET %(kept)s)
"""

SAID = """
SELECT EXISTS (SELECT FROM heartbeat_run_logs WHERE tenant_id = %(tenant)s AND heartbeat_id = %(heartbeat)s
  AND content_hash = %(hash)s AND status = 'ok' AND ran_at > %(since)s)
"""

SETTLE = """
UPDATE agent_heartbeats SET active_run_id = NULL, last_status = %(status)s::text, last_error = %(error)s,
  suppress_count = suppress_count + (%(status)s::text = 'suppressed')::int, updated_at = now()
WHERE id = %(id)s AND tenant_id = %(tenant)s
"""


@transaction(readonly=True)
async def get(db: Connection, *, tenant: str, agent: str) -> Row | None:
    return await maybe(Row, db.execute(f"{SELECT} {OF_AGENT}", {"tenant": tenant, "agent": agent}))


@transaction(retry_safe=True)
async def wake(db: Connection, *, tenant: str, agent: str, now: datetime) -> None:
    """Make it due. While it runs this is remembered, once; a disabled one sleeps on."""
    query = """
    UPDATE agent_heartbeats SET next_run_at = least(next_run_at, %(now)s)
    WHERE tenant_id = %(tenant)s AND agent_id = %(agent)s AND enabled
    """
    await db.execute(query, {"tenant": tenant, "agent": agent, "now": now})


@transaction(readonly=True)
async def due(db: Connection, *, now: datetime) -> list[Row]:
    """Who is due, of every tenant, longest waiting first. One that runs is not."""
    return await many(Row, db.execute(DUE, {"now": now}))


@transaction(readonly=True)
async def over(db: Connection) -> list[Row]:
    """Whose run has ended, and nobody has written it down yet."""
    return await many(Row, db.execute(OVER, {"open": list(OPEN)}))


@transaction
async def beat(
    db: Connection,
    *,
    tenant: str,
    agent: str,
    now: datetime,
    run_id: str,
    checklist: str,
    forced: bool = False,
    key: str = "",
) -> Beaten | None:
    """A beat: its run and the next time, or why there is none (§6.2). None if it is not due, or runs already.

    `forced`: whatever the hour and whoever is busy, enabled or not. A `key` starts one run.
    """
    query = f"{SELECT} {OF_AGENT} FOR UPDATE OF h"
    found = await maybe(Row, db.execute(query, {"tenant": tenant, "agent": agent}))
    if found is None or found.active_run_id is not None:
        return None
    if not forced and not (found.enabled and found.next_run_at is not None and found.next_run_at <= now):
        return None
    at = now if forced or found.next_run_at is None else found.next_run_at
    ingress = f"hb:{agent}:key:{key}" if key else f"hb:{agent}:{int(at.timestamp() * 1000)}"
    reason: Reason = await _why_not(db, found, now, checklist, forced)
    if not reason and await runs.known(db, tenant=tenant, ingress_key=ingress) is not None:
        reason = "duplicate"  # the clock was set back over a beat that ran
    if reason == "queue_busy":  # the next look tries again, after those that wait longer
        told = (found.last_status, found.last_error) == ("skipped", reason)
        if told:
            query = "UPDATE agent_heartbeats SET next_run_at = %(now)s WHERE id = %(id)s AND tenant_id = %(tenant)s"
            await db.execute(query, {"now": now, "id": found.id, "tenant": tenant})
        else:
            await _skip(db, found, now, reason, now)
        return Beaten(heartbeat=found, reason=reason, told=told)
    after = now + timedelta(seconds=found.interval_sec) if found.enabled else None
    if reason:
        await _skip(db, found, now, reason, after)
        return Beaten(heartbeat=found, reason=reason)
    key = str(session_of(found.agent_key, found.isolated_session, at))
    await _start(db, found, run_id, key, ingress, checklist)
    query = """
    UPDATE agent_heartbeats SET next_run_at = %(next)s, last_run_at = %(now)s, active_run_id = %(run)s,
      run_count = run_count + 1, updated_at = now()
    WHERE id = %(id)s AND tenant_id = %(tenant)s
    """
    await db.execute(query, {"next": after, "now": now, "run": run_id, "id": found.id, "tenant": tenant})
    return Beaten(heartbeat=found, run_id=run_id, session_key=key)


@transaction
async def rest(db: Connection, *, tenant: str, agent: str, run_id: str, now: datetime) -> Rested | None:
    """Write down how a beat ended and decide what of it is worth saying. None if that is done already."""
    query = f"{SELECT} {OF_AGENT} FOR UPDATE OF h"
    found = await maybe(Row, db.execute(query, {"tenant": tenant, "agent": agent}))
    if found is None or found.active_run_id != run_id:
        return None
    query = """
    SELECT state, session_key, result, reason_code, last_error, started_at, finished_at FROM runs
    WHERE run_id = %(run)s AND tenant_id = %(tenant)s
    """
    run = await maybe(Outcome, db.execute(query, {"run": run_id, "tenant": tenant}))
    if run is not None and run.state in OPEN:
        return None
    rested = await _verdict(db, found, run, now)
    if rested.status == "ok":
        await _deliver(db, found, run_id, rested.text)
    result = run.result if run is not None else None
    began = (run.started_at if run is not None else None) or now
    ended = (run.finished_at if run is not None else None) or now
    await _log(
        db,
        found,
        run=run_id,
        status=rested.status,
        reason=rested.reason or None,
        summary=cut(result.content, SUMMARY) if result is not None and result.content else None,
        hash=content_hash(rested.text) if rested.status == "ok" else None,
        error=rested.error or None,
        duration=int((ended - began).total_seconds() * 1000),
        input=result.usage.prompt_tokens if result is not None else 0,
        output=result.usage.completion_tokens if result is not None else 0,
        at=now,
    )
    settled = {"status": rested.status, "error": rested.error or None, "id": found.id, "tenant": tenant}
    await db.execute(SETTLE, settled)
    if run is not None and ":heartbeat:" in run.session_key:  # a session of its own ends with it
        own = {"tenant": tenant, "key": run.session_key}
        await db.execute("DELETE FROM sessions WHERE tenant_id = %(tenant)s AND session_key = %(key)s", own)
        if run.state != "FAILED":  # an operator may still take that one up again
            await db.execute("DELETE FROM session_heads WHERE tenant_id = %(tenant)s AND session_key = %(key)s", own)
    return rested


# --- parts ----------------------------------------------------------------------------------------

Reason = Literal["", "agent_inactive", "active_hours", "queue_busy", "empty_checklist", "budget", "duplicate"]


async def _why_not(db: Connection, found: Row, now: datetime, checklist: str, forced: bool) -> Reason:
    if not found.runnable:
        return "agent_inactive"
    if not forced and not found.awake(now):
        return "active_hours"
    if not forced and await one(bool, db.execute(BUSY, {"tenant": found.tenant_id, "agent": found.agent_id})):
        return "queue_busy"
    if idle(checklist):
        return "empty_checklist"
    payers = payers_of(found.owner_id, found.agent_key, str(session_of(found.agent_key, found.isolated_session, now)))
    return "budget" if await budgets.drained(db, tenant=found.tenant_id, payers=payers) else ""


async def _start(db: Connection, found: Row, run_id: str, key: str, ingress: str, checklist: str) -> None:
    text = f"{found.prompt or PROMPT}\n\n{checklist.strip()}"
    await run_acceptance.accept(
        db,
        run_id=run_id,
        session_id=new_id(),
        tenant=found.tenant_id,
        key=key,
        session_kind="direct",
        channel="heartbeat",
        label="Heartbeat",
        max_concurrent=1,
        agent_id=found.agent_id,
        agent_key=found.agent_key,
        user=found.owner_id,
        kind="heartbeat",
        lane="cron",
        timeout=DEADLINE,
        request=RunRequest(
            message=text,
            stream=False,
            instructions=SETTLED,
            light_context=found.light_context,
            provider=found.provider_name or "",
            model=found.model or "",
        ),
        request_hash=hashlib.sha256(text.encode()).hexdigest(),
        ingress_key=ingress,
    )
    tries = {"attempts": 1 + found.max_retries, "run": run_id, "tenant": found.tenant_id}
    query = "UPDATE runs SET max_attempts = %(attempts)s WHERE run_id = %(run)s AND tenant_id = %(tenant)s"
    await db.execute(query, tries)


async def _verdict(db: Connection, found: Row, run: Outcome | None, now: datetime) -> Rested:
    if run is None or run.state != "SUCCEEDED" or run.result is None:
        error = (run.last_error or run.reason_code or run.state.lower()) if run is not None else "the run is gone"
        return Rested(heartbeat=found, status="error", error=cut(error, 2000))
    text = to_say(run.result.content, found.ack_max_chars)
    if not text:
        return Rested(heartbeat=found, status="suppressed")
    said = {"hash": content_hash(text), "since": now - REPEATED, "heartbeat": found.id, "tenant": found.tenant_id}
    if await one(bool, db.execute(SAID, said)):
        return Rested(heartbeat=found, status="suppressed", reason="duplicate", text=text)
    return Rested(heartbeat=found, status="ok", text=text)


async def _deliver(db: Connection, found: Row, run_id: str, text: str) -> None:
    """Put it into the outbox for the heartbeat's chat: the one it names, or the `last` its agent was talked to in."""
    channel, chat = found.channel, found.chat_id
    if channel == "last":
        latest = await targets(db, tenant=found.tenant_id, agent=found.agent_id)
        channel, chat = (latest[0].channel, latest[0].chat_id) if latest else (None, None)
    if channel and channel != "none" and chat:
        await outbox.put(
            db,
            tenant=found.tenant_id,
            run_id=run_id,
            seq=0,
            channel_instance=channel,
            chat_id=chat,
            local_key=chat,
            kind="final",
            payload={"text": text},
        )


async def _skip(db: Connection, found: Row, now: datetime, reason: Reason, after: datetime | None) -> None:
    query = """
    UPDATE agent_heartbeats SET next_run_at = %(next)s, last_status = 'skipped', last_error = %(reason)s,
      updated_at = now()
    WHERE id = %(id)s AND tenant_id = %(tenant)s
    """
    await db.execute(query, {"next": after, "reason": reason, "id": found.id, "tenant": found.tenant_id})
    await _log(db, found, status="skipped", reason=reason, at=now)


async def _log(db: Connection, found: Row, **facts: Any) -> None:
    blank = dict.fromkeys(("run", "reason", "summary", "hash", "error", "duration"))
    about = {"id": new_id(), "tenant": found.tenant_id, "heartbeat": found.id, "agent": found.agent_id}
    await db.execute(LOG, {**blank, "input": 0, "output": 0, **about, **facts})
    await db.execute(TRIM, {"tenant": found.tenant_id, "heartbeat": found.id, "kept": LOGS})
