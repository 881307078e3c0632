"""Agents' files written by a model, by templates, and by whoever comes after a crash. Contract: agent-loop.md §19.6."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from goclaw.domain.access import MASTER_TENANT, Caller, Role
from goclaw.domain.agent import AGENTS, AgentChanged
from goclaw.domain.errors import Err, Rejected
from goclaw.domain.events import AgentEvent, of_user
from goclaw.domain.run import RunRequest
from goclaw.domain.session import SessionKey
from goclaw.operations import agent_changes, agent_summoning, agents, turns
from goclaw.operations.agent_changes import CreateAgent
from goclaw.operations.agent_shapes import Agent
from goclaw.operations.context import Context, House
from goclaw.operations.params import decode
from goclaw.runtime.address import Address
from goclaw.runtime.inbox import inbox
from goclaw.runtime.message import Message, Told
from goclaw.settings.providers import Provider, Providers
from goclaw.settings.section import Secret
from goclaw.settings.settings import Settings
from goclaw.stores import agents as rows
from goclaw.stores import context_files, summonings
from goclaw.stores.database import Database
from goclaw.stores.unit import Connection, transaction
from tests.actors.house import house as open_house
from tests.fakes.vendors.farm import Farm
from tests.fakes.vendors.script import Refuse, answer

FILES = ("SOUL.md", "IDENTITY.md", "USER_PREDEFINED.md", "CAPABILITIES.md")
FRONT = "---\nname: Ada\nemoji: 🦊\nsummary: Counts sheep\n---\n"
DESCRIPTION = "an agent that counts sheep"


def files(*names: str, of: str = "a model") -> str:
    return FRONT + "\n".join(f'<file name="{name}">\n# {name}\nby {of}\n</file>' for name in names)


def heard(farm: Farm) -> str:
    return farm["openai"].heard[-1].raw.decode()


class Fold:
    """A house in which agents are summoned, and what is heard of it."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.ctx = Context(house, Caller(user_id="lan", role=Role.ADMIN))
        self.steps: list[dict[str, Any]] = []
        self._news = trio.Event()

    def hear(self, message: Message[Any]) -> Told:
        if isinstance(message, AgentEvent) and message.type == "agent.summoning":
            self.steps.append(msgspec.json.decode(message.body))
            self._news.set()
            self._news = trio.Event()
        return Told.ACCEPTED

    async def summon(self, **more: Any) -> Agent:
        given = {"agent_key": "ada", "agent_type": "predefined", "description": DESCRIPTION, **more}
        return await agent_changes.create(self.ctx, decode(CreateAgent, given))

    async def ended(self, type: str = "completed", times: int = 1) -> dict[str, Any]:
        with trio.fail_after(15):
            while sum(step["type"] == type for step in self.steps) < times:
                await self._news.wait()
        return next(step for step in reversed(self.steps) if step["type"] == type)

    async def agent(self) -> Agent:
        return await agents.get_agent(self.ctx, agents.GetAgent(id="ada"))

    async def texts(self) -> dict[str, str]:
        found = await self.agent()
        stored = await self.ctx.db(context_files.of_agent, tenant=MASTER_TENANT, agent=found.id)
        return {text.name: text.content for text in stored}


@asynccontextmanager
async def fold(database: Database, tmp_path: Path, farm: Farm | None = None) -> AsyncIterator[Fold]:
    vendors = Providers(allow_private=True)
    if farm is not None:
        row = Provider(api_base=farm["openai"].url, api_key=Secret("key"), models=("gpt-4o",))
        vendors = Providers(allow_private=True, named={"groq": row})
    async with open_house(database, tmp_path, providers=vendors) as system:
        house = House(Settings(providers=vendors), system, "0", "node", 0)
        house.ownership.alone = True
        made = Fold(house)
        with inbox(system, Address("edge", "http", "ear"), "Ear", made.hear) as ear:
            ear.join(of_user(MASTER_TENANT, "lan"))
            yield made


async def refusal(asked: Any) -> Err:
    with pytest.raises(Rejected) as refused:
        await asked
    return refused.value.err


