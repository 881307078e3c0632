"""After a rotation nothing is under the old key. Contract: data-model.md §3, DM-12."""

from __future__ import annotations

from pathlib import Path

import pytest

from goclaw.domain.access import MASTER_TENANT, Caller, Role
from goclaw.domain.errors import Rejected
from goclaw.domain.ids import new_id
from goclaw.operations.context import Context, House
from goclaw.operations.secrets import RotateSecrets, rotate
from goclaw.runtime.child import child
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import open_system
from goclaw.security.box import Box, Place
from goclaw.settings.settings import Settings
from goclaw.stores.database import Database
from goclaw.stores.unit import Connection, many, transaction

OLD, NEW, LOST = b"o" * 32, b"n" * 32, b"l" * 32


@transaction
async def fill(db: Connection, providers: list[tuple[str, str | None]], record: bytes, run: str) -> None:
    for id, key in providers:
        await db.execute(
            "INSERT INTO llm_providers (id, tenant_id, name, api_key) VALUES (%s, %s, %s, %s)",
            [id, MASTER_TENANT, f"p{id}"[:50], key],
        )
    await db.execute(
        "INSERT INTO run_records (run_id, seq, tenant_id, kind, body_enc)"
        " VALUES (%s, 7, %s, 'tool', decode(%s, 'hex'))",
        [run, MASTER_TENANT, record.hex()],
    )


@transaction
async def kept(db: Connection) -> list[str]:
    return await many(str, db.execute("SELECT api_key FROM llm_providers WHERE api_key IS NOT NULL ORDER BY id"))


@transaction
async def body(db: Connection) -> list[str]:
    return await many(str, db.execute("SELECT encode(body_enc, 'hex') FROM run_records"))


async def test_a_rotation_reseals_all_it_can_open_and_names_the_rest(database: Database, tmp_path: Path) -> None:
    """SEC-31."""
    old, new = Box(OLD), Box(NEW, [OLD])
    ids = [new_id() for _ in range(405)]  # more than two batches
    places = [Place("llm_providers.api_key", id) for id in ids]
    rows = [(id, old.seal(f"key {n}", places[n])) for n, id in enumerate(ids)]
    rows[3] = (ids[3], Box(LOST).seal("lost", places[3]))
    rows[4] = (ids[4], "in clear, of long ago")
    run = new_id()
    record_place = Place("run_records.body_enc", f"{run}:7")
    await database.run(fill, [*rows, (new_id(), None)], old.seal_object({"a": 1}, record_place), run)
    async with open_system(database) as system:
        await system.start(child("", Supervisor))
        house = House(Settings(), system, "0", new_id(), 0, box=new)
        ctx = Context(house, Caller(user_id="lan", role=Role.ADMIN, is_owner=True))

        done = await rotate(ctx, RotateSecrets())

        assert (done.rotated, done.unreadable) == (405, [f"llm_providers.api_key:{ids[3]}"])
        alone = Box(NEW)
        found = await database.run(kept)
        assert [
            alone.unseal(value, place) for n, (value, place) in enumerate(zip(found, places, strict=True)) if n != 3
        ] == ["in clear, of long ago" if n == 4 else f"key {n}" for n in range(405) if n != 3]
        (sealed,) = await database.run(body)
        assert alone.unseal_object(bytes.fromhex(sealed), record_place) == {"a": 1}
        assert (await rotate(ctx, RotateSecrets())).rotated == 0, "there is nothing left"
        with pytest.raises(Rejected) as refused:
            await rotate(Context(house, Caller(user_id="lan", role=Role.ADMIN)), RotateSecrets())
        assert refused.value.err.code == "FORBIDDEN"
