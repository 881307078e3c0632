"""Variables of the process and of `.env.local`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from goclaw.settings.keys import entries
from goclaw.settings.load import Loaded, load
from goclaw.settings.problems import ConfigInvalid
from goclaw.settings.show import masked

DSN = "postgresql://u:p@h/d"


def loaded(home: Path, **variables: str) -> Loaded:
    return load(home / "config.json", {"GOCLAW_HOME": str(home), **variables}, {})


def values(home: Path, **variables: str) -> dict[str, Any]:
    return dict(entries(loaded(home, **variables).settings))


def problem(home: Path, **variables: str) -> str:
    with pytest.raises(ConfigInvalid) as caught:
        loaded(home, **variables)
    (found,) = caught.value.problems
    return str(found)


@pytest.mark.parametrize(
    ("variables", "key", "expected"),
    [
        ({"GOCLAW_PORT": " 80 "}, "gateway.port", 80),
        ({"GOCLAW_PORT": ""}, "gateway.port", 18790),
        ({"GOCLAW_OWNER_IDS": "lan, 7,"}, "gateway.owner_ids", ("lan", "7")),
        ({"GOCLAW_DRAIN_SEC": "2.5"}, "gateway.drain_sec", 2.5),
        ({"GOCLAW_DRAIN_SEC": "1m"}, "gateway.drain_sec", 60),
        ({"GOCLAW_LOG_LEVEL": "DEBUG"}, "logging.level", "debug"),
        ({"GOCLAW_LANE_DELEGATE": "3"}, "queue.lanes.team", 3),
        ({"GOCLAW_LANE_DELEGATE": "3", "GOCLAW_LANE_TEAM": "4"}, "queue.lanes.team", 4),
        ({"GOCLAW_DB_POOL": "4"}, "database.pool_max", 4),
        ({"GOCLAW_POSTGRES_DSN": DSN}, "database.mode", "external"),
        ({"GOCLAW_POSTGRES_DSN": DSN, "GOCLAW_MODE": "managed"}, "database.mode", "external"),
        ({"GOCLAW_STORAGE_BACKEND": "auto", "GOCLAW_MODE": "standalone"}, "database.mode", "embedded"),
        ({"OPENAI_API_KEY": "a", "GROQ_API_KEY": "b"}, "agents.defaults.provider", "openai"),
        ({"GOCLAW_GROQ_API_KEY": "b", "OPENAI_API_KEY": "a"}, "agents.defaults.provider", "openai"),
        ({"GOCLAW_OPENAI_BASE_URL": "http://x"}, "providers.openai.api_base", "http://x"),
        ({"GOCLAW_CLAUDE_CLI_PATH": "claude"}, "providers.claude_cli.cli_path", "claude"),
        ({"GOCLAW_CLAUDE_CLI_WORK_DIR": "/w"}, "providers.claude_cli.base_work_dir", "/w"),
        ({"GOCLAW_OLLAMA_HOST": "gpu-box"}, "providers.ollama.api_base", "http://gpu-box:11434/v1"),
        ({"GOCLAW_OLLAMA_HOST": "https://o.example/"}, "providers.ollama.api_base", "https://o.example/v1"),
        ({"GOCLAW_OLLAMA_HOST": "10.0.0.5:9000"}, "agents.defaults.provider", "ollama"),
        ({"GOCLAW_OPENAI_BASE_URL": "http://x/v1"}, "providers.openai.api_base", "http://x/v1"),
        ({"GOCLAW_OLLAMA_CLOUD_API_BASE": "http://x/v1"}, "providers.ollama_cloud.api_base", "http://x/v1"),
        ({"GOCLAW_YESCALE_API_KEY": "x"}, "agents.defaults.provider", "yescale"),
        ({"GOCLAW_ZAI_CODING_API_KEY": "x", "GOCLAW_MODEL": "m"}, "agents.defaults.model", "m"),
    ],
)
def test_a_variable_sets_its_key(tmp_path: Path, variables: dict[str, str], key: str, expected: object) -> None:
    assert values(tmp_path, **variables)[key] == expected


def test_the_prefixed_key_of_a_vendor_wins(tmp_path: Path) -> None:
    found = values(tmp_path, OPENAI_API_KEY="plain", GOCLAW_OPENAI_API_KEY="prefixed")

    assert found["providers.openai.api_key"].reveal() == "prefixed"


def test_a_vendor_of_the_file_has_variables_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{providers: {mine: {api_base: 'http://x'}}}")

    assert values(tmp_path, GOCLAW_MINE_API_KEY="k")["providers.mine.api_key"].reveal() == "k"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"GOCLAW_PORT": "abc"}, 'GOCLAW_PORT: expected a whole number from 0 to 65535, found "abc"'),
        ({"GOCLAW_LANE_CRON": "0"}, "GOCLAW_LANE_CRON: expected a whole number from 1 to 10000, found 0"),
        ({"GOCLAW_LANE_CRON": "1_0"}, 'GOCLAW_LANE_CRON: expected a whole number from 1 to 10000, found "1_0"'),
        ({"GOCLAW_STORAGE_BACKEND": "sqlite"}, "GOCLAW_STORAGE_BACKEND: expected one of auto, embedded, postgres"),
        ({"GOCLAW_MODE": "managed"}, "GOCLAW_MODE: asks for a database of yours, but GOCLAW_POSTGRES_DSN is not set"),
        (
            {"GOCLAW_MODE": "standalone", "GOCLAW_POSTGRES_DSN": DSN},
            "GOCLAW_MODE: asks for the embedded database, but GOCLAW_POSTGRES_DSN is set",
        ),
        ({"GOCLAW_MODEL": "\udcff"}, "GOCLAW_MODEL: expected UTF-8 text"),
        ({"GOCLAW_HOME": "${NOPE}"}, "variable NOPE is not set"),
    ],
)
def test_a_bad_variable_is_named(tmp_path: Path, variables: dict[str, str], message: str) -> None:
    assert message in problem(tmp_path, **variables)


@pytest.mark.parametrize(
    ("word", "expected"),
    [("1", True), ("yes", True), ("ON", True), ("true", True), ("0", False), ("no", False), ("Off", False)],
)
def test_truth_has_eight_words(tmp_path: Path, word: str, expected: bool) -> None:
    (tmp_path / "config.json").write_text("{gateway: {allow_insecure: '$WORD'}}")

    assert values(tmp_path, WORD=word)["gateway.allow_insecure"] is expected


def test_an_unknown_variable_is_one_warning_with_a_suggestion(tmp_path: Path) -> None:
    found = loaded(tmp_path, GOCLAW_LANE_MIAN="3", GOCLAW_OPNAI_API_KEY="k", GOCLAW_TOKEN="t", OTHER="x").warnings

    assert found[1:] == (
        'variable GOCLAW_LANE_MIAN is not known (did you mean "GOCLAW_LANE_MAIN"?)',
        'variable GOCLAW_OPNAI_API_KEY is not known (did you mean "GOCLAW_OPENAI_API_KEY"?)',
    )


def test_env_local_is_read_and_warned_about_when_others_can_read_it(tmp_path: Path) -> None:
    secrets = tmp_path / ".env.local"
    secrets.write_text('OPENAI_API_KEY="sk-1"\n')
    secrets.chmod(0o644)

    found = loaded(tmp_path)

    assert found.settings.providers.named["openai"].api_key.reveal() == "sk-1"
    assert found.origins["providers.openai.api_key"] == ".env.local:OPENAI_API_KEY"
    assert f"{secrets} can be read by others: chmod 600 {secrets}" in found.warnings


def test_a_broken_line_of_env_local_is_named_but_not_shown(tmp_path: Path) -> None:
    (tmp_path / ".env.local").write_text("A=1\nhunter2\n")

    assert problem(tmp_path) == ".env.local at line 2: expected NAME=VALUE"


def test_several_keys_of_a_vendor_are_asked_in_turn(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        "{providers: {groq: {api_keys: ['a', 'b,c']}, openai: {api_key: 'x', apiKeys: 'env:MORE'}}}"
    )

    loaded = load(tmp_path / "config.json", {"GOCLAW_HOME": str(tmp_path), "MORE": "y, z"}, {})

    named = loaded.settings.providers.named
    assert (named["groq"].keys, named["openai"].keys) == (("a", "b", "c"), ("x", "y", "z"))
    assert masked(loaded.settings)["providers.groq.api_keys"] == ("***", "***")
    assert any("api_keys" in warning and "secret" in warning for warning in loaded.warnings)
