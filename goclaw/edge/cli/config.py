"""`goclaw config …`: look at the configuration and check it. Contract: config-cli.md §7.4."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from goclaw.edge.cli.options import Failure, Json, options, print_error, print_json

app = typer.Typer(name="config", help="Look at the configuration and check it.", no_args_is_help=True)


@app.command()
def show(
    ctx: typer.Context,
    origin: Annotated[bool, typer.Option("--origin", help="Say where each value comes from.")] = False,
    json: Json = False,
) -> None:
    """Print the effective configuration; secrets are masked."""
    from goclaw.settings.show import masked, nested

    loaded = options(ctx).load()
    values = masked(loaded.settings)
    if not origin:
        print_json(nested(values))
    elif json or options(ctx).json:
        print_json({key: {"value": value, "origin": loaded.origins[key]} for key, value in values.items()})
    else:
        for key, value in values.items():
            typer.echo(f"{key} = {_line(value)}  ({loaded.origins[key]})")


@app.command()
def path(ctx: typer.Context) -> None:
    """Print where the configuration file is, or would be."""
    from goclaw.settings.problems import ConfigInvalid

    try:
        typer.echo(options(ctx).load().path)
    except ConfigInvalid as invalid:
        typer.echo(invalid.path)


@app.command()
def get(ctx: typer.Context, key: str) -> None:
    """Print one value or section as JSON."""
    from goclaw.settings.problems import nearest, quoted
    from goclaw.settings.show import masked, nested

    values = masked(options(ctx).load().settings)
    found: Any = nested(values)
    for step in key.split("."):
        found = found.get(step) if isinstance(found, dict) else None
    if found is None:
        suggestion = nearest(key, values)
        raise Failure(f"unknown key {quoted(key)}" + (f' (did you mean "{suggestion}"?)' if suggestion else ""))
    print_json(found)


@app.command()
def check(ctx: typer.Context, json: Json = False) -> None:
    """Check the configuration; list everything that is wrong."""
    import msgspec

    from goclaw.settings.problems import ConfigInvalid

    as_json = json or options(ctx).json
    try:
        loaded = options(ctx).load()
    except ConfigInvalid as invalid:
        if as_json:
            problems = [{**msgspec.to_builtins(problem), "text": str(problem)} for problem in invalid.problems]
            print_json({"valid": False, "path": str(invalid.path), "problems": problems})
        else:
            for problem in invalid.problems:
                print_error(f"{invalid.path}: {problem}")
        raise typer.Exit(1) from None
    if as_json:
        print_json({"valid": True, "path": str(loaded.path), "problems": [], "warnings": loaded.warnings})
    else:
        typer.echo(f"Config at {loaded.path} is valid.")


app.command("validate", help="The same as check.")(check)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the configuration file."""
    from goclaw.settings.show import json_schema

    print_json({"$schema": "https://json-schema.org/draft/2020-12/schema", **json_schema()})


def _line(value: object) -> str:
    import msgspec

    return msgspec.json.encode(value).decode()
