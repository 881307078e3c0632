"""What a run asks its model: agent, prompt and history, put together once per life.

Contract: agent-loop.md §3 phase 3, §4, §6 to §8.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from goclaw.actors.engine.engine import Engine
from goclaw.actors.engine.forms import fitted
from goclaw.agent.again import again
from goclaw.agent.history import Remembered, chat_messages
from goclaw.agent.prompt import Facts, mode_of, system_prompt
from goclaw.agent.pruning import prune
from goclaw.agent.turn import Draft, Task
from goclaw.domain.agent import AgentProfile
from goclaw.domain.chat import ChatMessage, ChatOptions, ToolSpec
from goclaw.domain.errors import StoreError
from goclaw.domain.hint_texts import locale_of
from goclaw.domain.loop import ALONE
from goclaw.domain.run import RunRequest
from goclaw.domain.session import parse_key
from goclaw.domain.tokens import estimate, estimate_prompt
from goclaw.knowledge.context import Limits, Loaded, load
from goclaw.knowledge.context_files import AMONG_STRANGERS, circumstances
from goclaw.runtime.actor import Context
from goclaw.settings.agents import AgentDefaults
from goclaw.settings.compaction import of_agent
from goclaw.settings.pruning import Pruning
from goclaw.stores import agent_shares, subagent_views
from goclaw.stores.runs import Claimed
from goclaw.stores.sessions import MessageRow


class Prepared(NamedTuple):
    task: Task
    stranger: bool  # the agent meets this user for the first time


async def prepared(
    ctx: Context,
    engine: Engine,
    run: Claimed,
    profile: AgentProfile,
    rows: Sequence[MessageRow],
    specs: tuple[ToolSpec, ...],
    draft: Draft,
) -> Prepared:
    """Raises StoreError, and Rejected for a configuration that cannot be used."""
    facts, stranger = await _facts(ctx, engine.defaults, run, profile, rows, specs)
    system = system_prompt(facts, engine.defaults.system_prompt_budget_tokens)
    options = options_of(profile, engine.defaults, run.request)
    if run.kind not in ALONE and options.response_format is None:
        options = await fitted(options, profile, engine.defaults.workspace)
    task = _task(engine.defaults, run, profile, rows, specs, system, draft, options)
    return Prepared(task, stranger)


async def _facts(
    ctx: Context,
    defaults: AgentDefaults,
    run: Claimed,
    profile: AgentProfile,
    rows: Sequence[MessageRow],
    specs: tuple[ToolSpec, ...],
) -> tuple[Facts, bool]:
    """What the system prompt is made of, and whether the agent meets this user for the first time."""
    key, to = parse_key(run.session_key), run.request.reply_to
    writer = not key.group or await _writes(ctx, run, profile)
    loaded: Loaded = await load(
        ctx.db,
        profile,
        tenant=run.tenant_id,
        user=run.user_id,
        when=circumstances(run.kind, run.session_key, writer=writer),
        mode=mode_of(run.kind, profile.prompt_mode),
        light=run.request.light_context,
        limits=Limits(defaults.bootstrap_max_chars, defaults.bootstrap_total_max_chars),
    )
    facts = Facts(
        agent=profile,
        now=ctx.clock.now(),
        mode=mode_of(run.kind, profile.prompt_mode),
        tools=specs,
        files=loaded.files,
        hidden=AMONG_STRANGERS if loaded.hidden else "",
        kind=run.kind,
        group=key.group,
        channel=to.channel_instance if to is not None else key.channel,
        user=run.user_id,
        role=run.request.role,
        extra=run.request.instructions,
        children=await _children(ctx, run, specs) if rows else (),
        turn=sum(1 for row in rows if row.role == "user") + 1,
        locale=locale_of(profile.language, run.request.locale),
    )
    return facts, loaded.first_contact


def _task(
    defaults: AgentDefaults,
    run: Claimed,
    profile: AgentProfile,
    rows: Sequence[MessageRow],
    specs: tuple[ToolSpec, ...],
    system: str,
    draft: Draft,
    options: ChatOptions,
) -> Task:
    request = run.request
    locale = locale_of(profile.language, request.locale)
    remembered = [Remembered(role=row.role, content=row.content, payload=row.payload) for row in rows]
    return Task(
        model=profile.model,
        system=system,
        history=(
            *history_of(remembered, system, specs, profile.context_window, pruning_of(defaults, profile)),
            ChatMessage(role="user", content=request.message),
        ),
        options=options,
        metadata={
            "run_kind": run.kind,
            "agent": profile.key,
            "session": run.session_key,
            "tenant": run.tenant_id,
        },
        max_iterations=min(profile.max_tool_iterations, request.max_iterations or profile.max_tool_iterations),
        max_tool_calls=defaults.max_tool_calls,
        call_timeout=defaults.llm_timeout_sec,
        parallel=defaults.tool_max_parallel_calls,
        window=profile.context_window,
        mentioned=request.mentioned,
        nothing_said=defaults.texts.no_response_fallback,
        only_thought=defaults.texts.think_only_fallback,
        locale=locale,
        loop=profile.loop if run.kind not in ALONE and options.response_format is None else None,
        hint=again(run.attempt, run.last_error or "", draft.messages, locale) if run.attempt > 1 else "",
    )


async def _children(ctx: Context, run: Claimed, specs: Sequence[ToolSpec]) -> tuple[str, ...]:
    """Its subagents at work, which it would forget when what was said of them is summarised (orchestration.md §3.3)."""
    if not any(spec.name == "spawn" for spec in specs):
        return ()
    return tuple(await ctx.db(subagent_views.roster, tenant=run.tenant_id, key=run.session_key))


async def _writes(ctx: Context, run: Claimed, profile: AgentProfile) -> bool:
    """Whether the one who speaks in a group may write its agent's files; not while nobody can tell."""
    to = run.request.reply_to
    chat = f"group:{to.channel_instance}:{to.chat_id}" if to is not None else ""
    speaker = [run.request.sender or run.user_id]
    try:
        writes: bool = await ctx.db(
            agent_shares.may_write, tenant=run.tenant_id, agent=profile.id, scope=chat, users=speaker
        )
    except StoreError:
        return False
    return writes


def pruning_of(defaults: AgentDefaults, profile: AgentProfile) -> Pruning:
    """What the agent says of it, else everybody's."""
    return of_agent(defaults.context_pruning, msgspec.json.decode(profile.pruning))


def history_of(
    remembered: Sequence[Remembered], system: str, specs: Sequence[ToolSpec], window: int, pruning: Pruning
) -> list[ChatMessage]:
    """What was said before, as the model gets it: valid, with old results shortened, within the window."""
    overhead = estimate(system) + estimate_prompt((), specs)
    return chat_messages(remembered, window, lambda messages: prune(messages, overhead, window, pruning))


def options_of(profile: AgentProfile, defaults: AgentDefaults, request: RunRequest) -> ChatOptions:
    """What the request says, else the agent, else everybody's."""
    asked = request.options or ChatOptions()
    if request.response_format:
        asked = replace(asked, response_format=msgspec.json.decode(request.response_format))
    if asked.temperature is None and asked.top_p is None:
        asked = replace(asked, temperature=defaults.temperature if profile.temperature is None else profile.temperature)
    if asked.max_tokens is None:
        asked = replace(asked, max_tokens=profile.max_tokens or defaults.max_tokens)
    if asked.reasoning_effort is None and profile.effort != "off":
        asked = replace(asked, reasoning_effort=profile.effort, reasoning_exact=profile.exact_effort)
    return asked
