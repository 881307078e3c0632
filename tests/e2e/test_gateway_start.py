"""Trouble at the start: one clear sentence, the right exit code, nothing half-made. Contract: config-cli.md §10."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.gateway import PATIENCE, Gateway, running


class FirstStart(Gateway):
    made = None


def refused(home: Path, *arguments: str, **environ: str) -> tuple[int, str]:
    """Start a gateway that must not come up; its exit code and what it said. It never says it in a traceback."""
    gateway = FirstStart(home, None, **environ)
    ended = subprocess.run(
        [sys.executable, "-m", "goclaw", "--port", "0", *arguments],
        env=gateway.environ,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE,
    )
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    sentence, *hints = ended.stderr.splitlines()
    assert sentence.startswith("goclaw: E_")
    assert all(line.startswith(("goclaw: hint: ", "  ")) for line in hints)
    return ended.returncode, ended.stderr


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@contextmanager
def mounted(disk: Path, options: str) -> Iterator[Path]:
    """A file system in memory. Skips the test where none can be made."""
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
    if os.geteuid() != 0 or not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can make a disk for this test")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """8 MB: room for files, none for a database."""
    with mounted(tmp_path / "disk", "size=8m") as disk:
        yield disk


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A directory nobody can write to; root can only be kept off by the file system."""
    if os.geteuid() != 0:
        (tmp_path / "home").mkdir(mode=0o555)
        yield tmp_path / "home"
        return
    with mounted(tmp_path / "home", "ro") as home:
        yield home


def test_a_port_in_use_is_named_with_its_holder_before_any_work_is_done(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        code, said = refused(home, "--host", "127.0.0.1", "--port", str(port))

    assert code == 1
    assert "E_BIND" in said
    assert str(port) in said
    assert f"(pid {os.getpid()})" in said
    assert not (home / "data/pg").exists()


def test_a_data_directory_that_is_a_file_is_refused(home: Path) -> None:
    home.mkdir()
    (home / "data").write_text("precious")

    code, said = refused(home)

    assert (code, "E_DATA_DIR" in said, str(home / "data") in said) == (1, True, True)
    assert (home / "data").read_text() == "precious"


def test_a_data_directory_that_may_not_be_written_is_refused(read_only: Path) -> None:
    code, said = refused(read_only)

    assert (code, "E_DATA_DIR" in said, str(read_only / "data") in said) == (1, True, True)
    assert list(read_only.iterdir()) == []


def test_a_broken_configuration_is_told_by_line_and_key_and_with_a_guess(home: Path) -> None:
    home.mkdir()
    (home / "config.json").write_text('{\n  "gateway": {\n    "prot": 1\n  },\n  "queue": {"cap": "many"}\n}\n')

    code, said = refused(home)

    assert (code, "E_CONFIG_LOAD" in said) == (1, True)
    assert '"gateway.prot" at line 3 (did you mean "port"?)' in said
    assert "queue.cap at line 5" in said  # all of it at once
    assert sorted(path.name for path in home.iterdir()) == ["config.json"]


def test_a_configuration_that_is_no_json_is_told_by_line(home: Path) -> None:
    home.mkdir()
    (home / "config.json").write_text('{\n  "gateway": {\n    "port": 1\n')

    code, said = refused(home)

    assert (code, "E_CONFIG_LOAD" in said, "line " in said) == (1, True, True)


def test_a_second_gateway_on_the_same_data_is_told_who_is_there(home: Path) -> None:
    with running(FirstStart(home)) as first:
        code, said = refused(home)

        assert (code, "E_ALREADY_RUNNING" in said) == (1, True)
        assert f"pid {first.pid}" in said
        assert first.address.removeprefix("http://") in said
        assert first.process is not None
        assert first.process.poll() is None
        assert first.rows("SELECT count(*) FROM agents WHERE is_default") == [(1,)]
        assert first.complaints() == []


def test_a_database_that_does_not_answer_is_refused_and_no_embedded_one_is_made(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]

    code, said = refused(home, GOCLAW_POSTGRES_DSN=f"postgresql://goclaw:secret@127.0.0.1:{port}/x")

    assert (code, "E_STORE_OPEN" in said, str(port) in said) == (72, True, True)
    assert "secret" not in said
    assert not (home / "data/pg").exists()


def test_as_a_service_the_refusal_is_a_line_of_json(home: Path) -> None:
    home.mkdir()
    (home / "config.json").write_text('{"gateway": {"port": -1}}')
    gateway = FirstStart(home)
    command = [sys.executable, "-m", "goclaw", "--daemon"]

    ended = subprocess.run(command, env=gateway.environ, cwd=home, capture_output=True, text=True, timeout=PATIENCE)

    line: Mapping[str, Any] = json.loads(ended.stdout)
    assert ended.returncode == 1
    assert (line["event"], line["reason"]) == ("startup.fatal", "E_CONFIG_LOAD")
    assert "gateway.port" in line["detail"]


def test_a_full_disk_is_told_and_with_some_space_the_same_start_succeeds(small_disk: Path) -> None:
    home = small_disk / "home"

    code, said = refused(home)

    assert (code, "E_STORE_OPEN" in said, "No space left on device" in said) == (72, True, True)
    assert not (home / "data/pg").exists()
    subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk)], check=True)
    with running(FirstStart(home)) as gateway:
        assert gateway.rows("SELECT count(*) FROM agents WHERE is_default") == [(1,)]
