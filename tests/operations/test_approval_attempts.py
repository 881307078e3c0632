"""Answers that must not count: guessed names, codes in other letters, other people, other tenants. tools.md §12.3."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from goclaw.domain.access import MASTER_TENANT, Caller, Role
from goclaw.domain.address import APPROVALS
from goclaw.domain.approval import ListPending
from goclaw.domain.errors import Rejected
from goclaw.domain.ids import new_id
from goclaw.operations import approvals, command_house
from goclaw.operations.approvals import Approve, Deny
from goclaw.operations.context import Context
from goclaw.settings.approval import ExecApproval
from goclaw.settings.section import Id
from goclaw.stores.database import Database
from goclaw.stores.unit import Connection, transaction
from tests.actors.engine.test_approvals import Broker, broker, standing

NAMES = (
    "EXEC-1",
    "Exec-1",
    "exec-01",
    "exec-1 ",
    " exec-1",
    "exec-1\u200b",
    "exec-\uff11",
    "\uff45xec-1",
    "exec\u20131",
    "exec_1",
    "exec-1\n",
    "exec--1",
    "exec-2",
    "exec-0",
    "exec-1;",
    "exec-%",
    "exec-_",
    "%",
    "_",
    "*",
    "1",
    "2",
    "",
    "exec-1'--",
    "' OR 1=1",
    "exec-1\\",
    "exec-1/../exec-1",
    "exec-1\u0301",
    "\u0435\u0445\u0435\u0441-1",
    "EXEC\uff0d1",
    "exec-1e0",
    "exec-+1",
    "exec-1.0",
    "0x1",
)


async def waiting(here: Broker) -> str:
    await here.begin(here.wish("curl x"))
    (one,) = await here.system.ask(APPROVALS, ListPending(tenant_id=MASTER_TENANT, user_id=None), within=5)
    return one.code


async def test_nothing_but_its_name_answers_for_one(database: Database, mock_clock: MockClock) -> None:
    async with broker(database) as here:
        code = await waiting(here)
        for name in (*NAMES, code, code.lower()):
            ctx = Context(here.house, Caller(user_id="root", role=Role.ADMIN))
            with pytest.raises(Rejected, match="approval_gone"):
                await approvals.approve(ctx, Approve(id=name))
            with pytest.raises(Rejected, match="approval_gone"):
                await approvals.deny(ctx, Deny(id=name))

        assert await database.run(standing) == ["pending"]


@transaction
async def called(db: Connection, code: str) -> None:
    await db.execute("UPDATE exec_approvals SET code = %(code)s", {"code": code})


CODE = "SKAE22"
DISGUISED = (  # what looks like it, or becomes it in other rules of case
    "ſKAE22",
    "ſkae22",
    "S\u212aAE22",
    "SKΑE22",
    "SKAЕ22",
    "SKAE２2",
    "ＳＫＡＥ２２",
    "22EAKS",
    "SKAE2",
    "SKAE222",
    "SKAE22\u200b",
    "\u200bSKAE22",
    "SKA-E22",
    "SKAE22;",
    "??????",
    "SKA%",
    "S_AE22",
    "AAAAAA",
    "ŚKAE22",
    "SKÆ22",
)


async def test_a_code_is_its_letters_in_either_case_and_nothing_else(database: Database, mock_clock: MockClock) -> None:
    async with broker(database) as here:
        await waiting(here)
        await database.run(called, CODE)
        ctx = Context(here.house, Caller(user_id="root", role=Role.ADMIN))
        for guess in (*DISGUISED, *NAMES):
            with pytest.raises(Rejected):
                await command_house.approve(ctx, "", [guess])
        assert await database.run(standing) == ["pending"]

        await command_house.approve(ctx, "", [CODE.lower()])

        assert await here.end() == "run"


@pytest.mark.parametrize("approvers", [(), ("bob",)])
@pytest.mark.parametrize("kind", ["other tenant", "stranger", "agent", "agent of an admin", "asker who is no approver"])
async def test_who_may_not_answer_does_not(
    database: Database, mock_clock: MockClock, kind: str, approvers: tuple[str, ...]
) -> None:
    async with broker(database, ExecApproval(ask="always", approvers=tuple(map(Id, approvers)))) as here:
        code = await waiting(here)
        callers = {
            "other tenant": Caller(user_id="ann", role=Role.ADMIN, tenant_id=new_id()),
            "stranger": Caller(user_id="eve", role=Role.OPERATOR),
            "agent": Caller(user_id="ann", role=Role.OPERATOR, agent_id=here.agent_id),
            "agent of an admin": Caller(user_id="root", role=Role.ADMIN, agent_id=here.agent_id),
            "asker who is no approver": Caller(user_id="ann", role=Role.OPERATOR),
        }
        ctx = Context(here.house, callers[kind])
        if kind == "asker who is no approver" and not approvers:
            ctx = Context(here.house, Caller(user_id="Ann", role=Role.OPERATOR))  # another person
        for words in ([code], ["exec-1"], [code, "always"]):
            with pytest.raises(Rejected):
                await command_house.approve(ctx, "", words)
        for ask in (Approve(id="exec-1"), Approve(id="exec-1", always=True), Approve(id="exec-1", persist=True)):
            with pytest.raises(Rejected):
                await approvals.approve(ctx, ask)
        with pytest.raises(Rejected):
            await approvals.deny(ctx, Deny(id="exec-1"))

        assert await database.run(standing) == ["pending"]


EDITED = (
    "curl  x",
    "curl x ",
    " curl x",
    "curl X",
    "Curl x",
    "curl x\n",
    "curl\tx",
    "curl 'x'",
    "curl x #",
    "curl x\u200b",
    "curl ｘ",
    "curl x\u0301",
    "curl x y",
    "curl",
    "curl -x",
    "curl x&",
    "(curl x)",
    "curl x 2>&1",
    "\\curl x",
)


@pytest.mark.parametrize("number", range(len(EDITED)))
async def test_a_line_that_was_edited_is_another_line(database: Database, mock_clock: MockClock, number: int) -> None:
    """Neither the rule of exactly that line nor the answer to exactly that call holds for it."""
    async with broker(database) as here:
        wish = here.wish("curl x", key="run:1:0")
        await here.begin(wish)
        await here.as_("ann", approvals.approve, Approve, id="exec-1", always=True)
        assert await here.end() == "run"
        assert await here.try_(wish) == "run"

        await here.begin(here.wish(EDITED[number], "c2", key="run:1:0"))

        assert "c2" not in here.ends
