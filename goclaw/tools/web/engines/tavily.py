"""Tavily. Wire: `POST /search`, the key as a bearer token."""

from __future__ import annotations

from goclaw.tools.web.asking import Asking
from goclaw.tools.web.hits import Freshness, Hit, hit

BASE = "https://api.tavily.com"
COUNTRIES = {  # Tavily wants names; what is not here is searched everywhere
    "AR": "argentina", "AT": "austria", "AU": "australia", "BE": "belgium", "BR": "brazil", "CA": "canada",
    "CH": "switzerland", "CL": "chile", "CN": "china", "CO": "colombia", "CZ": "czech republic", "DE": "germany",
    "DK": "denmark", "EG": "egypt", "ES": "spain", "FI": "finland", "FR": "france", "GB": "united kingdom",
    "GR": "greece", "HU": "hungary", "ID": "indonesia", "IE": "ireland", "IL": "israel", "IN": "india", "IT": "italy",
    "JP": "japan", "KE": "kenya", "KR": "south korea", "MX": "mexico", "MY": "malaysia", "NG": "nigeria",
    "NL": "netherlands", "NO": "norway", "NZ": "new zealand", "PE": "peru", "PH": "philippines", "PK": "pakistan",
    "PL": "poland", "PT": "portugal", "RO": "romania", "RU": "russia", "SA": "saudi arabia", "SE": "sweden",
    "SG": "singapore", "TH": "thailand", "TR": "turkey", "TW": "taiwan", "UA": "ukraine",
    "AE": "united arab emirates", "US": "united states", "VN": "vietnam", "ZA": "south africa",
}  # fmt: skip


class Tavily:
    def __init__(self, asking: Asking, key: str, base: str = "") -> None:
        self._asking = asking
        self._key = key
        self._base = base or BASE

    async def search(self, query: str, count: int, freshness: Freshness | None, country: str | None) -> list[Hit]:
        body: dict[str, object] = {"query": query, "max_results": count, "search_depth": "basic"}
        if freshness:
            body["time_range"] = freshness
        if country and (name := COUNTRIES.get(country.upper())):
            body["country"] = name
        headers = {"Authorization": f"Bearer {self._key}"}
        said = await self._asking.json("POST", f"{self._base}/search", headers=headers, body=body)
        rows = self._asking.rows(said, "results")
        found = [hit(row.get("title"), row.get("url"), row.get("content")) for row in rows]
        return [each for each in found if each][:count]
