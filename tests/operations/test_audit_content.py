"""What is done is written down, once, and without the secrets it was done with. Contract: security.md §11, SEC-42."""

from __future__ import annotations

import ast
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

import goclaw.operations
from goclaw.actors.agents import agents as profiles
from goclaw.actors.config import Configuration
from goclaw.actors.engine.approvals import ApprovalBroker
from goclaw.actors.engine.bench import outside
from goclaw.actors.engine.consent import AtBroker
from goclaw.actors.engine.guards import Book
from goclaw.actors.engine.policy import PolicyFile
from goclaw.app.house import touched as told_of
from goclaw.domain.access import MASTER_TENANT, Caller, Role
from goclaw.domain.address import CONFIG, POLICY
from goclaw.domain.agent import AgentProfile
from goclaw.domain.approval import Simple, Wish
from goclaw.domain.config import Reload
from goclaw.domain.errors import Rejected
from goclaw.domain.ids import new_id
from goclaw.domain.policy import ReloadPolicy
from goclaw.edge.gatekeeper import FAILURES, Gatekeeper
from goclaw.operations.activity import denied
from goclaw.operations.context import Context, House
from goclaw.operations.operation import collect
from goclaw.operations.params import decode
from goclaw.runtime.actor import Actor
from goclaw.runtime.child import child
from goclaw.runtime.faults import RuntimeFault
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import open_system
from goclaw.security.box import Box, Place, SecretUnreadable
from goclaw.security.estop import Brake
from goclaw.security.paths import Workspace
from goclaw.security.policy_book import PolicyBook
from goclaw.security.policy_text import read
from goclaw.settings.agents import AgentDefaults
from goclaw.settings.approval import ExecApproval
from goclaw.settings.gateway import Gateway
from goclaw.settings.load import load
from goclaw.settings.providers import Providers
from goclaw.settings.section import Secret
from goclaw.settings.settings import Settings
from goclaw.stores import agents
from goclaw.stores.audit_book import AuditBook
from goclaw.stores.audit_file import files_of, lines_of
from goclaw.stores.database import Database
from goclaw.tools.tool import ToolContext, ToolFailed
from goclaw.tools.tool import collect as collect_tools

CANARY = "sk-canary-0123456789abcdefghij"
METHODS = {rpc.name: op for op in collect("goclaw.operations") for rpc in op.rpc}
PROVIDER = {"name": "mine", "providerType": "openai_compat", "apiKey": CANARY, "apiBase": "https://example.com/v1"}
TOOL = {"name": "lookup", "command": "echo {{.x}}", "parameters": {"type": "object", "properties": {"x": {}}}}
HOOK = {
    "event": "pre_tool_use",
    "handlerType": "command",
    "scope": "tenant",
    "matcher": "exec",
    "config": {"command": "true", "secrets": {"TOKEN": CANARY}},
}
JOB = {"name": "daily", "schedule": {"kind": "every", "everyMs": 3_600_000}, "message": f"say {CANARY}"}
SEALED = Place("llm_providers.api_key", "0193a5b0-7000-7000-8000-000000000001")

LISTED = """
tools.* acp.* wasm.* agent.* skill.* mcp.* node.* auth.failed auth.blocked pairing.* api_key.*
role.denied tenant.* config.applied config.patched config.rejected policy.reloaded policy.rejected
deny_groups.changed ssrf.allow_changed exec.requested exec.approved exec.denied exec.expired secret.read
secret.written secret.rotated secret.unreadable provider.* mcp_server.* channel.* custom_tool.*
secure_cli.* package.* hook.* cron.* skill.quarantined skill.reenabled estop.engaged estop.released
backup.created backup.restored data.purged migration.* actor.killed actor.restarted
"""  # security.md §11.2
CONTRACT = LISTED.split()
AGENT = AgentProfile(
    id="0193a5b0-7000-7000-8000-000000000002",
    key="scout",
    name="Scout",
    owner_id="system",
    provider="offline",
    model="offline-1",
    agent_type="open",
    status="active",
    is_default=True,
    workspace="scout",
    restrict_to_workspace=True,
    max_tool_iterations=20,
    context_window=200_000,
)
ADMIN = Caller(user_id="an", role=Role.ADMIN, is_owner=True, tenant_id=MASTER_TENANT)
ASKING = ExecApproval(ask="always", timeout_sec=1)

