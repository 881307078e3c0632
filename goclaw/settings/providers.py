"""Vendors of models and the built-in offline model. Contract: config-cli.md §4.4, providers.md §2, §16.6."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from goclaw.domain.effort import Effort
from goclaw.settings.section import Secret, Section
from goclaw.settings.subprocess import AcpAgent, ClaudeProgram

# Who is the default when several have a key, first wins (config-cli.md §9.3); vendors whose wire is not spoken yet are
# not among them. Each name N is also the variable GOCLAW_<N>_API_KEY.
KEYED = (
    "openrouter",
    "anthropic",
    "openai",
    "groq",
    "deepseek",
    "gemini",
    "mistral",
    "xai",
    "minimax",
    "cohere",
    "perplexity",
    "dashscope",
    "bailian",
    "zai",
    "zai_coding",
    "novita",
    "byteplus",
    "ollama_cloud",
    "yescale",
)
KEYLESS = ("ollama",)  # has an address of its own and asks for no key
PROGRAMS = ("acp", "claude_cli")  # run on this machine; nobody's default without being asked for
OFFLINE = "offline"


class ModelInfo(Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of a model better than by its name; what is left out stays as it is."""

    window: Annotated[int, Meta(ge=2048, le=10_000_000)] | None = None
    max_output: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    efforts: tuple[Effort, ...] | None = None
    effort: Effort | None = None
    vision: bool | None = None
    tools: bool | None = None


class ReasoningDefaults(Struct, frozen=True, forbid_unknown_fields=True):
    """How hard models think for agents that do not say; providers.md §10.1."""

    effort: Literal["off", "auto", "none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    fallback: Literal["downgrade", "off", "provider_default"] = "downgrade"


class AccountPool(Struct, frozen=True, forbid_unknown_fields=True):
    """Accounts at one vendor that stand in for each other with the same model; providers.md §7.3.

    `primary_first` is an older name of `priority_order`, `manual` means no pool.
    """

    strategy: Literal["priority_order", "primary_first", "round_robin", "manual"] = "priority_order"
    extra_provider_names: Annotated[tuple[str, ...], Meta(max_length=32)] = ()


class Provider(Section, frozen=True):
    """One vendor: its key, address and limits."""

    api_key: Annotated[Secret, Meta(description="prefer a variable: env:NAME")] = Secret()
    api_keys: Annotated[tuple[Secret, ...], Meta(max_length=32, description="more of them, asked in turn")] = ()
    api_base: Annotated[str, Meta(max_length=2048, description="empty = the vendor's own")] = ""
    type: Annotated[str, Meta(max_length=30, description="the vendor it is like; empty = its name says")] = ""
    protocol: Annotated[Literal["chat", "responses"], Meta(description="of vendors like OpenAI")] = "chat"
    supports_responses_compact: Annotated[
        bool, Meta(description="it has /responses/compact, for compaction modes that use it")
    ] = False
    models: Annotated[tuple[str, ...], Meta(description="order = failover order")] = ()
    timeout_sec: Annotated[float, Meta(ge=1, le=86_400, description="one whole model call")] = 300.0
    max_concurrency: Annotated[int, Meta(ge=1, le=10_000, description="calls at a time")] = 64
    enabled: bool = True
    prompt_cache: Annotated[bool, Meta(description="mark what is worth caching")] = True
    headers: Annotated[dict[str, Secret], Meta(description="sent with every call")] = field(default_factory=dict)
    extra: Annotated[dict[str, Any], Meta(description="further members of every request")] = field(default_factory=dict)
    model_info: Annotated[dict[str, ModelInfo], Meta(description="by model or pattern: window, max_output, …")] = field(
        default_factory=dict
    )
    reasoning_defaults: Annotated[
        ReasoningDefaults, Meta(description="effort and fallback, of agents that do not say how hard they think")
    ] = ReasoningDefaults()
    codex_pool: Annotated[
        AccountPool, Meta(description="strategy and extra_provider_names: accounts that answer with the same model")
    ] = AccountPool()

    @property
    def keys(self) -> tuple[str, ...]:
        """All of them, in the order in which they are asked; one with commas is several."""
        return tuple(part for key in (self.api_key, *self.api_keys) for part in key.reveal().split(",") if part.strip())


class OfflineLoad(Section, frozen=True):
    """Answers of the model `offline-load`."""

    tokens: Annotated[int, Meta(ge=0, le=1_000_000)] = 200
    tools: Annotated[int, Meta(ge=0, le=200, description="tool calls before the answer")] = 0
    thinking_tokens: Annotated[int, Meta(ge=0, le=1_000_000)] = 0


class Offline(Section, frozen=True):
    """The model that needs no key and no network."""

    chunk_chars: Annotated[int, Meta(ge=1, le=100_000, description="text per streamed piece")] = 24
    tokens_per_second: Annotated[float, Meta(ge=0, le=1_000_000, description="0 = no delay")] = 0.0
    first_token_ms: Annotated[float, Meta(ge=0, le=600_000)] = 0.0
    load: OfflineLoad = OfflineLoad()
    banner: Annotated[bool, Meta(description="say once per session that no model is connected")] = True


class Providers(Section, frozen=True):
    """Vendors by name; any other name is an OpenAI-compatible vendor with its own `api_base`."""

    offline: Offline = Offline()
    allow_private: Annotated[bool, Meta(description="vendors that admins add may have private addresses")] = False
    claude_cli: ClaudeProgram = ClaudeProgram()
    acp: AcpAgent = AcpAgent()
    named: dict[str, Provider] = field(default_factory=dict)


def usable(providers: Providers) -> list[str]:
    """Vendors with an address, their own or a configured one, and the key it wants. The best default is the first."""
    order = {name: place for place, name in enumerate((*KEYED, *KEYLESS))}
    like = {name: row.type or name for name, row in providers.named.items()}
    return [
        name
        for name in sorted(providers.named, key=lambda name: (order.get(like[name], len(order)), name))
        if (row := providers.named[name]).enabled
        and like[name] not in PROGRAMS
        and (row.api_base or like[name] in KEYLESS or (like[name] in KEYED and row.keys))
    ]


def programs(providers: Providers) -> dict[str, AcpAgent | ClaudeProgram]:
    """Those that are programs on this machine and are configured, by name. The best default is the first."""
    found: dict[str, AcpAgent | ClaudeProgram] = {}
    if providers.claude_cli.cli_path:
        found["claude_cli"] = providers.claude_cli
    if providers.acp.binary:
        found["acp"] = providers.acp
    return found


def first_usable(providers: Providers) -> str:
    """Who answers when nobody is configured to (config-cli.md §9.3, providers.md O7)."""
    chosen_by_itself = [name for name in programs(providers) if name != "acp"]
    return next(iter((*usable(providers), *chosen_by_itself)), OFFLINE)
