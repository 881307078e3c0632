"""`goclaw deny-check` answers as JSON and runs nothing. Contract: security.md §17."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from goclaw.edge.cli.commands import app
from goclaw.edge.cli.options import Exit, Failure, Options


def judged(*arguments: str) -> dict[str, str | None]:
    done = CliRunner().invoke(app, ["deny-check", *arguments], obj=Options(lambda *_: 0), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    answer: dict[str, str | None] = json.loads(done.stdout)
    return answer


def test_the_verdict_is_printed_and_nothing_runs(tmp_path: Path) -> None:
    left = tmp_path / "left"

    assert judged("--", f"touch {left}") == {"decision": "allow", "group": None, "why": None}
    assert judged("--", f"touch {left}; rm -rf x")["group"] == "destructive_ops"
    assert not left.exists()


def test_a_group_can_be_switched_off() -> None:
    assert judged("--off", "destructive_ops,env_dump", "--", "env; rm -rf x")["decision"] == "allow"


def test_an_unknown_group_is_an_error_of_usage() -> None:
    with pytest.raises(Failure, match='did you mean "env_dump"') as failure:
        judged("--off", "env_dumb", "--", "ls")

    assert failure.value.code == Exit.USAGE
