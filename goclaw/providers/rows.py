"""Vendors that operators added, read like configured ones. Contract: providers.md §2, §3.

A row of the store wins over a configured vendor of the same name (P3.1). It speaks the dialect of its type.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import asdict, replace

from goclaw.providers.catalogue import BY_NAME, CHATGPT, Vendor
from goclaw.security.ssrf import Guard
from goclaw.settings.convert import DURATION, UNITS
from goclaw.settings.providers import OFFLINE, AccountPool, ModelInfo, Provider, Providers, ReasoningDefaults
from goclaw.settings.section import Secret
from goclaw.settings.subprocess import AcpAgent, ClaudeProgram
from goclaw.stores.providers import ProviderRow

LIKE = {"anthropic_native": "anthropic", "gemini_native": "gemini", "minimax_native": "minimax"}
PLAIN = "openai_compat"
TYPES = frozenset({PLAIN, CHATGPT.name, *LIKE, *BY_NAME} - {OFFLINE})  # edge-http.md §7
VENDORS = {**BY_NAME, CHATGPT.name: CHATGPT}
HEADERS = 32


class RowSettings(Struct, frozen=True, kw_only=True):
    """What the object `settings` of a row may say. Other members are kept and mean nothing here."""

    models: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=200)], ...], Meta(max_length=200)] = ()
    timeout_sec: Annotated[float, Meta(ge=1, le=86_400)] = 300.0
    max_concurrency: Annotated[int, Meta(ge=1, le=10_000)] = 64
    prompt_cache: bool = True
    protocol: Literal["chat", "responses"] = "chat"
    supports_responses_compact: bool = False
    headers: Annotated[dict[str, Annotated[str, Meta(max_length=4096)]], Meta(max_length=HEADERS)] = {}
    extra: Annotated[dict[str, Any], Meta(max_length=100)] = {}
    model_info: Annotated[dict[str, ModelInfo], Meta(max_length=1000)] = {}
    reasoning_defaults: ReasoningDefaults = ReasoningDefaults()
    codex_pool: AccountPool = AccountPool()


class AcpSettings(Struct, frozen=True, kw_only=True):
    """Those of a row whose `api_base` is an agent program; wire-compat.md C10."""

    args: Annotated[tuple[Annotated[str, Meta(max_length=4096)], ...], Meta(max_length=100)] = ()
    model: Annotated[str, Meta(max_length=256)] = ""
    work_dir: Annotated[str, Meta(max_length=4096)] = ""
    idle_ttl: Annotated[float, Meta(ge=0, le=86_400)] | Annotated[str, Meta(pattern=f"^{DURATION.pattern}$")] = 300.0
    perm_mode: Literal["approve-all", "approve-reads", "deny-all"] = "approve-all"


class ClaudeSettings(Struct, frozen=True, kw_only=True):
    """Those of a row that is the `claude` program; its `api_base` is where that is, if not in the path."""

    model: Annotated[str, Meta(max_length=256)] = "sonnet"
    base_work_dir: Annotated[str, Meta(max_length=4096)] = ClaudeProgram().base_work_dir
    perm_mode: Literal["bypassPermissions", "default", "acceptEdits"] = "bypassPermissions"


SETTINGS: dict[str, type[AcpSettings | ClaudeSettings]] = {"acp": AcpSettings, "claude_cli": ClaudeSettings}


def program_of(row: ProviderRow) -> AcpAgent | ClaudeProgram:
    """A row of a type in `PROGRAMS`."""
    timeout = settings_of(row).timeout_sec
    if row.provider_type == "claude_cli":
        claude = msgspec.convert(row.settings, ClaudeSettings)
        return ClaudeProgram(cli_path=row.api_base or "", timeout_sec=timeout, **asdict(claude))
    acp = asdict(msgspec.convert(row.settings, AcpSettings))
    return AcpAgent(**{**acp, "idle_ttl": _seconds(acp["idle_ttl"])}, binary=row.api_base or "", timeout_sec=timeout)


def _seconds(span: float | str) -> float:
    found = DURATION.fullmatch(span) if isinstance(span, str) else None
    return float(found[1]) * UNITS[found[2]] / 1000 if found else float(span)


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
        supports_responses_compact=said.supports_responses_compact,
        models=said.models,
        timeout_sec=said.timeout_sec,
        max_concurrency=said.max_concurrency,
        enabled=row.enabled,
        prompt_cache=said.prompt_cache,
        headers={name: Secret(value) for name, value in said.headers.items()},
        extra=said.extra,
        model_info=said.model_info,
        reasoning_defaults=said.reasoning_defaults,
        codex_pool=said.codex_pool,
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
    responses = provider.protocol == "responses" and known.wire == "openai_chat"
    return replace(
        known,
        base_url=provider.api_base or known.base_url,
        default_model=provider.models[0] if provider.models else known.default_model,
        wire="responses" if responses else known.wire,
        compacts=responses and provider.supports_responses_compact,
        headers={**known.headers, **{name: value.reveal() for name, value in provider.headers.items()}},
        prompt_cache=provider.prompt_cache,
        extra={**known.extra, **provider.extra},
        model_info=provider.model_info,
    )