async def test_a_model_writes_the_files_of_a_new_agent(database: Database, tmp_path: Path, farm: Farm) -> None:
    farm["openai"].will(answer(files(*FILES)))
    async with fold(database, tmp_path, farm) as sheep:
        made = await sheep.summon()
        assert (made.status, made.description) == ("summoning", DESCRIPTION)

        await sheep.ended()

        types = [step["type"] for step in sheep.steps]
        assert types == ["started", *["file_generated"] * 4, "completed"]
        assert [step["file"] for step in sheep.steps[1:5]] == list(FILES)
        assert all(step["agent_id"] == step["agentId"] == made.id for step in sheep.steps)
        now = await sheep.agent()
        assert (now.status, now.display_name, now.emoji, now.frontmatter) == ("active", "Ada", "🦊", "Counts sheep")
        assert (await sheep.texts())["SOUL.md"] == "# SOUL.md\nby a model\n"
        assert DESCRIPTION in heard(farm)


async def test_an_unfit_answer_is_asked_for_in_two_parts(database: Database, tmp_path: Path, farm: Farm) -> None:
    farm["openai"].will(answer("I would love to!"), answer(files("SOUL.md", of="first")), answer(files(*FILES[1:])))
    async with fold(database, tmp_path, farm) as sheep:
        await sheep.summon()
        await sheep.ended()

        assert [step.get("file") for step in sheep.steps[1:-1]] == list(FILES)
        assert {name: text.split()[-1] for name, text in (await sheep.texts()).items()} == {
            "SOUL.md": "first",
            **dict.fromkeys(FILES[1:], "model"),
        }
        assert len(farm["openai"].heard) == 3


async def test_templates_are_the_last_resort(database: Database, tmp_path: Path, farm: Farm) -> None:
    farm["openai"].will(Refuse(401))
    async with fold(database, tmp_path, farm) as sheep:
        await sheep.summon(display_name="Bea")
        told = await sheep.ended()

        assert told["template"]
        assert told["error"]
        now = await sheep.agent()
        assert (now.status, now.summon_error) == ("active", told["error"])
        assert f"You are Bea: {DESCRIPTION}" in (await sheep.texts())["SOUL.md"]
        assert set(FILES) <= set(await sheep.texts())


async def test_offline_agents_begin_with_templates_at_once(database: Database, tmp_path: Path) -> None:
    async with fold(database, tmp_path) as sheep:
        await sheep.summon()
        told = await sheep.ended()

        assert (told["template"], told["offline"]) == (True, True)
        assert ((await sheep.agent()).status, (await sheep.agent()).summon_error) == ("active", None)


async def test_files_are_rewritten_as_wished_and_kept_if_that_fails(
    database: Database, tmp_path: Path, farm: Farm
) -> None:
    farm["openai"].will(answer(files(*FILES)), answer(files(*FILES, of="another")), Refuse(401))
    async with fold(database, tmp_path, farm) as sheep:
        await sheep.summon()
        await sheep.ended()

        begun = await agent_summoning.regenerate(sheep.ctx, agent_summoning.Regenerate(id="ada", prompt="be bolder"))
        assert begun.status == "summoning"
        await sheep.ended(times=2)
        assert "be bolder" in heard(farm)
        assert "by a model" in heard(farm)
        assert "another" in (await sheep.texts())["SOUL.md"]

        await agent_summoning.resummon(sheep.ctx, agent_summoning.Resummon(id="ada"))
        told = await sheep.ended("failed")
        assert ((await sheep.agent()).status, (await sheep.agent()).summon_error) == ("summon_failed", told["error"])
        assert "another" in (await sheep.texts())["SOUL.md"]


