"""`goclaw audit …`: read the audit, and find out whether anybody touched it. Contract: observability.md §12."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from goclaw.edge.cli.operations import WithOperations
from goclaw.edge.cli.options import Failure, Json, Options, options, print_error, print_json

if TYPE_CHECKING:
    from goclaw.security.audit import Checker

app = typer.Typer(name="audit", cls=WithOperations, help="Who decided and did what.", no_args_is_help=True)


@app.callback()
def audit() -> None:
    """Read and verify the audit."""


@app.command()
def verify(
    ctx: typer.Context,
    file: Annotated[Path | None, typer.Option("--file", help="A file of it, packed or not; needs no gateway.")] = None,
    json: Json = False,
) -> None:
    """Check the chains in the table and in the file of the running gateway; exit 1 at the first break."""
    import msgspec

    from goclaw.edge.cli.client import ask

    verdict: dict[str, Any]
    if file is None:
        verdict = ask(options(ctx), "audit.verify", {})
    else:
        checker = _read(file)
        broken = checker.broken()
        verdict = {
            "ok": broken is None,
            "lines": checker.lines,
            "chains": {name: last for name, (last, _) in checker.heads.items()},
            "broken": msgspec.to_builtins(broken),
            "sink": "file" if broken is not None else "",
        }
    broken = verdict["broken"]
    if json or options(ctx).json:
        print_json(verdict)
    elif broken:
        print_error(f"chain {broken['chain']} is broken at {broken['seq']}: {broken['why']} ({verdict['sink']})")
    else:
        typer.echo(f"{verdict['lines']} lines, whole: {', '.join(verdict['chains']) or 'no chain yet'}")
    raise typer.Exit(1 if broken else 0)


@app.command()
def tail(
    ctx: typer.Context,
    lines: Annotated[int, typer.Option("-n", min=1, max=10_000, help="How many lines.")] = 20,
) -> None:
    """Print the last lines of the file here, one JSON object each; needs no gateway."""
    import msgspec

    from goclaw.stores.audit_file import TAIL, lines_of

    try:
        for line in deque(lines_of(_file(options(ctx)), TAIL), maxlen=lines):
            typer.echo(msgspec.json.encode(line))
    except OSError as error:
        raise Failure(f"{_file(options(ctx))} cannot be read: {error.strerror}") from None


def _file(chosen: Options) -> Path:
    from goclaw.stores.audit_file import place

    return place(chosen.load().home)


def _read(file: Path) -> Checker:
    from goclaw.security.audit import Checker
    from goclaw.stores.audit_file import lines_of

    checker = Checker("file")
    try:
        for line in lines_of(file):
            checker.read(line)
    except OSError as error:
        raise Failure(f"{file} cannot be read: {error}") from None
    return checker
