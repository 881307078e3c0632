"""AL-37: what fills the window of a conversation's model adds up to it. Contract: agent-loop.md §20."""

from __future__ import annotations

from pathlib import Path

import pytest

from goclaw.domain.access import MASTER_TENANT, Caller, Role
from goclaw.domain.errors import Rejected
from goclaw.operations.commands import run_command
from goclaw.operations.context import Context, House
from goclaw.operations.session_context import PARTS, SessionContext, Use, context
from goclaw.settings.settings import Settings
from goclaw.stores import session_changes
from goclaw.stores.database import Database
from goclaw.stores.unit import Connection, transaction
from goclaw.tools.tool import collect
from tests.actors.house import house
from tests.stores.test_runs import KEY
from tests.stores.test_session_past import answered


@transaction
async def narrow(db: Connection, window: int) -> None:
    await db.execute("UPDATE agents SET context_window = %s", [window])


ASK = SessionContext(key=KEY)


def total(use: Use) -> int:
    return use.free + sum(getattr(use, name) for name in PARTS)


async def test_al_37_the_parts_sum_to_the_window(database: Database, tmp_path: Path) -> None:
    await answered(database)
    async with house(database, tmp_path, tools=collect("goclaw.tools")) as system:
        ctx = Context(House(Settings(), system, "0", "node", 0), Caller(user_id="lan", role=Role.VIEWER))
        before = await context(ctx, ASK)
        rows = await database.run(session_changes.live, tenant=MASTER_TENANT, key=KEY)
        await database.run(
            session_changes.archive, tenant=MASTER_TENANT, key=KEY, covered=rows[:1], summary="they met " * 50
        )
        after = await context(ctx, ASK)
        told = await run_command(ctx, "/context", KEY)

    assert (before.window, total(before)) == (after.window, total(after)) == (32_000, 32_000), "of the offline model"
    assert min(before.soul, before.messages, before.tools) > 0
    assert before.output == 4096
    assert not before.low
    assert before.summary == 0
    assert after.summary > 100
    assert 0 < after.messages < before.messages
    assert told is not None
    assert told.content.splitlines()[0] == "32000 tokens fit:"
    assert f"summary: {after.summary}" in told.content


async def test_a_small_window_is_low(database: Database, tmp_path: Path) -> None:
    await answered(database)
    await database.run(narrow, 2048)
    async with house(database, tmp_path) as system:
        ctx = Context(House(Settings(), system, "0", "node", 0), Caller(user_id="lan", role=Role.VIEWER))
        use = await context(ctx, ASK)
        told = await run_command(ctx, "/context", KEY)

    assert total(use) == 2048
    assert use.low
    assert told is not None
    assert "/compact" in told.content


async def test_nobody_sees_how_full_somebody_elses_conversation_is(database: Database, tmp_path: Path) -> None:
    await answered(database)
    async with house(database, tmp_path) as system:
        ctx = Context(House(Settings(), system, "0", "node", 0), Caller(user_id="eve", role=Role.OPERATOR))
        with pytest.raises(Rejected) as refused:
            await context(ctx, ASK)

    assert refused.value.err.code == "NOT_FOUND"
