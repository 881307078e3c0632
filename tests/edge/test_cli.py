"""The `goclaw` command as a person or a script meets it: real processes, their words and exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from goclaw import __version__


class Shell:
    """Runs `goclaw` with a home of its own and none of the variables of this machine."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def __call__(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        environment = kept | {"HOME": str(self.home), "NO_COLOR": "1"} | variables
        command = [sys.executable, "-m", "goclaw", *arguments]
        return subprocess.run(command, cwd=self.home, env=environment, capture_output=True, text=True, timeout=30)

    def config(self, text: str) -> Path:
        path = self.home / ".goclaw" / "config.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)
        return path


@pytest.fixture
def goclaw(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_version_and_help_answer_at_once(goclaw: Shell) -> None:
    started = time.perf_counter()
    helped = goclaw("--help")
    took = time.perf_counter() - started

    sys.stdout.write(f"goclaw --help: {took:.2f} s\n")  # the budget is 0.3 s (README R29); told, not asserted
    assert "Without a command: run the gateway." in helped.stdout
    assert goclaw("version").stdout == f"goclaw v{__version__} (protocol 3)\n"
    assert json.loads(goclaw("--json", "version").stdout) == {"version": __version__, "protocol": 3}


def test_help_loads_nothing_a_command_needs() -> None:
    heavy = "trio psycopg structlog quart httpx rich goclaw.stores goclaw.operations goclaw.app goclaw.settings.load"
    script = f"""
import sys
import goclaw.__main__
print(*[name for name in {heavy.split()} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)

    assert (done.stdout, done.stderr) == ("\n", "")


def test_a_mistake_in_the_file_ends_the_start_with_a_line_and_a_suggestion(goclaw: Shell) -> None:
    path = goclaw.config("{\n  gateway: {\n    prot: 1,\n  },\n}")

    done = goclaw()

    assert done.returncode == 1
    assert goclaw("config", "path").stdout == f"{path}\n"
    assert done.stderr.splitlines()[0] == (
        f'goclaw: E_CONFIG_LOAD: {path}: unknown key "gateway.prot" at line 3 (did you mean "port"?)'
    )


def test_a_start_error_is_one_json_line_for_machines(goclaw: Shell) -> None:
    done = goclaw("--daemon", "--port", "x")

    fatal = json.loads(done.stdout)
    assert (fatal["event"], fatal["reason"]) == ("startup.fatal", "E_CONFIG_LOAD")
    assert "--port: expected a whole number from 0 to 65535" in fatal["detail"]


@pytest.mark.parametrize("arguments", [["bogus"], ["config", "bogus"], ["--port"], ["agent", "chat", "--json"]])
def test_wrong_use_is_exit_2_with_a_sentence(goclaw: Shell, arguments: list[str]) -> None:
    done = goclaw(*arguments)

    assert done.returncode == 2
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_config_check_lists_everything_that_is_wrong(goclaw: Shell) -> None:
    goclaw.config("{gateway: {port: 'a', hots: 1},\nqueue: {cap: 0}}")

    told = goclaw("config", "check")
    document = json.loads(goclaw("config", "validate", "--json").stdout)

    assert told.returncode == 1
    assert len(told.stderr.splitlines()) == 3
    assert {(problem["key"], problem["line"]) for problem in document["problems"]} == {
        ("gateway.port", 1),
        ("gateway.hots", 1),
        ("queue.cap", 2),
    }


def test_config_commands_show_the_configuration_without_its_secrets(goclaw: Shell) -> None:
    path = goclaw.config("{gateway: {port: 1, token: 'hunter2'}}")

    checked = goclaw("config", "check")
    shown = goclaw("config", "show", GOCLAW_PORT="2", OPENAI_API_KEY="sk-hunter2")
    origins = goclaw("--port", "3", "config", "show", "--origin", GOCLAW_PORT="2", OPENAI_API_KEY="sk-hunter2")

    assert checked.stdout == f"Config at {path} is valid.\n"
    assert "gateway.token at line 1 is a secret" in checked.stderr
    assert json.loads(shown.stdout)["gateway"]["port"] == 2
    assert json.loads(shown.stdout)["providers"]["openai"]["api_key"] == "***"
    assert "gateway.port = 3  (flag)" in origins.stdout.splitlines()
    assert 'providers.openai.api_key = "***"  (env:OPENAI_API_KEY)' in origins.stdout.splitlines()
    assert "hunter2" not in shown.stdout + shown.stderr + origins.stdout + origins.stderr + checked.stderr


def test_config_get_prints_json_or_suggests(goclaw: Shell) -> None:
    assert goclaw("config", "get", "queue.lanes").stdout == (
        '{\n  "main": 30,\n  "subagent": 50,\n  "team": 100,\n  "cron": 30\n}\n'
    )
    wrong = goclaw("config", "get", "gateway.prot")
    assert wrong.returncode == 1
    assert wrong.stderr == 'goclaw: unknown key "gateway.prot" (did you mean "gateway.port"?)\n'
    assert json.loads(goclaw("config", "schema").stdout)["additionalProperties"] is False


def test_doctor_of_a_fresh_machine_warns_of_the_offline_model_and_passes(goclaw: Shell) -> None:
    """PR-01."""
    done = goclaw("doctor", "--json", GOCLAW_PORT="0")

    document = json.loads(done.stdout)
    found = {result["name"]: result["status"] for result in document["results"]}
    assert done.returncode == 0
    assert found["provider"] == "WARN"
    assert json.loads(goclaw("config", "get", "agents.defaults.provider").stdout) == "offline"
    assert found["gateway"] == "SKIP"
    assert found["store"] == found["directories"] == found["port"] == found["config"] == "PASS"
    assert document["system"]["version"] == __version__


def test_doctor_fails_for_what_cannot_work(goclaw: Shell) -> None:
    (goclaw.home / "file").touch()
    nowhere = "postgresql://u:hunter2@127.0.0.1:1/d?connect_timeout=2"

    done = goclaw("doctor", GOCLAW_DATA_DIR="file/data", GOCLAW_POSTGRES_DSN=nowhere)

    assert done.returncode == 1
    failed = [line.split(":")[0] for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert failed == ["FAIL  store", "FAIL  directories"]
    assert "hunter2" not in done.stdout + done.stderr


def test_migrate_makes_the_schema_of_the_embedded_database(goclaw: Shell) -> None:
    before = json.loads(goclaw("migrate", "version", "--json").stdout)

    made = goclaw("migrate", "up")
    after = json.loads(goclaw("migrate", "version", "--json").stdout)

    assert made.returncode == 0, made.stderr
    assert (before["current"], after["current"], after["pending"]) == (0, after["known"], [])


def test_migrate_says_that_the_database_is_away(goclaw: Shell) -> None:
    done = goclaw("migrate", "up", GOCLAW_POSTGRES_DSN="postgresql://u:hunter2@127.0.0.1:1/d")

    assert done.returncode == 72
    assert done.stderr.startswith("goclaw: E_STORE_OPEN: the database does not answer")
    assert "hunter2" not in done.stderr
