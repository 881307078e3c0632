"""A hook is asked about a call that nobody makes. Contract: edge-websocket.md §7.14."""

from __future__ import annotations

import os
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from goclaw.domain.access import Role
from goclaw.domain.errors import Rejected, failed_precondition, forbidden
from goclaw.domain.hook import CHAIN, Happening, Hook
from goclaw.operations.activity import by
from goclaw.operations.context import Context, House
from goclaw.operations.hook_checks import checked
from goclaw.operations.hook_shapes import Wanted
from goclaw.operations.operation import Rpc, operation
from goclaw.operations.params import decode
from goclaw.tools.hooks.chain import tried
from goclaw.tools.hooks.handlers import Handlers

SHOWN = 4000  # characters of what a tried hook wrote


class Sample(Struct, kw_only=True):
    tool_name: Annotated[str, Meta(max_length=150)] = "exec"
    tool_input: dict[str, Any] = {}
    raw_input: Annotated[str, Meta(max_length=100_000)] = ""


class TestHook(Struct, kw_only=True):
    __test__ = False

    config: dict[str, Any]
    sample_event: dict[str, Any] = {}


class Tried(Struct, rename="camel", omit_defaults=True, kw_only=True):
    decision: str
    duration_ms: int
    reason: str = ""
    stdout: str = ""
    stderr: str = ""
    status_code: int | None = None
    updated_input: dict[str, Any] | None = None


class TestResult(Struct, kw_only=True):
    __test__ = False

    result: Tried


@operation(Rpc("hooks.test", Role.OPERATOR))
async def try_hook(ctx: Context, ask: TestHook) -> TestResult:
    """Ask a hook about a made-up call. Nothing is recorded."""
    wanted = decode(Wanted, {"event": "pre_tool_use", "scope": "tenant", **ask.config})
    if wanted.handler_type == "prompt":
        raise Rejected(failed_precondition("needs_a_run"))
    inside = wanted.handler_type == "command" or wanted.config.get("allow_private_network")
    if inside and not ctx.caller.is_admin:
        raise Rejected(forbidden("role"))  # it would reach more than an operator does
    id = ctx.new_id()
    config, secrets = await checked(ctx, wanted, id, None)
    sample = decode(Sample, ask.sample_event)
    about = Happening(
        event=wanted.event,
        tenant_id=ctx.caller.tenant_id,
        user_id=by(ctx),
        tool_name=sample.tool_name,
        tool_input=msgspec.Raw(msgspec.json.encode(sample.tool_input)),
        prompt=sample.raw_input,
    )
    hook = Hook(
        id=id,
        tenant_id=ctx.caller.tenant_id,
        config=msgspec.json.encode(config).decode(),
        secrets=secrets,
        version=1,
        source="api",
        **{name: getattr(wanted, name) for name in Wanted.__struct_fields__ if name not in ("config", "agent_ids")},
    )
    judges = handlers(ctx.house)
    began = ctx.system.clock.monotonic()
    verdict, decision, error = await tried(hook, about, {"command": judges.command, "http": judges.http}, CHAIN)
    result = Tried(
        decision=decision or "not_asked",
        duration_ms=int((ctx.system.clock.monotonic() - began) * 1000),
        reason=error or verdict.reason,
        stdout=verdict.stdout[:SHOWN],
        stderr=verdict.stderr[:SHOWN],
        status_code=verdict.status,
        updated_input=verdict.updated,
    )
    return TestResult(result=result)


def handlers(house: House) -> Handlers:
    """Who carries out what hooks of this gateway are."""
    return Handlers(house.box, house.settings.data_dir / "hooks", os.environ)
