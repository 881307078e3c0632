"""`goclaw config set` and its kin, with nobody at the other end. Contract: config-cli.md §7.4."""

from __future__ import annotations

from pathlib import Path

import pytest

from goclaw.settings.spoken import placed, spoken
from tests.edge.test_cli import Shell


@pytest.fixture
def goclaw(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_a_key_is_set_and_taken_away(goclaw: Shell) -> None:
    """CF-07, CF-13. A secret is neither printed nor kept in the file."""
    path = goclaw.config("{gateway: {port: 1}} // ours\n")

    enabled = goclaw("config", "set", "tools.web.brave.enable", "false")
    secret = goclaw("config", "set", "providers.groq.api_key", "gsk-very-secret", GROQ="x")
    gone = goclaw("config", "unset", "gateway.port")

    assert enabled.stdout == "tools.web.brave.enabled: true → false\n"
    assert (gone.returncode, gone.stdout) == (0, "gateway.port: 1 → 18790\n")
    assert secret.returncode == 0
    assert "gsk-very-secret" not in secret.stdout + secret.stderr + path.read_text()
    assert "// ours" in path.read_text()
    assert (path.parent / ".env.local").read_text() == "GOCLAW_GROQ_API_KEY=gsk-very-secret\n"


def test_a_bad_value_leaves_the_file_alone(goclaw: Shell) -> None:
    """CF-14."""
    path = goclaw.config("{gateway: {port: 1}} // ours\n")
    wrong = goclaw("config", "set", "gateway.port", "abc")
    unknown = goclaw("config", "set", "gateway.prot", "1")

    assert (wrong.returncode, unknown.returncode) == (1, 1)
    assert 'gateway.port at line 1: expected a whole number from 0 to 65535, found "abc"' in wrong.stderr
    assert 'did you mean "port"?' in unknown.stderr
    assert path.read_text() == "{gateway: {port: 1}} // ours\n"
    assert [one.name for one in path.parent.iterdir()] == ["config.json"]


def test_without_a_gateway_nothing_is_read_again(goclaw: Shell) -> None:
    goclaw.config("{gateway: {port: 1}}")
    assert goclaw("config", "reload").returncode == 3


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        (" null ", None),
        ("-5", -5),
        ("1.5", 1.5),
        ("'5'", "5"),
        ('"a b"', "a b"),
        ("[1, 'x',]", [1, "x"]),
        ("{a: 1}", {"a": 1}),
        ("{a: ", "{a: "),
        ("plain text", "plain text"),
        ("True", "True"),
        ("1" * 40, "1" * 40),
        ("", ""),
    ],
)
def test_what_a_typed_value_is(text: str, value: object) -> None:
    assert spoken(text) == value
    assert placed("a.b", value) == {"a": {"b": value}}
