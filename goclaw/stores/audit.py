"""The audit as a table, beside its file. Table `audit_log` (migration 0026): lines are added and never changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from goclaw.stores.unit import Connection, Json, many, maybe, transaction


class Head(Struct, frozen=True, kw_only=True):
    """The last line of a chain."""

    seq: int
    hash: str


class Wanted(Struct, frozen=True, kw_only=True):
    """Which lines; None fits all. `tenant` also lets nobody's lines through."""

    tenant: str | None = None
    action: str | None = None
    actor_id: str | None = None
    decision: str | None = None
    run_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


LINE = """jsonb_build_object('chain', chain, 'seq', seq,
  'ts', to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'tenant_id', tenant_id,
  'actor_type', actor_type, 'actor_id', actor_id, 'action', action, 'decision', decision, 'subject', subject,
  'reason', reason, 'policy_version', policy_version, 'trace_id', trace_id, 'run_id', run_id, 'ip', ip_address,
  'details', details, 'prev_hash', prev_hash, 'hash', hash)"""

APPEND = """
INSERT INTO audit_log (chain, seq, tenant_id, at, actor_type, actor_id, action, decision, subject, reason,
  policy_version, trace_id, run_id, ip_address, details, prev_hash, hash)
SELECT chain, seq, tenant_id, ts, actor_type, actor_id, action, decision, subject, reason, policy_version, trace_id,
  run_id, ip, details, prev_hash, hash
FROM jsonb_to_recordset(%(lines)s) AS line (chain text, seq bigint, tenant_id uuid, ts timestamptz, actor_type text,
  actor_id text, action text, decision text, subject text, reason text, policy_version text, trace_id uuid,
  run_id uuid, ip text, details jsonb, prev_hash text, hash text)
ON CONFLICT (chain, seq) DO NOTHING
"""

HEAD = "SELECT seq, hash FROM audit_log WHERE chain = %(chain)s ORDER BY seq DESC LIMIT 1"

PAGE = f"""
SELECT {LINE} FROM audit_log
WHERE (%(tenant)s::uuid IS NULL OR tenant_id IS NULL OR tenant_id = %(tenant)s)
  AND (%(action)s::text IS NULL OR action = %(action)s
    OR (right(%(action)s, 1) = '*' AND starts_with(action, rtrim(%(action)s, '*'))))
  AND (%(actor_id)s::text IS NULL OR actor_id = %(actor_id)s)
  AND (%(decision)s::text IS NULL OR decision = %(decision)s)
  AND (%(run_id)s::uuid IS NULL OR run_id = %(run_id)s)
  AND (%(since)s::timestamptz IS NULL OR at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR at < %(until)s)
ORDER BY at DESC, chain, seq DESC LIMIT %(limit)s OFFSET %(offset)s
"""

AFTER = f"""
SELECT {LINE} FROM audit_log
WHERE (chain, seq) > (%(chain)s, %(seq)s) ORDER BY chain, seq LIMIT %(limit)s
"""


@transaction(retry_safe=True, single=True)
async def append(db: Connection, lines: Sequence[dict[str, Any]]) -> None:
    """Add lines; those that are there already stay as they are."""
    await db.execute(APPEND, {"lines": Json(list(lines))})


@transaction(readonly=True)
async def head(db: Connection, chain: str) -> Head | None:
    return await maybe(Head, db.execute(HEAD, {"chain": chain}))


@transaction(readonly=True)
async def page(db: Connection, wanted: Wanted, *, limit: int, offset: int = 0) -> list[dict[str, Any]]:
    """Newest first. An `action` that ends in `*` fits all that begin so."""
    asked = {name: getattr(wanted, name) for name in Wanted.__struct_fields__}
    return await many(dict[str, Any], db.execute(PAGE, {**asked, "limit": limit, "offset": offset}))


@transaction(readonly=True)
async def after(db: Connection, chain: str, seq: int, *, limit: int) -> list[dict[str, Any]]:
    """The lines that follow one, chain by chain, as they were hashed."""
    return await many(dict[str, Any], db.execute(AFTER, {"chain": chain, "seq": seq, "limit": limit}))
