"""`goclaw sessions at` and `fork`: conversations as they were. Contract: config-cli.md §7.2, observability.md §21."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from goclaw.edge.cli.operations import WithOperations, table
from goclaw.edge.cli.options import Exit, Failure, Json, options, print_json

SHOWN = 100  # characters of a message in the list

Key = Annotated[str, typer.Argument(metavar="KEY", help="The session, or the name of one of the command line.")]

app = typer.Typer(name="sessions", cls=WithOperations, help="Look after conversations.", no_args_is_help=True)


@app.callback()
def sessions() -> None:
    """Look after conversations."""


@app.command()
def at(
    ctx: typer.Context,
    key: Key,
    seq: Annotated[int | None, typer.Option(min=0, help="Behind this row of its journal.")] = None,
    run: Annotated[str, typer.Option(help="When this run read it.")] = "",
    time: Annotated[str, typer.Option("--at", help="At this time, as 2026-11-21T18:30:00Z.")] = "",
    against: Annotated[int | None, typer.Option(min=0, help="Compare with this row.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="Messages.")] = 50,
    json: Json = False,
) -> None:
    """Show a conversation as it was."""
    given = {"seq": seq, "runId": run or None, "at": time or None}
    named = {name: value for name, value in given.items() if value is not None}
    if len(named) != 1:
        raise Failure("say which moment, once: --seq N, --run ID or --at TIME", Exit.USAGE)
    compared = {} if against is None else {"against": against}
    past = _ask(ctx, "sessions.at", {"key": _key(key), "limit": limit, **named, **compared})
    if json or options(ctx).json:
        print_json(past)
        return
    counts = past["counts"]
    typer.echo(
        f"row {past['seq']} of {past['lastSeq']}, {past['at']}: {counts['messages']} messages, "
        f"{counts['input_tokens']} + {counts['output_tokens']} tokens, model {past['model'] or 'of its agent'}"
    )
    if past["summary"]:
        typer.echo(f"summary: {past['summary']}")
    for line in table([_line(message) for message in past["messages"]]):
        typer.echo(line)
    for name in ("added", "removed"):
        if past.get(name):
            typer.echo(f"{name} at row {against}: {', '.join(map(str, past[name]))}")


@app.command()
def fork(
    ctx: typer.Context,
    key: Key,
    seq: Annotated[int, typer.Option(min=0, help="Go on behind this row of its journal.")],
    new_key: Annotated[str, typer.Option(help="Key of the new session; empty = a fresh one.")] = "",
    json: Json = False,
) -> None:
    """Begin a new conversation with what another one was."""
    named = {"newKey": _key(new_key)} if new_key else {}
    forked = _ask(ctx, "sessions.fork", {"key": _key(key), "seq": seq, **named})
    if json or options(ctx).json:
        print_json(forked)
    else:
        typer.echo(f"{forked['key']}: {forked['session']['messageCount']} messages")


def _line(message: dict[str, Any]) -> dict[str, Any]:
    text = " ".join(message["content"].split())
    return {"seq": message["seq"], "role": message["role"], "content": text[:SHOWN]}


def _key(name: str) -> str:
    from goclaw.domain.agent import DEFAULT_KEY
    from goclaw.domain.session import cli_key

    return cli_key(name, DEFAULT_KEY)


def _ask(ctx: typer.Context, method: str, params: dict[str, Any]) -> dict[str, Any]:
    from goclaw.edge.cli.client import ask

    return ask(options(ctx), method, params)
