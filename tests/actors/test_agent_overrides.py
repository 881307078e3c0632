"""Which model answers whom, and the end of first contact, in runs. Contract: agent-loop.md §19.5, §7.6."""

from __future__ import annotations

from pathlib import Path

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.address import agent
from goclaw.domain.agent import AGENTS, AgentChanged, GetProfile, TurnEnded
from goclaw.stores import agent_shares, context_files
from goclaw.stores.database import Database
from tests.actors.talk import talking


async def test_another_model_answers_one_user_only(database: Database, tmp_path: Path) -> None:
    """AL-30."""
    async with talking(database, tmp_path) as talk:
        profile = await talk.system.ask(agent(MASTER_TENANT, "default"), GetProfile(), within=5)
        await talk.database.run(
            agent_shares.put_override,
            tenant=MASTER_TENANT,
            agent=profile.id,
            user="lan",
            provider="fake",
            model="fixed-3",
            settings={"temperature": 0.2},
        )
        talk.system.publish(AGENTS, AgentChanged(tenant_id=MASTER_TENANT))

        for user in ("lan", "minh"):
            talk.key = f"agent:default:ws:direct:{user}"
            sent = await talk.say("hello", user=user)
            await talk.ended(sent.run_id)

    assert dict(talk.vendor.calls) == {"fixed-3": 1, "echo": 1}


async def test_the_third_turn_takes_bootstrap_away(database: Database, tmp_path: Path) -> None:
    """AL-27."""
    async with talking(database, tmp_path) as talk:
        profile = await talk.system.ask(agent(MASTER_TENANT, "default"), GetProfile(), within=5)
        named = {"tenant": MASTER_TENANT, "agent": profile.id, "user": "lan"}
        await database.run(context_files.meet, **named, seeds={"BOOTSTRAP.md": "ask", "USER.md": "who"})
        names = []
        for turn in range(3):
            sent = await talk.say(f"turn {turn}")
            await talk.ended(sent.run_id)
            talk.system.tell(agent(MASTER_TENANT, "default"), TurnEnded(user_id="lan"))
            await talk.system.ask(agent(MASTER_TENANT, "default"), GetProfile(), within=5)
            names.append([text.name for text in await database.run(context_files.of_user, **named)])

    assert names == [["BOOTSTRAP.md", "USER.md"], ["BOOTSTRAP.md", "USER.md"], ["USER.md"]]
