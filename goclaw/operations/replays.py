"""Running a run again, from what it wrote down. Contract: durability.md §16.3, edge-websocket.md §7.16."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, Struct

from goclaw.domain.access import Role
from goclaw.domain.errors import Rejected, failed_precondition, invalid
from goclaw.domain.run import Replay, RunRequest
from goclaw.domain.run_states import OPEN
from goclaw.domain.session import SessionKey
from goclaw.operations import activity
from goclaw.operations.context import Context
from goclaw.operations.operation import Http, Rpc, operation
from goclaw.operations.run_rows import Run, run_of
from goclaw.operations.runs import GetRun, run_seen, wrapped
from goclaw.operations.turns import resolve_agent, send
from goclaw.stores import run_steps

Name = Annotated[str, Meta(max_length=200)]
Text = Annotated[str, Meta(max_length=200_000)]


class Prompt(Struct, frozen=True, kw_only=True):
    system: Text = ""  # instead of the recorded one
    append: Text = ""  # behind it
    user: Text = ""  # instead of what the user said


class ReplayRun(GetRun, kw_only=True):
    """`verify` changes nothing and must find the same; everything else belongs to `what_if`."""

    ALIASES: ClassVar = {**GetRun.ALIASES, "fromStep": "from_step", "maxCostUsd": "max_cost_usd"}

    mode: Literal["verify", "what_if"] = "verify"
    model: Name = ""
    provider: Name = ""
    prompt: Prompt = Prompt()
    from_step: Annotated[int, Meta(ge=0, le=10_000)] = 0
    tools: Literal["recorded", "pure", "off"] = "recorded"
    max_cost_usd: Annotated[float, Meta(ge=0, le=1_000_000)] = 0.5  # spent: it stops with what it has


class Replaying(Struct, kw_only=True):
    replay_id: str
    of: str


def for_socket(replaying: Replaying) -> dict[str, Any]:
    return {"replayId": replaying.replay_id, "of": replaying.of}


@operation(
    Rpc("runs.replay", Role.OPERATOR, reply=for_socket),
    Http("POST /v1/runs/{run_id}/replay", Role.OPERATOR, status=202),
)
async def replay(ctx: Context, ask: ReplayRun) -> Replaying:
    """Run a run again offline, or with another model from a step on. The comparison is the result of the new run."""
    row = await run_seen(ctx, ask.run_id)
    if row.state in OPEN:
        raise Rejected(failed_precondition("running", state=row.state))
    prompt = ask.prompt
    changed = [ask.model, ask.provider, ask.from_step, prompt.system, prompt.append, prompt.user]
    if ask.mode == "verify" and (any(changed) or ask.tools != "recorded"):
        raise Rejected(invalid("mode", "verify changes nothing: ask for what_if"))
    if not await ctx.db(run_steps.records, tenant=ctx.caller.tenant_id, run_id=row.run_id):
        raise Rejected(failed_precondition("no_record"))
    agent = await resolve_agent(ctx, row.agent_key)
    run_id = ctx.new_id()
    wanted = Replay(
        of=row.run_id,
        mode=ask.mode,
        model=ask.model,
        provider=ask.provider,
        from_step=ask.from_step,
        tools=ask.tools,
        system=prompt.system,
        append=prompt.append,
        user=prompt.user,
    )
    accepted = await send(
        ctx,
        run_id=run_id,
        agent=agent,
        key=SessionKey(agent.key, f"replay:{run_id}"),
        kind="replay",
        request=RunRequest(
            message=f"replay of {row.run_id}", replay=wanted, max_cost_usd=Decimal(str(ask.max_cost_usd))
        ),
        fresh=True,
    )
    return Replaying(replay_id=accepted.run_id, of=row.run_id)


class RecordRun(GetRun, kw_only=True):
    pinned: bool


@operation(
    Rpc("runs.record", Role.OPERATOR, reply=wrapped),
    Http("POST /v1/runs/{run_id}/record", Role.OPERATOR),
)
async def record(ctx: Context, ask: RecordRun) -> Run:
    """Keep a run's record beyond its seven days, or let it go again."""
    row = await run_seen(ctx, ask.run_id)
    if not await ctx.db(run_steps.pin, tenant=ctx.caller.tenant_id, run_id=row.run_id, pinned=ask.pinned):
        raise Rejected(failed_precondition("no_record"))
    await activity.record(ctx, "run.record", "run", row.run_id, pinned=ask.pinned)
    return run_of(ctx, row)
