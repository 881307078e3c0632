"""Which lines are known. Contract: tools.md §12.2."""

from __future__ import annotations

import time

import pytest

from goclaw.domain.approval import Known, Simple
from goclaw.security.allowlist import broad, known, matches


def line(*texts: str) -> list[Simple]:
    return [Simple(text.split()[0], text) for text in texts]


@pytest.mark.parametrize(
    ("commands", "allowed", "names", "expected"),
    [
        (["ls"], [], [], "safe"),
        (["ls", "curl https://example.com"], [], [], "unknown"),
        (["ls", "curl https://example.com"], ["curl"], [], "safe"),
        (["ls", "curl https://example.com"], ["curl", "ls"], [], "listed"),
        (["curl https://example.com/a"], ["curl https://example.com/*"], [], "listed"),
        (["curl https://example.com.evil/a"], ["curl https://example.com/*"], [], "unknown"),
        (["terraform plan"], [], ["terraform"], "listed"),
        (["terraform plan", "psql"], [], ["terraform"], "unknown"),
        (["docker ps"], ["dock"], [], "unknown"),
        ([], ["*"], [], "unknown"),
    ],
)
def test_a_line_is_what_all_of_its_commands_are(
    commands: list[str], allowed: list[str], names: list[str], expected: Known
) -> None:
    assert known(line(*commands), allowed, names) == expected


@pytest.mark.parametrize(
    ("glob", "text", "fits"),
    [
        ("ls", "ls", True),
        ("ls", "ls -l", False),
        ("ls*", "ls -l", True),
        ("*", "", True),
        ("git *status", "git status", True),
        ("a*a", "a", False),
        ("a*b*c", "axxbyyc", True),
        ("a*b*c", "axxcyyb", False),
        ("a*", "a\nb", False),
        ("a?b", "axb", False),
        ("[", "[", True),
    ],
)
def test_a_star_is_any_text_without_a_newline_and_nothing_else_is_special(glob: str, text: str, fits: bool) -> None:
    assert matches(glob, text) is fits


def test_a_hostile_glob_takes_no_time() -> None:
    began = time.process_time()
    assert not matches("a*" * 2000 + "b", "a" * 16_384)
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("name", ["sh", "python3.12", "python", "curl", "pip3", "xargs", "env", "ssh", "docker"])
def test_a_yes_to_what_runs_anything_is_a_yes_to_that_line_only(name: str) -> None:
    assert broad(name)


@pytest.mark.parametrize("name", ["ls", "terraform-docs", "ffmpeg", "sqlite3"])
def test_a_yes_to_what_does_one_thing_is_a_yes_to_the_program(name: str) -> None:
    assert not broad(name)
