"""Having an agent's files written by a model. Contract: agent-loop.md §19.6, edge-http.md §5."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from goclaw.domain.access import Role
from goclaw.domain.agent import EDITORS
from goclaw.domain.errors import Rejected, failed_precondition, forbidden, invalid
from goclaw.domain.summoning import SUMMONER, WISH, Summon
from goclaw.operations.activity import by, record, recorded
from goclaw.operations.agent_changes import changed
from goclaw.operations.agents import found_agent
from goclaw.operations.context import Context
from goclaw.operations.operation import Http, Rpc, operation
from goclaw.stores import summonings


class Regenerate(Struct, kw_only=True):
    ALIASES: ClassVar = {"agent_id": "id"}

    id: str
    prompt: Annotated[str, Meta(max_length=WISH)] = ""


class Resummon(Struct, kw_only=True):
    ALIASES: ClassVar = {"agent_id": "id"}

    id: str


class Summoning(Struct, kw_only=True):
    ok: bool = True
    status: Literal["summoning"] = "summoning"


@operation(Rpc("agents.regenerate", Role.ADMIN), Http("POST /v1/agents/{id}/regenerate", Role.OPERATOR, status=202))
@recorded
async def regenerate(ctx: Context, ask: Regenerate) -> Summoning:
    """Have the files of a predefined agent rewritten as `prompt` wishes."""
    return await _begin(ctx, ask.id, ask.prompt)


@operation(Rpc("agents.resummon", Role.ADMIN), Http("POST /v1/agents/{id}/resummon", Role.OPERATOR, status=202))
@recorded
async def resummon(ctx: Context, ask: Resummon) -> Summoning:
    """Have the files of a predefined agent written anew from its description."""
    return await _begin(ctx, ask.id, None)


async def _begin(ctx: Context, id: str, wish: str | None) -> Summoning:
    row, role = await found_agent(ctx, id)
    if role not in EDITORS:
        raise Rejected(forbidden("not_yours"))
    if row.agent_type != "predefined":
        raise Rejected(invalid("agent_type", "open agents have a set of files for each user"))
    if wish is None and not (row.description or "").strip():
        raise Rejected(invalid("description", "there is nothing to write the files from"))
    if not await ctx.db(summonings.begin, tenant=ctx.caller.tenant_id, agent=row.id, wish=wish, by=by(ctx)):
        raise Rejected(failed_precondition("summoning"))
    changed(ctx, row, ["status"])
    ctx.system.tell(SUMMONER, Summon())
    await record(ctx, "agent.summoned", "agent", row.id, key=row.agent_key, again=wish is None)
    return Summoning()
