"""Hooks: list, make, change, try, look back. Contract: edge-websocket.md §7.14, tools.md §22."""

from __future__ import annotations

import os
import uuid
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from goclaw.domain.access import MASTER_TENANT, Role
from goclaw.domain.address import HOOKS
from goclaw.domain.errors import Rejected, exhausted, failed_precondition, forbidden, invalid, not_found, required
from goclaw.domain.hook import (
    CHAIN,
    LONGEST_MS,
    TIMEOUT_MS,
    Event,
    Handler,
    Happening,
    Hook,
    HooksChanged,
    OnTimeout,
    Scope,
)
from goclaw.operations.activity import by, record, recorded
from goclaw.operations.context import Context, House
from goclaw.operations.once import id_of
from goclaw.operations.operation import Http, Rpc, operation
from goclaw.operations.params import decode, explain
from goclaw.operations.turns import resolve_agent
from goclaw.security.box import Box, Place, SecretUnreadable
from goclaw.security.shell import deny_check
from goclaw.security.shell.groups.env_injection import unfit_to_store
from goclaw.security.ssrf import Guard, Refused
from goclaw.stores import hooks as rows
from goclaw.stores.hooks import Execution
from goclaw.tools.hooks.chain import check, tried
from goclaw.tools.hooks.condition import LONGEST, Unfit
from goclaw.tools.hooks.handlers import SECRETS, Command, Handlers, HeaderSecrets, Server, Variables
from goclaw.tools.hooks.prompt import Prompt

PAGE = 200  # rows
SHOWN = 4000  # characters of what a tried hook wrote
KINDS: dict[str, type[Command] | type[Server] | type[Prompt]] = {"command": Command, "http": Server, "prompt": Prompt}

Id = Annotated[str, Meta(min_length=1, max_length=64)]
Matcher = Annotated[str, Meta(max_length=500)]
Condition = Annotated[str, Meta(max_length=LONGEST)]
Milliseconds = Annotated[int, Meta(ge=1, le=LONGEST_MS)]
Priority = Annotated[int, Meta(ge=-1_000_000, le=1_000_000)]


class AskHooks(Struct, kw_only=True):
    event: Event | None = None
    scope: Scope | None = None
    agent_id: str | None = None
    enabled: bool | None = None


class HookRow(Struct, rename="camel", kw_only=True):
    """`secretNames` are the members of `config.secrets`, whose values nobody is shown."""

    id: str
    event: Event
    handler_type: Handler
    scope: Scope
    name: str
    matcher: str | None
    if_expr: str | None
    timeout_ms: int
    on_timeout: OnTimeout
    priority: int
    enabled: bool
    config: msgspec.Raw
    secret_names: list[str]
    agent_ids: list[str]
    source: Literal["user", "builtin"]
    version: int


class HookList(Struct, kw_only=True):
    hooks: list[HookRow]


class Wanted(Struct, kw_only=True):
    """What a hook is made of. `config.secrets` is a command's environment, or headers of a request: it is sealed."""

    event: Event
    handler_type: Handler
    scope: Scope
    name: Annotated[str, Meta(max_length=255)] = ""
    matcher: Matcher | None = None
    if_expr: Condition | None = None
    timeout_ms: Milliseconds = TIMEOUT_MS
    on_timeout: OnTimeout = "block"
    priority: Priority = 0
    enabled: bool = True
    config: dict[str, Any] = {}
    agent_ids: Annotated[list[str], Meta(max_length=100)] = []


class MadeHook(Struct, rename="camel", kw_only=True):
    hook_id: str


class OneHook(Struct, kw_only=True):
    hook_id: Id


class Updates(Struct, kw_only=True):
    event: Event | UnsetType = UNSET
    handler_type: Handler | UnsetType = UNSET
    scope: Scope | UnsetType = UNSET
    name: Annotated[str, Meta(max_length=255)] | UnsetType = UNSET
    matcher: Matcher | UnsetType | None = UNSET
    if_expr: Condition | UnsetType | None = UNSET
    timeout_ms: Milliseconds | UnsetType = UNSET
    on_timeout: OnTimeout | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    config: dict[str, Any] | UnsetType = UNSET
    agent_ids: Annotated[list[str], Meta(max_length=100)] | UnsetType = UNSET


class UpdateHook(OneHook, kw_only=True):
    """A `config` replaces the former one; without `secrets` in it those stay."""

    updates: dict[str, Any]


class ToggleHook(OneHook, kw_only=True):
    enabled: bool


class Done(Struct, kw_only=True):
    ok: bool = True


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


