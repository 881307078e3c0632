"""The price table and who wins over it. Contract: providers.md §13."""

from __future__ import annotations

import re
from decimal import Decimal

from goclaw.domain.price import FREE
from goclaw.providers.catalogue import CATALOGUE
from goclaw.providers.prices import price_of, table
from goclaw.settings.telemetry import ModelPrice

PROGRAMS = {"acp", "claude_cli"}  # the one does not say, the other says it with each answer
UNSAID = {"bailian", "byteplus", "deepseek", "mistral", "ollama_cloud", "perplexity", "yescale", "zai_coding"}


def test_every_row_has_a_page_and_a_month_somebody_read_it() -> None:
    read = table()
    for row in read.vendors.values():
        assert row.source
        assert row.date in read.read_from
        assert re.fullmatch(r"20\d\d-(0[1-9]|1[0-2])", row.date)
        assert row.models


def test_every_row_says_all_it_must_and_nothing_absurd() -> None:
    for name, row in table().vendors.items():
        for model, price in row.models.items():
            tiers = [price, price.long] if price.long else [price]
            for tier in tiers:
                assert 0 <= tier.input <= 200, (name, model)
                assert 0 <= tier.output <= 400, (name, model)
                assert tier.cache_read is None or tier.cache_read <= tier.input, (name, model)
            assert (price.above is None) == (price.long is None), (name, model)


def test_what_runs_at_home_is_free_and_nothing_else_is() -> None:
    assert price_of("offline", "offline-1") == FREE
    assert price_of("ollama", "llama3.3") == FREE
    for name, row in table().vendors.items():
        assert name in ("offline", "ollama") or FREE not in row.models.values()


def test_the_default_model_of_a_vendor_has_a_price_unless_its_price_cannot_be_said() -> None:
    """Paid by plan, by search or not at all in tokens; or the name may mean any of several models."""
    unsaid = {vendor.name for vendor in CATALOGUE if not price_of(vendor.name, vendor.default_model)}

    assert unsaid == UNSAID | PROGRAMS


def test_a_price_nobody_knows_is_none() -> None:
    assert price_of("yescale", "some-model") is None
    assert price_of("my_proxy", "gpt-4o") is None
    assert price_of("openai", "gpt-99") is None


def test_a_snapshot_costs_what_its_model_costs_unless_it_has_a_row() -> None:
    assert price_of("openai", "gpt-4o-2024-08-06") == price_of("openai", "gpt-4o")
    assert price_of("openai", "gpt-4o-2024-05-13") != price_of("openai", "gpt-4o")
    assert price_of("anthropic", "claude-haiku-4-5-20251001") == price_of("anthropic", "claude-haiku-4-5")


def test_the_operator_wins_by_vendor_and_model_then_by_model() -> None:
    own = {
        "openai/gpt-4o": ModelPrice(input_per_million=1, output_per_million=0.1, cache_read_per_million=0.25),
        "gpt-4o": ModelPrice(input_per_million=2, output_per_million=2),
        "ollama/*": ModelPrice(input_per_million=0.5, output_per_million=0.5),
    }

    first, second = price_of("openai", "gpt-4o", own), price_of("my_proxy", "gpt-4o", own)
    local, other = price_of("ollama", "llama3.3", own), price_of("openai", "gpt-4o-mini", own)

    assert first is not None
    assert (first.input, first.output, first.cache_read) == (Decimal(1), Decimal("0.1"), Decimal("0.25"))
    assert second is not None
    assert second.input == 2
    assert local is not None
    assert local.input == Decimal("0.5")
    assert other == price_of("openai", "gpt-4o-mini")


def test_a_provider_under_a_name_of_its_own_has_its_vendors_prices() -> None:
    assert price_of("mine", "gpt-4o") is None
    assert price_of("mine", "gpt-4o", vendor="openai") == price_of("openai", "gpt-4o")
