"""`goclaw chaos …`: break the running gateway on purpose, by a plan in a file. Contract: supervision.md §21."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from goclaw.edge.cli.operations import WithOperations
from goclaw.edge.cli.options import Exit, Failure, Json, Options, options, print_json

app = typer.Typer(name="chaos", cls=WithOperations, help="Break things on purpose.", no_args_is_help=True)


@app.callback()
def chaos() -> None:
    """Break things on purpose and read what it cost."""


@app.command()
def run(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="The plan, as JSON or JSON5.")],
    confirm: Annotated[str, typer.Option(help="Name of the node that is to suffer.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Also in production, where the file allows it.")] = False,
    json: Json = False,
) -> None:
    """Start the plan in FILE on the running gateway."""
    plan = read(file)
    given = {"confirm": confirm} if confirm else {}
    started = _ask(options(ctx), "chaos.start", {**plan, **given, **({"force": True} if force else {})})
    if json or options(ctx).json:
        print_json(started)
    else:
        typer.echo(f"plan {started['id']} runs until {started['endsAt']}, seed {started['seed']}")
        typer.echo(f"watch it:  goclaw chaos show {started['id']}\nend it:    goclaw chaos stop")


@app.command()
def stop(
    ctx: typer.Context,
    id: Annotated[str, typer.Argument(help="The plan; without: the one that runs.")] = "",
    json: Json = False,
) -> None:
    """End a plan at once and print its report."""
    print_json(_ask(options(ctx), "chaos.stop", {"id": id} if id else {}))


def read(file: Path) -> dict[str, Any]:
    """The plan in a file. Raises Failure for one that is not there or no JSON object."""
    from goclaw.settings.document import Malformed, parse

    try:
        plan = parse(file.read_text("utf-8")).value
    except OSError as error:
        raise Failure(f"{file} cannot be read: {error.strerror}", Exit.USAGE) from None
    except Malformed as error:
        raise Failure(f"{file} at line {error.line}: {error}", Exit.USAGE) from None
    except UnicodeDecodeError:
        raise Failure(f"{file} is not UTF-8 text", Exit.USAGE) from None
    if not isinstance(plan, dict):
        raise Failure(f"{file} holds no plan: expected an object", Exit.USAGE)
    return plan


def _ask(chosen: Options, method: str, params: dict[str, Any]) -> dict[str, Any]:
    from goclaw.edge.cli.client import ask

    return ask(chosen, method, params)
