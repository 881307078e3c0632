"""Which policies were in force, by version. Table `policy_versions` (migration 0026)."""

from __future__ import annotations

from typing import Any

from goclaw.stores.unit import Connection, many, transaction

KEEP = """
INSERT INTO policy_versions (version, content, source, loaded_by)
VALUES (%(version)s, %(content)s, %(source)s, %(by)s)
ON CONFLICT (version) DO NOTHING
"""

SLUGS = "SELECT jsonb_build_array(id, slug) FROM tenants ORDER BY slug LIMIT 100000"


@transaction(retry_safe=True, single=True)
async def keep(db: Connection, *, version: str, content: dict[str, Any], source: str, by: str) -> None:
    """Write a version down; one that is known stays as it is."""
    await db.execute(KEEP, {"version": version, "content": content, "source": source, "by": by[:255]})


@transaction(readonly=True)
async def slugs(db: Connection) -> dict[str, str]:
    """Of every tenant, by id."""
    return dict(await many(tuple[str, str], db.execute(SLUGS)))
