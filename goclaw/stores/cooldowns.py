"""Models that rest after a failure, so that a restart does not forget it. Table `provider_cooldowns`.

Contract: providers.md §9.2, data-model.md §5. A lost write costs one needless question (`synchronous_commit` off).
"""

from __future__ import annotations

from collections.abc import Sequence

from goclaw.domain.cooldown import FORGOTTEN, MOST, Rest
from goclaw.stores.unit import Connection, many, transaction

LOAD = """
SELECT model, key_slot AS slot, extract(epoch FROM until)::float8 AS until, reason, failures,
       extract(epoch FROM updated_at)::float8 AS at
FROM provider_cooldowns
WHERE tenant_id = %(tenant)s AND provider = %(provider)s AND updated_at > now() - %(kept)s * interval '1 second'
ORDER BY updated_at DESC LIMIT %(most)s
"""

RELAX = "SET LOCAL synchronous_commit = off"

KEEP = """
INSERT INTO provider_cooldowns (tenant_id, provider, model, key_slot, until, reason, failures, updated_at)
VALUES (%(tenant)s, %(provider)s, %(model)s, %(slot)s, to_timestamp(%(until)s), %(reason)s, %(failures)s,
        to_timestamp(%(at)s))
ON CONFLICT (tenant_id, provider, model, key_slot) DO UPDATE
SET until = EXCLUDED.until, reason = EXCLUDED.reason, failures = EXCLUDED.failures, updated_at = EXCLUDED.updated_at
"""

FORGET = """
DELETE FROM provider_cooldowns
WHERE tenant_id = %(tenant)s AND provider = %(provider)s AND model = %(model)s AND key_slot = ANY(%(slots)s)
"""

CLEAR = "DELETE FROM provider_cooldowns WHERE tenant_id = %(tenant)s AND provider = %(provider)s"


@transaction
async def load(db: Connection, *, tenant: str, provider: str) -> list[Rest]:
    """The last day's, the oldest first."""
    facts = {"tenant": tenant, "provider": provider, "kept": FORGOTTEN, "most": MOST}
    return (await many(Rest, db.execute(LOAD, facts)))[::-1]


@transaction
async def keep(db: Connection, *, tenant: str, provider: str, rest: Rest) -> None:
    await db.execute(RELAX)
    await db.execute(
        KEEP,
        {
            "tenant": tenant,
            "provider": provider,
            "model": rest.model,
            "slot": rest.slot,
            "until": rest.until,
            "reason": rest.reason,
            "failures": rest.failures,
            "at": rest.at,
        },
    )


@transaction
async def forget(db: Connection, *, tenant: str, provider: str, model: str, slots: Sequence[int]) -> None:
    await db.execute(RELAX)
    await db.execute(FORGET, {"tenant": tenant, "provider": provider, "model": model, "slots": list(slots)})


@transaction
async def clear(db: Connection, *, tenant: str, provider: str) -> None:
    """All of a provider: it is another one now."""
    await db.execute(CLEAR, {"tenant": tenant, "provider": provider})
