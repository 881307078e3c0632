"""What is known of models by name. Contract: providers.md §10.2, §15."""

from __future__ import annotations

import pytest

from goclaw.providers.registry import Model, model_named
from goclaw.settings.providers import ModelInfo


@pytest.mark.parametrize(
    ("name", "window", "max_output"),
    [
        ("claude-sonnet-4-5-20250929", 200_000, 64_000),
        ("gpt-4o-mini", 128_000, 16_384),
        ("o3", 200_000, 100_000),
        ("o4-mini", 200_000, 100_000),
        ("gpt-5.2", 256_000, 64_000),
        ("gpt-5.4-mini", 1_000_000, 100_000),
        ("gemini-2.0-flash", 1_048_576, 65_536),
        ("mistral-large-latest", 128_000, 8192),
        ("llama-3.3-70b-versatile", 131_072, 8192),
        ("llama3.3", 128_000, 8192),
        ("deepseek-chat", 64_000, 8192),
        ("qwen3-max", 131_072, 16_384),
        ("offline-1", 32_000, 4096),
        ("whatever", 128_000, 8192),
    ],
)
def test_windows_are_those_of_the_contract(name: str, window: int, max_output: int) -> None:
    found = model_named(name)

    assert (found.window, found.max_output) == (window, max_output)


@pytest.mark.parametrize(
    ("name", "efforts", "effort"),
    [
        ("gpt-5", "minimal low medium high", "medium"),
        ("gpt-5.1", "none low medium high", "none"),
        ("gpt-5.1-codex", "low medium high", "medium"),
        ("gpt-5.2", "none low medium high xhigh", "none"),
        ("gpt-5.4", "none low medium high xhigh", "none"),
        ("gpt-5-mini", "none low medium high xhigh", "none"),
        ("gpt-5.4-mini", "none low medium high xhigh", "none"),
        ("gpt-5.2-codex", "low medium high xhigh", "medium"),
        ("gpt-5.3-codex", "low medium high xhigh", "medium"),
        ("o3", "low medium high", "medium"),
        ("o4-mini-2025-04-16", "low medium high", "medium"),
        ("claude-opus-4-6", "low medium high", None),
        ("claude-3-7-sonnet-20250219", "low medium high", None),
        ("claude-3-5-haiku-20241022", "", None),
        ("gemini-2.5-pro", "low medium high", None),
        ("gemini-2.0-flash", "", None),
        ("gpt-4o", "", None),
        ("mistral-large-latest", "", None),
    ],
)
def test_efforts_are_those_of_the_contract(name: str, efforts: str, effort: str | None) -> None:
    found = model_named(name)

    assert (" ".join(found.efforts), found.effort) == (efforts, effort)


def test_a_vendors_prefix_does_not_hide_a_model() -> None:
    assert model_named("anthropic/claude-sonnet-4.5") == model_named("claude-sonnet-4-5")
    assert model_named("meta-llama/Llama-4-Scout-17B").vision


def test_who_sees_and_who_takes_tools() -> None:
    assert all(model_named(name).vision for name in ("claude-opus-4-6", "gpt-4o", "gemini-2.5-flash", "o3"))
    assert not any(model_named(name).vision for name in ("deepseek-chat", "qwen3-max", "o3-mini", "unheard-of"))
    assert not model_named("sonar-pro").tools
    assert model_named("gpt-4o").tools


def test_the_operator_knows_better_but_only_what_he_says() -> None:
    own = {"gpt-*": ModelInfo(vision=False), "gpt-4o": ModelInfo(window=64_000), "mine": ModelInfo(efforts=("low",))}

    assert model_named("gpt-4o", own) == Model(window=64_000, max_output=16_384, vision=True)
    assert not model_named("gpt-4.1", own).vision
    assert model_named("mine", own) == Model(efforts=("low",))
    assert model_named("o3", own) == model_named("o3")
