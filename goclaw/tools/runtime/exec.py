"""Run a command of the shell, here and now or in the background. Contract: tools.md §10, §12."""

from __future__ import annotations

import hashlib
import os
import re
from typing import Annotated

import structlog
from msgspec import Meta, Struct

from goclaw.domain.approval import SHOWN, Simple, Wish
from goclaw.domain.process import Owner, StartProcess
from goclaw.domain.run import LANE_OF
from goclaw.security.scrub import scrubbed
from goclaw.security.shell import Verdict, deny_check, simple_commands
from goclaw.tools.approvals import Approvals
from goclaw.tools.methods import Asker
from goclaw.tools.processes import Processes
from goclaw.tools.runtime.host import Ran, opened, run
from goclaw.tools.runtime.rules import Rules
from goclaw.tools.tool import Answer, Effect, ToolContext, ToolFailed, tool

LONGEST = 3600  # seconds of a command
WITHIN = 60  # seconds, unless the call or the settings say otherwise
UNFIT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
PACKAGES = "package_install"  # the group that may be asked about
SHELLS = frozenset(["sh", "bash", "dash", "zsh", "ksh", "ash", "mksh", "fish", "rbash", "csh", "tcsh"])
HINT = "It was not run; choose another way, or ask the user to do it."

log = structlog.get_logger()


class Exec(Struct):
    command: Annotated[str, Meta(min_length=1, max_length=16_384)]
    working_dir: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    timeout_seconds: Annotated[int, Meta(ge=1, le=LONGEST)] | None = None
    background: bool = False


class ExecSettings(Struct):
    timeout_seconds: Annotated[int, Meta(ge=1, le=LONGEST)] = WITHIN


async def consent(ctx: ToolContext, ask: Exec, rules: Rules, approvals: Approvals, processes: Processes) -> None:
    rules.check_channel(ctx.asker)
    commands, asks = checked(ctx, ask.command, rules, approvals)
    await approvals.ask(wish(ctx, ask, commands, forced=asks))


@tool(
    name="exec",
    group="runtime",
    effect=Effect.UNSAFE,
    consent=consent,
    timeout=2 * LONGEST + 60,  # an answer may take as long as the command
    most=30_000,
    settings=ExecSettings,
)
async def execute(
    ctx: ToolContext, ask: Exec, rules: Rules, approvals: Approvals, processes: Processes
) -> str | Answer:
    """Run a shell command in the workspace and return what it writes. With background, leave it running."""
    commands, _ = checked(ctx, ask.command, rules, approvals)
    within = ask.timeout_seconds or ctx.setting("exec", ExecSettings).timeout_seconds
    place = await ctx.thread(opened, ctx.workspace, ask.working_dir or ".")
    env = rules.environment(ctx.workspace.root, ctx.asker.user_id)
    if ask.background:
        start = StartProcess(
            owner=owner_of(ctx.asker),
            command=ask.command,
            shown=str(scrubbed(ask.command))[:SHOWN],
            place=place,
            variables=tuple(env.items()),
            shell=any(one.name in SHELLS for one in commands),
            agent_key=ctx.asker.agent_key,
        )
        id = await processes.start(start)
        return Answer(text=f'{{"session_id":"{id}","running":true}}', data={"session_id": id, "running": True})
    try:
        ran = await run(ask.command, place, env, within)
    finally:
        os.close(place)
    return answer_of(ran, within)


def checked(ctx: ToolContext, command: str, rules: Rules, approvals: Approvals) -> tuple[tuple[Simple, ...], bool]:
    """The simple commands of a line, and whether somebody must be asked about it in any case. Raises ToolFailed."""
    if UNFIT.search(command):
        raise ToolFailed("invalid_args", "command: control characters are not allowed")
    root, off = str(ctx.workspace.root), ctx.deny_groups_off
    verdict = deny_check(command, off, root, rules.denied)
    asks = verdict.group == PACKAGES and approvals.asks
    if asks:
        verdict = deny_check(command, off | {PACKAGES}, root, rules.denied)
    if not verdict.allowed:
        raise refused(ctx, command, verdict)
    return tuple(Simple(one.name, one.text, one.plain) for one in simple_commands(command)), asks


def refused(ctx: ToolContext, command: str, verdict: Verdict) -> ToolFailed:
    """Tells the operator why, and the model nothing that would help it around."""
    log.warning(
        "security.command_denied",
        group=verdict.group,
        why=verdict.why,
        agent=ctx.asker.agent_key,
        session=ctx.asker.session_key,
        command=str(scrubbed(command))[:200],
        sha256=hashlib.sha256(command.encode()).hexdigest(),
    )
    match verdict.group:
        case "invalid_args":
            return ToolFailed("invalid_args", "command: it is too long, or no text")
        case "denied_path":
            return ToolFailed("denied_command", f"the command names files of the gateway. {HINT}")
    return ToolFailed("denied_command", f'command refused by safety group "{verdict.group}". {HINT}')


def wish(ctx: ToolContext, ask: Exec, commands: tuple[Simple, ...], *, forced: bool) -> Wish:
    asker = ctx.asker
    return Wish(
        tenant_id=asker.tenant_id,
        user_id=asker.user_id,
        agent_id=asker.agent_id,
        agent_key=asker.agent_key,
        session_key=asker.session_key,
        run_id=ctx.run_id,
        call_id=ctx.call_id,
        tool="exec",
        command=ask.command,
        cwd=ask.working_dir or ".",
        commands=commands,
        groups=(PACKAGES,) if forced else (),
        forced=forced,
        channel=asker.channel,
        chat_id=asker.chat_id,
        sender_id=ctx.sender_id,
        lane=LANE_OF[ctx.run_kind] if ctx.key else "",
        key=ctx.key,
    )


def owner_of(asker: Asker) -> Owner:
    return Owner(
        tenant_id=asker.tenant_id, session_key=asker.session_key, agent_id=asker.agent_id, user_id=asker.user_id
    )


def answer_of(ran: Ran, within: float) -> Answer:
    """What it wrote, its errors after that, and how it ended if not well."""
    parts = [ran.out] if ran.out else []
    if ran.err:
        parts.append(f"STDERR:\n{ran.err}")
    failed = ran.late or ran.code != 0
    if ran.late:
        parts.insert(0, f"Error: command timed out after {within:g}s")
    elif failed:
        parts.append(f"Exit code: {ran.code}")
    text = "\n".join(part.removesuffix("\n") for part in parts)
    data = {"exit_code": ran.code, "timed_out": ran.late}
    return Answer(
        text=text or "(command completed with no output)", data=data, failed=failed, code="timeout" if ran.late else ""
    )
