"""Whether a hook may be, and could ever work; its secrets are sealed here. Contract: tools.md §22."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.errors import Rejected, forbidden, hook_commands_off, invalid, required
from goclaw.domain.hook import Handler
from goclaw.operations.context import Context
from goclaw.operations.hook_shapes import Wanted
from goclaw.operations.params import explain
from goclaw.operations.turns import resolve_agent
from goclaw.security.box import Place
from goclaw.security.shell import deny_check
from goclaw.security.shell.groups.env_injection import unfit_to_store
from goclaw.security.ssrf import Guard, Refused
from goclaw.stores import hooks as rows
from goclaw.tools.hooks.chain import check
from goclaw.tools.hooks.condition import Unfit
from goclaw.tools.hooks.handlers import SECRETS, Command, HeaderSecrets, Server, Variables
from goclaw.tools.hooks.prompt import Prompt

KINDS: dict[str, type[Command] | type[Server] | type[Prompt]] = {"command": Command, "http": Server, "prompt": Prompt}


async def _check_commands(ctx: Context) -> None:
    allowed = ctx.house.settings.hooks.allow_command
    if allowed is None:
        allowed = await ctx.db(rows.alone)
    if not allowed:
        raise Rejected(hook_commands_off("the setting hooks.allow_command"))
    if not ctx.house.policy.pin(ctx.caller.tenant_id).capability("hook.command").allowed:
        raise Rejected(hook_commands_off("the capability hook.command in the policy"))


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
    await _check_commands(ctx)
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
