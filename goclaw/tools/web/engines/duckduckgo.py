"""DuckDuckGo without a key: the page it has for browsers without scripts. Wire: `POST /html/`, its links wrapped."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import trio

from goclaw.tools.web.asking import Asking
from goclaw.tools.web.hits import Freshness, Hit, NotFound, hit

BASE = "https://html.duckduckgo.com"
FRESHNESS: dict[Freshness, str] = {"day": "d", "week": "w", "month": "m", "year": "y"}
REGIONS = {  # those that are not the country and its language
    "AR": "ar-es", "AT": "at-de", "AU": "au-en", "BE": "be-fr", "BR": "br-pt", "CA": "ca-en", "CH": "ch-de",
    "CL": "cl-es", "CN": "cn-zh", "CO": "co-es", "CZ": "cz-cs", "DK": "dk-da", "GB": "uk-en", "GR": "gr-el",
    "IE": "ie-en", "IL": "il-he", "IN": "in-en", "JP": "jp-jp", "KR": "kr-kr", "MX": "mx-es", "NZ": "nz-en",
    "PE": "pe-es", "PH": "ph-en", "SE": "se-sv", "SG": "sg-en", "TW": "tw-tzh", "UA": "ua-uk", "US": "us-en",
    "VN": "vn-vi", "ZA": "za-en",
}  # fmt: skip


class DuckDuckGo:
    def __init__(self, asking: Asking, base: str = "") -> None:
        self._asking = asking
        self._base = base or BASE

    async def search(self, query: str, count: int, freshness: Freshness | None, country: str | None) -> list[Hit]:
        form = {"q": query}
        if freshness:
            form["df"] = FRESHNESS[freshness]
        if country:
            form["kl"] = REGIONS.get(country.upper(), f"{country}-{country}".lower())
        page = await self._asking.text("POST", f"{self._base}/html/", form=form)
        found = await trio.to_thread.run_sync(_hits, page, f"{self._base}/html/", abandon_on_cancel=True)
        if found is None:
            raise NotFound("asks whether we are human")
        return found[:count]


def _hits(page: str, base: str) -> list[Hit] | None:
    """What is on the page; None if it is no page of results."""
    from lxml import etree

    source = page.replace("\0", "").encode("utf-8", "replace")
    root = etree.fromstring(source, etree.HTMLParser(encoding="utf-8", no_network=True)) if source.strip() else None
    if root is None:
        return None
    found = []
    answered = False
    for row in root.iter("div"):
        classes = row.get("class", "").split()
        answered = answered or "no-results" in classes or row.get("id") == "links"
        if "result" not in classes or "result--ad" in classes:
            continue
        parts = {name: part for part in row.iter("a", "div", "span") for name in part.get("class", "").split()}
        if (title := parts.get("result__a")) is not None:
            there = _unwrapped(title.get("href", ""), base)
            found.append(hit(_words(title), there, _words(parts.get("result__snippet"))))
    return [each for each in found if each] if found or answered else None


def _unwrapped(link: str, base: str) -> str:
    """Where a link leads that goes by way of a counter (`/l/?uddg=`); empty for an advertisement."""
    try:
        there = urljoin(base, link)
        parts = urlsplit(there)
        if parts.path == "/l/":
            return (parse_qs(parts.query).get("uddg") or [""])[0]
        return "" if parts.path == "/y.js" else there
    except ValueError:
        return ""


def _words(element: Any) -> str:
    return "" if element is None else "".join(element.itertext())
