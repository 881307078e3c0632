"""Who answers when a model cannot. Contract: config-cli.md §4.5, providers.md §9."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from goclaw.settings.section import Section


class Failover(Section, frozen=True):
    """Providers that stand in for others."""

    proxy_fallbacks: Annotated[tuple[str, ...], Meta(max_length=32, description="in order, each with its models")] = ()
    threshold: Annotated[int, Meta(ge=1, le=1000, description="failures in a row that open a model's breaker")] = 5
    cooldown_sec: Annotated[float, Meta(ge=1, le=86_400, description="how long it stays open")] = 300.0
    allow_offline: Annotated[bool, Meta(description="the offline model answers when nobody else can")] = False
