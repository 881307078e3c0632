"""Secrets in structured data: by the names they go under, by value, by shape.

Contract: observability.md §5.2 (step "by key"); security.md §6.2.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from goclaw.settings.keys import entries
from goclaw.settings.section import Secret
from goclaw.settings.settings import Settings

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
SHORTEST = 6  # characters of a value that is looked for
SHAPES = tuple(
    re.compile(shape)
    for shape in (
        r"-----BEGIN (?:[A-Z0-9 ]{1,40} )?PRIVATE KEY(?: BLOCK)?-----[\s\S]*?"
        r"(?:-----END (?:[A-Z0-9 ]{1,40} )?PRIVATE KEY(?: BLOCK)?-----|\Z)",
        r"(?i)\b(?:postgres(?:ql)?|mysql|mariadb|mongodb(?:\+srv)?|rediss?|amqps?|mssql|clickhouse|nats|kafka)://"
        r"[^\s\"'<>`]+",
        r"\bsk-(?:ant-|proj-|svcacct-|or-v1-|or-)?[A-Za-z0-9_-]{20,}",
        r"\bgh[pousr]_[A-Za-z0-9]{36,}\b|\bgithub_pat_[A-Za-z0-9_]{22,}",
        r"\bglpat-[A-Za-z0-9_-]{20,}",
        r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
        r"\bAIza[0-9A-Za-z_-]{35}|\bya29\.[0-9A-Za-z_-]{20,}",
        r"\bxox[abeoprs]-[0-9A-Za-z-]{10,}|\bxapp-[0-9A-Za-z-]{10,}",
        r"\b[srp]k_(?:live|test)_[A-Za-z0-9]{16,}",
        r"\b\d{8,10}:[A-Za-z0-9_-]{35}\b",
        r"\b(?:goclaw|brw|gcn)_[0-9a-f]{32,}\b",
        r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
        r"(?i)(?<=bearer )[A-Za-z0-9_\-./+=]{16,}",
    )
)  # those of security.md §6.2 that are nothing but a secret


def scrubbed(value: Any, known: Sequence[str] = ()) -> Any:
    """JSON data with the values of telling names replaced, and in texts what is `known` or looks like a secret.

    Walks as deep as the data is.
    """
    match value:
        case dict():
            return {
                name: MARK if telling(str(name)) and inner else scrubbed(inner, known) for name, inner in value.items()
            }
        case list() | tuple():
            return [scrubbed(inner, known) for inner in value]
        case str():
            return _concealed(value, known)
    return value


def telling(name: str) -> bool:
    """Whether something of this name is likely a secret."""
    name = name.lower()
    return name not in HARMLESS and not name.endswith("_tokens") and any(part in name for part in NAMES)


def secrets_of(settings: Settings) -> tuple[str, ...]:
    """What this gateway must not tell, longest first: its token, keys of providers, the database's password."""
    found = {value.reveal() for _, value in entries(settings) if isinstance(value, Secret)}
    try:
        password = urlsplit(settings.database.dsn.reveal()).password or ""
    except ValueError:  # a list of words, not a URL
        password = ""
    found |= {password, unquote(password), *settings.encryption.former}
    return tuple(sorted((text for text in found if len(text) >= SHORTEST), key=lambda text: (-len(text), text)))


def _concealed(text: str, known: Sequence[str]) -> str:
    for secret in known:
        text = text.replace(secret, MARK)
    for shape in SHAPES:
        text = shape.sub(MARK, text)
    return text
