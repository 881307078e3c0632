"""`goclaw runs …`, also `tasks`, and `goclaw incident`: looking after runs. Contract: config-cli.md §7.2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from goclaw.edge.cli.operations import WithOperations, table
from goclaw.edge.cli.options import Exit, Failure, Json, Options, options, print_json
from goclaw.edge.cli.replay import replay

COLUMNS = ("id", "kind", "state", "agent", "user", "lane", "attempt", "created", "message")
TRAIL = 200  # events shown of a run

RunId = Annotated[str, typer.Argument(metavar="ID", help="The run.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="File to write; there must be none yet.")]

app = typer.Typer(name="runs", cls=WithOperations, help="Look after durable runs.", no_args_is_help=True)
tasks = typer.Typer(name="tasks", cls=WithOperations, help="The same as runs.", no_args_is_help=True)
queue = typer.Typer(name="queue", cls=WithOperations, help="What waits, and what was given up.", no_args_is_help=True)


@app.callback()
@tasks.callback()
def runs() -> None:
    """Look after durable runs."""


@queue.callback()
def waiting() -> None:
    """What waits, and what was given up."""


Command = Callable[..., None]


def both(command: Command) -> Command:
    """A command of `runs` and of `tasks`."""
    app.command()(command)
    tasks.command()(command)
    return command


def list_runs(
    ctx: typer.Context,
    state: Annotated[str, typer.Option(help="QUEUED, RUNNING, FAILED, DEAD_LETTER, …")] = "",
    kind: Annotated[str, typer.Option(help="chat, task, cron, …")] = "",
    agent: Annotated[str, typer.Option(help="Key of an agent.")] = "",
    session: Annotated[str, typer.Option(help="Key of a session.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=200)] = 20,
    offset: Annotated[int, typer.Option(min=0)] = 0,
    json: Json = False,
) -> None:
    """List runs, newest first."""
    given = {"state": state.upper(), "kind": kind, "agent_id": agent, "session_key": session}
    wanted = {name: text for name, text in given.items() if text}
    page = _ask(options(ctx), "runs.list", {**wanted, "limit": limit, "offset": offset})
    if json or options(ctx).json:
        print_json(page)
        return
    for line in table([_line(run) for run in page["runs"]]):
        typer.echo(line)
    if page["total"] > offset + len(page["runs"]):
        typer.echo(f"{len(page['runs'])} of {page['total']}; more with --offset {offset + len(page['runs'])}")


app.command("list")(list_runs)
tasks.command("list")(list_runs)
app.command()(replay)
tasks.command()(replay)


@both
def show(ctx: typer.Context, id: RunId, json: Json = False) -> None:
    """Show a run and what befell it."""
    run = _ask(options(ctx), "runs.get", {"runId": id})["run"]
    trail = _ask(options(ctx), "runs.events", {"runId": id, "limit": TRAIL})["events"]
    if json or options(ctx).json:
        print_json({"run": run, "events": trail})
        return
    width = max(map(len, run))
    for name, value in run.items():
        if not isinstance(value, dict | list):
            typer.echo(f"{name:{width}}  {value}")
    if content := (run.get("result") or {}).get("content"):
        typer.echo(f"\n{content}")
    if error := run.get("error"):
        typer.echo(f"\n{error['code']}: {error['message']}")
    typer.echo("")
    for line in table([_event(event) for event in trail]):
        typer.echo(line)


@both
def cancel(
    ctx: typer.Context,
    id: RunId,
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "",
    json: Json = False,
) -> None:
    """Stop a run."""
    given = {"reason": reason} if reason else {}
    _told(ctx, _ask(options(ctx), "runs.cancel", {"runId": id, **given})["run"], json)


@both
def retry(
    ctx: typer.Context,
    id: RunId,
    fresh: Annotated[bool, typer.Option("--fresh", help="From its first step on.")] = False,
    json: Json = False,
) -> None:
    """Try a run again that failed, was cancelled or is a dead letter."""
    given = {"fresh": True} if fresh else {}
    _told(ctx, _ask(options(ctx), "runs.retry", {"runId": id, **given})["run"], json)


queue.command("retry")(retry)


@queue.command()
def dead(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 20,
    offset: Annotated[int, typer.Option(min=0)] = 0,
    json: Json = False,
) -> None:
    """List dead letters: runs that were given up."""
    list_runs(ctx, state="DEAD_LETTER", limit=limit, offset=offset, json=json)


@both
def export(ctx: typer.Context, id: RunId, output: Output = None) -> None:
    """Write a run with its events, steps and effects into a file."""
    typer.echo(_export(options(ctx), id, output))


@both
def purge(ctx: typer.Context, id: RunId, output: Output = None) -> None:
    """Export a dead letter, then put it away for good."""
    written = _export(options(ctx), id, output)
    _ask(options(ctx), "runs.purge", {"runId": id})
    typer.echo(f"purged; what it was is in {written}")


@both
def verify(ctx: typer.Context, id: RunId, json: Json = False) -> None:
    """Check a run's trail; exit 1 if it does not hold."""
    verdict = _ask(options(ctx), "runs.verify", {"runId": id})
    if json or options(ctx).json:
        print_json(verdict)
    else:
        typer.echo(f"{verdict['state']}  {verdict['events']} events, {verdict['hashed']} of them chained")
        for problem in verdict["problems"]:
            typer.echo(f"FAIL  {problem}")
        if verdict["ok"]:
            typer.echo("ok    the chain holds, every step was legal, the order has no hole")
    raise typer.Exit(Exit.OK if verdict["ok"] else Exit.FAILED)


