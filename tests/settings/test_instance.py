"""One gateway per data directory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from goclaw.domain.errors import StartupFatal
from goclaw.settings.instance import address_in, holder, instance_lock

HOLD = """
import sys
from pathlib import Path
from goclaw.settings.instance import instance_lock
with instance_lock(Path(sys.argv[1])) as lock:
    lock.announce("127.0.0.1:5")
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_gateway_is_refused_and_told_who_is_there(tmp_path: Path) -> None:
    with instance_lock(tmp_path / "data") as lock:
        lock.announce("127.0.0.1:18790")

        with pytest.raises(StartupFatal) as caught, instance_lock(tmp_path / "data"):
            pass

    assert caught.value.reason == "E_ALREADY_RUNNING"
    assert caught.value.detail == f"another gateway (pid {os.getpid()}, 127.0.0.1:18790) uses {tmp_path / 'data'}"
    with instance_lock(tmp_path / "data"):
        assert holder(tmp_path / "data") == (os.getpid(), "starting")


def test_only_a_gateway_that_is_ready_has_an_address(tmp_path: Path) -> None:
    assert address_in(tmp_path) is None
    with instance_lock(tmp_path) as lock:
        assert address_in(tmp_path) is None
        lock.announce("migrating")
        assert address_in(tmp_path) is None
        lock.announce("[::1]:18790")
        assert address_in(tmp_path) == "[::1]:18790"


def test_a_killed_gateway_leaves_no_lock(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(StartupFatal, match=rf"pid {other.pid}, 127\.0\.0\.1:5"), instance_lock(tmp_path):
            pass

        other.send_signal(signal.SIGKILL)
        other.wait(10)

    with instance_lock(tmp_path):
        pass


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").touch()

    with pytest.raises(StartupFatal) as caught, instance_lock(tmp_path / "data"):
        pass

    assert caught.value.reason == "E_DATA_DIR"
    assert "a file in the way" in caught.value.hint


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    (tmp_path / "gateway.lock").symlink_to("/dev/full")

    with pytest.raises(StartupFatal) as caught, instance_lock(tmp_path):
        pass

    assert (caught.value.reason, caught.value.hint) == ("E_DATA_DIR", "free some space on that disk")


def test_a_directory_that_refuses_files_is_named() -> None:
    with pytest.raises(StartupFatal) as caught, instance_lock(Path("/proc")):
        pass

    assert caught.value.reason == "E_DATA_DIR"
    assert "GOCLAW_DATA_DIR" in caught.value.hint
