from __future__ import annotations

import psycopg
import pytest

from goclaw.domain.ids import new_id
from goclaw.stores import tenants
from goclaw.stores.database import Database


async def test_a_fresh_database_has_the_master_tenant(database: Database) -> None:
    master = await database.run(tenants.get, tenants.MASTER)
    assert master is not None
    assert (master.slug, master.name, master.status, master.settings) == ("master", "Master", "active", {})


async def test_tenants_are_added_found_and_listed_by_slug(database: Database) -> None:
    added = [await database.run(tenants.add, id=new_id(), slug=slug, name=slug.title()) for slug in ("zoo", "acme")]
    assert await database.run(tenants.get, added[0].id) == added[0]
    assert await database.run(tenants.get, new_id()) is None
    assert [tenant.slug for tenant in await database.run(tenants.page)] == ["acme", "master", "zoo"]
    assert [tenant.slug for tenant in await database.run(tenants.page, after="acme", limit=1)] == ["master"]


@pytest.mark.parametrize("slug", ["Master", "-a", "a_b", ""])
async def test_a_slug_that_would_not_fit_a_url_is_refused(database: Database, slug: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        await database.run(tenants.add, id=new_id(), slug=slug, name="x")