@both
def repair(
    ctx: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only look.")] = False,
    json: Json = False,
) -> None:
    """Count again what sessions say of their runs, and mend what is wrong; exit 1 if something was."""
    found = _ask(options(ctx), "runs.repair", {"dryRun": dry_run})
    if json or options(ctx).json:
        print_json(found)
    else:
        for line in table(found["heads"]) if found["heads"] else ["ok    every session counts its runs right"]:
            typer.echo(line)
        if found["heads"]:
            typer.echo(f"{len(found['heads'])} wrong, {found['mended']} mended")
    raise typer.Exit(Exit.FAILED if found["heads"] else Exit.OK)


def incident(ctx: typer.Context, id: RunId, output: Output = None) -> None:
    """Write all that is known of a run into one archive."""
    typer.echo(
        _download(
            options(ctx), "POST", f"/v1/runs/{quote(id, safe='')}/incident", output or Path(f"incident-{id[:8]}.tar.gz")
        )
    )


# --- parts ----------------------------------------------------------------------------------------


def _told(ctx: typer.Context, run: dict[str, Any], json: bool) -> None:
    if json or options(ctx).json:
        print_json(run)
    else:
        wish = " (asked to stop)" if run.get("cancel_requested") else ""
        typer.echo(f"{run['id']}  {run['state']}{wish}")


def _line(run: dict[str, Any]) -> dict[str, Any]:
    named = {
        "agent": run["agent_key"],
        "user": run["user_id"],
        "attempt": f"{run['attempt']}/{run['max_attempts']}",
        "created": run["created_at"][:19],
        "message": run["content_preview"],
    }
    return {name: named.get(name, run.get(name)) for name in COLUMNS}


def _event(event: dict[str, Any]) -> dict[str, Any]:
    moved = f"{event.get('state_from') or ''} → {event['state_to']}" if event.get("state_to") else ""
    return {
        "at": event["created_at"][:23],
        "event": event["type"],
        "states": moved,
        "reason": event.get("reason"),
        "by": event.get("actor"),
    }


def _export(chosen: Options, id: str, output: Path | None) -> Path:
    output = output or Path(f"run-{quote(id[:8], safe='')}.json")
    return _download(chosen, "GET", f"/v1/runs/{quote(id, safe='')}/export", output)


def _ask(chosen: Options, method: str, params: dict[str, Any]) -> dict[str, Any]:
    from goclaw.edge.cli.client import ask

    return ask(chosen, method, params)


def _download(chosen: Options, verb: str, path: str, output: Path) -> Path:
    from goclaw.edge.cli.client import download

    if output.exists():
        raise Failure(f"{output} is there already", Exit.USAGE)
    try:
        output.write_bytes(download(chosen, verb, path))
    except OSError as error:
        raise Failure(f"{output} cannot be written: {error.strerror}") from None
    return output
