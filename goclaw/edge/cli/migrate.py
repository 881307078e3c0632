"""`goclaw migrate …`: the schema of the database. Contract: config-cli.md §13."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import typer

from goclaw.domain.errors import StartupFatal
from goclaw.edge.cli.options import Json, options, print_json

if TYPE_CHECKING:
    from goclaw.settings.load import Loaded
    from goclaw.stores.connection import Connection
    from goclaw.stores.migrate import SchemaVersion

T = TypeVar("T")

app = typer.Typer(name="migrate", help="Look at the database schema and bring it up to date.", no_args_is_help=True)


@app.command()
def up(ctx: typer.Context, json: Json = False) -> None:
    """Apply every pending migration."""
    from goclaw.stores.migrate import migrate_up

    applied = _with_database(options(ctx).load(), migrate_up)
    if json or options(ctx).json:
        print_json({"applied": applied})
    else:
        for step in applied:
            typer.echo(f"{step.version:04}_{step.name} applied in {step.duration_ms} ms")
        typer.echo("The schema is up to date.")


@app.command()
def version(ctx: typer.Context, json: Json = False) -> None:
    """Print the version of the schema and what is pending."""
    found = schema_version(options(ctx).load())
    if json or options(ctx).json:
        print_json(found)
    else:
        pending = ", ".join(found.pending) or "nothing"
        typer.echo(f"schema {found.current:04} of {found.known:04}, pending: {pending}")


def schema_version(loaded: Loaded) -> SchemaVersion:
    """Where the database of this configuration stands. Raises StartupFatal if it does not answer."""
    from goclaw.stores.migrate import version

    return _with_database(loaded, version)


def _with_database(loaded: Loaded, work: Callable[[Connection], Awaitable[T]]) -> T:
    import trio

    async def main() -> T:
        async with _connection(loaded) as db:
            return await work(db)

    return trio.run(main)


@asynccontextmanager
async def _connection(loaded: Loaded) -> AsyncIterator[Connection]:
    """A connection to the database; the embedded server is started for it unless a gateway already runs it."""
    import psycopg

    from goclaw.settings.instance import instance_lock
    from goclaw.stores.connection import connect
    from goclaw.stores.embedded import EmbeddedServer

    database = loaded.settings.database
    with ExitStack() as stack:
        server = EmbeddedServer(database.embedded.dir) if database.mode == "embedded" else None
        try:
            if server is not None:
                try:
                    stack.enter_context(instance_lock(loaded.settings.data_dir))
                except StartupFatal as fatal:
                    if fatal.reason != "E_ALREADY_RUNNING":
                        raise  # a running gateway has started the server: it is adopted
            db = await connect(await server.start() if server else database.dsn.reveal())
        except psycopg.Error as error:
            why = str(error).partition("\n")[0]
            raise StartupFatal("E_STORE_OPEN", f"the database does not answer: {why}", exit_code=72) from None
        try:
            yield db
        finally:
            db.close_now()
            if server is not None and not server.adopted:
                await server.stop()
