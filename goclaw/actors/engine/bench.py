"""Calls of tools that no run makes: one child for each, behind the guards every run has.

Address   /engine/bench, a call at /engine/bench/{id}
Contract  tools.md §3.1, §23 T3
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import trio
from msgspec import Raw

from goclaw.actors.engine.engine import Engine
from goclaw.actors.engine.guards import own_rules, rules_of
from goclaw.actors.engine.tool_calls import ToolCalls
from goclaw.domain.address import BENCH, agent
from goclaw.domain.agent import AgentProfile, GetProfile
from goclaw.domain.chat import ToolCall
from goclaw.domain.errors import Err, StoreError, exhausted, not_found, unavailable
from goclaw.domain.run import ReplyTo, RunRequest
from goclaw.domain.session import key_of
from goclaw.domain.tool_rules import Rules
from goclaw.domain.tools import GiveUp, Invoked, InvokeTool, PreviewPolicy
from goclaw.domain.workspace import file_name
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.child import Child, Restart
from goclaw.runtime.faults import Rejected
from goclaw.runtime.reply import Reply
from goclaw.stores.runs import Claimed
from goclaw.tools.arguments import read
from goclaw.tools.groups import PRESETS
from goclaw.tools.ledger import ToolResult
from goclaw.tools.pipeline import Toolbox, failed, find
from goclaw.tools.policy import Situation, allowed
from goclaw.tools.tool import Tool, ToolFailed

AT_ONCE = 64  # calls
LADDER = 10.0  # seconds in which a tool ends what it began


class Bench(Actor):
    weather = (StoreError,)

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @handles
    def invoke(self, ctx: Context, ask: InvokeTool) -> Invoked | Err | None:
        if len(ctx.children()) >= AT_ONCE:
            return exhausted("tool_calls", 1.0)
        if (reply := ctx.defer()) is not None:
            ctx.child(Child(ask.id, Errand, (ask, reply, self.engine), restart=Restart.TEMPORARY, shutdown=LADDER))
        return None

    @handles
    async def give_up(self, ctx: Context, news: GiveUp) -> None:
        await ctx.stop_child(BENCH / news.id)

    @handles
    async def preview(self, ctx: Context, ask: PreviewPolicy) -> tuple[str, ...] | Err:
        try:
            profile = await ctx.ask(agent(ask.tenant_id, ask.agent_key), GetProfile(), within=10)
            kit = await self.engine.kit(ctx, outside(ask.tenant_id, profile), profile)
        except Rejected as refusal:
            return refusal.err
        gateway = rules_of(self.engine.guards.settings) if ask.gateway is None else _rules(ask.gateway)
        own = own_rules(profile) if ask.agent is None else _rules(ask.agent)
        at: Situation = msgspec.json.decode(ask.run, type=Situation)
        return allowed({name: tool.groups for name, tool in kit.tools.items()}, gateway, own, at)

    def snapshot(self) -> dict[str, Any]:
        return {"at_once": AT_ONCE}


class Errand(Actor):
    """One call. Whoever asked hears of its end, whatever that is."""

    def __init__(self, ask: InvokeTool, reply: Reply, engine: Engine) -> None:
        self.asked = ask
        self.reply = reply
        self.engine = engine

    async def live(self, ctx: Context) -> None:
        try:
            answer: Invoked | Err = await self._call(ctx)
        except Rejected as refusal:
            answer = refusal.err
        except StoreError:
            answer = unavailable("store", 2.0)
        except OSError as trouble:  # the workspace cannot be made or read
            ctx.log.warning("invoke.no_workspace", error=str(trouble))
            answer = unavailable("workspace")
        self.reply.answer(answer)

    def release(self) -> None:
        if not self.reply.over:
            self.reply.answer(unavailable("crashed"))

    async def _call(self, ctx: Context) -> Invoked | Err:
        ask, engine = self.asked, self.engine
        profile = await ctx.ask(agent(ask.tenant_id, ask.agent_key), GetProfile(user_id=ask.user_id), within=10)
        run = outside(ask.tenant_id, profile, ask)
        kit = await engine.kit(ctx, run, profile)
        tool = find(kit.tools, ask.tool) or find(engine.tools, ask.tool)
        if tool is None:
            return not_found("tool", ask.tool[:100])
        reach = engine.reach(run, profile, ctx.clock.now, kit.settings)
        calls = ToolCalls(ctx, run.session_key, engine.guards.estop, engine.durations, lambda *_: None)
        reach = replace(reach, role=ask.role, peer_kind=ask.peer_kind)
        box = engine.guards.box(ctx, kit, run, profile, reach, through=calls)
        wanted = ToolCall(id=ask.id, name=ask.tool, arguments=_arguments(tool, ask))
        if ask.dry:
            return await rehearsed(box, tool, wanted)
        with trio.move_on_after(ask.timeout or float("inf")) as limit:
            result = await box.act(wanted)
        if limit.cancelled_caught:
            result = failed("timeout", f"{tool.name} took longer than {ask.timeout:g} s and was stopped")
        return told(tool, result)


def outside(tenant: str, agent: AgentProfile, ask: InvokeTool | None = None) -> Claimed:
    """What a run would be that makes this call, as far as guards and tools want to know."""
    user, reply_to = "", None
    if ask is not None:
        user = ask.user_id
        reply_to = ReplyTo(channel_instance=ask.channel, chat_id=ask.chat_id) if ask.channel else None
    request = RunRequest(message="", reply_to=reply_to)
    return Claimed(
        run_id=ask.id if ask is not None else "",
        tenant_id=tenant,
        session_key=str(key_of(agent.key, "http", "direct", file_name(user))),  # one for all his calls
        agent_id=agent.id,
        agent_key=agent.key,
        user_id=user,
        kind="http",
        lane="main",
        attempt=1,
        crash_count=0,
        fence=0,
        lease_owner="",
        stored=msgspec.json.encode(request).decode(),
        created_at=datetime.fromtimestamp(0, UTC),
        age=0.0,
    )


async def rehearsed(box: Toolbox, tool: Tool, wanted: ToolCall) -> Invoked:
    """What the call would be, as far as that can be said without making it or counting it."""
    reason = problem = command = ""
    if find(box.tools, wanted.name) is None:
        reason = f"tool not allowed by policy: {tool.name}"
    try:
        for gate in box.before:
            await gate(tool, box.ctx)
    except ToolFailed as refused:
        reason = str(refused)
    try:
        args = read(tool, {**PRESETS.get(wanted.name, {}), **wanted.arguments})
        command = tool.rehearse(box.ctx, args.ask) if tool.rehearse is not None else ""
    except ToolFailed as wrong:
        problem = str(wrong)
    return told(tool, ToolResult(text=""), allowed=not reason, reason=reason, problem=problem, command=command)


def told(tool: Tool, result: ToolResult, **more: Any) -> Invoked:
    return Invoked(
        tool=tool.name,
        description=tool.spec.description,
        parameters=Raw(msgspec.json.encode(tool.spec.parameters)),
        text=result.text,
        for_user=result.for_user,
        is_error=result.is_error,
        error_code=result.error_code,
        media=Raw(msgspec.json.encode(result.media)),
        data=result.data,
        duration_ms=result.duration_ms,
        **more,
    )


def _arguments(tool: Tool, ask: InvokeTool) -> dict[str, Any]:
    """With the action among them, if the tool takes one and they name none."""
    given: dict[str, Any] = msgspec.json.decode(ask.arguments)
    takes = ask.action and "action" in tool.spec.parameters.get("properties", {})
    return {"action": ask.action, **given} if takes else given


def _rules(layer: Raw) -> Rules:
    rules: Rules = msgspec.json.decode(layer, type=Rules)
    return rules
