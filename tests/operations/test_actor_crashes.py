"""Crashes as they were written down, by who asks. Contract: edge-http.md §26.1."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.ids import new_id
from goclaw.operations.actor_crashes import ListCrashes, list_crashes
from goclaw.operations.context import Context, House
from goclaw.runtime.system import open_system
from goclaw.settings.settings import Settings
from goclaw.stores import actor_log
from goclaw.stores.actor_log import Entry
from goclaw.stores.database import Database
from tests.operations.test_actor_sight import ADA, ADAS, ADMIN, BOB, BOBS, OWNER, RUN

NODE = new_id()
CAUSE = "a" * 16


def crash(path: str, second: int, **more: Any) -> Entry:
    return Entry(
        id=new_id(), at=datetime(2026, 11, 20, 9, 0, second, tzinfo=UTC), node_id=NODE, path=str(path), kind="io",
        incarnation=1, event="crashed", error_type="Boom", error_message=f"secret {second}", fingerprint=CAUSE,
        in_hand_type="say", by="ann", traceback="Traceback", **more,
    )  # fmt: skip


async def asked(database: Database, caller: Any, **wanted: Any) -> list[dict[str, Any]]:
    async with open_system(database) as system:
        found = await list_crashes(Context(House(Settings(), system, "0", NODE, 0), caller), ListCrashes(**wanted))
    return list(found["groups" if wanted.get("group") else "crashes"])


@pytest.mark.parametrize("path", [ADAS, RUN])
async def test_a_hidden_crash_says_nothing_and_its_path_finds_nothing(database: Database, path: str) -> None:
    await database.run(actor_log.append, [crash(path, 1, tenant_id=MASTER_TENANT)])

    (hidden,) = await asked(database, BOB)
    assert hidden["redacted"]
    assert "~" in hidden["path"]
    assert (hidden["error_message"], hidden["in_hand_type"], hidden["by"]) == (None, None, None)
    assert "traceback" not in hidden
    assert await asked(database, BOB, path=path) == await asked(database, BOB, path=path, group=True) == []


async def test_a_run_of_an_earlier_process_is_known_to_the_admins_of_its_tenant(database: Database) -> None:
    run, foreign = [crash(f"{RUN}{n}", n, tenant_id=tenant) for n, tenant in enumerate((MASTER_TENANT, None))]
    await database.run(actor_log.append, [run, foreign])

    hidden, known = await asked(database, ADMIN)
    assert (known["path"], known["error_message"]) == (run.path, "secret 0")
    assert (hidden["redacted"], hidden["error_message"]) == (True, None)
    assert len(await asked(database, ADMIN, path=run.path)) == 1
    assert len(await asked(database, ADMIN, path=run.path, group=True)) == 1
    assert await asked(database, ADMIN, path=foreign.path) == []
    assert [one["path"] for one in await asked(database, OWNER)] == [foreign.path, run.path]


async def test_a_group_shows_no_message_of_a_hidden_actor_however_many_there_are(database: Database) -> None:
    entries = [crash(f"/a{n:02}", n, tenant_id=MASTER_TENANT) for n in range(20)]
    await database.run(actor_log.append, [*entries, crash(ADAS, 40, tenant_id=MASTER_TENANT)])

    (group,) = await asked(database, BOB, group=True)
    assert (group["count"], group["error_message"], group["redacted"]) == (21, None, True)
    assert set(group["paths"]) == {entry.path for entry in entries}
    assert not {"actors", "said_by"} & set(group)
    (group,) = await asked(database, OWNER, group=True)
    assert group["error_message"] == "secret 40"


async def test_a_group_whose_latest_is_known_shows_its_message(database: Database) -> None:
    await database.run(actor_log.append, [crash(BOBS, 1), crash("/a", 2)])
    (group,) = await asked(database, ADA, group=True)
    assert group["error_message"] == "secret 2"
    assert BOBS not in group["paths"]
