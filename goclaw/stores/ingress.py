"""What came in before. Table `ingress_log` (migration 0016).

Two kinds of names live there: idempotency keys of clients, which are good for a day, and ids of messages that a
platform may deliver again for a week. Contract: durability.md §7.1, sessions-lanes-cron.md §9.6, data-model.md §18.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from goclaw.domain.session import Terms
from goclaw.stores import run_acceptance, run_intake
from goclaw.stores.run_acceptance import Stored
from goclaw.stores.sessions import NewMessage
from goclaw.stores.unit import Connection, maybe, one, transaction

KEY_HOURS = 24  # life of an idempotency key; sessions-lanes-cron.md §9.6


class First(Struct, frozen=True, kw_only=True):
    """The run an idempotency key was used for, and the hash of what was asked then."""

    run_id: str
    session_key: str
    request_hash: str | None


class Answer(Struct, frozen=True, kw_only=True):
    """What was answered to the first request with a key. No status: that one is not done, or died."""

    request_hash: str | None
    status: int | None
    body: str | None
    age: float  # seconds since the first request


class Seen(Struct, frozen=True, kw_only=True):
    """What a platform's message became when it came for the first time."""

    run_id: str | None
    request_hash: str | None


FIND = """
SELECT i.run_id, r.session_key, i.request_hash
FROM ingress_log i JOIN runs r ON r.run_id = i.run_id
WHERE i.tenant_id = %(tenant)s AND i.source = %(source)s AND i.external_id = %(id)s AND i.expires_at > now()
  AND NOT r.discarded
"""

TAKE = """
WITH taken AS (
  INSERT INTO ingress_log AS i (tenant_id, source, external_id, run_id, request_hash, expires_at)
  VALUES (%(tenant)s::uuid, %(source)s, %(id)s, %(run)s::uuid, %(hash)s, now() + make_interval(hours => %(hours)s))
  ON CONFLICT (tenant_id, source, external_id) DO UPDATE SET run_id = excluded.run_id,
    request_hash = excluded.request_hash, received_at = now(), expires_at = excluded.expires_at
  WHERE i.expires_at <= now()
  RETURNING 1
), freed AS (
  UPDATE runs SET ingress_key = NULL
  WHERE tenant_id = %(tenant)s::uuid AND ingress_key = %(key)s AND EXISTS (SELECT FROM taken)
)
SELECT count(*) = 1 FROM taken
"""  # waits for whoever takes the same key at this moment: one of the two finds it taken

FREE = """
DELETE FROM ingress_log WHERE tenant_id = %(tenant)s AND source = %(source)s AND external_id = %(id)s
"""

HOLD = """
WITH held AS (
  INSERT INTO ingress_log AS i (tenant_id, source, external_id, request_hash, expires_at)
  VALUES (%(tenant)s::uuid, %(source)s, %(id)s, %(hash)s, now() + make_interval(hours => %(hours)s))
  ON CONFLICT (tenant_id, source, external_id) DO UPDATE SET run_id = NULL, request_hash = excluded.request_hash,
    response = NULL, received_at = now(), expires_at = excluded.expires_at
  WHERE i.expires_at <= now()
  RETURNING 1
)
SELECT count(*) = 1 FROM held
"""

SEEN = """
WITH new AS (
  INSERT INTO ingress_log AS i (tenant_id, source, external_id, run_id, request_hash)
  VALUES (%(tenant)s::uuid, %(source)s, %(id)s, %(run)s::uuid, %(hash)s)
  ON CONFLICT (tenant_id, source, external_id) DO UPDATE SET run_id = i.run_id WHERE false RETURNING 1
)
SELECT count(*) = 1 FROM new
"""  # one that is there is locked, so it does not vanish before it is read


@transaction(readonly=True)
async def find(db: Connection, *, tenant: str, key: str) -> First | None:
    """What a key that is still good was used for."""
    return await maybe(First, db.execute(FIND, {"tenant": tenant, **_name(key)}))


