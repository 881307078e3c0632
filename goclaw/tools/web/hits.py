"""What a search of the web finds, and who searches. Contract: tools.md §11."""

from __future__ import annotations

from typing import Literal, Protocol
from urllib.parse import urlsplit

from msgspec import Struct

Freshness = Literal["day", "week", "month", "year"]
DAYS: dict[Freshness, int] = {"day": 1, "week": 7, "month": 31, "year": 365}
TITLE, URL, SNIPPET = 300, 2048, 1000  # characters kept of a hit


class Hit(Struct, frozen=True, kw_only=True):
    title: str
    url: str
    snippet: str = ""


class Searcher(Protocol):
    """One vendor."""

    async def search(self, query: str, count: int, freshness: Freshness | None, country: str | None) -> list[Hit]:
        """At most `count`, best first. Raises NotFound."""
        ...


class NotFound(Exception):
    """This vendor did not answer. The text says why and holds no key."""


def hit(title: object, url: object, snippet: object = "") -> Hit | None:
    """A hit of what a vendor said, on one line each; None unless it leads to a page of the web."""
    address = " ".join(str(url or "").split())
    try:
        parts = urlsplit(address)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and len(address) <= URL
    except ValueError:
        good = False
    if not good:
        return None
    return Hit(
        title=" ".join(str(title or "").split())[:TITLE] or address[:TITLE],
        url=address,
        snippet=" ".join(str(snippet or "").split())[:SNIPPET],
    )
