"""A provider makes a conversation shorter in its own way, or a model where it cannot. Contract: agent-loop.md §13.4."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.events import of_admins
from goclaw.domain.session import Earlier
from goclaw.domain.session_change import CompactSession, ResetSession
from goclaw.runtime.address import Address
from goclaw.runtime.inbox import inbox
from goclaw.settings.compaction import Compaction, MemoryFlush, Mode
from goclaw.settings.providers import Provider, Providers
from goclaw.settings.section import Secret
from goclaw.stores import sessions as rows
from goclaw.stores.database import Database
from goclaw.stores.unit import Connection, many, transaction
from tests.actors.house import KEY, house
from tests.actors.talk import PATIENCE, Talk
from tests.fakes.vendors.farm import Farm
from tests.fakes.vendors.script import Refuse, answer
from tests.fakes.vendors.vendor import Vendor

OWN: dict[str, Any] = {"user_id": "lan", "as_admin": False}
SEALED = {"/v1/responses/compact"}


@asynccontextmanager
async def conversation(
    database: Database, tmp_path: Path, vendor: Vendor, mode: Mode, *, able: bool = True
) -> AsyncIterator[Talk]:
    """Eight messages, of which six will go."""
    row = Provider(
        api_key=Secret("sk-1234567890"),
        api_base=f"{vendor.url}",
        models=("gpt-5",),
        protocol="responses",
        supports_responses_compact=able,
    )
    settings = Compaction(mode=mode, keep_last_messages=2, keep_share=0.0, memory_flush=MemoryFlush(enabled=False))
    async with house(database, tmp_path, providers=Providers(named={"openai": row}), compaction=settings) as system:
        talk = Talk(database, system, None, KEY)
        with inbox(system, Address("edge", "http", "ear"), "Ear", talk.hear) as ear:
            ear.join(of_admins(MASTER_TENANT))
            roles: list[Any] = ["user", "assistant"]
            earlier = tuple(Earlier(role=roles[n % 2], content=f"fact {n}") for n in range(6))
            vendor.will(answer("so it is"))
            await talk.ended((await talk.say("and that is all of it, I think", earlier=earlier)).run_id)
            yield talk


async def compact(talk: Talk) -> None:
    done = await talk.system.ask(talk.here, CompactSession(**OWN, keep=2), within=PATIENCE)
    assert (done.before, done.after, done.skipped) == (8, 2, False)


async def asked_next(talk: Talk, vendor: Vendor) -> list[Any]:
    """The items a vendor is asked with in the next turn."""
    vendor.will(answer("yes"))
    await talk.ended((await talk.say("are you sure of all that?")).run_id)
    items: list[Any] = vendor.bodies[-1]["input"]
    return items


async def summary(talk: Talk) -> str:
    row = await talk.database.run(rows.find, tenant=MASTER_TENANT, key=KEY)
    assert row is not None
    return row.summary or ""


@transaction(readonly=True)
async def markers(db: Connection) -> list[str]:
    query = "SELECT payload->>'mode' FROM session_messages WHERE payload->>'marker' = 'compacted'"
    return await many(str, db.execute(query))


async def test_what_the_provider_made_stands_for_what_was_said(database: Database, tmp_path: Path, farm: Farm) -> None:
    vendor = farm["openai"]
    async with conversation(database, tmp_path, vendor, "responses_compact") as talk:
        vendor.will(answer("they spoke of facts"))
        await compact(talk)
        items = await asked_next(talk, vendor)
        text = await summary(talk)

    assert [item["type"] for item in items] == [*["message"] * 4, "compaction", *["message"] * 3]
    assert text == "User: fact 0\nUser: fact 2\nUser: fact 4", "what another model can read of it"
    assert await database.run(markers) == ["responses_compact"]


async def test_it_is_made_shorter_again_with_what_was_made_before(
    database: Database, tmp_path: Path, farm: Farm
) -> None:
    vendor = farm["openai"]
    async with conversation(database, tmp_path, vendor, "responses_compact") as talk:
        vendor.will(answer("they spoke of facts"))
        await compact(talk)
        for _ in range(3):
            await asked_next(talk, vendor)
        vendor.will(answer("and were sure"))
        await talk.system.ask(talk.here, CompactSession(**OWN, keep=2), within=PATIENCE)
        again = vendor.bodies[-1]["input"]

    assert [item["type"] for item in again][:4] == [*["message"] * 3, "compaction"]
    assert not any("fact 1" in str(item) for item in again), "that is sealed by now"


async def test_both_are_a_summary_that_any_model_reads(database: Database, tmp_path: Path, farm: Farm) -> None:
    vendor = farm["openai"]
    async with conversation(database, tmp_path, vendor, "hybrid") as talk:
        vendor.will(answer("sealed"), answer("They agreed on six facts."))
        await compact(talk)
        folding = vendor.bodies[-1]
        items = await asked_next(talk, vendor)
        text = await summary(talk)

    assert "compaction" in [item["type"] for item in folding["input"]]
    assert text == "They agreed on six facts."
    assert "compaction" not in [item["type"] for item in items]
    assert text in str(items[0])
    assert await database.run(markers) == ["hybrid"]


@pytest.mark.parametrize("mode", ["responses_compact", "hybrid"])
@pytest.mark.parametrize("able", [False, True])
async def test_where_the_provider_cannot_a_model_writes_a_summary(
    database: Database, tmp_path: Path, farm: Farm, mode: Mode, able: bool
) -> None:
    vendor = farm["openai"]
    async with conversation(database, tmp_path, vendor, mode, able=able) as talk:
        if able:
            vendor.will(Refuse(400, "no such endpoint"))
        vendor.will(answer("Six facts."))
        with capture_logs() as lines:
            await compact(talk)
        text = await summary(talk)

    assert text == "Six facts."
    (warning,) = (line for line in lines if line["event"] == "session.provider_not_compacting")
    assert (warning["log_level"], warning["mode"]) == ("warning", mode)
    assert await database.run(markers) == ["summary"]


async def test_a_reset_leaves_nothing_of_it(database: Database, tmp_path: Path, farm: Farm) -> None:
    vendor = farm["openai"]
    async with conversation(database, tmp_path, vendor, "responses_compact") as talk:
        vendor.will(answer("they spoke of facts"))
        await compact(talk)
        await talk.system.ask(talk.here, ResetSession(**OWN, received_at=0), within=PATIENCE)
        items = await asked_next(talk, vendor)

    assert [item["type"] for item in items] == ["message"]
