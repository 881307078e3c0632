"""Exa. Wire: `POST /search` with the key in `x-api-key`; the text of a result only when it is asked for."""

from __future__ import annotations

from goclaw.tools.web.asking import Asking
from goclaw.tools.web.hits import Freshness, Hit, hit

BASE = "https://api.exa.ai"


class Exa:
    def __init__(self, asking: Asking, key: str, base: str = "") -> None:
        self._asking = asking
        self._key = key
        self._base = base or BASE

    async def search(self, query: str, count: int, freshness: Freshness | None, country: str | None) -> list[Hit]:
        few = {"highlights": {"numSentences": 3, "highlightsPerUrl": 1}}
        body: dict[str, object] = {"query": query, "numResults": count, "contents": few}
        if freshness:
            body["startPublishedDate"] = self._asking.since(freshness).strftime("%Y-%m-%dT%H:%M:%SZ")
        if country:
            body["userLocation"] = country.upper()
        said = await self._asking.json("POST", f"{self._base}/search", headers={"x-api-key": self._key}, body=body)
        rows = self._asking.rows(said, "results")
        found = [hit(row.get("title"), row.get("url"), _snippet(row)) for row in rows]
        return [each for each in found if each][:count]


def _snippet(row: dict[str, object]) -> object:
    highlights = row.get("highlights")
    return highlights[0] if isinstance(highlights, list) and highlights else row.get("text", "")
