"""Data that is written down or shown elsewhere, without secrets: by name, by value, by shape.

Contract: observability.md §5.2; security.md §6.2, whose list of shapes and of values is the same for all surfaces.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from goclaw.security.known import NOTHING, Forms
from goclaw.security.shapes import without_pem, without_shapes
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
PREVIEW = 120  # characters; security.md §2.3
SEEN = 4096  # characters that a preview is made of, so that a secret is not cut before it is found


def scrubbed(value: Any, known: Forms = NOTHING) -> Any:
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
            return scrubbed_text(value, known)
    return value


def scrubbed_text(text: str, known: Forms = NOTHING) -> str:
    parts, _ = without_pem(known.hide(text, marked), marked)
    return without_shapes("".join(parts), marked)


def preview(text: str, known: Forms = NOTHING) -> str:
    """The beginning of a text, for a log."""
    return scrubbed_text(text[:SEEN], known)[:PREVIEW]


def marked(kind: str) -> str:
    return f"[redacted:{kind}]"


def telling(name: str) -> bool:
    """Whether something of this name is likely a secret."""
    name = name.lower()
    return name not in HARMLESS and not name.endswith("_tokens") and any(part in name for part in NAMES)


def secrets_of(settings: Settings) -> set[str]:
    """What this gateway is configured with and must not tell: its token, keys of providers, the database's password."""
    found = set(_secrets(value for _, value in entries(settings)))
    try:
        password = urlsplit(settings.database.dsn.reveal()).password or ""
    except ValueError:  # a list of words, not a URL
        password = ""
    keys = {key.strip() for provider in settings.providers.named.values() for key in provider.keys}
    return {text for text in {*found, *keys, password, unquote(password), *settings.encryption.former} if text}


def _secrets(values: Any) -> Iterator[str]:
    for value in values:
        match value:
            case Secret():
                yield value.reveal()
            case tuple():
                yield from _secrets(value)
            case dict():
                yield from of_headers(value)


def of_headers(headers: Mapping[str, Any]) -> Iterator[str]:
    """Those whose names tell; who else asks how is no secret. After `Bearer ` the token alone is one, too."""
    for name, value in headers.items():
        if telling(name) or "auth" in name.lower():
            said = value.reveal() if isinstance(value, Secret) else str(value)
            yield from (said, said.rpartition(" ")[2])
