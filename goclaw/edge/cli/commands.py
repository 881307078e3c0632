"""The `goclaw` command: its flags, its commands, and the one place where trouble becomes an exit code.

Contract: config-cli.md §7. Whatever a command needs is imported inside it: `goclaw --help` must be quick.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from goclaw import __version__
from goclaw.domain.errors import StartupFatal
from goclaw.edge.cli import (
    agent,
    audit,
    chaos,
    config,
    cron,
    deny_check,
    estop,
    migrate,
    policy,
    providers,
    runs,
    sessions,
)
from goclaw.edge.cli.operations import WithOperations
from goclaw.edge.cli.options import PROTOCOL, Failure, Json, Options, RunGateway, options, print_error, print_json

app = typer.Typer(
    name="goclaw",
    cls=WithOperations,
    help="GoClaw, an AI agent gateway. Without a command: run the gateway.",
    epilog="More commands ask the running gateway, see: goclaw commands",
    add_completion=False,
    rich_markup_mode=None,  # rich doubles the time of --help
    pretty_exceptions_enable=False,
)
app.add_typer(agent.app)
app.add_typer(audit.app)
app.add_typer(chaos.app)
app.add_typer(config.app)
app.add_typer(cron.app)
app.add_typer(migrate.app)
app.add_typer(policy.app)
app.add_typer(providers.app)
app.add_typer(providers.model)
app.add_typer(runs.app)
app.add_typer(runs.tasks)
app.add_typer(runs.queue)
app.add_typer(sessions.app)
app.command()(runs.incident)
app.command()(estop.estop)
app.command("chat")(agent.talk)
app.command("tui", hidden=True)(agent.talk)
app.command("deny-check")(deny_check.deny_check)


@app.callback(invoke_without_command=True)
def gateway(
    ctx: typer.Context,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Configuration file.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to bind.")] = None,
    port: Annotated[str | None, typer.Option(help="Port to bind; 0 = any free one.")] = None,
    daemon: Annotated[bool, typer.Option("--daemon", help="No questions, JSON logs on stdout.")] = False,
    json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", "--debug", help="Log at level debug.")] = False,
    url: Annotated[str, typer.Option(envvar="GOCLAW_GATEWAY_URL", help="Gateway to talk to.")] = "",
    token: Annotated[str, typer.Option(help="Its token; else GOCLAW_TOKEN.")] = "",
    timeout: Annotated[float, typer.Option(min=0.1, max=86_400, help="Seconds to wait for an answer.")] = 900.0,
) -> None:
    given = {"gateway.host": host, "gateway.port": port, "logging.level": "debug" if verbose else None}
    chosen = options(ctx)
    chosen.config, chosen.json, chosen.url, chosen.timeout = config, json or daemon, url, timeout
    chosen.token = token or os.environ.get("GOCLAW_TOKEN", "")
    chosen.flags = {key: text for key, text in given.items() if text is not None}
    if ctx.invoked_subcommand is None:
        from goclaw.settings.load import load

        loaded = load(config, os.environ, chosen.flags)  # its warnings are the gateway's to log
        raise typer.Exit(chosen.run_gateway(loaded, chosen.json))


@app.command()
def version(ctx: typer.Context, json: Json = False) -> None:
    """Print the version."""
    if json or options(ctx).json:
        print_json({"version": __version__, "protocol": PROTOCOL})
    else:
        typer.echo(f"goclaw v{__version__} (protocol {PROTOCOL})")


@app.command()
def commands(ctx: typer.Context, json: Json = False) -> None:
    """List the commands that ask the running gateway."""
    from goclaw.edge.cli.operations import declared

    found = {" ".join(words): operation.summary for words, operation in sorted(declared().items())}
    if json or options(ctx).json:
        print_json(found)
    else:
        width = max(map(len, found), default=0)
        for command, summary in found.items():
            typer.echo(f"{command:{width}}  {summary}")


@app.command()
def doctor(
    ctx: typer.Context,
    security: Annotated[bool, typer.Option("--security", help="Also whether it is as safe as it was made.")] = False,
    json: Json = False,
) -> None:
    """Check this installation; exit 1 if something is broken."""
    from goclaw.edge.cli.doctor import examine, report

    results = examine(options(ctx).config, os.environ, options(ctx).flags, security=security)
    if json or options(ctx).json:
        print_json(report(results))
    else:
        for result in results:
            typer.echo(f"{result.status:4}  {result.name}: {result.message}")
    raise typer.Exit(1 if any(result.status == "FAIL" for result in results) else 0)


def run(run_gateway: RunGateway) -> None:
    """Run the command line of this process and leave it with an exit code; never a traceback for what is expected."""
    chosen = Options(run_gateway)
    try:
        app(obj=chosen, prog_name="goclaw")
    except Failure as failure:
        print_error(str(failure))
        sys.exit(failure.code)
    except StartupFatal as fatal:
        if chosen.json:
            line = {"event": "startup.fatal", "reason": fatal.reason, "detail": fatal.detail, "hint": fatal.hint}
            typer.echo(msgspec.json.encode(line))
        print_error(f"{fatal.reason}: {fatal.detail}")
        if fatal.hint:
            print_error(f"hint: {fatal.hint}")
        sys.exit(fatal.exit_code)