class AskHistory(Struct, kw_only=True):
    hook_id: str | None = None
    limit: Annotated[int, Meta(ge=1)] = 50
    offset: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0


class History(Struct, kw_only=True):
    executions: list[Execution]
    total: int


@operation(Rpc("hooks.list", Role.VIEWER), Http("GET /v1/hooks", Role.VIEWER))
async def list_hooks(ctx: Context, ask: AskHooks) -> HookList:
    """List hooks in the order in which they are asked."""
    agent = (await resolve_agent(ctx, ask.agent_id)).id if ask.agent_id else None
    found = await ctx.db(
        rows.page, tenant=ctx.caller.tenant_id, event=ask.event, scope=ask.scope, enabled=ask.enabled, agent=agent
    )
    return HookList(hooks=[row_of(ctx.house.box, hook) for hook in found])


@operation(Rpc("hooks.create", Role.ADMIN), Http("POST /v1/hooks", Role.ADMIN, 201))
@recorded
async def create(ctx: Context, ask: Wanted) -> MadeHook:
    """Make a hook. It holds from the next step of any run on."""
    id = id_of(ctx)
    config, secrets = await checked(ctx, ask, id, None)
    row = _columns(ask, config, secrets)
    made = await ctx.db(rows.add, id=id, tenant=ctx.caller.tenant_id, created_by=by(ctx), **row)
    if not made:
        raise Rejected(exhausted("hooks"))
    await _changed(ctx, "created", id, ask.name)
    return MadeHook(hook_id=id)


@operation(Rpc("hooks.update", Role.ADMIN), Http("PATCH /v1/hooks/{hook_id}", Role.ADMIN))
@recorded
async def update(ctx: Context, ask: UpdateHook) -> Done:
    """Change a hook. What is not named stays."""
    hook = await own(ctx, ask.hook_id)
    changes = decode(Updates, ask.updates)
    given = {name: getattr(changes, name) for name in Updates.__struct_fields__}
    before = {
        **{name: getattr(hook, name) for name in given if hasattr(hook, name)},
        "config": msgspec.json.decode(hook.config),
        "agent_ids": list(hook.agents),
    }
    wanted = Wanted(**{name: before[name] if value is UNSET else value for name, value in given.items()})
    config, secrets = await checked(ctx, wanted, hook.id, hook.secrets)
    row = _columns(wanted, config, secrets)
    if not await ctx.db(rows.change, id=hook.id, tenant=hook.tenant_id, version=hook.version, **row):
        raise Rejected(failed_precondition("changed_meanwhile"))
    await _changed(ctx, "updated", hook.id, wanted.name)
    return Done()


@operation(Rpc("hooks.delete", Role.ADMIN), Http("DELETE /v1/hooks/{hook_id}", Role.ADMIN))
@recorded
async def delete(ctx: Context, ask: OneHook) -> Done:
    """Delete a hook. What it decided stays in history."""
    hook = await own(ctx, ask.hook_id)
    await ctx.db(rows.drop, id=hook.id, tenant=hook.tenant_id)
    await _changed(ctx, "deleted", hook.id, hook.name)
    return Done()


@operation(Rpc("hooks.toggle", Role.ADMIN))
@recorded
async def toggle(ctx: Context, ask: ToggleHook) -> Done:
    """Switch a hook on or off."""
    return await update(ctx, UpdateHook(hook_id=ask.hook_id, updates={"enabled": ask.enabled}))


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


@operation(Rpc("hooks.history", Role.VIEWER), Http("GET /v1/hook-executions", Role.VIEWER))
async def history(ctx: Context, ask: AskHistory) -> History:
    """What hooks decided, newest first."""
    tenant, hook = ctx.caller.tenant_id, (await own(ctx, ask.hook_id)).id if ask.hook_id else None
    limit = min(ask.limit, PAGE)
    found = await ctx.db(rows.history, tenant=tenant, hook=hook, limit=limit, offset=ask.offset)
    total = await ctx.db(rows.recorded, tenant=tenant, hook=hook)
    return History(executions=found, total=total)


# --- parts ----------------------------------------------------------------------------------------


def handlers(house: House) -> Handlers:
    """Who carries out what hooks of this gateway are."""
    return Handlers(house.box, house.settings.data_dir / "hooks", os.environ)


async def own(ctx: Context, id: str) -> Hook:
    """Refused as not found unless it is of the caller's tenant, and as forbidden if it is ours."""
    try:
        named = str(uuid.UUID(id))
    except ValueError:
        raise Rejected(not_found("hook", id)) from None
    hook = await ctx.db(rows.get, id=named, tenant=ctx.caller.tenant_id)
    if hook is None:
        raise Rejected(not_found("hook", id))
    if hook.source == "builtin":
        raise Rejected(forbidden("builtin"))
    return hook


