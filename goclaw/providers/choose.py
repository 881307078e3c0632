"""Which vendors are usable with this configuration, and who answers when nobody is named.

Contract: config-cli.md §9.3, providers.md §3, §16.1 O7.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from goclaw.domain.model import Candidate
from goclaw.providers.catalogue import BY_NAME, Vendor
from goclaw.providers.rows import vendor_of
from goclaw.settings import providers as settings
from goclaw.settings.agents import AgentDefaults
from goclaw.settings.failover import Failover
from goclaw.settings.providers import OFFLINE, Provider, Providers, first_usable


def usable(providers: Providers) -> Iterator[tuple[str, Vendor, Provider]]:
    """Vendors that can be asked with this configuration, under their names, in order of preference."""
    for name in settings.usable(providers):
        yield name, vendor_of(name, providers.named[name]), providers.named[name]


def default_provider(providers: Providers, defaults: AgentDefaults) -> str:
    """The provider of agents that name none: configured, else the first usable one, else offline."""
    return defaults.provider or first_usable(providers)


def default_model(provider: str, providers: Providers, defaults: AgentDefaults) -> str:
    """The model of agents that name none. Empty if the vendor has no default and none is configured."""
    if defaults.model and provider == default_provider(providers, defaults):
        return defaults.model
    row = providers.named.get(provider)
    if row is not None and row.models:
        return row.models[0]
    program = settings.programs(providers).get(provider)
    if program is not None and program.model:
        return program.model
    known = BY_NAME.get((row.type if row else "") or provider)
    return known.default_model if known else ""


def accounts(provider: str, providers: Providers) -> tuple[str, ...]:
    """Those of its pool, itself first: providers of the same vendor, which answer as it does (§7.3)."""
    own = providers.named.get(provider)
    if own is None or own.codex_pool.strategy == "manual":
        return (provider,)
    alike = [
        name
        for name in own.codex_pool.extra_provider_names
        if (other := providers.named.get(name)) and other.enabled and (other.type or name) == (own.type or provider)
    ]
    return tuple(dict.fromkeys((provider, *alike)))


def fallbacks(
    first: Candidate, models: Iterable[str], providers: Providers, failover: Failover, defaults: AgentDefaults
) -> tuple[Candidate, ...]:
    """Who stands in for `first`: other accounts with the same model, its provider's other models, the agent's own
    choice, other providers (§9.2).
    """
    own = providers.named.get(first.provider)
    found = [Candidate(name, first.model) for name in accounts(first.provider, providers)[1:]]
    found += [Candidate(first.provider, model) for model in (*(own.models if own else ()), *models)]
    for name in failover.proxy_fallbacks:
        row = providers.named.get(name)
        if name == OFFLINE or row is None or not row.enabled:
            continue
        found += [Candidate(name, model) for model in row.models or (default_model(name, providers, defaults),)]
    if failover.allow_offline:
        found.append(Candidate(OFFLINE, BY_NAME[OFFLINE].default_model))
    return tuple(dict.fromkeys(found))
