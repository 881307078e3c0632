"""`goclaw policy …`: write and check the policy file; `show` and `reload` ask the gateway. Contract: security.md §9."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from goclaw.edge.cli.operations import WithOperations
from goclaw.edge.cli.options import Failure, Json, options, print_error, print_json

app = typer.Typer(name="policy", cls=WithOperations, help="What agents may do at all.", no_args_is_help=True)


@app.callback()
def policy() -> None:
    """Write, check, show and reload the policy."""


@app.command()
def init(
    ctx: typer.Context,
    strict: Annotated[bool, typer.Option("--strict", help="Allow nothing, instead of everything usual.")] = False,
) -> None:
    """Write a policy file to begin with, unless there is one."""
    from goclaw.security.policy_file import STARTER, STRICT
    from goclaw.settings.onboard import write_private

    path = options(ctx).load().settings.policy.file
    if path.exists():
        raise Failure(f"{path} is there already")
    try:
        write_private(path, STRICT if strict else STARTER)
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror}") from None
    typer.echo(f"wrote {path}")


@app.command()
def check(
    ctx: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="Without: the file of this configuration.")] = None,
    json: Json = False,
) -> None:
    """Check a policy file; list everything that is wrong."""
    import msgspec

    from goclaw.security.policy_file import load
    from goclaw.security.policy_text import PolicyInvalid
    from goclaw.tools.tool import collect

    path = file or options(ctx).load().settings.policy.file
    as_json = json or options(ctx).json
    try:
        version = load(path, collect("goclaw.tools")).version
    except PolicyInvalid as invalid:
        if as_json:
            mistakes = [msgspec.to_builtins(mistake) for mistake in invalid.mistakes]
            print_json({"valid": False, "path": str(path), "errors": mistakes})
        else:
            for mistake in invalid.mistakes:
                print_error(f"{path}: {mistake}")
        raise typer.Exit(1) from None
    if as_json:
        print_json({"valid": True, "path": str(path), "errors": [], "version": version})
    else:
        typer.echo(f"{path} is valid: {version}")
