"""`goclaw config …`: look at the configuration, check it, change it. Contract: config-cli.md §6.2, §7.4."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from goclaw.edge.cli.options import Exit, Failure, Json, Options, options, print_error, print_json

if TYPE_CHECKING:
    from goclaw.settings.load import Loaded
    from goclaw.settings.writer import ConfigFile, Draft

VERDICT = 5.0  # seconds a running gateway has to say whether it takes a change; config-cli.md §6.2

app = typer.Typer(name="config", help="Look at the configuration, check it, change it.", no_args_is_help=True)


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


@app.command("set", context_settings={"ignore_unknown_options": True})
def put(ctx: typer.Context, key: str, value: Annotated[str, typer.Argument(help="- = read it from stdin.")]) -> None:
    """Give a key a value in the configuration file; a running gateway is asked whether it takes it."""
    from goclaw.settings.spoken import spoken

    _change(options(ctx), key, spoken(sys.stdin.read().strip() if value == "-" else value))


@app.command()
def unset(ctx: typer.Context, key: str) -> None:
    """Take a key out of the configuration file."""
    _change(options(ctx), key, None)


@app.command()
def reload(ctx: typer.Context, json: Json = False) -> None:
    """Have the running gateway read the configuration again; print what holds now and what waits for a start."""
    from goclaw.edge.cli.client import ask

    done = ask(options(ctx), "config.reload", {})
    if json or options(ctx).json:
        print_json(done)
    elif not done["errors"]:
        typer.echo(f"applied: {', '.join(done['applied']) or '-'}")
        typer.echo(f"restart needed: {', '.join(done['restart']) or '-'}")
        if not done["applied"] and not done["restart"]:
            typer.echo("unchanged")
    if done["errors"]:
        for error in done["errors"]:
            print_error(error)
        raise typer.Exit(Exit.FAILED)


def _change(chosen: Options, key: str, value: object) -> None:
    from goclaw.settings.problems import ConfigInvalid
    from goclaw.settings.spoken import placed
    from goclaw.settings.writer import ConfigFile, Stale

    loaded = chosen.load()
    file = ConfigFile(loaded)
    try:
        draft = file.patched(placed(key, value))
        if not draft.idle:
            file.write(draft)
    except ConfigInvalid as wrong:
        for problem in wrong.problems:
            print_error(str(problem))
        raise typer.Exit(Exit.FAILED) from None
    except Stale:
        raise Failure(f"{file.path} was changed by somebody else meanwhile; try again") from None
    except OSError as error:
        raise Failure(f"{file.path} cannot be written: {error.strerror}") from None
    done = _verdict(chosen, loaded, file, draft)
    _tell(chosen, loaded, draft, done)


def _verdict(chosen: Options, loaded: Loaded, file: ConfigFile, draft: Draft) -> dict[str, Any]:
    """What the running gateway says; where it says no, the file is as it was. Empty: none runs, or it is silent."""
    from dataclasses import replace

    from goclaw.edge.cli.client import ask
    from goclaw.settings.instance import running

    if draft.idle or not running(loaded.settings.data_dir):
        return {}
    try:
        done = ask(replace(chosen, timeout=VERDICT, url=""), "config.reload", {})
    except Failure as failure:
        print_error(f"warning: written, but the gateway did not say whether it takes it: {failure}")
        return {}
    if done["errors"]:
        file.undo(draft)
        for error in done["errors"]:
            print_error(error)
        raise Failure(f"the gateway does not take it; {file.path} is as it was")
    return done


def _tell(chosen: Options, before: Loaded, draft: Draft, done: dict[str, Any]) -> None:
    from goclaw.settings.show import masked

    old, new = masked(before.settings), masked(draft.loaded.settings)
    late = [key for key in draft.changed if key in done.get("restart", ())]
    if chosen.json:
        changes = {key: {"old": old.get(key), "new": new.get(key)} for key in draft.changed}
        print_json({"changed": changes, "restart": late, "overridden": draft.overridden})
        return
    for key in draft.changed:
        typer.echo(f"{key}: {_line(old.get(key))} → {_line(new.get(key))}")
    if draft.idle:
        typer.echo("unchanged")
    for key in draft.overridden:
        print_error(f"warning: {key} is written, but {draft.loaded.origins[key]} wins over the file")
    if late:
        typer.echo(f"restart needed: {', '.join(late)}")


def _line(value: object) -> str:
    import msgspec

    return msgspec.json.encode(value).decode()
