"""The token of a gateway that nobody gave one."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from goclaw.settings.load import Loaded, load
from goclaw.settings.onboard import onboard


def loaded(home: Path, **variables: str) -> Loaded:
    return load(None, {"GOCLAW_HOME": str(home), **variables}, {})


def test_the_first_start_makes_a_token_and_the_next_uses_it(tmp_path: Path) -> None:
    home = tmp_path / "home"

    first = onboard(loaded(home))
    again = loaded(home)

    token = first.settings.gateway.token.reveal()
    assert len(token) == 64
    assert int(token, 16)
    assert again.settings.gateway.token.reveal() == token
    assert again.origins["gateway.token"] == "auth.token"
    assert onboard(again) is again
    assert first.fingerprint == again.fingerprint
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert [(file.name, stat.S_IMODE(file.stat().st_mode)) for file in home.iterdir()] == [("auth.token", 0o600)]


@pytest.mark.parametrize("token", ["", "   ", "mine"])
def test_a_token_that_was_chosen_stays_even_an_empty_one(tmp_path: Path, token: str) -> None:
    chosen = loaded(tmp_path, GOCLAW_GATEWAY_TOKEN=token)

    assert onboard(chosen) is chosen
    assert not (tmp_path / "auth.token").exists()


def test_a_chosen_token_wins_over_the_made_one(tmp_path: Path) -> None:
    onboard(loaded(tmp_path))

    assert loaded(tmp_path, GOCLAW_GATEWAY_TOKEN="").settings.gateway.dev_mode


def test_an_unset_reference_does_not_open_the_gateway(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{gateway: {token: 'env:NOPE'}}")

    assert not onboard(loaded(tmp_path)).settings.gateway.dev_mode


def test_a_home_that_cannot_be_written_gives_a_token_for_this_run_only(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    home = tmp_path / "file" / "home"

    made = onboard(loaded(home))

    assert not made.settings.gateway.dev_mode
    assert made.origins["gateway.token"] == "memory"
    assert f"cannot be kept in {home}" in made.warnings[-1]
    assert os.listdir(tmp_path) == ["file"]
