"""Messages for chat platforms, written with the state they belong to and sent later. Table `outbox` (migration 0016).

A claim is a lease: whoever holds it alone writes what became of the message, and only with the attempt it claimed.
Of the messages of a chat only the oldest can be claimed. Contract: durability.md §7.3, data-model.md §9.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from goclaw.domain.delivery import NEVER, Delivery, DeliveryKind, Line
from goclaw.domain.ids import new_id
from goclaw.stores.unit import Connection, many, maybe, one, transaction
from goclaw.stores.values import cut

LEASE = 30  # seconds; durability.md §7.3
ERROR = 2000  # characters kept of what went wrong


class Waiting(Struct, frozen=True, kw_only=True):
    """What a channel instance has not got yet. `age` of the oldest in seconds."""

    tenant_id: str
    channel_instance: str
    pending: int
    age: float


PUT = """
WITH new AS (
  INSERT INTO outbox (outbox_id, tenant_id, run_id, seq, channel_instance, chat_id, local_key, kind, payload,
    dedupe_key)
  VALUES (%(id)s, %(tenant)s, %(run)s, %(seq)s, %(instance)s, %(chat)s, %(local_key)s, %(kind)s, %(payload)s, %(nonce)s)
  ON CONFLICT (tenant_id, dedupe_key) DO NOTHING RETURNING 1
)
SELECT count(*) = 1 FROM new
"""

FREE = """(o.state = 'PENDING' AND o.next_at <= now()
    OR o.state = 'SENDING'
    AND (o.lease_expires_at < clock_timestamp() OR %(alone)s AND o.lease_owner <> %(node)s::uuid))"""

CLAIM = f"""
WITH picked AS (
  SELECT f.outbox_id, f.state = 'SENDING' AS left_open, f.state = 'SENDING' AND f.maybe_duplicate AS spent
  FROM unnest(%(tenants)s::uuid[], %(instances)s::text[], %(limits)s::int[]) AS line(tenant_id, instance, most)
  CROSS JOIN LATERAL (
    SELECT o.outbox_id, o.state, o.maybe_duplicate FROM outbox o
    WHERE o.tenant_id = line.tenant_id AND o.channel_instance = line.instance AND {FREE}
      AND NOT EXISTS (
        SELECT FROM outbox e WHERE e.tenant_id = o.tenant_id AND e.channel_instance = o.channel_instance
          AND e.local_key = o.local_key AND e.outbox_id < o.outbox_id AND e.state IN ('PENDING', 'SENDING'))
    ORDER BY o.outbox_id LIMIT line.most FOR UPDATE OF o SKIP LOCKED
  ) AS f
), claimed AS (
  UPDATE outbox o SET state = 'SENDING', attempts = o.attempts + 1, lease_owner = %(node)s::uuid,
    lease_expires_at = clock_timestamp() + make_interval(secs => %(lease)s),
    maybe_duplicate = o.maybe_duplicate OR picked.left_open
  FROM picked WHERE o.outbox_id = picked.outbox_id
  RETURNING o.*, picked.spent
)
SELECT outbox_id, tenant_id, run_id, seq, channel_instance, chat_id, local_key, kind, payload, dedupe_key AS nonce,
  attempts AS attempt, maybe_duplicate AS doubtful, spent
FROM claimed ORDER BY outbox_id
"""  # one statement will do: a row locked late is judged again by its own columns, and what is over stays over

MINE = "outbox_id = %(id)s AND state = 'SENDING' AND lease_owner = %(node)s AND attempts = %(attempt)s"

SENT = f"""
UPDATE outbox SET state = 'SENT', external_id = %(external)s, sent_at = now(), lease_owner = NULL,
  lease_expires_at = NULL, last_error = NULL, maybe_duplicate = %(doubtful)s
WHERE {MINE} RETURNING outbox_id
"""

LATER = f"""
UPDATE outbox SET state = 'PENDING', next_at = now() + make_interval(secs => %(pause)s), lease_owner = NULL,
  lease_expires_at = NULL, last_error = %(error)s, maybe_duplicate = maybe_duplicate OR %(doubtful)s