async def commands_allowed(ctx: Context) -> bool:
    allowed = ctx.house.settings.hooks.allow_command
    if allowed is None:
        allowed = await ctx.db(rows.alone)
    return bool(allowed) and ctx.house.policy.pin(ctx.caller.tenant_id).capability("hook.command").allowed


async def checked(ctx: Context, ask: Wanted, id: str, before: str | None) -> tuple[dict[str, Any], str | None]:
    """The config without its secrets, and those sealed. Refuses whatever could never work or may not be."""
    if ask.scope == "global" and not (ctx.caller.is_owner and ctx.caller.tenant_id == MASTER_TENANT):
        raise Rejected(forbidden("owner"))  # it is asked in every tenant
    if ask.scope == "agent" and not ask.agent_ids:
        raise Rejected(required("agent_ids"))
    ask.agent_ids = [(await resolve_agent(ctx, name)).id for name in ask.agent_ids]
    try:
        check(ask.matcher, ask.if_expr)
    except Unfit as unfit:
        field = "matcher" if str(unfit).startswith("matcher") else "if_expr"
        raise Rejected(invalid(field, str(unfit)[:200])) from None
    if ask.handler_type == "prompt" and not (ask.matcher or ask.if_expr):
        raise Rejected(required("matcher"))
    if ask.handler_type == "prompt" and ask.event != "pre_tool_use":
        raise Rejected(invalid("event", "a prompt judges calls of tools: pre_tool_use"))
    config = dict(ask.config)
    secrets = config.pop("secrets", UNSET)
    try:
        kind = msgspec.convert(config, KINDS[ask.handler_type])
    except msgspec.ValidationError as error:
        raise Rejected(explain(str(error), "config")) from None
    match kind:
        case Command():
            await _check_command(ctx, kind)
        case Server():
            _check_server(kind)
    return config, before if secrets is UNSET else _sealed(ctx, ask.handler_type, id, secrets)


async def _check_command(ctx: Context, command: Command) -> None:
    if not await commands_allowed(ctx):
        raise Rejected(forbidden("hook_command"))
    verdict = deny_check(command.line)
    if not verdict.allowed:
        raise Rejected(invalid("config.command", f'refused by safety group "{verdict.group}"'))
    for name in command.env:
        if unfit_to_store(name):
            raise Rejected(invalid("config.env", f"{name} is given to no hook"))


def _check_server(server: Server) -> None:
    try:
        Guard(allow_private=server.allow_private_network).check(server.url)
    except Refused as refused:
        raise Rejected(invalid("config.url", str(refused))) from None


def _sealed(ctx: Context, kind: Handler, id: str, given: Any) -> str | None:
    if not given:
        return None
    if kind == "prompt":
        raise Rejected(invalid("config.secrets", "a prompt has none"))
    try:
        secrets = msgspec.convert(given, Variables if kind == "command" else HeaderSecrets)
    except msgspec.ValidationError as error:
        raise Rejected(explain(str(error), "config.secrets")) from None
    if kind == "command" and (unfit := [name for name in secrets if unfit_to_store(name)]):
        raise Rejected(invalid("config.secrets", f"{unfit[0]} is given to no hook"))
    return ctx.house.box.seal_object(secrets, Place(SECRETS, id)).hex()


def _columns(ask: Wanted, config: dict[str, Any], secrets: str | None) -> dict[str, Any]:
    plain = {name: getattr(ask, name) for name in Wanted.__struct_fields__ if name not in ("config", "agent_ids")}
    return {**plain, "config": config, "secrets": secrets, "agents": ask.agent_ids}


async def _changed(ctx: Context, action: str, id: str, name: str) -> None:
    ctx.system.tell(HOOKS, HooksChanged())
    await record(ctx, f"hook.{action}", "hook", id, name=name)


def row_of(box: Box, hook: Hook) -> HookRow:
    names: list[str] = []
    if hook.secrets is not None:
        try:
            names = sorted(box.unseal_object(bytes.fromhex(hook.secrets), Place(SECRETS, hook.id)))
        except SecretUnreadable:
            names = ["secret_unreadable"]
    return HookRow(
        secret_names=names,
        agent_ids=list(hook.agents),
        source="builtin" if hook.source == "builtin" else "user",
        config=msgspec.Raw(hook.config.encode()),
        **{
            name: getattr(hook, name)
            for name in HookRow.__struct_fields__
            if name not in ("secret_names", "agent_ids", "source", "config")
        },
    )
