"""Each red row of the security doctor, provoked alone. Contract: security.md §1.2, SEC-47."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest

from goclaw.edge.cli.doctor_security import CONTAINERS, examine
from goclaw.settings.load import load
from goclaw.settings.onboard import onboard

TOKEN = "0123456789abcdef0123456789abcdef"
KEY = "5f" * 32
RED = {"root"} if os.geteuid() == 0 and not any(Path(mark).exists() for mark in CONTAINERS) else set()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "data").mkdir(mode=0o700)
    for name, text in (("config.json", "{}"), (".env.local", ""), ("data/policy.yaml", "{}")):
        (home / name).write_text(text)
        (home / name).chmod(0o600)
    return home


def looked(home: Path, **environ: str) -> dict[str, Any]:
    known = {"GOCLAW_HOME": str(home), "GOCLAW_GATEWAY_TOKEN": TOKEN, "GOCLAW_ENCRYPTION_KEY": KEY, **environ}
    return {result.name: result for result in examine(load(home / "config.json", known, {}))}


def red(results: Mapping[str, Any]) -> set[str]:
    return {name for name, result in results.items() if result.status == "FAIL"} - RED


def test_a_fresh_gateway_has_no_red_row(home: Path) -> None:
    results = looked(home)

    assert red(results) == set()
    assert (results["root"].status == "FAIL") is bool(RED)
    assert results["any_origin"].status == "WARN"  # it listens on all addresses


def insecure(home: Path) -> dict[str, str]:
    (home / "config.json").write_text('{"gateway": {"allow_insecure": true}}')
    return {"GOCLAW_GATEWAY_TOKEN": ""}


def open_to(name: str, mode: int) -> Callable[[Path], dict[str, str]]:
    def change(home: Path) -> dict[str, str]:
        (home / name).chmod(mode)
        return {}

    return change


@pytest.mark.parametrize(
    ("row", "provoke", "says"),
    [
        ("open_door", insecure, "empty token"),
        ("readable_files", open_to("config.json", 0o640), "config.json"),
        ("readable_files", open_to(".env.local", 0o604), ".env.local"),
        ("readable_files", open_to(".", 0o750), "home"),
        ("short_token", lambda _: {"GOCLAW_GATEWAY_TOKEN": "short"}, "5 characters"),
        ("sample_key", lambda _: {"GOCLAW_ENCRYPTION_KEY": "0" * 64}, "printed in examples"),
        ("open_policy", open_to("data/policy.yaml", 0o620), "policy.yaml"),
    ],
)
def test_a_red_row(home: Path, row: str, provoke: Callable[[Path], dict[str, str]], says: str) -> None:
    """SEC-47."""
    results = looked(home, **provoke(home))

    assert red(results) == {row}
    assert says in results[row].message


def test_sealed_secrets_without_a_key_are_red(home: Path, dsn: str) -> None:
    url = {"GOCLAW_POSTGRES_DSN": dsn, "GOCLAW_ENCRYPTION_KEY": ""}
    assert red(looked(home, **url)) == set()

    with psycopg.connect(dsn) as db:
        db.execute(
            """INSERT INTO llm_providers (id, tenant_id, name, provider_type, api_key)
            SELECT gen_random_uuid(), id, 'mine', 'openai_compat', 'aes-gcm2:abcd:x' FROM tenants LIMIT 1"""
        )

    assert red(looked(home, **url)) == {"lost_key"}


def test_a_plain_endpoint_elsewhere_is_yellow(home: Path) -> None:
    assert looked(home, OPENAI_API_BASE="")["plain_endpoints"].status == "PASS"

    far = looked(home, GOCLAW_OPENAI_API_KEY="x", GOCLAW_OPENAI_API_BASE="http://models.example/v1")

    assert far["plain_endpoints"].status == "WARN"


def test_what_a_first_start_writes_is_private(tmp_path: Path) -> None:
    home = tmp_path / "home"
    loaded = load(None, {"GOCLAW_HOME": str(home)}, {})

    onboard(loaded)

    assert red(looked(home)) == set()
