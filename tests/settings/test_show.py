"""What others see of the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from goclaw.settings.keys import camel, entries, snake, spellings
from goclaw.settings.load import load
from goclaw.settings.problems import nearest
from goclaw.settings.settings import Settings
from goclaw.settings.show import json_schema, masked, nested


def test_secrets_are_masked_and_absence_is_seen(tmp_path: Path) -> None:
    variables = {"GOCLAW_HOME": str(tmp_path), "OPENAI_API_KEY": "sk-1", "GOCLAW_POSTGRES_DSN": "postgresql://u:p@h/d"}
    loaded = load(None, variables, {})

    shown = masked(loaded.settings)

    assert shown["providers.openai.api_key"] == "***"
    assert shown["database.dsn"] == "***"
    assert shown["gateway.token"] == ""
    assert shown.keys() == loaded.origins.keys()
    assert "sk-1" not in repr(loaded)
    assert nested(shown)["providers"]["openai"]["timeout_sec"] == 300


def test_the_schema_knows_every_key_and_no_other() -> None:
    schema = json_schema()

    assert {key for key, _ in _leaves(schema)} == {key for key, _ in entries(Settings())} | {"$schema"}
    assert schema["additionalProperties"] is False
    row = schema["properties"]["providers"]["additionalProperties"]
    assert row["properties"]["timeout_sec"]["anyOf"][0]["maximum"] == 86_400


def test_every_key_of_the_schema_has_its_default() -> None:
    for key, leaf in _leaves(json_schema()):
        assert "default" in leaf or key == "$schema"


def test_both_spellings_lead_to_the_same_key() -> None:
    for section in (Settings, type(Settings().queue), type(Settings().gateway)):
        for spelling, name in spellings(section).items():
            assert spelling in (name, camel(name), "enable")
            assert snake(camel(name)) == name


def test_a_suggestion_is_at_most_two_edits_away() -> None:
    assert nearest("prot", ["port", "host"]) == "port"
    assert nearest("ports", ["port", "host"]) == "port"
    assert nearest("whatever", ["port", "host"]) is None
    assert nearest("x", ["port", "ab"]) is None


def _leaves(schema: dict[str, Any], prefix: str = "") -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] = []
    for name, inner in schema["properties"].items():
        if "properties" in inner:
            found += _leaves(inner, f"{prefix}{name}.")
        else:
            found.append((prefix + name, inner))
    return found
