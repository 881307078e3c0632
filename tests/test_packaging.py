"""The wheel, as a stranger gets it: installed beside nothing of ours, started from nowhere, stopped in order."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import sysconfig
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).resolve().parent.parent
BUILD = 120.0  # seconds
START = 60.0  # seconds; two are usual
STOP = 30.0  # seconds


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(place), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=BUILD)
    (built,) = place.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel in it. Libraries are read from ours: this is no test of package indexes."""
    place = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True, timeout=BUILD)
    python = place / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True, timeout=BUILD)
    (packages,) = place.glob("lib/python*/site-packages")
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"))  # .pth files in there are not followed
    return python


@contextmanager
def gateway(python: Path, home: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command from an empty directory with an empty environment, and the address it prints."""
    nowhere = home / "nowhere"
    nowhere.mkdir(parents=True)
    command = [str(python.with_name("goclaw")), "--host", "127.0.0.1", "--port", "0"]
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=nowhere, env={"HOME": str(home)}, stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"open +(http://\S+)/ui/", line):
                yield process, found[1]
                break
        else:
            pytest.fail(f"no address was printed:\n{(home / 'log').read_text()}")
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def get(url: str) -> tuple[int, bytes]:
    """Status and body, once somebody listens."""
    deadline = time.monotonic() + START
    while True:
        try:
            with urlopen(url, timeout=START) as answer:
                return answer.status, answer.read()
        except URLError as error:
            if not isinstance(error.reason, ConnectionRefusedError) or time.monotonic() > deadline:
                raise


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "goclaw"],
        cwd=ROOT, check=True, capture_output=True, text=True, timeout=BUILD,
    )  # fmt: skip
    if not tracked.stdout:
        pytest.skip("not a git work tree")

    packed = set(zipfile.ZipFile(wheel).namelist())

    assert {name for name in tracked.stdout.split("\n") if name and (ROOT / name).exists()} <= packed


def test_the_command_runs_from_the_wheel(python: Path) -> None:
    where = subprocess.run(
        [python, "-c", "import goclaw; print(goclaw.__file__)"],
        cwd=python.parent, check=True, capture_output=True, text=True, env={}, timeout=START,
    )  # fmt: skip
    version = subprocess.run(
        [python.with_name("goclaw"), "version"], check=True, capture_output=True, text=True, env={}, timeout=START
    )

    assert Path(where.stdout.strip()).is_relative_to(python.parent.parent)
    assert re.fullmatch(r"goclaw v\d+\.\d+\.\d+ \(protocol 3\)\n", version.stdout)


def test_an_installed_gateway_serves_its_dashboard_and_stops_in_order(python: Path, tmp_path: Path) -> None:
    with gateway(python, tmp_path) as (process, address):
        health, page = get(f"{address}/health"), get(f"{address}/ui/")
        process.send_signal(signal.SIGTERM)
        code = process.wait(STOP)

    assert health == (200, b'{"status":"ok","protocol":3}')
    assert page[0] == 200
    assert b"<title>GoClaw" in page[1]
    assert code == 0
    assert not (tmp_path / ".goclaw/data/pg/postmaster.pid").exists()
    assert os.listdir(tmp_path / "nowhere") == []