async def test_who_is_being_written_is_left_alone(database: Database, tmp_path: Path) -> None:
    async with fold(database, tmp_path) as sheep:
        await sheep.summon()
        await sheep.ended()
        found = await sheep.agent()
        await database.run(under_way_elsewhere, found.id)
        sheep.house.system.publish(AGENTS, AgentChanged(tenant_id=MASTER_TENANT))

        err = await refusal(say(sheep.ctx))
        assert (err.code, err.details["status"]) == ("UNAVAILABLE", "summoning"), "AL-36"
        for asked in (
            agent_summoning.regenerate(sheep.ctx, agent_summoning.Regenerate(id="ada")),
            agent_summoning.resummon(sheep.ctx, agent_summoning.Resummon(id="ada")),
            agent_changes.update(sheep.ctx, agent_changes.UpdateAgent(id="ada", model="x")),
        ):
            err = await refusal(asked)
            assert (err.code, err.details["reason"]) == ("FAILED_PRECONDITION", "summoning")
        open_one = decode(CreateAgent, {"agent_key": "open"})
        await agent_changes.create(sheep.ctx, open_one)
        err = await refusal(agent_summoning.regenerate(sheep.ctx, agent_summoning.Regenerate(id="open")))
        assert err.code == "INVALID_REQUEST"


async def say(ctx: Context) -> None:
    of, key = await turns.resolve_agent(ctx, "ada"), SessionKey("ada", "ws:direct:1")
    await turns.send(ctx, run_id=ctx.new_id(), agent=of, key=key, kind="chat", request=RunRequest(message="hi"))


@transaction
async def under_way_elsewhere(db: Connection, agent: str) -> None:
    """Another node works on it."""
    await summonings.begin(db, tenant=MASTER_TENANT, agent=agent, wish=None, by="lan")
    await db.execute(
        "UPDATE agent_summonings SET leased_until = now() + interval '1 hour' WHERE agent_id = %(agent)s",
        {"agent": agent},
    )


@transaction
async def half_done(db: Connection, agent: str, attempts: int) -> None:
    """As a process leaves it that was killed in the middle."""
    await db.execute(
        "UPDATE agent_summonings SET leased_until = now() - interval '1 s', attempts = %s WHERE agent_id = %s",
        [attempts, agent],
    )


@pytest.mark.parametrize(("attempts", "end", "status"), [(1, "completed", "active"), (3, "failed", "summon_failed")])
async def test_a_restart_in_the_middle_goes_on_or_gives_up(
    database: Database, tmp_path: Path, attempts: int, end: str, status: str
) -> None:
    row = await database.run(
        rows.add,
        id="0193a5b0-7000-7000-8000-0000000000aa",
        tenant=MASTER_TENANT,
        agent_key="ada",
        owner_id="lan",
        values={
            "provider": "",
            "model": "",
            "agent_type": "predefined",
            "description": DESCRIPTION,
            "status": "summoning",
        },
        texts={},
        by="lan",
    )
    assert row is not None
    await database.run(half_done, row.id, attempts)

    async with fold(database, tmp_path) as sheep:
        with trio.fail_after(15):
            while (await sheep.agent()).status == "summoning":
                await trio.lowlevel.checkpoint()

        assert (await sheep.agent()).status == status
        assert bool((await sheep.agent()).summon_error) == (end == "failed")


async def test_words_of_one_who_lost_the_lease_do_not_count(database: Database) -> None:
    row = await database.run(
        rows.add,
        id="0193a5b0-7000-7000-8000-0000000000aa",
        tenant=MASTER_TENANT,
        agent_key="ada",
        owner_id="lan",
        values={"provider": "", "model": "", "agent_type": "predefined", "status": "summoning"},
        texts={},
        by="lan",
    )
    assert row is not None
    (slow,) = await database.run(summonings.claim, most=9, alone=False, but=[])
    assert await database.run(summonings.claim, most=9, alone=False, but=[]) == []
    await database.run(half_done, row.id, 1)
    (fast,) = await database.run(summonings.claim, most=9, alone=False, but=[])

    texts = {"SOUL.md": "slow"}
    assert not await database.run(summonings.renew, slow)
    assert not await database.run(summonings.keep, slow, texts=texts)
    assert not await database.run(summonings.finish, slow, texts=texts, name="", emoji="", summary="", error="")
    assert not await database.run(summonings.fail, slow, error="late")
    assert await database.run(context_files.of_agent, tenant=MASTER_TENANT, agent=row.id) == []
    assert await database.run(summonings.renew, fast)
    assert await database.run(
        summonings.finish, fast, texts={"SOUL.md": "fast"}, name="", emoji="", summary="", error=""
    )
