"""Brave. Wire: `GET /res/v1/web/search?q=&count=` with the key in `X-Subscription-Token`."""

from __future__ import annotations

import html
import re

from goclaw.tools.web.asking import Asking
from goclaw.tools.web.hits import Freshness, Hit, hit

BASE = "https://api.search.brave.com"
FRESHNESS: dict[Freshness, str] = {"day": "pd", "week": "pw", "month": "pm", "year": "py"}
TAG = re.compile(r"<[^<>]{0,100}>")  # it marks what was searched for


class Brave:
    def __init__(self, asking: Asking, key: str, base: str = "") -> None:
        self._asking = asking
        self._key = key
        self._base = base or BASE

    async def search(self, query: str, count: int, freshness: Freshness | None, country: str | None) -> list[Hit]:
        params = {"q": query, "count": str(count)}
        if freshness:
            params["freshness"] = FRESHNESS[freshness]
        if country:
            params["country"] = country.upper()
        headers = {"X-Subscription-Token": self._key}
        said = await self._asking.json("GET", f"{self._base}/res/v1/web/search", headers=headers, params=params)
        rows = self._asking.rows(said, "web", "results", empty=True)
        found = [hit(_plain(row.get("title")), row.get("url"), _plain(row.get("description"))) for row in rows]
        return [each for each in found if each][:count]


def _plain(text: object) -> str:
    return html.unescape(TAG.sub("", str(text or "")))
