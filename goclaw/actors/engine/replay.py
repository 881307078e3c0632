"""A run of kind `replay`: another run once more, from its record, beside what it was. Contract: durability.md §16.3."""

from __future__ import annotations

from typing import Any

import msgspec

from goclaw.actors.engine.calls import CallLog, Logged
from goclaw.actors.engine.desk import models_of
from goclaw.actors.engine.engine import Engine
from goclaw.actors.engine.journal import place_of
from goclaw.actors.engine.prepare import history_of
from goclaw.actors.engine.voice import voice_of
from goclaw.agent.compare import Comparison, compare
from goclaw.agent.history import Remembered
from goclaw.agent.recorder import Level, Row
from goclaw.agent.replay import Life, Stand, lives, play
from goclaw.agent.turn import Task
from goclaw.domain.address import provider
from goclaw.domain.chat import ChatMessage, ChatOptions, ToolCall, ToolSpec
from goclaw.domain.errors import Rejected, failed_precondition, not_found, unavailable
from goclaw.domain.loop import Loop
from goclaw.domain.model import BorrowProvider, Candidate
from goclaw.domain.run import Replay
from goclaw.providers.failover import Purse
from goclaw.providers.provider import Model
from goclaw.runtime.actor import Context
from goclaw.runtime.faults import NoSuchActor
from goclaw.security.box import Box, SecretUnreadable
from goclaw.settings.pruning import Pruning
from goclaw.stores import run_steps, runs, sessions
from goclaw.stores.run_steps import RecordRow
from goclaw.stores.runs import Claimed
from goclaw.tools.ledger import Place, ToolResult
from goclaw.tools.pipeline import call, effect_of
from goclaw.tools.tool import ToolContext


async def replay(
    ctx: Context, engine: Engine, run: Claimed, ask: Replay, tools: ToolContext | None, calls: CallLog, purse: Purse
) -> Comparison:
    """Play `ask.of` once more and say where it parts from its record. `tools`: what pure tools may read, if any may.
    A living model's calls go into `calls` and are paid from `purse`.

    Raises `Rejected` without a record, ProviderError when the living model fails.
    """
    tenant = run.tenant_id
    original = await ctx.db(runs.original, tenant=tenant, run_id=ask.of)
    try:
        rows = [
            Row(kind=row.kind, body=_body(engine.box, ask.of, row), step=row.step, blob=row.blob)
            for row in await ctx.db(run_steps.records, tenant=tenant, run_id=ask.of)
        ]
    except SecretUnreadable:
        raise Rejected(failed_precondition("secret_unreadable")) from None
    if original is None:
        raise Rejected(not_found("run", ask.of))
    played: list[Row] = []
    stand, log, stopped = Stand(), "", False
    within = engine.defaults.llm_timeout_sec
    alive = await _alive(ctx, ask, rows, calls, purse, within) if ask.mode == "what_if" else None

    async def read(wanted: ToolCall, place: Place) -> ToolResult:
        assert tools is not None
        return await call(engine.tools, tools, wanted)

    told = lives(rows)
    if not told:
        raise Rejected(failed_precondition("no_record"))
    for number, life in enumerate(told):
        last = number == len(told) - 1
        if alive is not None and not last and told[number + 1].opened["step"] > ask.from_step:
            last = True  # from here on nothing is as it was
        shared = await ctx.db(run_steps.blob, digest=life.rows[0].blob or "")
        if shared is None:
            raise Rejected(failed_precondition("no_record"))
        live = alive if last else None
        one = await play(
            life if live is None else _changed(life, ask),
            await _task(ctx, run, original, life, shared, ask if live is not None else None, engine),
            stand,
            log=log,
            level=_level(life),
            voice_for=lambda recorder, said, stream: voice_of(
                ctx, run, seq=said, stream=stream, recorder=recorder, quiet=True, blocks=engine.block_reply
            ),
            effect_of=lambda wanted: effect_of(engine.tools, wanted),
            shared=shared,
            live=live,
            alive_from=ask.from_step,
            tools=ask.tools,
            run=read if tools is not None else None,
        )
        played += one.rows
        log, stopped = one.log, one.stopped
        if live is not None:
            break
    return compare(
        ask.of,
        ask.mode,
        rows,
        played,
        suppressed=stand.suppressed,
        unmatched=stand.unmatched,
        stopped=stopped,
        pricing=engine.spending.pricing,
    )


def _body(box: Box, run_id: str, row: RecordRow) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.json.decode(row.body)
    return body if row.sealed is None else box.unseal_object(row.sealed, place_of(run_id, row.seq))


async def _alive(ctx: Context, ask: Replay, rows: list[Row], calls: CallLog, purse: Purse, within: float) -> Model:
    name = ask.provider or next(row.body["provider"] for row in rows if row.kind == "open")
    try:
        await ctx.ask(provider(name), BorrowProvider(), within=5)
    except NoSuchActor:
        raise Rejected(unavailable("unknown_provider", provider=name)) from None
    return Logged(models_of(ctx, [Candidate(name, "")], purse, within=within), calls)


async def _task(
    ctx: Context, run: Claimed, original: runs.Original, life: Life, shared: str, other: Replay | None, engine: Engine
) -> Task:
    opened = life.opened
    remembered = [
        Remembered(role=role, content=content, payload=more[0] if more else {})
        for role, content, *more in opened.get("summary", ())
    ]
    if opened["history"] is not None:
        found = await ctx.db(sessions.between, tenant=run.tenant_id, key=original.session_key, **opened["history"])
        remembered += [Remembered(role=row.role, content=row.content, payload=row.payload) for row in found]
    facts = msgspec.json.decode(shared)
    specs = msgspec.convert(facts["tools"], list[ToolSpec])
    pruning = msgspec.convert(opened.get("pruning", {"mode": "off"}), Pruning)
    history = history_of(remembered, facts["system"], specs, opened["window"], pruning)
    system, user, model = facts["system"], original.request.message, opened["model"]
    if other is not None:
        system = other.system or system
        system = f"{system}\n\n{other.append}" if other.append else system
        user, model = other.user or user, other.model or model
    return Task(
        model=model,
        system=system,
        history=(*history, ChatMessage(role="user", content=user)),
        options=msgspec.convert(opened["options"], ChatOptions),
        metadata={**opened["metadata"], "aside": "replay"},  # a model that remembers is asked apart
        max_iterations=opened["limits"]["iterations"],
        max_tool_calls=opened["limits"]["tool_calls"],
        call_timeout=engine.defaults.llm_timeout_sec,
        window=opened["window"],
        nothing_said=engine.defaults.texts.no_response_fallback,
        only_thought=engine.defaults.texts.think_only_fallback,
        mentioned=original.request.mentioned,
        hint=opened["hint"],
        locale=opened.get("locale", "en"),
        loop=msgspec.convert(opened["limits"].get("loop"), Loop | None),
    )


def _changed(life: Life, ask: Replay) -> Life:
    """A life that names the model it is played with."""
    more: dict[str, Any] = {}
    if ask.model:
        more["model"] = ask.model
    if ask.provider:
        more["provider"] = ask.provider
    return Life({**life.opened, **more}, life.rows)


def _level(life: Life) -> Level:
    level: Level = life.opened["level"]
    return level
