"""`goclaw agent add` and `goclaw agent delete`. Contract: config-cli.md §7.2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from goclaw.edge.cli.options import Exit, Failure, Json, options, print_json

if TYPE_CHECKING:
    from goclaw.edge.cli.options import Options


def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Option("--name", "-n", help="Its key: small letters, digits and dashes.")] = "",
    provider: Annotated[str, typer.Option(help="Who answers; empty = the gateway's own choice.")] = "",
    model: Annotated[str, typer.Option(help="Empty = the provider's own.")] = "",
    workspace: Annotated[str, typer.Option(help="Where it works, below all workspaces; empty = its key.")] = "",
    type: Annotated[str, typer.Option(help="open: each user has his own files; predefined: one for all.")] = "open",
    description: Annotated[str, typer.Option(help="What it is; a predefined agent's files are written from it.")] = "",
    json: Json = False,
) -> None:
    """Make an agent. Asks for what a terminal can answer."""
    import sys

    if not name:
        if not sys.stdin.isatty():
            raise Failure("say --name", Exit.USAGE)
        name = typer.prompt("Key of the agent")
        provider = provider or typer.prompt("Provider (empty: the gateway's choice)", default="", show_default=False)
        model = model or typer.prompt("Model (empty: the provider's own)", default="", show_default=False)
    given = {
        "agent_key": name,
        "provider": provider,
        "model": model,
        "workspace": workspace,
        "agent_type": type,
        "description": description,
    }
    chosen = options(ctx)
    made = _ask(chosen, "agents.create", {key: value for key, value in given.items() if value})["agent"]
    if json or chosen.json:
        return print_json(made)
    typer.echo(f"{made['agent_key']}  {made['status']}  {made['provider']}:{made['model']}  {made['workspace']}")


def delete(
    ctx: typer.Context,
    id: str,
    force: Annotated[bool, typer.Option("--force", help="Do not ask.")] = False,
    files: Annotated[bool, typer.Option("--files", help="Its files and its workspace too.")] = False,
    json: Json = False,
) -> None:
    """Take an agent away. Its history stays."""
    import sys

    if not force:
        if not sys.stdin.isatty():
            raise Failure("say --force", Exit.USAGE)
        typer.confirm(f"Delete agent {id}?", abort=True)
    chosen = options(ctx)
    gone = _ask(chosen, "agents.delete", {"agentId": id, "deleteFiles": files})
    if json or chosen.json:
        return print_json(gone)
    typer.echo(f"deleted {gone['agentId']}, and {gone['removedBindings']} shares of it")


def _ask(chosen: Options, method: str, params: dict[str, Any]) -> dict[str, Any]:
    import trio

    from goclaw.edge.cli.address import target
    from goclaw.edge.cli.client import connect

    async def main() -> dict[str, Any]:
        async with connect(target(chosen)) as socket:
            return await socket.call(method, params, chosen.timeout)

    return trio.run(main)
