"""One gateway per data directory. Contract: config-cli.md §10 step 2."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from goclaw.domain.errors import StartupFatal

LOCK_FILE = "gateway.lock"
LINE = 300  # characters: a pid and an address


class InstanceLock:
    """The right to use a data directory. The kernel takes it back when the process ends, however it ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def announce(self, address: str) -> None:
        """Write down who holds the lock and where it listens; the next starter's error names both."""
        line = f"{os.getpid()} {address}".encode().ljust(LINE) + b"\n"  # one length: it covers what was there
        os.pwrite(self._descriptor, line, 0)


@contextmanager
def instance_lock(data_dir: Path) -> Iterator[InstanceLock]:
    """Hold `data_dir` (made with mode 0700 if missing) for this process.

    Raises StartupFatal: E_DATA_DIR when it cannot be made or written, E_ALREADY_RUNNING when another holds it.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(data_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(data_dir, error) from None
    try:
        lock = InstanceLock(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lock.announce("starting")
        except BlockingIOError:
            other = holder(data_dir)
            who = f" (pid {other[0]}, {other[1]})" if other else ""
            hint = "stop it, or give this one its own GOCLAW_DATA_DIR"
            raise StartupFatal("E_ALREADY_RUNNING", f"another gateway{who} uses {data_dir}", hint) from None
        except OSError as error:  # also a file system without locks
            raise _unusable(data_dir, error) from None
        yield lock
    finally:
        os.close(descriptor)


def holder(data_dir: Path) -> tuple[int, str] | None:
    """The pid and address the lock file names: those of the last gateway there, alive or not."""
    try:
        with (data_dir / LOCK_FILE).open() as file:
            pid, _, address = file.read(LINE).strip().partition(" ")
    except (OSError, UnicodeDecodeError):
        return None
    return (int(pid), address) if pid.isdecimal() else None


def running(data_dir: Path) -> bool:
    """Somebody holds the lock: a gateway lives there, or begins to."""
    try:
        descriptor = os.open(data_dir / LOCK_FILE, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def address_in(data_dir: Path) -> str | None:
    """HOST:PORT of the last gateway that was ready there, alive or not; None while somebody starts or migrates."""
    other = holder(data_dir)
    return other[1] if other and ":" in other[1] else None


def _unusable(data_dir: Path, error: OSError) -> StartupFatal:
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            hint = "free some space on that disk"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            hint = "give this user write access, or set GOCLAW_DATA_DIR"
        case errno.EEXIST | errno.ENOTDIR:
            hint = "there is a file in the way; move it, or set GOCLAW_DATA_DIR"
        case _:
            hint = "set GOCLAW_DATA_DIR to a directory that can be used"
    return StartupFatal("E_DATA_DIR", f"data directory {data_dir} cannot be used: {error.strerror}", hint)
