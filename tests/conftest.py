"""What every room's tests may ask for: `dsn`, an empty migrated database, `database`, the same one opened, and `farm`.

One embedded server for the whole run; each test gets its own copy of a migrated template.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
import trio
from hypothesis import HealthCheck, settings
from psycopg.conninfo import make_conninfo

from goclaw.stores.connection import connect
from goclaw.stores.database import Database, open_database
from goclaw.stores.embedded import EmbeddedServer
from goclaw.stores.migrate import migrate_up
from tests.fakes.vendors.farm import Farm, open_farm

pytest_plugins = ("tests.corpus_report",)
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
os.environ.setdefault("GOCLAW_ACTOR_DEBUG", "1")  # every system of every test; 0 tests as in production
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # gateways of tests are compiled once, not at each start
MEMORY = Path("/dev/shm")  # a copy of a database costs a fifth there of what it does on a disk
ROOM = 2 * 2**30  # bytes that have to be free
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory in memory where there is room, for databases that nobody reads again."""
    if not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < ROOM:
        yield tmp_path_factory.mktemp("memory")
        return
    for left in MEMORY.glob("goclaw-tests-*"):  # by processes that were killed
        if (pid := re.fullmatch(r"goclaw-tests-(\d+)", left.name)) and not Path("/proc", pid[1]).exists():
            shutil.rmtree(left, ignore_errors=True)
    place = MEMORY / f"goclaw-tests-{os.getpid()}"
    place.mkdir(mode=0o700)
    yield place
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(memory: Path) -> Iterator[str]:
    """The DSN of the server's own database, for tests that administer."""
    server = EmbeddedServer(memory / "pg")
    dsn = trio.run(server.start)
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute("ALTER SYSTEM SET fsync = off")
        admin.execute("SELECT pg_reload_conf()")
        admin.execute("CREATE DATABASE migrated")

    async def migrate() -> None:
        db = await connect(make_conninfo(dsn, dbname="migrated"))
        await migrate_up(db)
        db.close_now()

    trio.run(migrate)
    yield dsn
    trio.run(server.stop)


@pytest.fixture(scope="session")
def made_cluster(memory: Path) -> Path:
    """A database as a gateway makes it at its first start, which takes four times as long as a copy."""
    server = EmbeddedServer(memory / "made")

    async def make() -> None:
        db = await connect(await server.start())
        await migrate_up(db)
        db.close_now()
        await server.stop()

    trio.run(make)
    return server.directory


@pytest.fixture
def dsn(postgres: str) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE migrated STRATEGY file_copy")
        yield make_conninfo(postgres, dbname=name)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    async with open_database(dsn, pool_min=1) as database:
        yield database


@pytest.fixture
async def farm() -> AsyncIterator[Farm]:
    """Every vendor behind one port."""
    async with open_farm() as farm:
        yield farm
