"""Perplexity. Wire: its chat endpoint, whose citations are the results."""

from __future__ import annotations

from goclaw.tools.web.asking import Asking
from goclaw.tools.web.hits import Freshness, Hit, NotFound, hit

BASE = "https://api.perplexity.ai"
MODEL = "sonar"


class Perplexity:
    def __init__(self, asking: Asking, key: str, base: str = "") -> None:
        self._asking = asking
        self._key = key
        self._base = base or BASE

    async def search(self, query: str, count: int, freshness: Freshness | None, country: str | None) -> list[Hit]:
        body: dict[str, object] = {"model": MODEL, "messages": [{"role": "user", "content": query}], "max_tokens": 512}
        if freshness:
            body["search_recency_filter"] = freshness
        if country:
            body["web_search_options"] = {"user_location": {"country": country.upper()}}
        headers = {"Authorization": f"Bearer {self._key}"}
        said = await self._asking.json("POST", f"{self._base}/chat/completions", headers=headers, body=body)
        if isinstance(said, dict) and isinstance(said.get("search_results"), list):
            rows = self._asking.rows(said, "search_results")
            found = [hit(row.get("title"), row.get("url"), row.get("snippet") or row.get("date")) for row in rows]
        elif isinstance(said, dict) and isinstance(said.get("citations"), list):
            found = [hit("", url) for url in said["citations"]]
        else:
            raise NotFound("an answer without citations")
        return [each for each in found if each][:count]