# What security.md §11.2 names and nothing here does yet, and why.
NOT_YET = {
    "acp.*": "programs that speak ACP are providers here, with no capabilities of their own",
    "wasm.*": "there is no code of skills",
    "skill.*": "there are no skills",
    "skill.quarantined": "there are no skills",
    "skill.reenabled": "there are no skills",
    "mcp.*": "there are no MCP servers",
    "mcp_server.*": "there are no MCP servers",
    "node.*": "there are no device nodes",
    "channel.*": "channel instances are not made by operations",
    "pairing.*": "nothing pairs",
    "api_key.*": "the gateway's token is the only key",
    "tenant.*": "tenants are rows that no operation changes",
    "deny_groups.changed": "no agent and no setting switches groups of the shell guard",
    "secure_cli.*": "there are no credentials of programs",
    "package.*": "packages are commands, which are asked about as such",
    "backup.created": "backups are made beside the gateway",
    "backup.restored": "backups are made beside the gateway",
    "data.purged": "nothing purges a person",
}
ELSEWHERE = {
    "config.patched": "tests/operations/test_config_asked.py",
    "migration.*": "tests/e2e/test_audit_process.py",
}


class Idle(Actor):
    """Somebody to restart."""


class Stage:
    """A house with an audit, and ways to make everything happen that is written down."""

    def __init__(self, ctx: Context, book: AuditBook, place: Path) -> None:
        self.ctx, self.book, self.place = ctx, book, place

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        operation = METHODS[method]
        answer = await operation.fn(self.ctx, decode(operation.input, params))
        return dict(msgspec.json.decode(msgspec.json.encode(answer)))

    def box(self, what: Callable[[Box], object]) -> None:
        box = Box(bytes(range(32)))
        box.told = partial(told_of, self.book)
        what(box)

    async def door(self, times: int) -> None:
        keeper = Gatekeeper(Gateway(token=Secret("t" * 32)), (), self.book)
        for _ in range(times):
            with suppress(Rejected):
                keeper.caller(CANARY, None, "198.51.100.7", "en")

    async def provider(self, then: str = "", **more: Any) -> None:
        made = await self.call("providers.create", **PROVIDER)
        if then:
            await self.call(f"providers.{then}", id=made["id"], **more)

    async def tool(self, then: str = "", **more: Any) -> None:
        made = await self.call("tools.custom.create", **TOOL)
        if then:
            await self.call(f"tools.custom.{then}", id=made["id"], **more)

    async def hook(self, then: str = "", **more: Any) -> None:
        made = await self.call("hooks.create", **HOOK)
        if then:
            await self.call(f"hooks.{then}", hookId=made["hookId"], **more)

    async def cron(self, then: str = "", **more: Any) -> None:
        made = await self.call("cron.create", **JOB)
        if then:
            await self.call(f"cron.{then}", jobId=made["job"]["id"], **more)

    async def estop(self, *engage: bool) -> None:
        for one in engage:
            await self.call("estop.set", engage=one, levels={"network": True}, reason=f"because of {CANARY}")

    async def config(self, text: str) -> None:
        (self.place / "config.json5").write_text(text)
        await self.ctx.ask(CONFIG, Reload(), within=5)

    async def policy(self, text: str) -> None:
        (self.place / "policy.yaml").write_text(text)
        (self.place / "policy.yaml").chmod(0o600)
        await self.ctx.ask(POLICY, ReloadPolicy(), within=5)

    async def approval(self, answer: str) -> None:
        wish = Wish(
            tenant_id=MASTER_TENANT,
            user_id="ann",
            agent_id=(await self.ctx.db(agents.default, tenant=MASTER_TENANT)).id,  # type: ignore[union-attr]
            agent_key="default",
            session_key="agent:default:ws:direct:1",
            run_id=new_id(),
            call_id="c1",
            tool="exec",
            command=f"curl -H 'Authorization: Bearer {CANARY}' example.com",
            cwd=".",
            commands=(Simple("curl", "curl example.com"),),
        )
        broker = AtBroker(self.ctx.system, ASKING)
        async with trio.open_nursery() as tasks:

            async def ask() -> None:
                with suppress(ToolFailed):
                    await broker.ask(wish)

            tasks.start_soon(ask)
            with trio.fail_after(5):
                while not (pending := (await self.call("exec.approval.list"))["pending"]):  # noqa: ASYNC110
                    await trio.sleep(0.01)
            if answer:
                await self.call(f"exec.approval.{answer}", id=pending[0]["id"])

    async def capability(self) -> None:
        tool = collect_tools("goclaw.tools.fs")["read_file"]
        run = outside(MASTER_TENANT, AGENT)
        pinned = PolicyBook(read("", set())).pin(MASTER_TENANT)
        with suppress(ToolFailed):
            ctx = ToolContext(Workspace(self.place), self.ctx.now, "")
            await Book(self.book, run, pinned.version).permit(pinned)(tool, ctx)

    async def agent(self) -> None:
        with suppress(RuntimeFault):  # nobody here knows how busy it is
            await self.call("agents.create", agent_key="scout")

    async def kill(self, mode: str, method: str) -> None:
        await self.call(method, path="/infra/idle", mode=mode, reason=f"for {CANARY}")


