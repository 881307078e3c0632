"""Tools called by people and programs, and which of them an agent would have. Contract: tools.md §3.1, §23 T3."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from goclaw.domain.access import Role
from goclaw.domain.address import BENCH
from goclaw.domain.errors import Err, Rejected, agent_rests, agent_timeout, exhausted, forbidden, invalid
from goclaw.domain.tool_rules import Rules
from goclaw.domain.tools import GiveUp, Invoked, InvokeTool, PreviewPolicy
from goclaw.operations.context import Context
from goclaw.operations.operation import Http, Rpc, operation
from goclaw.operations.turns import resolve_agent
from goclaw.tools.policy import Situation

LONGEST = 7_300.0  # seconds: a tool's own time ends it before
MARGIN = 15.0  # seconds beyond it, for who waits for the end

Text = Annotated[str, Meta(max_length=255)]


class Invoke(Struct, kw_only=True):
    ALIASES: ClassVar = {"name": "tool", "parameters": "args", "arguments": "args"}

    tool: Annotated[str, Meta(min_length=1, max_length=200)]
    action: Annotated[str, Meta(max_length=100)] = ""
    args: dict[str, Any] = msgspec.field(default_factory=dict)
    dry_run: bool = False
    agent_id: str | None = None
    channel: Text = ""
    chat_id: Text = ""
    peer_kind: Literal["direct", "group"] = "direct"
    timeout_sec: Annotated[float, Meta(ge=1, le=3600)] | None = None


class Result(Struct, kw_only=True):
    content: str
    for_llm: str
    for_user: str
    is_error: bool
    error_code: str | None
    data: Raw
    media: Raw


class Said(Struct, kw_only=True):
    """What a call gave, or with `dryRun` what it would be.

    `reason`: why it is not allowed; `problem`: what is wrong with its arguments; `command`: what it would run.
    """

    ok: bool | UnsetType = UNSET
    result: Result | UnsetType = UNSET
    duration_ms: int | UnsetType = UNSET
    tool: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    parameters: Raw | UnsetType = UNSET
    dry_run: bool | UnsetType = msgspec.field(name="dryRun", default=UNSET)
    allowed: bool | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    problem: str | UnsetType = UNSET
    command: str | UnsetType = UNSET


class At(Struct, kw_only=True, rename="camel"):
    """Whose run it is."""

    provider: Text = ""
    chat: tuple[str, ...] | None = None
    request: tuple[str, ...] | None = None
    subagent: bool = False
    leaf: bool = False


class Preview(Struct, kw_only=True):
    ALIASES: ClassVar = {"global": "gateway"}

    gateway: Rules | None = None
    agent: Rules | None = None
    run: At = msgspec.field(default_factory=At)
    agent_id: str | None = None


class Names(Struct, kw_only=True):
    tools: list[str]


@operation(Rpc("tools.invoke", Role.OPERATOR), Http("POST /v1/tools/invoke", Role.OPERATOR))
async def invoke(ctx: Context, ask: Invoke) -> Said:
    """Call a tool as an agent would, for you; with `dryRun` only say what the call would be."""
    user, agent = ctx.user_id, await resolve_agent(ctx, ask.agent_id)
    if agent.status != "active":
        raise Rejected(agent_rests(agent.status))
    wanted = InvokeTool(
        id=ctx.new_id(),
        tenant_id=ctx.caller.tenant_id,
        user_id=user,
        role=ctx.caller.role.label,
        agent_id=agent.id,
        agent_key=agent.key,
        tool=ask.tool,
        action=ask.action,
        arguments=Raw(msgspec.json.encode(ask.args)),
        dry=ask.dry_run,
        channel=ask.channel,
        chat_id=ask.chat_id,
        peer_kind=ask.peer_kind,
        timeout=ask.timeout_sec,
    )
    try:
        said = await ctx.ask(BENCH, wanted, within=(ask.timeout_sec or LONGEST) + MARGIN)
    except BaseException:
        ctx.system.tell(BENCH, GiveUp(id=wanted.id))
        raise
    return _rehearsal(said) if ask.dry_run else _done(said)


@operation(Rpc("tools.policy.preview", Role.ADMIN))
async def preview(ctx: Context, ask: Preview) -> Names:
    """Say which tools a run would have under these rules; those that are absent are as they stand."""
    agent = await resolve_agent(ctx, ask.agent_id)
    situation = Situation(**msgspec.structs.asdict(ask.run))
    question = PreviewPolicy(
        tenant_id=ctx.caller.tenant_id,
        agent_key=agent.key,
        gateway=Raw(msgspec.json.encode(ask.gateway)) if ask.gateway is not None else None,
        agent=Raw(msgspec.json.encode(ask.agent)) if ask.agent is not None else None,
        run=Raw(msgspec.json.encode(situation)),
    )
    return Names(tools=list(await ctx.ask(BENCH, question, within=10)))


def _rehearsal(said: Invoked) -> Said:
    return Said(
        tool=said.tool,
        description=said.description,
        parameters=said.parameters,
        allowed=said.allowed,
        dry_run=True,
        reason=said.reason or UNSET,
        problem=said.problem or UNSET,
        command=said.command or UNSET,
    )


def _done(said: Invoked) -> Said:
    """A tool that ran and failed is an answer; one that was not let run is a refusal."""
    if refused := _refusal(said):
        raise Rejected(refused)
    result = Result(
        content=said.text,
        for_llm=said.text,
        for_user=said.for_user,
        is_error=said.is_error,
        error_code=said.error_code or None,
        data=said.data,
        media=said.media,
    )
    return Said(ok=not said.is_error, result=result, duration_ms=said.duration_ms)


def _refusal(said: Invoked) -> Err | None:
    text = said.text.removeprefix("Error: ")
    match said.error_code:
        case "invalid_args":
            return invalid("args", text)
        case "denied_policy":
            return forbidden(text)
        case "rate_limited":
            return exhausted("tool_rate", hint=text)
        case "timeout":
            return agent_timeout(said.duration_ms / 1000)
    return None
