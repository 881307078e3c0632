"""What a command may, and what is left of it. Contract: tools.md §12.1, security.md §14 (host exec without Docker)."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from goclaw.security.confine import confined, environment

PATIENCE = 5.0  # seconds


@contextmanager
def kept(command: str, cwd: Path, grace: float = 0.3) -> Iterator[subprocess.Popen[str]]:
    place = os.open(cwd, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with subprocess.Popen(
            confined(command, place, grace),
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            env=environment(os.environ),
            pass_fds=(place,),
            start_new_session=True,
            text=True,
        ) as keeper:
            yield keeper
    finally:
        os.close(place)


def said(command: str, cwd: Path) -> tuple[str, int]:
    with kept(command, cwd) as keeper:
        out, _ = keeper.communicate(timeout=PATIENCE)
        return out, keeper.returncode


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def pids(keeper: subprocess.Popen[str], count: int) -> list[int]:
    assert keeper.stdout is not None
    return [int(keeper.stdout.readline()) for _ in range(count)]


def test_a_command_works_where_it_is_put_with_limits_and_without_rights(tmp_path: Path) -> None:
    probe = "pwd; umask; ulimit -c; ulimit -n; grep NoNewPrivs /proc/self/status; readlink /proc/self/fd/0; exit 7"
    out, code = said(probe, tmp_path)

    where, mask, core, files, rights, stdin = out.splitlines()
    assert (where, mask, core, files) == (str(tmp_path), "0077", "0", "1024")
    assert (rights.split(), stdin, code) == (["NoNewPrivs:", "1"], "/dev/null", 7)


def test_a_broken_pipe_ends_a_command_as_in_any_shell(tmp_path: Path) -> None:
    out, _ = said("yes | head -n 1; echo over", tmp_path)
    assert out == "y\nover\n"


def test_no_descriptor_of_ours_reaches_a_command(tmp_path: Path) -> None:
    out, _ = said("ls /proc/self/fd", tmp_path)
    assert set(out.split()) <= {"0", "1", "2", "3"}  # the last is that of ls itself


STRAYS = {
    "in the background": "sleep 60 & echo $!",
    "of its own session": "setsid sleep 60 & echo $!",
    "orphaned twice, with nothing in its environment": (
        "env -i setsid sh -c 'setsid sleep 60 >/dev/null 2>&1 & echo $!'; sleep 0.1"
    ),
}


@pytest.mark.parametrize("command", STRAYS.values(), ids=STRAYS.keys())
def test_what_a_command_leaves_behind_ends_with_it(command: str, tmp_path: Path) -> None:
    with kept(f"{command}; exit 3", tmp_path) as keeper:
        (stray,) = pids(keeper, 1)
        assert keeper.wait(PATIENCE) == 3
        assert not alive(stray)


def test_who_does_not_heed_is_killed_with_all_that_left_the_group(tmp_path: Path) -> None:
    deaf = "trap '' TERM; echo $$; while :; do sleep 60; done"
    both_deaf = f"setsid sh -c {shlex.quote(deaf)} & {deaf}"
    with kept(both_deaf, tmp_path) as keeper:
        both = pids(keeper, 2)
        began = time.monotonic()
        keeper.terminate()
        assert keeper.wait(PATIENCE) == 128 + signal.SIGKILL
        assert time.monotonic() - began >= 0.25
        assert not any(map(alive, both))


def test_who_heeds_may_finish(tmp_path: Path) -> None:
    with kept("trap 'echo bye; exit 5' TERM; echo $$; while :; do sleep 0.01; done", tmp_path, 3) as keeper:
        pids(keeper, 1)
        keeper.terminate()
        out, _ = keeper.communicate(timeout=PATIENCE)
        assert ("bye" in out, keeper.returncode) == (True, 5)


def test_nothing_outlives_the_gateway(tmp_path: Path) -> None:
    """A gateway that is killed has no time for anybody: the keeper sees that it is gone."""
    gateway = f"""
import os, subprocess
from goclaw.security.confine import confined
place = os.open({str(tmp_path)!r}, os.O_RDONLY)
keeper = subprocess.Popen(confined("setsid sleep 60 & echo $!; wait", place), pass_fds=(place,), start_new_session=True)
keeper.wait()
"""
    with subprocess.Popen([sys.executable, "-c", gateway], stdout=subprocess.PIPE, text=True) as process:
        (stray,) = pids(process, 1)
        assert alive(stray)
        process.kill()
        process.wait()
        until = time.monotonic() + PATIENCE
        while alive(stray) and time.monotonic() < until:
            time.sleep(0.02)
        assert not alive(stray)


def test_the_environment_is_a_list_of_names(tmp_path: Path) -> None:
    """SEC-32."""
    given = {"PATH": "/bin", "LC_ALL": "C", "GOCLAW_TOKEN": "secret", "OPENAI_API_KEY": "secret", "LD_PRELOAD": "x"}
    assert environment(given) == {"PATH": "/bin", "LC_ALL": "C"}
    assert environment(given, tmp_path, (Path("/opt/a"),))["PATH"] == "/opt/a:/bin"
    assert environment(given, tmp_path)["HOME"] == str(tmp_path)
    assert environment({"HOME": "/root"}) == {"HOME": "/root", "PATH": "/usr/local/bin:/usr/bin:/bin"}


def test_sec32_the_gateways_environment_is_closed_to_processes_of_its_user() -> None:
    """Root reads everything, so the gateway of this test is nobody."""
    gateway = """
import ctypes, os, subprocess
from goclaw.security.confine import DUMPABLE, unreadable
if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
ctypes.CDLL(None).prctl(DUMPABLE, 1, 0, 0, 0)
read = ["cat", f"/proc/{os.getpid()}/environ"]
before = subprocess.run(read, capture_output=True)
unreadable()
after = subprocess.run(read, capture_output=True)
print(before.returncode, after.returncode, after.stderr.decode())
"""
    done = subprocess.run([sys.executable, "-c", gateway], capture_output=True, text=True, check=True)
    before, after, error = done.stdout.split(maxsplit=2)
    assert (before, after) == ("0", "1")
    assert "Permission denied" in error
