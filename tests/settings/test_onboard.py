"""The token and the key of a gateway that nobody gave any."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from goclaw.domain.errors import StartupFatal
from goclaw.security.box import Place, box_of
from goclaw.settings.load import Loaded, load
from goclaw.settings.onboard import keep_key, onboard
from goclaw.settings.problems import ConfigInvalid


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


# --- the key of secrets ---------------------------------------------------------------------------


def test_the_first_start_makes_a_key_and_the_next_uses_it(tmp_path: Path) -> None:
    first = keep_key(loaded(tmp_path))
    again = loaded(tmp_path)

    key, place = first.settings.encryption.key.reveal(), tmp_path / "data" / "encryption.key"
    assert len(bytes.fromhex(key)) == 32
    assert place.read_text().strip() == key == again.settings.encryption.key.reveal()
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert str(place) in first.warnings[-1]
    assert key not in first.warnings[-1]
    assert keep_key(again) is again
    assert first.fingerprint == again.fingerprint


def test_a_chosen_key_wins_and_what_the_made_one_sealed_still_opens(tmp_path: Path) -> None:
    made = keep_key(loaded(tmp_path)).settings.encryption.key.reveal()
    place = Place("t.c", "1")
    sealed = box_of(loaded(tmp_path).settings.encryption).seal("secret", place)

    chosen = loaded(tmp_path, GOCLAW_ENCRYPTION_KEY="k" * 32, GOCLAW_ENCRYPTION_KEY_OLD=f" {'o' * 32} ,")

    assert keep_key(chosen) is chosen
    assert chosen.settings.encryption.former == ("o" * 32, made)
    box = box_of(chosen.settings.encryption)
    assert box.unseal(sealed, place) == "secret"
    assert not box.current(sealed)


def test_where_a_key_cannot_be_kept_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "data").touch()

    kept = keep_key(loaded(tmp_path))

    assert not kept.settings.encryption.key
    assert "cannot be kept" in kept.warnings[-1]
    assert box_of(kept.settings.encryption).kid == ""


@pytest.mark.parametrize("variable", ["GOCLAW_ENCRYPTION_KEY", "GOCLAW_ENCRYPTION_KEY_OLD"])
def test_what_is_no_key_stops_the_start_and_is_not_shown(tmp_path: Path, variable: str) -> None:
    wrong = "not-a-key-at-all"
    with pytest.raises(StartupFatal, match=variable) as fatal:
        box_of(loaded(tmp_path, **{"GOCLAW_ENCRYPTION_KEY": "k" * 32, variable: wrong}).settings.encryption)

    assert (fatal.value.reason, fatal.value.exit_code) == ("E_ENCRYPTION_KEY", 1)
    assert wrong not in fatal.value.detail


def test_a_key_in_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(f"{{encryption: {{key: '{'k' * 32}'}}}}")

    with pytest.raises(ConfigInvalid, match="never read from the file") as invalid:
        loaded(tmp_path)
    assert "kkkk" not in str(invalid.value)
