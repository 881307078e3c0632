"""Whom a message of a chat goes to. Contract: orchestration.md §10, §10.2."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from goclaw.domain.access import Caller, Role
from goclaw.domain.errors import Rejected
from goclaw.domain.ids import new_id
from goclaw.domain.session import SessionKey, parse_key
from goclaw.operations import agent_changes, chat, session_changes
from goclaw.operations.addressing import Aim, aimed, current
from goclaw.operations.command_reply import CommandReply
from goclaw.operations.context import Context, House
from goclaw.operations.params import decode
from goclaw.settings.agents import AgentDefaults, Agents
from goclaw.settings.settings import Settings
from goclaw.stores.database import Database
from tests.actors.house import house as open_house

CHAT = parse_key("agent:default:ws:direct:1")
GROUP = parse_key("agent:default:telegram:group:-100")


@pytest.fixture
async def house(database: Database, tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(database, tmp_path) as system:
        settings = Settings(agents=Agents(defaults=AgentDefaults(workspace=tmp_path)))
        made = House(settings, system, "0", new_id(), 0)
        made.ownership.alone = True
        for key in ("ada", "adam"):
            await agent_changes.create(as_(made, "lan"), decode(agent_changes.CreateAgent, {"agent_key": key}))
        yield made


def as_(house: House, user: str, role: Role = Role.OPERATOR) -> Context:
    return Context(house, Caller(user_id=user, role=role))


async def aim(ctx: Context, message: str, key: SessionKey | None = CHAT) -> Aim:
    found = await aimed(ctx, message, key, None)
    assert isinstance(found, Aim)
    return found


async def reply(ctx: Context, message: str, key: SessionKey | None = CHAT) -> str:
    said = await aimed(ctx, message, key, None)
    assert isinstance(said, CommandReply)
    return said.content


async def whom(ctx: Context, key: SessionKey = CHAT) -> str:
    return (await aim(ctx, "and now?", key)).agent.key


async def send(ctx: Context, message: str, key: str = str(CHAT)) -> chat.SentChat | CommandReply:
    done = await chat.send_chat(ctx, decode(chat.SendChat, {"message": message, "session_key": key}))
    assert not isinstance(done, chat.AbortedChat)
    return done


async def test_a_mention_is_for_one_message(house: House) -> None:
    lan = as_(house, "lan")

    once = await aim(lan, "@ada look here")

    assert (once.agent.key, str(once.key), once.text, once.named) == ("ada", "agent:ada:ws:direct:1", "look here", True)
    assert await whom(lan) == "default"


async def test_a_choice_sticks_until_the_chat_goes_home(house: House) -> None:
    lan = as_(house, "lan")

    said = await reply(lan, "@ada")
    chosen = await aim(lan, "and now?")
    other_chat = await whom(lan, parse_key("agent:default:ws:direct:2"))
    once = await aim(lan, "@adam you?")
    with_text = await aim(lan, "@@adam go")
    then = await whom(lan)
    home = await reply(lan, "@@default")

    assert said == "Agent ada answers here."
    assert (chosen.agent.key, str(chosen.key), chosen.named) == ("ada", "agent:ada:ws:direct:1", False)
    assert (other_chat, once.agent.key, with_text.agent.key, with_text.text, then) == (
        "default", "adam", "adam", "go", "adam",
    )  # fmt: skip
    assert home == "This chat's own agent answers again."
    assert await whom(lan) == "default"


async def test_a_choice_is_its_users_alone(house: House) -> None:
    """In a group each has his own; and nobody turns the chat of somebody else."""
    lan, minh = as_(house, "lan"), as_(house, "minh", Role.ADMIN)

    await reply(lan, "@ada", GROUP)

    assert (await whom(lan, GROUP), await whom(minh, GROUP)) == ("ada", "default")


async def test_nobody_of_that_name_is_said_with_names_like_it_and_nothing_runs(house: House) -> None:
    lan = as_(house, "lan")

    assert await reply(lan, "@adaa hello") == "There is no agent adaa. Did you mean @ada, @adam?"
    assert await reply(lan, "@zzz") == "There is no agent zzz."
    assert await reply(lan, "@all hello") == "@all is for teams; name one agent."


async def test_an_agent_one_may_not_see_is_as_unknown(house: House) -> None:
    minh = as_(house, "minh")

    assert await reply(minh, "@ada hello") == "There is no agent ada."
    assert await reply(minh, "@@ada") == "There is no agent ada."
    assert await whom(minh) == "default"


async def test_people_are_named_in_groups(house: House) -> None:
    said = await aim(as_(house, "lan"), "@minh are you coming?", GROUP)

    assert (said.agent.key, said.text, said.named) == ("default", "@minh are you coming?", False)


async def test_a_choice_that_leads_nowhere_is_forgotten(house: House) -> None:
    lan, admin = as_(house, "lan"), as_(house, "root", Role.ADMIN)
    await reply(admin, "@ada")
    await agent_changes.delete(lan, decode(agent_changes.DeleteAgent, {"id": "ada"}))

    assert await whom(admin) == "default"
    await agent_changes.create(lan, decode(agent_changes.CreateAgent, {"agent_key": "ada"}))
    assert await whom(admin) == "default"


async def test_a_conversation_may_begin_with_a_choice(house: House) -> None:
    lan = as_(house, "lan")

    said = await aimed(lan, "@@ada", None, None)
    assert isinstance(said, CommandReply)
    key = parse_key(said.session_key)
    begun = await aim(lan, "@@ada hello", None)

    assert key.agent_key == "ada"
    assert (await current(lan, SessionKey("default", key.rest))).agent_key == "ada"
    assert begun.key is not None
    assert begun.key.agent_key == begun.agent.key == "ada"


async def test_sessions_in_which_nobody_talks_are_left_alone(house: House) -> None:
    said = await aim(as_(house, "lan"), "@ada hello", parse_key("agent:default:cron:nightly"))

    assert (said.agent.key, said.text) == ("default", "@ada hello")


async def test_a_turn_runs_where_it_was_sent_and_commands_go_along(house: House) -> None:
    lan = as_(house, "lan")

    once = await send(lan, "@ada one")
    switched = await send(lan, "/agent @adam")
    then = await send(lan, "two")
    listed = await send(lan, "/agents")
    status = await send(lan, "/status")
    await send(lan, "/agent default")
    home = await send(lan, "three")

    assert isinstance(switched, CommandReply)
    assert (once.session_key, then.session_key, home.session_key) == (
        "agent:ada:ws:direct:1", "agent:adam:ws:direct:1", str(CHAT),
    )  # fmt: skip
    assert switched.content == "Agent adam answers here."
    assert "Answering here: adam" in (listed.content or "")
    assert "Agent adam with" in (status.content or "")
    assert "2 messages" in (status.content or "")


async def test_with_a_session_goes_the_choice(house: House) -> None:
    lan = as_(house, "lan")
    await send(lan, "hello")
    await reply(lan, "@ada")

    await session_changes.delete(lan, session_changes.SessionName(key=str(CHAT)))

    assert await whom(lan) == "default"


async def test_a_choice_outlives_the_gateway(database: Database, tmp_path: Path) -> None:
    for life in range(2):
        async with open_house(database, tmp_path) as system:
            house = House(Settings(), system, "0", new_id(), 0)
            house.ownership.alone = True
            lan = as_(house, "lan")
            if not life:
                await agent_changes.create(lan, decode(agent_changes.CreateAgent, {"agent_key": "ada"}))
                await reply(lan, "@ada")
            chosen = await whom(lan)

    assert chosen == "ada"


async def test_a_key_of_another_agent_is_still_refused(house: House) -> None:
    with pytest.raises(Rejected):
        await aimed(as_(house, "lan"), "hello", CHAT, "ada")
