"""What a run is told, read from a real store: first chats, users apart, the end of first contact."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.agent import AgentProfile
from goclaw.domain.ids import new_id
from goclaw.knowledge import templates
from goclaw.knowledge.context import Limits, Loaded, load
from goclaw.knowledge.context_files import Circumstances
from goclaw.stores import agents, context_files
from goclaw.stores.database import Database
from goclaw.stores.unit import Connection, transaction
from tests.profiles import scout


async def agent_of(database: Database, type: str = "open", **texts: str) -> AgentProfile:
    row = await database.run(
        agents.add,
        id=new_id(),
        tenant=MASTER_TENANT,
        agent_key="ada",
        owner_id="lan",
        values={"provider": "", "model": "", "agent_type": type, "display_name": "Ada"},
        texts={f"{name}.md": text for name, text in texts.items()},
        by="lan",
    )
    assert row is not None
    return scout(id=row.id, key="ada", name="Ada", agent_type=type)


async def told(database: Database, agent: AgentProfile, user: str = "lan", **when: Any) -> Loaded:
    limits = Limits(20_000, 24_000)
    circumstances = Circumstances(**when)
    return await load(database.run, agent, tenant=MASTER_TENANT, user=user, when=circumstances, limits=limits)


def texts(loaded: Loaded) -> dict[str, str]:
    return {file.name: file.text for file in loaded.files}


@transaction
async def finished(db: Connection, *, agent: str, turns: int, kind: str = "chat", user: str = "lan") -> None:
    """Rows as finished turns leave them."""
    for _ in range(turns):
        await db.execute(
            """
            INSERT INTO runs (run_id, tenant_id, agent_id, agent_key, user_id, session_key, kind, state, request, lane,
              shard, finished_at)
            VALUES (%(id)s, %(tenant)s, %(agent)s, 'ada', %(user)s, 'agent:ada:ws:direct:1', %(kind)s, 'SUCCEEDED',
              '{}', 'main', 0, now())
            """,
            {"id": new_id(), "tenant": MASTER_TENANT, "agent": agent, "kind": kind, "user": user},
        )


async def test_the_first_chat_with_an_open_agent_makes_its_files(database: Database) -> None:
    agent = await agent_of(database)

    first = await told(database, agent)

    assert list(texts(first)) == ["AGENTS.md", "SOUL.md", "IDENTITY.md", "BOOTSTRAP.md"], "the others are blank"
    assert texts(first)["SOUL.md"] == templates.filled("SOUL.md", agent="Ada")
    assert (first.first_contact, {file.scope for file in first.files}) == (True, {"user"})
    assert await told(database, agent) == first
    own = await database.run(context_files.of_user, tenant=MASTER_TENANT, agent=agent.id, user="lan")
    assert len(own) == 8


async def test_two_users_of_an_open_agent_do_not_see_each_others_edits(database: Database) -> None:
    """AL-25."""
    agent = await agent_of(database, SOUL="as the owner says")
    for user in ("lan", "minh"):
        assert texts(await told(database, agent, user))["SOUL.md"] == "as the owner says"
    named: dict[str, Any] = {"tenant": MASTER_TENANT, "agent": agent.id, "user": "lan", "by": "lan"}

    await database.run(context_files.write_own, **named, name="SOUL.md", content="mine")

    assert texts(await told(database, agent, "lan"))["SOUL.md"] == "mine"
    assert texts(await told(database, agent, "minh"))["SOUL.md"] == "as the owner says"


async def test_a_predefined_agent_is_the_same_for_everybody(database: Database) -> None:
    agent = await agent_of(database, "predefined", SOUL="fixed", USER_PREDEFINED="all of you")

    loaded = await told(database, agent)

    assert list(texts(loaded)) == ["SOUL.md", "USER_PREDEFINED.md", "BOOTSTRAP.md"]
    assert "settled" in texts(loaded)["BOOTSTRAP.md"]


async def test_runs_nobody_chats_in_make_no_files(database: Database) -> None:
    agent = await agent_of(database)

    assert (await told(database, agent, kind="cron")).files == ()
    assert await database.run(context_files.instances, tenant=MASTER_TENANT, agent=agent.id) == []


async def test_in_a_group_a_stranger_is_not_told_who_the_agent_is(database: Database) -> None:
    agent = await agent_of(database)

    loaded = await told(database, agent, group=True, writer=False)

    assert (list(texts(loaded)), loaded.hidden) == (["IDENTITY.md"], ("AGENTS.md", "SOUL.md"))


@pytest.mark.parametrize(("turns", "kind", "there"), [(2, "chat", True), (3, "chat", False), (3, "cron", True)])
async def test_the_third_turn_ends_first_contact(database: Database, turns: int, kind: str, there: bool) -> None:
    """AL-27, at the latest when the fourth turn begins."""
    agent = await agent_of(database)
    await told(database, agent)
    await told(database, agent, "minh")

    await database.run(finished, agent=agent.id, turns=turns, kind=kind)

    loaded = await told(database, agent)
    assert ("BOOTSTRAP.md" in texts(loaded), loaded.first_contact) == (there, there)
    assert (await told(database, agent, "minh")).first_contact
    own = await database.run(context_files.of_user, tenant=MASTER_TENANT, agent=agent.id, user="lan")
    assert ("BOOTSTRAP.md" in {text.name for text in own}) == there


async def test_starters_come_once_and_do_not_come_back(database: Database) -> None:
    seed: dict[str, Any] = {
        "tenant": MASTER_TENANT,
        "key": "default",
        "name": "G",
        "owner": "system",
        "more": templates.starters(),
    }

    async def there() -> list[str]:
        rows = await database.run(agents.visible, tenant=MASTER_TENANT, user="", everything=True)
        return [row.agent_key for row in rows]

    await database.run(agents.seed, id=new_id(), **seed)
    assert await there() == ["default", "coder", "researcher", "writer"]
    coder = await database.run(agents.find, tenant=MASTER_TENANT, name="coder")
    assert coder is not None
    assert (coder.agent_type, coder.provider, coder.workspace) == ("open", "", "coder")
    (soul,) = await database.run(context_files.of_agent, tenant=MASTER_TENANT, agent=coder.id)
    assert "programmer" in soul.content
    await database.run(agents.delete, tenant=MASTER_TENANT, id=coder.id, files=False)

    await database.run(agents.seed, id=new_id(), **seed)

    assert await there() == ["default", "researcher", "writer"]


async def test_two_nodes_that_begin_at_once_make_each_starter_once(database: Database) -> None:
    seed: dict[str, Any] = {"tenant": MASTER_TENANT, "key": "default", "name": "G", "owner": "system"}

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(partial(database.run, agents.seed, id=new_id(), **seed, more=templates.starters()))

    rows = await database.run(agents.visible, tenant=MASTER_TENANT, user="", everything=True)
    assert [row.agent_key for row in rows] == ["default", "coder", "researcher", "writer"]


async def test_a_store_that_had_agents_before_gets_no_starters(database: Database) -> None:
    await agent_of(database)

    await database.run(
        agents.seed,
        id=new_id(),
        tenant=MASTER_TENANT,
        key="default",
        name="G",
        owner="system",
        more=templates.starters(),
    )

    rows = await database.run(agents.visible, tenant=MASTER_TENANT, user="", everything=True)
    assert [row.agent_key for row in rows] == ["default", "ada"]


async def test_a_light_run_is_told_nothing_and_meets_nobody(database: Database) -> None:
    agent = await agent_of(database, AGENTS="Be brief.")
    when = Circumstances(kind="heartbeat")
    heavy = await load(database.run, agent, tenant=MASTER_TENANT, user="lan", when=when)
    light = await load(database.run, agent, tenant=MASTER_TENANT, user="lan", when=when, light=True)

    assert [file.name for file in heavy.files] == ["AGENTS.md"]
    assert light == Loaded()