Trigger = Callable[[Stage], Awaitable[None]]


async def touched(stage: Stage, what: Callable[[Box], object]) -> None:
    stage.box(what)


async def refused(stage: Stage) -> None:
    caller = Caller(user_id="vi", role=Role.VIEWER, tenant_id=MASTER_TENANT)
    assert denied(stage.ctx.house, caller, "agents.delete", Role.ADMIN, "198.51.100.7").err.code == "FORBIDDEN"


def unreadable(box: Box) -> None:
    with pytest.raises(SecretUnreadable):
        box.unseal(Box(b"x" * 32).seal(CANARY, SEALED), SEALED)


ACTIONS: dict[str, Trigger] = {
    "tools.read_file": lambda stage: stage.capability(),
    "auth.failed": lambda stage: stage.door(1),
    "auth.blocked": lambda stage: stage.door(FAILURES + 1),
    "role.denied": refused,
    "config.applied": lambda stage: stage.config("{queue: {cap: 3}}"),
    "config.rejected": lambda stage: stage.config("{queue: {cap: 'many'}}"),
    "ssrf.allow_changed": lambda stage: stage.config("{security: {ssrf: {allow_hosts: ['a.example']}}}"),
    "policy.reloaded": lambda stage: stage.policy("allow_capabilities: [tools.*]"),
    "policy.rejected": lambda stage: stage.policy("allow_all: true"),
    "exec.requested": lambda stage: stage.approval("approve"),
    "exec.approved": lambda stage: stage.approval("approve"),
    "exec.denied": lambda stage: stage.approval("deny"),
    "exec.expired": lambda stage: stage.approval(""),
    "secret.read": lambda stage: touched(stage, lambda box: box.unseal(box.unwatched().seal(CANARY, SEALED), SEALED)),
    "secret.written": lambda stage: touched(stage, lambda box: box.seal(CANARY, SEALED)),
    "secret.unreadable": lambda stage: touched(stage, unreadable),
    "secret.rotated": lambda stage: discard(stage.call("secrets.rotate")),
    "provider.created": lambda stage: stage.provider(),
    "provider.updated": lambda stage: stage.provider("update", display_name="Mine"),
    "provider.deleted": lambda stage: stage.provider("delete", force=True),
    "custom_tool.created": lambda stage: stage.tool(),
    "custom_tool.updated": lambda stage: stage.tool("update", env={"TOKEN": CANARY}),
    "custom_tool.deleted": lambda stage: stage.tool("delete"),
    "hook.created": lambda stage: stage.hook(),
    "hook.updated": lambda stage: stage.hook("update", updates={"priority": 5}),
    "hook.deleted": lambda stage: stage.hook("delete"),
    "cron.created": lambda stage: stage.cron(),
    "cron.updated": lambda stage: stage.cron("update", patch={"name": "weekly"}),
    "cron.deleted": lambda stage: stage.cron("delete"),
    "agent.created": lambda stage: stage.agent(),
    "estop.engaged": lambda stage: stage.estop(True),
    "estop.released": lambda stage: stage.estop(True, False),
    "actor.killed": lambda stage: stage.kill("kill", "actors.stop"),
    "actor.restarted": lambda stage: stage.kill("graceful", "actors.restart"),
}


async def discard(work: Awaitable[object]) -> None:
    await work


@pytest.fixture
async def stage(database: Database, tmp_path: Path) -> AsyncIterator[Stage]:
    await database.run(agents.seed, id=new_id(), tenant=MASTER_TENANT, key="default", name="G", owner="system")
    book = AuditBook(database, tmp_path / "logs" / "audit.jsonl", "node-a", lambda: datetime.now(UTC))
    await book.open()
    (tmp_path / "config.json5").write_text("{}")
    loaded = load(tmp_path / "config.json5", {"HOME": str(tmp_path), "GOCLAW_DATA_DIR": str(tmp_path / "data")}, {})
    watch = (tmp_path / "policy.yaml", PolicyBook(), frozenset[str](), book)

    def engine() -> Supervisor:
        children = [child("file", PolicyFile, watch), child("approvals", ApprovalBroker, ASKING, "n", new_id(), book)]
        return Supervisor([child("policy", lambda: Supervisor(children))])

    def tree() -> Supervisor:
        infra = child("infra", lambda: Supervisor([child("config", Configuration, loaded, book), child("idle", Idle)]))
        who = child("agents", profiles, AgentDefaults(workspace=tmp_path), Providers())
        return Supervisor([infra, who, child("engine", engine)])

    async with open_system(database) as system:
        await system.start(child("", tree))
        house = House(Settings(data_dir=tmp_path), system, "0", new_id(), 0, box=Box(bytes(range(32))), audit=book)
        house.brake = Brake(tmp_path / "estop.json")
        yield Stage(Context(house, ADMIN), book, tmp_path)
    book.close()


