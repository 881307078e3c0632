"""Answers in the chat where an agent asked, and texts that only look like one. Contract: tools.md §12.3."""

from __future__ import annotations

from pathlib import Path

import pytest
from trio.testing import MockClock

from goclaw.domain.access import MASTER_TENANT, Caller, Role
from goclaw.domain.errors import Rejected
from goclaw.domain.ids import new_id
from goclaw.domain.session import parse_key
from goclaw.operations import approvals
from goclaw.operations.approvals import Deny
from goclaw.operations.chat_answers import answered_in_chat
from goclaw.operations.context import Context
from goclaw.settings.approval import ExecApproval
from goclaw.settings.section import Id
from goclaw.stores.database import Database
from tests.actors.engine.test_approvals import MISSES, Broker, broker, standing

HERE = "agent:default:ws:direct:1"
GROUP = "agent:default:telegram:group:-100"
ANN = Caller(user_id="ann", role=Role.OPERATOR)


async def said(here: Broker, text: str, caller: Caller = ANN, key: str = HERE) -> str | None:
    """The reply; None: it is for the agent."""
    done = await answered_in_chat(Context(here.house, caller), text, parse_key(key))
    return None if done is None else f"{done.command}: {done.content}"


async def asks(here: Broker, command: str = "curl x", call: str = "c1", key: str = HERE) -> str:
    """The code people are shown."""
    await here.begin(here.wish(command, call, session_key=key))
    code: str = here.news[-1][1]["detail"]["shortCode"]
    return code


@pytest.mark.parametrize(
    ("text", "reply", "ends"),
    [
        ("{code} yes", "approve: Allowed once: {code}.", "allow_once"),
        (" {lower}  YES\n", "approve: Allowed once: {code}.", "allow_once"),
        ("{code} always", "approve: Allowed from now on: {code}.", "allow_always"),
        ("{code} no", "deny: Refused: {code}.", "deny"),
        ("1", "approve: Allowed once: {code}.", "allow_once"),
        (" 2 ", "deny: Refused: {code}.", "deny"),
    ],
)
async def test_a_word_answers_in_the_chat_where_it_was_asked(
    database: Database, mock_clock: MockClock, text: str, reply: str, ends: str
) -> None:
    async with broker(database) as here:
        code = await asks(here)

        told = await said(here, text.format(code=code, lower=code.lower()))

        assert told == reply.format(code=code)
        assert (await here.end() == "run") is (ends != "deny")
        assert await database.run(standing) == [ends]
        assert here.news[-1][1]["by"] == "ann"


NEAR = (
    "{code}",
    "yes",
    "yes {code}",
    "{code} yes please",
    "I say {code} yes",
    "{code} maybe",
    "{code}yes",
    "{code}\nyes",
    "{code} yes.",
    "{code} \u0443es",
    "{code} yes always",
    "AAAAAA yes",
    "{short} yes",
    "1.",
    "11",
    "0",
    "3",
    "1 2",
    "１",
    "no",
    "always",
)


async def test_a_text_that_only_contains_such_words_is_for_the_agent(database: Database, mock_clock: MockClock) -> None:
    async with broker(database) as here:
        code = await asks(here)
        for text in NEAR:
            assert await said(here, text.format(code=code, short=code[:5])) is None, text
        for key in ("agent:default:ws:direct:2", "agent:default:cron:1", "agent:default:ws:direct:11"):
            for text in (f"{code} yes", "1"):
                assert await said(here, text, Caller(user_id="root", role=Role.ADMIN), key) is None, key

        assert await database.run(standing) == ["pending"]


async def test_another_agent_of_the_same_chat_may_have_asked_and_a_number_is_for_the_newest(
    database: Database, mock_clock: MockClock
) -> None:
    async with broker(database) as here:
        assert await said(here, "1") is None
        await asks(here)
        second = await asks(here, "curl y", "c2", "agent:scout:ws:direct:1")
        await asks(here, "curl z", "c3", "agent:default:ws:direct:2")

        assert await said(here, "2") == f"deny: Refused: {second}."

        assert await database.run(standing) == ["pending", "deny", "pending"]


async def test_the_first_answer_counts_and_a_later_one_hears_so(database: Database, mock_clock: MockClock) -> None:
    async with broker(database) as here:
        code = await asks(here)
        await here.as_("ann", approvals.deny, Deny, id="exec-1")

        with pytest.raises(Rejected, match="approval_gone"):
            await said(here, f"{code} yes")

        assert await said(here, "1") is None
        assert await database.run(standing) == ["deny"]


@pytest.mark.parametrize(
    ("user", "role", "approvers", "key", "may"),
    [
        ("ann", Role.OPERATOR, (), HERE, True),
        ("ann", Role.OPERATOR, (), GROUP, False),
        ("ann", Role.OPERATOR, ("bob",), HERE, False),
        ("ann", Role.OPERATOR, ("bob",), GROUP, False),
        ("bob", Role.OPERATOR, (), GROUP, False),
        ("bob", Role.OPERATOR, ("bob",), GROUP, True),
        ("system", Role.OPERATOR, (), GROUP, True),
        ("system", Role.OPERATOR, ("bob",), GROUP, False),
        ("root", Role.ADMIN, (), GROUP, True),
    ],
)
async def test_on_a_platform_those_named_answer_else_the_owner_of_the_agent_and_admins(
    database: Database,
    mock_clock: MockClock,
    tmp_path: Path,
    user: str,
    role: Role,
    approvers: tuple[str, ...],
    key: str,
    may: bool,
) -> None:
    """Who asked is only one of those who write there; the agent is `system`'s."""
    settings = ExecApproval(ask="always", approvers=tuple(map(Id, approvers)))
    async with broker(database, settings, agents=tmp_path) as here:
        code, caller = await asks(here, "ls", key=key), Caller(user_id=user, role=role)
        if may:
            assert await said(here, "1", caller, key) == f"approve: Allowed once: {code}."
        else:
            assert await said(here, "1", caller, key) is None
            with pytest.raises(Rejected, match="approval_gone"):
                await said(here, f"{code} yes", caller, key)

        assert await database.run(standing) == ["allow_once" if may else "pending"]


async def test_no_agent_and_no_other_tenant_answers(database: Database, mock_clock: MockClock) -> None:
    async with broker(database) as here:
        code = await asks(here)
        for caller in (
            Caller(user_id="ann", role=Role.ADMIN, tenant_id=MASTER_TENANT, agent_id=here.agent_id),
            Caller(user_id="ann", role=Role.ADMIN, tenant_id=new_id()),
        ):
            for text in (f"{code} yes", "1"):
                assert await said(here, text, caller) is None

        assert await database.run(standing) == ["pending"]


async def test_where_nobody_is_asked_every_text_is_for_the_agent(database: Database, mock_clock: MockClock) -> None:
    async with broker(database, ExecApproval()) as here:
        assert await said(here, "ABCDEF yes") is None
        assert await said(here, "1") is None
    assert MISSES.asks