WHERE {MINE} RETURNING outbox_id
"""

DEAD = f"""
UPDATE outbox SET state = 'DEAD', lease_owner = NULL, lease_expires_at = NULL, last_error = %(error)s
WHERE {MINE} RETURNING outbox_id
"""

WAITING = """
SELECT tenant_id, channel_instance, count(*) AS pending, extract(epoch FROM now() - min(created_at))::float8 AS age
FROM outbox WHERE state IN ('PENDING', 'SENDING')
GROUP BY tenant_id, channel_instance ORDER BY age DESC LIMIT 1000
"""


@transaction
async def put(
    db: Connection,
    *,
    tenant: str,
    run_id: str | None,
    seq: int,
    channel_instance: str,
    chat_id: str,
    local_key: str,
    kind: DeliveryKind,
    payload: dict[str, Any],
    dedupe_key: str | None = None,
) -> bool:
    """Add a message, in the transaction of what it tells of. False if it is there already or its channel needs none.

    Without a run the message needs a key of its own. Messages of a chat are sent in the order they were put.
    """
    if channel_instance in NEVER:
        return False
    if dedupe_key is None:
        if run_id is None:
            raise ValueError("a message of no run needs a dedupe key")
        dedupe_key = f"{run_id}:out:{seq}"
    params = {
        "id": new_id(),
        "tenant": tenant,
        "run": run_id,
        "seq": seq,
        "instance": channel_instance,
        "chat": chat_id,
        "local_key": local_key,
        "kind": kind,
        "payload": payload,
        "nonce": dedupe_key,
    }
    return await one(bool, db.execute(PUT, params))


@transaction
async def claim(db: Connection, *, node: str, lines: Sequence[tuple[Line, int]], alone: bool = False) -> list[Delivery]:
    """Messages that are due, now ours for `LEASE` seconds, at most so many of each line.

    Those whose sender died come with a doubt. `alone`: nobody else can be alive, so that needs no waiting.
    """
    params = {
        "node": node,
        "tenants": [tenant for (tenant, _), _ in lines],
        "instances": [instance for (_, instance), _ in lines],
        "limits": [most for _, most in lines],
        "lease": LEASE,
        "alone": alone,
    }
    return await many(Delivery, db.execute(CLAIM, params))


@transaction(retry_safe=True, single=True)
async def sent(db: Connection, delivery: Delivery, *, node: str, external_id: str, doubtful: bool) -> bool:
    """The platform has it. `doubtful`: perhaps twice. False if the claim is not ours any more."""
    return await _settle(db, SENT, delivery, node, external=cut(external_id, 255), doubtful=doubtful)


@transaction(retry_safe=True, single=True)
async def later(
    db: Connection, delivery: Delivery, *, node: str, error: str, pause: float, doubtful: bool = False
) -> bool:
    """Try again in so many seconds. `doubtful`: it may have arrived. False if the claim is not ours any more."""
    return await _settle(db, LATER, delivery, node, error=cut(error, ERROR), pause=pause, doubtful=doubtful)


@transaction(retry_safe=True, single=True)
async def give_up(db: Connection, delivery: Delivery, *, node: str, error: str) -> bool:
    """The chat goes on without it. False if the claim is not ours any more."""
    return await _settle(db, DEAD, delivery, node, error=cut(error, ERROR))


class SentAs(Struct, frozen=True):
    state: str
    external_id: str | None  # the platform's


@transaction(readonly=True)
async def id_of(db: Connection, *, tenant: str, dedupe_key: str) -> str:
    """The id of a message that was put."""
    query = "SELECT outbox_id::text FROM outbox WHERE tenant_id = %(tenant)s AND dedupe_key = %(key)s"
    return await one(str, db.execute(query, {"tenant": tenant, "key": dedupe_key}))


@transaction(readonly=True)
async def sent_as(db: Connection, *, tenant: str, channel: str, chat: str, id: str) -> SentAs | None:
    """What a platform calls a message that was put under this id for this chat; None if there is none."""
    query = """
    SELECT state, external_id FROM outbox
    WHERE tenant_id = %(tenant)s AND channel_instance = %(channel)s AND chat_id = %(chat)s AND outbox_id::text = %(id)s
    """
    return await maybe(SentAs, db.execute(query, {"tenant": tenant, "channel": channel, "chat": chat, "id": id}))


@transaction(readonly=True)
async def waiting(db: Connection) -> list[Waiting]:
    """What has not been sent, by channel instance, longest waiting first."""
    return await many(Waiting, db.execute(WAITING))


async def _settle(db: Connection, statement: str, delivery: Delivery, node: str, **more: Any) -> bool:
    params = {"id": delivery.outbox_id, "node": node, "attempt": delivery.attempt, **more}
    return await maybe(str, db.execute(statement, params)) is not None