@pytest.mark.parametrize("action", ACTIONS)
async def test_each_act_is_one_line_without_a_secret(stage: Stage, action: str) -> None:
    """SEC-42. Each action of §11.2 that there is, triggered once: one line, no canary."""
    await ACTIONS[action](stage)
    await stage.book.keep()

    lines = list(lines_of(stage.book.path))
    assert [line["action"] for line in lines].count(action) == 1
    assert CANARY not in json.dumps(lines)


def test_every_action_of_the_contract_is_accounted_for() -> None:
    """SEC-42. The list of §11.2: each is triggered above, or has no subject yet."""
    families = {action.partition(".")[0] + ".*" for action in ACTIONS}
    missing = [one for one in CONTRACT if one not in {*ACTIONS, *NOT_YET, *ELSEWHERE, *families}]
    assert missing == []
    assert [one for one in NOT_YET if one in ACTIONS or one not in CONTRACT] == []


def test_what_is_recorded_is_refused_before_it_is_done() -> None:
    """Every operation that writes a line asks first whether there is anywhere to write it, but for a stop."""
    forgotten = []
    for file in sorted(Path(goclaw.operations.__path__[0]).glob("*.py")):
        functions = {
            node.name: node
            for node in ast.parse(file.read_text()).body
            if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef)
        }
        calls = {
            name: {c.func.id for c in ast.walk(node) if isinstance(c, ast.Call) and isinstance(c.func, ast.Name)}
            for name, node in functions.items()
        }
        recording = {"record"} if "import record" in (text := file.read_text()) or ", record" in text else set()
        while more := {name for name, called in calls.items() if called & recording} - recording:
            recording |= more
        for name in recording & functions.keys():
            marks = [ast.unparse(mark) for mark in functions[name].decorator_list]
            if any(mark.startswith("operation(") for mark in marks) and "recorded" not in marks:
                forgotten.append(f"{file.stem}.{name}")
    assert forgotten == ["estop.set_estop"]


async def test_files_that_were_put_aside_are_verified_too(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """SEC-41, in a file that is closed and packed: a byte of a line, then a line that is gone."""
    monkeypatch.setattr("goclaw.stores.audit_file.LARGEST", 1000)
    for _ in range(3):
        await refused(stage)
        await refused(stage)
        await refused(stage)
        await stage.book.keep()
    *packed, last = files_of(stage.book.path)
    assert len(packed) > 1
    assert last == stage.book.path
    assert await stage.call("audit.verify") == {**await stage.call("audit.verify"), "ok": True, "broken": None}

    whole = packed[0].read_bytes()
    lines = gzip.decompress(whole).splitlines(keepends=True)
    packed[0].write_bytes(gzip.compress(b"".join(lines).replace(b"agents.delete", b"agents.create", 1)))
    verdict = await stage.call("audit.verify")
    assert (verdict["sink"], verdict["broken"]) == ("file", {"chain": "node-a", "seq": 1, "why": "hash"})
    packed[0].write_bytes(gzip.compress(b"".join([lines[0], *lines[2:]])))
    assert (await stage.call("audit.verify"))["broken"] == {"chain": "node-a", "seq": 2, "why": "gap"}


async def test_an_act_that_nothing_can_write_down_is_not_done(stage: Stage) -> None:
    """observability.md §12: both sinks are lost, so nothing is administered."""
    stage.book.file_ok = stage.book.table_ok = False
    keep, stage.book.keep = stage.book.keep, lost  # type: ignore[method-assign]
    with pytest.raises(Rejected) as refused:
        await stage.call("providers.create", **PROVIDER)
    assert refused.value.err.details["reason"] == "audit_unavailable"
    assert "mine" not in str(await stage.call("providers.list"))

    stage.book.keep = keep  # type: ignore[method-assign]
    await stage.call("providers.create", **PROVIDER)  # it is back: the next look finds it


async def lost() -> None:
    """Neither takes anything."""
