"""Providers as clients see and write them: E-Provider. Contract: edge-http.md §7."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import asdict

from goclaw.domain.cooldown import ANY, Rest
from goclaw.providers.rows import like
from goclaw.settings.providers import OFFLINE, Provider
from goclaw.stores.providers import ProviderRow

MASK = "***"
BUILT_IN = {
    OFFLINE: OFFLINE,
    "acp": "acp",
    "claude_cli": "claude_cli",
    "anthropic": "anthropic_native",
    "gemini": "gemini_native",
}  # types of configured ones

Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]*(?!\n)$", max_length=50)]
Key = Annotated[str, Meta(max_length=4096)]
Text = Annotated[str, Meta(max_length=255)]
Base = Annotated[str, Meta(max_length=2048)]


class Cooldown(Struct, kw_only=True):
    """A model that rests. `slot` is the number of the key that does; all of them without."""

    model: str
    slot: int | None
    until: float  # seconds since the epoch
    reason: str
    failures: int


class ProviderView(Struct, kw_only=True):
    """E-Provider, and how it fares. `id` of a configured one is its name."""

    id: str
    name: str
    display_name: str
    provider_type: str
    api_base: str
    api_key: str
    has_api_key: bool
    enabled: bool
    settings: dict[str, Any]
    source: Literal["store", "config", "builtin"]
    usable: bool
    error: str | None
    cooldowns: list[Cooldown]
    agents: int
    calls_24h: int
    errors_24h: int  # of these, those that nobody answered
    fallbacks: int  # times another one answered in its place, since this gateway started
    order: list[str]  # who is asked for its agents, `provider:model`
    created_at: datetime  # of a configured one: when this gateway started
    updated_at: datetime


class ProviderList(Struct, kw_only=True):
    providers: list[ProviderView]


class Preset(Struct, kw_only=True):
    """What a type begins with. An empty address must be given."""

    type: str
    api_base: str = ""
    model: str = ""
    keyless: bool = False


class Presets(Struct, kw_only=True):
    presets: list[Preset]


class Wanted(Struct, kw_only=True):
    """What is absent stays as it is; "" clears what may be empty."""

    CLEARED_BY_EMPTY: ClassVar = frozenset({"api_key", "api_base", "display_name"})

    name: Name | UnsetType = UNSET
    display_name: Text | UnsetType = UNSET
    provider_type: str | UnsetType = UNSET
    api_base: Base | UnsetType = UNSET
    api_key: Key | UnsetType = UNSET
    api_keys: Annotated[list[Key], Meta(max_length=32)] | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    settings: dict[str, Any] | UnsetType = UNSET


class CreateProvider(Wanted, kw_only=True):
    name: Name
    provider_type: str


class UpdateProvider(Wanted, kw_only=True):
    id: str


class ProviderId(Struct, kw_only=True):
    id: str


class DeleteProvider(ProviderId, kw_only=True):
    force: bool = False


class ToggleProvider(ProviderId, kw_only=True):
    enabled: bool | None = None


class VerifyProvider(ProviderId, kw_only=True):
    model: Annotated[str, Meta(max_length=200)] = ""


class Verified(Struct, omit_defaults=True, kw_only=True):
    valid: bool
    error: str | None = None
    latency_ms: int | None = None

    def __post_init__(self) -> None:
        if self.error is not None:
            self.error = self.error[:500]


class ModelView(Struct, kw_only=True):
    id: str
    name: str
    context_window: int
    reasoning: bool


class ModelsOf(Struct, omit_defaults=True, kw_only=True):
    models: list[ModelView]
    error: str | None = None


class Traffic(Struct, frozen=True, kw_only=True):
    """What a provider had to do lately: the members of the same names."""

    agents: int
    calls_24h: int
    errors_24h: int
    fallbacks: int
    order: list[str]


class Health(Struct, kw_only=True):
    """What its actor says of a provider."""

    error: str | None = None
    rests: tuple[Rest, ...] = ()


def view_of(row: ProviderRow, health: Health, traffic: Traffic) -> ProviderView:
    return ProviderView(
        id=row.id,
        name=row.name,
        display_name=row.display_name or row.name,
        provider_type=row.provider_type,
        api_base=row.api_base or "",
        api_key=MASK if row.api_key else "",
        has_api_key=bool(row.api_key),
        enabled=row.enabled,
        settings=shown(row.settings),
        source="store",
        usable=row.enabled and health.error is None,
        error=health.error if row.enabled else None,
        cooldowns=_cooldowns(health),
        **asdict(traffic),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def view_of_configured(
    name: str, said: Provider, base_url: str, health: Health, traffic: Traffic, since: datetime
) -> ProviderView:
    keyed = bool(said.keys)
    return ProviderView(
        id=name,
        name=name,
        display_name=name,
        provider_type=BUILT_IN.get(said.type or name, like(name, said.type or "openai_compat")),
        api_base=base_url,
        api_key=MASK if keyed else "",
        has_api_key=keyed,
        enabled=said.enabled,
        settings={"models": list(said.models), "timeout_sec": said.timeout_sec},
        source="builtin" if name == OFFLINE else "config",
        usable=said.enabled and health.error is None,
        error=health.error if said.enabled else None,
        cooldowns=_cooldowns(health),
        **asdict(traffic),
        created_at=since,
        updated_at=since,
    )


def shown(settings: dict[str, Any]) -> dict[str, Any]:
    """Headers may hold secrets."""
    headers = settings.get("headers")
    return {**settings, "headers": dict.fromkeys(headers, MASK)} if headers else settings


def _cooldowns(health: Health) -> list[Cooldown]:
    return [
        Cooldown(
            model=rest.model,
            slot=None if rest.slot == ANY else rest.slot,
            until=rest.until,
            reason=rest.reason,
            failures=rest.failures,
        )
        for rest in health.rests
    ]
