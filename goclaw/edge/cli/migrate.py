"""`goclaw migrate …`: the schema of the database. Contract: config-cli.md §13."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from goclaw.domain.errors import StartupFatal
from goclaw.edge.cli.options import Json, options, print_json

if TYPE_CHECKING:
    from goclaw.settings.load import Loaded
    from goclaw.stores.connection import Connection
    from goclaw.stores.migrate import SchemaVersion

T = TypeVar("T")
WAIT = 60.0  # seconds for another starter; config-cli.md §13
LOOK = 0.1  # seconds between two looks at it

app = typer.Typer(name="migrate", help="Look at the database schema and bring it up to date.", no_args_is_help=True)


@app.command()
def up(ctx: typer.Context, json: Json = False) -> None:
    """Apply every pending migration."""
    from goclaw.stores.migrate import migrate_up

    applied = with_database(options(ctx).load(), migrate_up)
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

    return with_database(loaded, version)


def sealed_rows(loaded: Loaded) -> bool:
    """Whether the database holds secrets that somebody's key has sealed. Raises StartupFatal if it does not answer."""
    from goclaw.stores.sealed import COLUMNS, others

    async def look(db: Connection) -> bool:
        for column in COLUMNS:
            if await others(db, column=column, kid="none", after=column.first):
                return True
        return False

    return with_database(loaded, look)


def with_database(loaded: Loaded, work: Callable[[Connection], Awaitable[T]]) -> T:
    """Raises StartupFatal if the database of this configuration does not answer."""
    import trio

    async def main() -> T:
        async with _connection(loaded) as db:
            return await work(db)

    return trio.run(main)


@asynccontextmanager
async def _connection(loaded: Loaded) -> AsyncIterator[Connection]:
    """A connection to the database; the embedded server is started for it unless a gateway already runs it."""
    import psycopg

    from goclaw.stores.connection import connect
    from goclaw.stores.embedded import EmbeddedServer

    database = loaded.settings.database
    async with AsyncExitStack() as stack:
        try:
            dsn = database.dsn.reveal()
            if database.mode == "embedded":
                await _claim(loaded.settings.data_dir, stack)
                server = EmbeddedServer(database.embedded.dir)
                dsn = await server.start()
                if not server.adopted:
                    stack.push_async_callback(server.stop)
            db = await connect(dsn)
        except psycopg.Error as error:
            why = str(error).partition("\n")[0]
            raise StartupFatal("E_STORE_OPEN", f"the database does not answer: {why}", exit_code=72) from None
        stack.callback(db.close_now)
        yield db


async def _claim(data_dir: Path, stack: AsyncExitStack) -> None:
    """Keep others from starting a second server. Not needed beside a gateway that is ready: its server is adopted.

    Whoever is there without an address is about to start a server or to stop it, and is waited for.
    """
    import trio

    from goclaw.settings.instance import address_in, instance_lock

    patience = trio.current_time() + WAIT
    while True:
        try:
            stack.enter_context(instance_lock(data_dir)).announce("migrating")
            return
        except StartupFatal as fatal:
            if fatal.reason != "E_ALREADY_RUNNING":
                raise
            if address_in(data_dir) is not None:
                return
            if trio.current_time() > patience:
                raise
        await trio.sleep(LOOK)
