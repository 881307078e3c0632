"""Which vendors are usable with this configuration, and who answers when nobody is named.

Contract: config-cli.md §9.3, providers.md §3, §16.1 O7.
"""

from __future__ import annotations

from collections.abc import Iterator

from goclaw.providers.catalogue import CATALOGUE, Vendor
from goclaw.settings.agents import AgentDefaults
from goclaw.settings.providers import KEYED, Provider, Providers

OFFLINE = "offline"


def usable(providers: Providers) -> Iterator[tuple[Vendor, Provider]]:
    """Vendors with a key or an address of their own, in order of preference."""
    rows = {vendor.name: vendor for vendor in CATALOGUE}
    order = {name: place for place, name in enumerate(KEYED)}
    for name in sorted(providers.named, key=lambda name: (order.get(name, len(order)), name)):
        row = providers.named[name]
        vendor = rows.get(name, Vendor(name))
        if row.enabled and (row.api_key or vendor.keyless or row.api_base) and (row.api_base or vendor.base_url):
            yield vendor, row


def default_provider(providers: Providers, defaults: AgentDefaults) -> str:
    """The provider of agents that name none: configured, else the first usable one, else offline."""
    if defaults.provider:
        return defaults.provider
    return next((vendor.name for vendor, _ in usable(providers)), OFFLINE)


def default_model(provider: str, providers: Providers, defaults: AgentDefaults) -> str:
    """The model of agents that name none. Empty if the vendor has no default and none is configured."""
    if defaults.model and provider == default_provider(providers, defaults):
        return defaults.model
    row = providers.named.get(provider)
    if row is not None and row.models:
        return row.models[0]
    return next((vendor.default_model for vendor in CATALOGUE if vendor.name == provider), "")
