"""Commands nobody wrote: every operation declared with `Cli("sessions list")`, asked of the running gateway.

Operations import half the house, so they are collected only when needed: `goclaw --help` does not list them,
`goclaw commands` and the help of their groups do.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from goclaw.edge.cli.options import Exit, Failure, Json, options, print_json

if TYPE_CHECKING:
    from goclaw.operations.operation import Operation

PAGING = ("total", "limit", "offset")
COLUMN = 48  # characters of a table cell


class WithOperations(TyperGroup):
    """A group of commands that also has those of the operations below its own name."""

    def list_commands(self, ctx: Any) -> list[str]:
        written = super().list_commands(ctx)
        path = tuple(ctx.command_path.split()[1:])
        found = {words[len(path)] for words in declared() if words[: len(path)] == path != words} if path else set()
        return written + sorted(found - set(written))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if written := super().get_command(ctx, cmd_name):
            return written
        path = (*ctx.command_path.split()[1:], cmd_name)
        if operation := declared().get(path):
            app = typer.Typer(add_completion=False, rich_markup_mode=None)
            app.command(name=cmd_name, help=operation.summary)(command_of(operation))
            return get_command(app)
        if any(words[: len(path)] == path for words in declared()):
            group = typer.Typer(name=cmd_name, cls=WithOperations, add_completion=False, rich_markup_mode=None)
            group.callback(no_args_is_help=True)(lambda: None)
            return get_command(group)
        return None


@cache
def declared() -> dict[tuple[str, ...], Operation]:
    """Operations by the words of their command. Those without a socket method cannot be asked from here."""
    from goclaw.operations.operation import collect

    return {tuple(cli.command.split()): op for op in collect("goclaw.operations") if op.rpc for cli in op.cli}


def command_of(operation: Operation) -> Callable[..., None]:
    """A function typer can read: required fields of the input are arguments, the others options."""
    import msgspec

    fields = msgspec.structs.fields(operation.input)
    names = {field.name: field.encode_name for field in fields}  # `class` is no name for a parameter

    def command(ctx: typer.Context, json: bool, **given: str | None) -> None:
        ask(ctx, operation, {names[name]: text for name, text in given.items() if text is not None}, json)

    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter("ctx", keyword, annotation=typer.Context),
        *(
            inspect.Parameter(field.name, keyword, annotation=Annotated[str, typer.Argument()])
            if field.required
            else inspect.Parameter(
                field.name,
                keyword,
                annotation=Annotated[str | None, typer.Option(_flag(field.encode_name))],
                default=None,
            )
            for field in fields
        ),
        inspect.Parameter("json", keyword, annotation=Json, default=False),
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what typer reads
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def ask(ctx: typer.Context, operation: Operation, given: dict[str, str], as_json: bool) -> None:
    """Check the input here, ask the gateway, print the answer: a list of objects as a table, the rest as JSON."""
    import msgspec
    import trio

    from goclaw.domain.errors import Rejected
    from goclaw.edge.cli.address import target
    from goclaw.edge.cli.client import connect
    from goclaw.operations.params import decode

    chosen = options(ctx)
    try:
        checked = msgspec.to_builtins(decode(operation.input, given, strict=False))
    except Rejected as rejected:
        raise Failure(f"{rejected.err.details.get('field', 'input')}: {rejected.err.key}", Exit.USAGE) from None

    async def main() -> dict[str, Any]:
        async with connect(target(chosen)) as socket:
            params = {name: checked[name] for name in given}
            return await socket.call(operation.rpc[0].name, params, chosen.timeout)

    answer = trio.run(main)
    rows = page_of(answer)
    if as_json or chosen.json or rows is None:
        print_json(answer)
    else:
        for line in table(rows):
            typer.echo(line)


def page_of(answer: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The rows of an answer that is a list of objects and at most its paging; None for any other answer."""
    rest = {name: value for name, value in answer.items() if name not in PAGING}
    (rows,) = rest.values() if len(rest) == 1 else (None,)
    return rows if isinstance(rows, list) and all(isinstance(row, dict) for row in rows) else None


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Rows as aligned columns under a headline: the scalar members, in the order of the first row that has them."""
    names = list(
        {
            name.lower(): name for row in rows for name, value in row.items() if not isinstance(value, dict | list)
        }.values()
    )  # one of two spellings is enough
    cells = [[name.upper() for name in names]] + [[_cell(row.get(name)) for name in names] for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    return ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def _cell(value: Any) -> str:
    text = "" if value is None else " ".join(str(value).split())
    return text if len(text) <= COLUMN else text[: COLUMN - 1] + "…"


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
