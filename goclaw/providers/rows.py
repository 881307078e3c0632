"""Vendors that operators added, read like configured ones. Contract: providers.md §2, §3.

A row of the store wins over a configured vendor of the same name (P3.1). It speaks the dialect of its type.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from goclaw.providers.catalogue import BY_NAME, CATALOGUE, CHATGPT, Vendor
from goclaw.security.ssrf import Guard
from goclaw.settings.providers import ModelInfo, Provider, Providers
from goclaw.settings.section import Secret
from goclaw.stores.providers import ProviderRow

LIKE = {"anthropic_native": "anthropic", "gemini_native": "gemini", "minimax_native": "minimax"}
PLAIN = "openai_compat"
TYPES = frozenset(  # edge-http.md §7; programs and the offline model are no rows
    {PLAIN, CHATGPT.name, *LIKE, *(vendor.name for vendor in CATALOGUE if vendor.base_url)}
)
VENDORS = {**BY_NAME, CHATGPT.name: CHATGPT}
HEADERS = 32


class RowSettings(Struct, frozen=True, kw_only=True):
    """What the object `settings` of a row may say. Other members are kept and mean nothing here."""

    models: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=200)], ...], Meta(max_length=200)] = ()
    timeout_sec: Annotated[float, Meta(ge=1, le=86_400)] = 300.0
    max_concurrency: Annotated[int, Meta(ge=1, le=10_000)] = 64
    prompt_cache: bool = True
    protocol: Literal["chat", "responses"] = "chat"
    headers: Annotated[dict[str, Annotated[str, Meta(max_length=4096)]], Meta(max_length=HEADERS)] = {}
    extra: Annotated[dict[str, Any], Meta(max_length=100)] = {}
    model_info: Annotated[dict[str, ModelInfo], Meta(max_length=1000)] = {}


def settings_of(row: ProviderRow) -> RowSettings:
    """Those of a stored row, which were checked when they were written."""
    return msgspec.convert(row.settings, RowSettings)


def like(name: str, provider_type: str) -> str:
    """The vendor of the catalogue whose dialect and address are meant; `openai_compat` if it is none of them."""
    if provider_type != PLAIN:
        return LIKE.get(provider_type, provider_type)
    known = BY_NAME.get(name)
    return name if known is not None and known.wire == "openai_chat" else PLAIN


def configured(row: ProviderRow, key: str) -> Provider:
    """A row as the file would say it, with its opened `key`."""
    said = settings_of(row)
    return Provider(
        api_key=Secret(key),
        api_base=row.api_base or "",
        type=like(row.name, row.provider_type),
        protocol=said.protocol,
        models=said.models,
        timeout_sec=said.timeout_sec,
        max_concurrency=said.max_concurrency,
        enabled=row.enabled,
        prompt_cache=said.prompt_cache,
        headers={name: Secret(value) for name, value in said.headers.items()},
        extra=said.extra,
        model_info=said.model_info,
    )


def guard_of(row: ProviderRow, allow_private: bool) -> Guard:
    """Where a row with an address of its own may lead (security.md §4.1, profile `admin`)."""
    return Guard(allow_private=allow_private, loopback=row.provider_type == "ollama")


def lineup(settings: Providers, rows: Iterable[ProviderRow]) -> Providers:
    """Who there is, configured and added. The keys of rows stay sealed: this is for choosing, not for asking."""
    added = {row.name: configured(row, row.api_key or "") for row in rows}
    return replace(settings, named={**settings.named, **added}) if added else settings


def vendor_of(name: str, provider: Provider) -> Vendor:
    """How to reach a provider: the vendor it is like, with what was said of it."""
    known = VENDORS.get(provider.type or name, Vendor(name))
    return replace(
        known,
        base_url=provider.api_base or known.base_url,
        default_model=provider.models[0] if provider.models else known.default_model,
        wire="responses" if provider.protocol == "responses" and known.wire == "openai_chat" else known.wire,
        headers={**known.headers, **{name: value.reveal() for name, value in provider.headers.items()}},
        prompt_cache=provider.prompt_cache,
        extra={**known.extra, **provider.extra},
        model_info=provider.model_info,
    )
