"""`goclaw migrate …` beside others that use the same database, and with one that lets nobody in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import trio

from goclaw.domain.errors import StartupFatal
from goclaw.edge.cli.migrate import schema_version
from goclaw.settings.load import Loaded, load
from goclaw.stores.embedded import EmbeddedServer

LET_IN_EVERY_SECOND = """
CREATE SEQUENCE logins;
CREATE FUNCTION take_turns() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
  IF nextval('logins') % 2 = 0 THEN RAISE EXCEPTION 'not now'; END IF;
END $$;
CREATE EVENT TRIGGER turns ON login EXECUTE FUNCTION take_turns();
"""


def configured(home: Path) -> Loaded:
    return load(None, {"GOCLAW_HOME": str(home)}, {})


def test_a_server_that_was_started_for_nothing_is_stopped(tmp_path: Path) -> None:
    loaded = configured(tmp_path)
    server = EmbeddedServer(loaded.settings.database.embedded.dir)

    async def prepare() -> None:
        with psycopg.connect(await server.start(), autocommit=True) as admin:
            admin.execute(LET_IN_EVERY_SECOND)
        await server.stop()

    trio.run(prepare)

    with pytest.raises(StartupFatal, match="not now") as caught:
        schema_version(loaded)  # the first to be let in sees whether the server is up

    assert caught.value.reason == "E_STORE_OPEN"
    assert not (server.directory / "postmaster.pid").exists()


def test_two_that_migrate_at_once_wait_for_each_other(tmp_path: Path) -> None:
    environment = {"GOCLAW_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-m", "goclaw", "migrate", "up"]
    both = [
        subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]

    said = [process.communicate(timeout=30) for process in both]

    assert [process.returncode for process in both] == [0, 0], said
    assert all("The schema is up to date." in out for out, _ in said)
    assert sum("0001_platform applied" in out for out, _ in said) == 1
