"""The files an agent has for everybody. Contract: edge-websocket.md §7.3, wire-compat.md C2.

HEARTBEAT.md is a file of the agent's workspace (`heartbeat.checklist.*`); all others are rows.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar

from msgspec import Meta, Struct

from goclaw.domain.access import Role
from goclaw.domain.agent import AGENTS, DEFAULT_KEY, AgentChanged, AgentProfile
from goclaw.domain.errors import Rejected, invalid
from goclaw.domain.heartbeat import FILE as HEARTBEAT
from goclaw.knowledge import context_files as files
from goclaw.knowledge.identity import identity
from goclaw.operations.activity import by, record, recorded
from goclaw.operations.context import Context
from goclaw.operations.heartbeat import OfAgent, SetChecklist, get_checklist, set_checklist
from goclaw.operations.operation import Rpc, operation
from goclaw.operations.turns import resolve_agent
from goclaw.stores import context_files

NAMES = (
    files.AGENTS,
    files.SOUL,
    files.IDENTITY,
    files.USER,
    files.USER_PREDEFINED,
    files.CAPABILITIES,
    files.BOOTSTRAP,
    "MEMORY.json",
    HEARTBEAT,
    files.TOOLS,
)


class ListFiles(Struct, kw_only=True):
    agent_id: str = DEFAULT_KEY


class GetFile(Struct, kw_only=True):
    ALIASES: ClassVar = {"file_name": "name"}

    agent_id: str
    name: str


class SetFile(Struct, kw_only=True):
    ALIASES: ClassVar = {"file_name": "name"}
    CLEARED_BY_EMPTY: ClassVar = frozenset({"content"})

    agent_id: str
    name: str
    content: Annotated[str, Meta(max_length=files.LONGEST)]
    propagate: bool = False


class File(Struct, kw_only=True, omit_defaults=True, rename="camel"):
    name: str
    missing: bool
    size: int | None = None
    updated_at_ms: int | None = None
    content: str | None = None


class FileList(Struct, kw_only=True, rename="camel"):
    agent_id: str
    files: list[File]


class FoundFile(Struct, kw_only=True, rename="camel"):
    agent_id: str
    file: File


class WrittenFile(FoundFile, kw_only=True, rename="camel"):
    propagated: int  # users whose own file of that name was replaced


@operation(Rpc("agents.files.list", Role.VIEWER))
async def list_files(ctx: Context, ask: ListFiles) -> FileList:
    """List the files an agent has for everybody, and those it could have."""
    agent = await resolve_agent(ctx, ask.agent_id)
    there = await _all(ctx, agent)
    found = [_without_content(there[name]) if name in there else File(name=name, missing=True) for name in NAMES]
    return FileList(agent_id=agent.key, files=found)


@operation(Rpc("agents.files.get", Role.VIEWER))
async def get_file(ctx: Context, ask: GetFile) -> FoundFile:
    """Read a file an agent has for everybody."""
    _check(ask.name)
    agent = await resolve_agent(ctx, ask.agent_id)
    file = (await _all(ctx, agent)).get(ask.name, File(name=ask.name, missing=True))
    return FoundFile(agent_id=agent.key, file=file)


@operation(Rpc("agents.files.set", Role.ADMIN))
@recorded
async def set_file(ctx: Context, ask: SetFile) -> WrittenFile:
    """Replace a file an agent has for everybody; with `propagate` also users' own files of that name."""
    _check(ask.name)
    if len(ask.content.encode("utf-8", "surrogatepass")) > files.LONGEST:
        raise Rejected(invalid("content", f"longer than {files.LONGEST} bytes"))
    agent = await resolve_agent(ctx, ask.agent_id)
    if ask.name == HEARTBEAT:
        await set_checklist(ctx, SetChecklist(agent_id=agent.id, content=ask.content))
        return WrittenFile(agent_id=agent.key, file=(await _all(ctx, agent))[HEARTBEAT], propagated=0)
    named: dict[str, str] = {"tenant": ctx.caller.tenant_id, "agent": agent.id, "name": ask.name}
    said: dict[str, Any] = {**named, "content": ask.content, "by": by(ctx)}
    columns = identity(ask.content) if ask.name == files.IDENTITY else {}
    stored = await ctx.db(context_files.write, **said, columns=columns)
    ctx.system.publish(AGENTS, AgentChanged(tenant_id=ctx.caller.tenant_id))
    propagated = await ctx.db(context_files.propagate, **said) if ask.propagate else 0
    await record(ctx, "agent.file", "agent", agent.id, file=ask.name, size=stored.size, propagated=propagated)
    file = File(name=stored.name, missing=False, size=stored.size, updated_at_ms=_ms(stored.updated_at))
    return WrittenFile(agent_id=agent.key, file=file, propagated=propagated)


# --- parts ----------------------------------------------------------------------------------------


def _check(name: str) -> None:
    if name not in NAMES:
        raise Rejected(invalid("name", "must be one of " + ", ".join(NAMES)))


async def _all(ctx: Context, agent: AgentProfile) -> dict[str, File]:
    rows = await ctx.db(context_files.of_agent, tenant=ctx.caller.tenant_id, agent=agent.id)
    there = {
        row.name: File(
            name=row.name, missing=False, size=row.size, updated_at_ms=_ms(row.updated_at), content=row.content
        )
        for row in rows
    }
    if todo := (await get_checklist(ctx, OfAgent(agent_id=agent.id))).content:
        there[HEARTBEAT] = File(name=HEARTBEAT, missing=False, size=len(todo.encode()), content=todo)
    return there


def _without_content(file: File) -> File:
    return File(name=file.name, missing=False, size=file.size, updated_at_ms=file.updated_at_ms)


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
