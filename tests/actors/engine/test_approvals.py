"""Who is asked before a command runs, and what comes of the answer. Contract: tools.md §12.2, §12.3."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from msgspec.structs import replace
from trio.testing import MockClock

from goclaw.actors.agents import agents as profiles
from goclaw.actors.engine.approvals import OF_AGENT, OF_ALL, ApprovalBroker
from goclaw.actors.engine.consent import AtBroker
from goclaw.domain.access import MASTER_TENANT, Caller, Role
from goclaw.domain.address import APPROVALS
from goclaw.domain.approval import ApprovalEvent, Simple, Wish
from goclaw.domain.cluster import Ownership
from goclaw.domain.errors import Rejected
from goclaw.domain.events import of_admins
from goclaw.domain.ids import new_id
from goclaw.domain.texts import text_of
from goclaw.operations import approvals
from goclaw.operations.approvals import Approve, Deny, OneRule
from goclaw.operations.context import Context, House
from goclaw.operations.gateway import Nothing
from goclaw.operations.params import decode
from goclaw.runtime.address import Address
from goclaw.runtime.cell import Cell
from goclaw.runtime.child import child
from goclaw.runtime.inbox import inbox
from goclaw.runtime.message import Message, Told
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import System, open_system
from goclaw.settings.agents import AgentDefaults
from goclaw.settings.approval import ExecApproval
from goclaw.settings.providers import Providers
from goclaw.settings.section import Id
from goclaw.settings.settings import Settings
from goclaw.settings.tools import Tools
from goclaw.stores import agents as rows
from goclaw.stores.database import Database
from goclaw.stores.unit import Connection, many, transaction
from goclaw.tools.gates import Audit
from goclaw.tools.tool import ToolFailed

MISSES = ExecApproval(ask="on-miss")


@transaction(readonly=True)
async def standing(db: Connection) -> list[str]:
    return await many(str, db.execute("SELECT status FROM exec_approvals ORDER BY created_at, name"))


class Broker:
    """A broker and those around it: agents that ask, people who answer."""

    def __init__(self, system: System, settings: ExecApproval, agent_id: str, tasks: trio.Nursery) -> None:
        self.system = system
        self.port = AtBroker(system, settings)
        self.house = House(Settings(tools=Tools(exec_approval=settings)), system, "1", "node", 0)
        self.agent_id = agent_id
        self.tasks = tasks
        self.ends: dict[str, str] = {}  # of wishes, by the id of their call
        self.news: list[tuple[str, dict[str, Any]]] = []

    def wish(self, command: str, call: str = "c1", **more: Any) -> Wish:
        parts = tuple(Simple(part.split()[0], part.strip()) for part in command.split(";"))
        facts: dict[str, Any] = {
            "tenant_id": MASTER_TENANT,
            "user_id": "ann",
            "agent_id": self.agent_id,
            "agent_key": "default",
            "session_key": "agent:default:ws:direct:1",
            "run_id": new_id(),
            "call_id": call,
            "tool": "exec",
            "command": command,
            "cwd": ".",
            "commands": parts,
        }
        return Wish(**{**facts, **more})

    def hear(self, event: Message[Any]) -> Told:
        assert isinstance(event, ApprovalEvent)
        self.news.append((event.type, msgspec.json.decode(event.body)))
        return Told.ACCEPTED

    async def heard(self, type: str, times: int = 1) -> None:
        with trio.fail_after(60):
            while sum(name == type for name, _ in self.news) < times:
                await trio.lowlevel.checkpoint()

    async def try_(self, wish: Wish) -> str:
        """How it ends."""
        try:
            await self.port.ask(wish)
        except ToolFailed as failure:
            return f"{failure.code}: {failure}"
        return "run"

    async def begin(self, wish: Wish) -> trio.CancelScope:
        """A call that waits; returns when it is pending or has ended."""
        scope = trio.CancelScope()

        async def run() -> None:
            with scope:
                self.ends[wish.call_id] = await self.try_(wish)

        pending = len(self.news)
        self.tasks.start_soon(run)
        with trio.fail_after(60):
            while len(self.news) == pending and wish.call_id not in self.ends:
                await trio.lowlevel.checkpoint()
        return scope

    async def end(self, call: str = "c1") -> str:
        with trio.fail_after(60):
            while call not in self.ends:
                await trio.lowlevel.checkpoint()
        return self.ends.pop(call)

    async def as_(self, user: str, operation: Any, input: Any, role: Role = Role.OPERATOR, **members: Any) -> Any:
        agent = members.pop("agent", "")
        ctx = Context(self.house, Caller(user_id=user, role=role, agent_id=agent))
        return msgspec.to_builtins(await operation(ctx, decode(input, members, strict=False)))

    async def pending(self, user: str = "ann", role: Role = Role.OPERATOR) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = (await self.as_(user, approvals.list_pending, Nothing, role))["pending"]
        return rows


@asynccontextmanager
async def broker(
    database: Database,
    settings: ExecApproval = MISSES,
    *,
    node: str = "here",
    company: bool = False,
    audit: Audit | None = None,
    agents: Path | None = None,
) -> AsyncIterator[Broker]:
    """`company`: other nodes answer too; `agents`: where theirs work, if anybody asks for them."""
    agent_id = new_id()
    await database.run(rows.seed, id=agent_id, tenant=MASTER_TENANT, key="default", name="G", owner="system")
    row = await database.run(rows.default, tenant=MASTER_TENANT)
    assert row is not None

    node_id = new_id()

    def tree() -> Supervisor:
        own = Ownership(alone=not company)
        approving = child("approvals", ApprovalBroker, settings, node, node_id, audit, own)
        policy = child("policy", lambda: Supervisor([approving]))
        who = [child("agents", profiles, AgentDefaults(workspace=agents), Providers())] if agents is not None else []
        return Supervisor([*who, child("engine", lambda: Supervisor([policy]))])

    async with open_system(database) as system, trio.open_nursery() as tasks:
        await system.start(child("", tree))
        crowd = Broker(system, settings, row.id, tasks)
        with inbox(system, Address("ears"), "Ears", crowd.hear) as ears:
            ears.join(of_admins(MASTER_TENANT))
            yield crowd
        tasks.cancel_scope.cancel()


async def test_it_is_asked_shown_and_allowed(database: Database, mock_clock: MockClock) -> None:
    async with broker(database) as here:
        await here.begin(here.wish("ls; curl https://example.com"))

        (row,) = await here.pending()
        resolved = await here.as_("ann", approvals.approve, Approve, id=row["id"])

        assert await here.end() == "run"
        assert resolved == {"resolved": True, "decision": "allow_once"}
        assert (row["id"], row["toolName"], row["command"]) == ("exec-1", "exec", "ls; curl https://example.com")
        assert row["expiresAt"] - row["createdAt"] == 120_000
        assert row["detail"]["commands"] == ["ls", "curl https://example.com"]
        (requested, shown), (type, told) = here.news
        assert (requested, shown) == ("exec.approval.requested", row)
        assert type == "exec.approval.resolved"
        assert told == {"id": "exec-1", "decision": "allow_once", "userId": "ann", "agentId": "default", "by": "ann"}
        assert await database.run(standing) == ["allow_once"]


async def test_a_no_carries_its_reason_and_the_first_answer_counts(database: Database, mock_clock: MockClock) -> None:
    async with broker(database) as here:
        await here.begin(here.wish("curl x"))

        await here.as_("ann", approvals.deny, Deny, id="exec-1", reason="not at night")
        with pytest.raises(Rejected) as second:
            await here.as_("ann", approvals.approve, Approve, id="exec-1")

        assert await here.end() == "denied_approval: this was not approved: not at night"
        assert second.value.err.code == "NOT_FOUND"
        assert text_of(second.value.err, "en") == 'approval "exec-1" not found or already resolved'
        assert await database.run(standing) == ["deny"]


async def test_silence_is_a_no_after_two_minutes(database: Database, mock_clock: MockClock) -> None:
    async with broker(database) as here:
        await here.begin(here.wish("curl x"))
        mock_clock.jump(119)
        assert len(await here.pending()) == 1

        mock_clock.jump(1.1)

        assert (await here.end()).startswith("approval_timeout: ")
        assert here.news[-1][1]["decision"] == "timeout"
        with pytest.raises(Rejected, match="approval_gone"):
            await here.as_("ann", approvals.approve, Approve, id="exec-1")


async def test_a_run_that_ends_is_not_asked_about_any_more(database: Database, mock_clock: MockClock) -> None:
    async with broker(database) as here:
        run = await here.begin(here.wish("curl x"))

        run.cancel()

        await here.heard("exec.approval.resolved")
        assert await here.pending() == []
        assert await database.run(standing) == ["deny"]


async def test_a_broker_that_crashes_loses_nothing_somebody_comes_back_for(
    database: Database, mock_clock: MockClock
) -> None:
    """The next one is asked again and finds the same approval; what nobody can ask for again is refused."""
    async with broker(database) as here:
        await here.begin(here.wish("curl x", key="run:1:0"))
        await here.begin(here.wish("curl y", "c2"))
        before = await here.pending()
        cell = here.system.find(APPROVALS)
        assert isinstance(cell, Cell)

        cell.kill()

        assert (await here.end("c2")).startswith("denied_approval: ")
        while len(here.news) < 4:  # two were asked, one is over, one is asked again
            mock_clock.jump(0.5)
            await trio.testing.wait_all_tasks_blocked(0.01)
        assert (await here.pending()) == before[:1]
        await here.as_("ann", approvals.approve, Approve, id="exec-1")
        assert await here.end() == "run"
        assert await database.run(standing) == ["allow_once", "orphaned"]


@pytest.mark.parametrize(
    ("user", "role", "approvers", "sees"),
    [
        ("ann", Role.OPERATOR, (), True),
        ("bob", Role.OPERATOR, (), False),
        ("root", Role.ADMIN, (), True),
        ("ann", Role.OPERATOR, ("bob",), False),
        ("bob", Role.OPERATOR, ("bob",), True),
    ],
)
async def test_who_may_answer(
    database: Database, mock_clock: MockClock, user: str, role: Role, approvers: tuple[str, ...], sees: bool
) -> None:
    """A stranger does not even learn that there is something to answer; who asked may watch."""
    async with broker(database, ExecApproval(ask="always", approvers=tuple(map(Id, approvers)))) as here:
        await here.begin(here.wish("ls"))

        shown = await here.pending(user, role)
        if sees:
            await here.as_(user, approvals.approve, Approve, role, id="exec-1")
            assert await here.end() == "run"
        else:
            with pytest.raises(Rejected, match="approval_gone"):
                await here.as_(user, approvals.approve, Approve, role, id="exec-1")
        assert bool(shown) is (sees or user == "ann")


async def test_nobody_answers_across_tenants(database: Database, mock_clock: MockClock) -> None:
    async with broker(database) as here:
        await here.begin(here.wish("curl x"))
        other = Caller(user_id="root", role=Role.ADMIN, tenant_id=new_id())
        with pytest.raises(Rejected, match="approval_gone"):
            await approvals.approve(Context(here.house, other), Approve(id="exec-1"))


async def test_an_agent_never_answers_not_even_for_its_admin(database: Database, mock_clock: MockClock) -> None:
    async with broker(database) as here:
        await here.begin(here.wish("curl x"))
        with pytest.raises(Rejected, match="permission_denied"):
            await here.as_("ann", approvals.approve, Approve, Role.ADMIN, id="exec-1", agent=here.agent_id)


async def test_always_makes_a_rule_for_the_program_if_it_is_one_that_does_one_thing(
    database: Database, mock_clock: MockClock
) -> None:
    async with broker(database) as here:
        await here.begin(here.wish("ffmpeg -i a b"))
        await here.as_("ann", approvals.approve, Approve, id="exec-1", always=True)
        assert await here.end() == "run"

        assert await here.try_(here.wish("ffmpeg -i c d")) == "run"
        (rule,) = (await here.as_("root", approvals.list_rules, Nothing, Role.ADMIN))["rules"]
        assert (rule["pattern"], rule["match_kind"], rule["kept"]) == ("ffmpeg", "basename", False)
        await here.begin(replace(here.wish("ffmpeg -i c d", "c2"), agent_id=new_id()))
        assert len(await here.pending()) == 1  # another agent is asked about

        await here.as_("root", approvals.delete_rule, OneRule, Role.ADMIN, rule_id=rule["id"])
        await here.begin(here.wish("ffmpeg -i c d", "c3"))
        assert len(await here.pending()) == 2


@pytest.mark.parametrize("command", ["curl https://a", "bash x.sh", "ffmpeg a; ffmpeg b", "apt-get update"])
async def test_always_makes_a_rule_of_this_very_line_if_its_program_says_little(
    database: Database, mock_clock: MockClock, command: str
) -> None:
    async with broker(database) as here:
        await here.begin(here.wish(command))
        await here.as_("ann", approvals.approve, Approve, id="exec-1", always=True)

        assert await here.end() == "run"
        assert await here.try_(here.wish(command)) == "run"
        for call, other in (("c2", here.wish(f"{command} more", "c2")), ("c3", here.wish(command, "c3", cwd="sub"))):
            await here.begin(other)
            assert call not in here.ends


async def test_a_rule_an_admin_keeps_is_there_after_a_restart(database: Database, mock_clock: MockClock) -> None:
    async with broker(database) as here:
        await here.begin(here.wish("ffmpeg a"))
        with pytest.raises(Rejected, match="permission_denied"):
            await here.as_("ann", approvals.approve, Approve, id="exec-1", persist=True)
        await here.as_("root", approvals.approve, Approve, Role.ADMIN, id="exec-1", persist=True)
        assert await here.end() == "run"

    async with broker(database) as later:
        assert await later.try_(later.wish("ffmpeg b")) == "run"
        (rule,) = (await later.as_("root", approvals.list_rules, Nothing, Role.ADMIN))["rules"]
        assert rule["kept"]
        await later.as_("root", approvals.delete_rule, OneRule, Role.ADMIN, rule_id=rule["id"])
        await later.begin(later.wish("ffmpeg b"))
        assert len(await later.pending()) == 1


async def test_too_many_that_wait_are_refused_at_once(database: Database, mock_clock: MockClock) -> None:
    async with broker(database, ExecApproval(ask="always")) as here:
        agents = [here.agent_id, *(new_id() for _ in range(OF_ALL // OF_AGENT - 1))]
        for number, agent in enumerate(agents * OF_AGENT):
            here.tasks.start_soon(here.try_, here.wish("ls", f"c{number}", agent_id=agent))
        await here.heard("exec.approval.requested", times=OF_ALL)

        for agent in (here.agent_id, new_id()):
            assert (await here.try_(here.wish("ls", agent_id=agent))).startswith("denied_approval: ")


async def test_without_approvals_nobody_is_asked_and_nothing_forced_runs(
    database: Database, mock_clock: MockClock
) -> None:
    async with broker(database, ExecApproval()) as here:
        assert await here.try_(here.wish("curl x")) == "run"
        assert (await here.try_(here.wish("pip install x", forced=True))).startswith("denied_approval: ")
        for operation, input in ((approvals.approve, Approve), (approvals.deny, Deny)):
            with pytest.raises(Rejected) as off:
                await here.as_("ann", operation, input, id="exec-1")
            assert text_of(off.value.err, "en") == "exec approval is not enabled"


async def test_what_is_forced_is_asked_about_whatever_is_on_the_list(database: Database, mock_clock: MockClock) -> None:
    async with broker(database, ExecApproval(ask="on-miss", allowlist=("*",))) as here:
        assert await here.try_(here.wish("pip install x")) == "run"
        await here.begin(here.wish("pip install x", forced=True))
        assert len(await here.pending()) == 1


async def test_an_allow_list_alone_refuses_what_is_not_on_it(database: Database, mock_clock: MockClock) -> None:
    async with broker(database, ExecApproval(security="allowlist", allowlist=("git status*",))) as here:
        assert await here.try_(here.wish("git status -s")) == "run"
        assert (await here.try_(here.wish("git status; ls"))).startswith("denied_approval: ")


async def test_secrets_of_a_command_are_not_shown(database: Database, mock_clock: MockClock) -> None:
    key = "sk-ant-" + "a1B2" * 10
    async with broker(database) as here:
        await here.begin(here.wish(f"curl -H {key} x"))
        (row,) = await here.pending()
        assert key not in msgspec.json.encode(row).decode()
        assert row["command"].startswith("curl -H ")
