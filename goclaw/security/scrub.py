"""Secrets in structured data, by the names they go under. Contract: observability.md §5.2 (step "by key")."""

from __future__ import annotations

from typing import Any

NAMES = ("key", "token", "secret", "password", "passwd", "dsn", "credential", "authorization", "cookie", "private")
HARMLESS = frozenset(
    {
        "tokens",
        "session_key",
        "agent_key",
        "dedupe_key",
        "local_key",
        "key_slot",
        "key_prefix",
        "token_estimate",
        "resource_keys",
        "ingress_key",
        "idempotency_key",
        "env_keys",
    }
)
MARK = "***"


def scrubbed(value: Any) -> Any:
    """JSON data with the values of telling names replaced. Walks as deep as the data is."""
    match value:
        case dict():
            return {name: MARK if telling(str(name)) and inner else scrubbed(inner) for name, inner in value.items()}
        case list() | tuple():
            return [scrubbed(inner) for inner in value]
    return value


def telling(name: str) -> bool:
    """Whether something of this name is likely a secret."""
    name = name.lower()
    return name not in HARMLESS and not name.endswith("_tokens") and any(part in name for part in NAMES)
