"""Knows which hooks are in force, writes down what they decided, and switches off those that block all the time.

Address   /engine/policy/hooks
Contract  tools.md §22, orchestration.md §13.4

Hooks that may block a step of a run are asked by the run itself (`RunHooks`); the others work in children of this.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import structlog
from msgspec.structs import replace

from goclaw.agent.turn import Task
from goclaw.domain.address import HOOKS
from goclaw.domain.errors import Rejected, StoreError, forbidden
from goclaw.domain.events import body, of_admins
from goclaw.domain.hook import (
    ERROR,
    Decision,
    Event,
    Happened,
    Happening,
    Hook,
    HookEnded,
    HookEvent,
    HooksChanged,
    HooksFor,
    MayHappen,
)
from goclaw.domain.ids import new_id
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.child import Child, Restart
from goclaw.runtime.faults import RuntimeFault
from goclaw.runtime.reply import Reply
from goclaw.security.box import Box, Place
from goclaw.security.policy_book import PolicyBook
from goclaw.settings.hooks import Hooks as Settings
from goclaw.stores import hooks as rows
from goclaw.stores.runs import Claimed
from goclaw.tools.gates import Capabilities
from goclaw.tools.hooks.chain import Noted, Outcome, chain
from goclaw.tools.hooks.handlers import Handlers
from goclaw.tools.hooks.prompt import Verdicts
from goclaw.tools.hooks.verdict import HookFailed, Judge, Verdict
from goclaw.tools.ledger import ToolResult
from goclaw.tools.tool import ToolFailed

AT_ONCE = 32  # chains outside of runs; more are not asked, and what they could block does not happen
TENANTS = 1000  # whose hooks are remembered
FRESH = 30.0  # seconds after which others may have changed them, on another node
BREAKS, WITHIN = 5, 60.0  # blocks and timeouts, and seconds, that switch a hook off
ASK = 10.0  # seconds
RESULT = 4000  # characters of a result that a hook is told
DETAIL = "hook_executions.error_detail"
NOBODY = "nobody can say which hooks there are; try later"

security = structlog.get_logger()


@dataclass(frozen=True)
class HookWorks:
    """What asking hooks takes."""

    handlers: Handlers
    settings: Settings = field(default_factory=Settings)
    policy: Capabilities = field(default_factory=PolicyBook)
    box: Box = field(default_factory=Box)
    verdicts: Verdicts = field(default_factory=Verdicts)


class HookDispatcher(Actor):
    weather = (StoreError,)
    capacity = 4096

    def __init__(self, works: HookWorks) -> None:
        self.works = works
        self.known: dict[str, tuple[float, list[Hook]]] = {}
        self.breaks: dict[str, deque[float]] = {}

    @handles
    async def hooks_for(self, ctx: Context, ask: HooksFor) -> tuple[Hook, ...]:
        at, known = self.known.get(ask.tenant_id, (float("-inf"), []))
        now = ctx.clock.monotonic()
        if now - at > FRESH:
            known = await ctx.db(rows.in_force, tenant=ask.tenant_id)
            if len(self.known) >= TENANTS:
                self.known.clear()
            self.known[ask.tenant_id] = now, known
        return tuple(
            hook for hook in known if hook.event == ask.event and (hook.scope != "agent" or ask.agent_id in hook.agents)
        )

    @handles
    def changed(self, _ctx: Context, _news: HooksChanged) -> None:
        self.known.clear()

    @handles
    async def ended(self, ctx: Context, news: HookEnded) -> None:
        hook, about = news.hook, news.about
        ctx.system.meter.count("hook_executions_total", about.event, news.decision)
        ctx.system.meter.observe("hook_seconds", news.milliseconds / 1000, about.event, news.decision)
        id = new_id()
        detail = None
        if len(news.error) > ERROR and self.works.box.kid:
            detail = self.works.box.seal_object({"error": news.error[:16_000]}, Place(DETAIL, id)).hex()
        await ctx.db(
            rows.record,
            id=id,
            tenant=about.tenant_id,
            hook=hook.id,
            session=about.session_key or None,
            run=about.run_id,
            event=about.event,
            input_hash=hashlib.sha256(bytes(about.tool_input)).hexdigest(),
            decision=news.decision,
            duration_ms=news.milliseconds,
            error=news.error[:ERROR] or None,
            detail=detail,
        )
        if news.decision in ("block", "timeout"):
            await self._broke(ctx, hook)

    @handles
    def happened(self, ctx: Context, news: Happened) -> None:
        if len(ctx.children()) >= AT_ONCE:
            ctx.log.warning("hook.not_asked", what=news.about.event, error="too many at once")
            return
        ctx.child(Child(new_id(), Aside, (self.works, news.about), restart=Restart.TEMPORARY))

    @handles
    def may_happen(self, ctx: Context, ask: MayHappen) -> str:
        if len(ctx.children()) < AT_ONCE and (reply := ctx.defer()) is not None:
            ctx.child(Child(new_id(), Aside, (self.works, ask.about, reply), restart=Restart.TEMPORARY))
        return "too many hooks work at once; try later"

    async def _broke(self, ctx: Context, hook: Hook) -> None:
        """One that says no all the time is broken itself, or somebody plays with it."""
        now = ctx.clock.monotonic()
        times = self.breaks.setdefault(hook.id, deque(maxlen=BREAKS))
        times.append(now)
        if len(times) < BREAKS or now - times[0] > WITHIN:
            return
        del self.breaks[hook.id]
        if await ctx.db(rows.switch_off, id=hook.id, tenant=hook.tenant_id):
            self.known.clear()
            security.warning("security.hook_circuit_breaker", hook=hook.id, name=hook.name, tenant=hook.tenant_id)
            news = HookEvent(body=body(hookId=hook.id, name=hook.name, event=hook.event, blocks=BREAKS))
            ctx.publish(of_admins(hook.tenant_id), news)

    def snapshot(self) -> dict[str, object]:
        return {"tenants": len(self.known), "breaking": len(self.breaks)}


class Aside(Actor):
    """One chain outside of a run. `reply` is told why what it may block must not be, or nothing."""

    def __init__(self, works: HookWorks, about: Happening, reply: Reply | None = None) -> None:
        self.works = works
        self.about = about
        self.reply = reply

    async def live(self, ctx: Context) -> None:
        blocked = await self._blocked(ctx)
        if self.reply is not None:
            self.reply.answer(blocked)

    async def _blocked(self, ctx: Context) -> str:
        about = self.about
        try:
            hooks = await in_force(ctx, about)
            outcome = await chain(hooks, about, judges(ctx, self.works, about.tenant_id), noted(ctx))
        except (RuntimeFault, StoreError) as trouble:
            ctx.log.warning("hook.not_asked", what=about.event, error=str(trouble))
            return NOBODY
        return outcome.blocked or ""


class RunHooks:
    """The hooks of one run (`gates.Hooks`). `about` is what all that happens in it has in common."""

    def __init__(self, ctx: Context, works: HookWorks, about: Happening, asking: Judge) -> None:
        self._ctx = ctx
        self._about = about
        self._judges = {**judges(ctx, works, about.tenant_id), "prompt": asking}

    async def before(self, tool: str, arguments: Mapping[str, Any]) -> Mapping[str, Any] | None:
        outcome = await self._asked(event="pre_tool_use", tool_name=tool, tool_input=_raw(arguments))
        if outcome.blocked is not None:
            raise ToolFailed("denied_policy", outcome.blocked)
        return outcome.updated

    def after(self, tool: str, arguments: Mapping[str, Any], result: ToolResult) -> None:
        text = result.text[:RESULT]
        self.tell(
            event="post_tool_use",
            tool_name=tool,
            tool_input=_raw(arguments),
            result=text,
            is_error=result.is_error,
        )

    async def prompt(self, text: str) -> Outcome:
        """Before a message is answered."""
        return await self._asked(event="user_prompt_submit", prompt=text)

    def tell(self, event: Event, **more: Any) -> None:
        self._ctx.tell(HOOKS, Happened(about=replace(self._about, event=event, **more)))

    async def _asked(self, **what: Any) -> Outcome:
        about = replace(self._about, **what)
        try:
            hooks = await in_force(self._ctx, about)
        except (RuntimeFault, StoreError):
            return Outcome(blocked=NOBODY)
        return await chain(hooks, about, self._judges, noted(self._ctx)) if hooks else Outcome()


def about_run(run: Claimed, agent_id: str, depth: int) -> Happening:
    return Happening(
        event="session_start",
        tenant_id=run.tenant_id,
        run_id=run.run_id,
        session_key=run.session_key,
        agent_id=agent_id,
        user_id=run.user_id,
        depth=depth,
    )


async def submitted(hooks: RunHooks, task: Task, *, first: bool) -> Task:
    """The task with what hooks say of its message. Raises Rejected where one blocks it."""
    if first:
        hooks.tell("session_start")
    outcome = await hooks.prompt(task.history[-1].content)
    if outcome.blocked is not None:
        raise Rejected(forbidden("hook_blocked", message=outcome.blocked))
    return replace(task, hint=f"{task.hint}\n\n{outcome.context}".strip()) if outcome.context else task


async def in_force(ctx: Context, about: Happening) -> tuple[Hook, ...]:
    """Raises RuntimeFault, StoreError."""
    ask = HooksFor(tenant_id=about.tenant_id, agent_id=about.agent_id, event=about.event)
    return await ctx.ask(HOOKS, ask, within=ASK)


def judges(ctx: Context, works: HookWorks, tenant: str) -> dict[str, Judge]:
    """Those that ask no model."""

    async def command(hook: Hook, about: Happening) -> Verdict:
        allowed = works.settings.allow_command
        if allowed is None:
            allowed = await ctx.db(rows.alone)
        if not allowed or not works.policy.pin(tenant).capability("hook.command").allowed:
            raise HookFailed("hooks that run commands are not allowed here")
        return await works.handlers.command(hook, about)

    return {"command": command, "http": works.handlers.http}


def noted(ctx: Context) -> Noted:
    def note(hook: Hook, about: Happening, decision: Decision, seconds: float, error: str) -> None:
        news = HookEnded(hook=hook, about=about, decision=decision, milliseconds=int(seconds * 1000), error=error)
        ctx.tell(HOOKS, news)

    return note


def _raw(arguments: Mapping[str, Any]) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(arguments))