@transaction
async def accept(
    db: Connection,
    /,
    *,
    tenant: str,
    run_id: str,
    ingress_key: str,
    request_hash: str,
    earlier: Sequence[NewMessage] = (),
    terms: Terms | None = None,
    **turn: Any,
) -> Stored | First:
    """As `run_acceptance.accept`, once per key: whoever comes second is told of the first and stores nothing."""
    first = await _use(db, tenant=tenant, key=ingress_key, run_id=run_id, request_hash=request_hash)
    if first is not None:
        return first
    turn = {**turn, "tenant": tenant, "run_id": run_id, "ingress_key": ingress_key, "request_hash": request_hash}
    if terms is not None:
        stored: Stored = await run_intake.accept(db, run_acceptance.accept, terms=terms, **turn)
        return stored
    if earlier:
        return await run_acceptance.accept_with_history(db, earlier=earlier, **turn)
    return await run_acceptance.accept(db, **turn)


async def take(db: Connection, *, tenant: str, key: str, run_id: str, request_hash: str) -> bool:
    """Use a key for a run, in the transaction that stores the run. False if it is used already."""
    return await _use(db, tenant=tenant, key=key, run_id=run_id, request_hash=request_hash) is None


async def _use(db: Connection, *, tenant: str, key: str, run_id: str, request_hash: str) -> First | None:
    """What the key was used for before; None if it is ours now. One whose run is gone is free."""
    params = {"tenant": tenant, "key": key, "run": run_id, "hash": request_hash, "hours": KEY_HOURS, **_name(key)}
    if await one(bool, db.execute(TAKE, params)):
        return None
    first = await maybe(First, db.execute(FIND, params))  # nobody else comes between: the key's row is locked
    if first is None:
        await db.execute(FREE, params)
        await db.execute(TAKE, params)
    return first


async def first(db: Connection, *, tenant: str, key: str) -> First:
    """Whoever used a key that could not be taken."""
    return await one(First, db.execute(FIND, {"tenant": tenant, **_name(key)}))


@transaction
async def hold(db: Connection, *, tenant: str, key: str, request_hash: str) -> Answer | None:
    """Keep a key for a request that starts no run. If it was used before: what came of that."""
    params = {"tenant": tenant, "hash": request_hash, "hours": KEY_HOURS, **_name(key)}
    if await one(bool, db.execute(HOLD, params)):
        return None
    query = """
    SELECT request_hash, (response->>'status')::int AS status, response->>'body' AS body,
      extract(epoch FROM now() - received_at)::float8 AS age FROM ingress_log
    WHERE tenant_id = %(tenant)s AND source = %(source)s AND external_id = %(id)s
    """
    return await one(Answer, db.execute(query, {"tenant": tenant, **_name(key)}))


@transaction(retry_safe=True, single=True)
async def answered(db: Connection, *, tenant: str, key: str, status: int, body: str) -> None:
    """What whoever comes back with the key will get."""
    query = """
    UPDATE ingress_log SET response = %(response)s
    WHERE tenant_id = %(tenant)s AND source = %(source)s AND external_id = %(id)s
    """
    await db.execute(query, {"tenant": tenant, "response": {"status": status, "body": body}, **_name(key)})


@transaction(retry_safe=True, single=True)
async def let_go(db: Connection, *, tenant: str, key: str) -> None:
    """The request was refused and changed nothing: the key is free."""
    query = """
    DELETE FROM ingress_log
    WHERE tenant_id = %(tenant)s AND source = %(source)s AND external_id = %(id)s AND response IS NULL
    """
    await db.execute(query, {"tenant": tenant, **_name(key)})


@transaction
async def seen(
    db: Connection, *, tenant: str, source: str, external_id: str, run_id: str | None, request_hash: str | None = None
) -> Seen | None:
    """Note that a platform's message came and is `run_id`. If it came before: what it became then, nothing is noted.

    Called in the transaction that accepts the run, so that a message is noted only together with its turn.
    """
    params = {"tenant": tenant, "source": source, "id": external_id, "run": run_id, "hash": request_hash}
    if await one(bool, db.execute(SEEN, params)):
        return None
    query = """
    SELECT run_id, request_hash FROM ingress_log
    WHERE tenant_id = %(tenant)s AND source = %(source)s AND external_id = %(id)s
    """
    return await one(Seen, db.execute(query, params))


def _name(key: str) -> dict[str, str]:
    """`ws:…` and `http:…` as source and id."""
    source, _, id = key.partition(":")
    return {"source": source, "id": id}
