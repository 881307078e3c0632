"""One question to a vendor over HTTP: bounded, in the open, and without its key in what is said of it.

Vendors are named by us or by an operator, who may run one of his own: private addresses are allowed where he says so
(`api_base`), metadata services never. Contract: security.md §4.1 (profile `admin`), tools.md §11.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec

from goclaw.providers.web import read, tls, weather
from goclaw.security.egress import guarded
from goclaw.security.ssrf import Guard, Refused
from goclaw.tools.web.hits import DAYS, Freshness, NotFound

WITHIN = 10.0  # seconds; tools.md §10
ANSWER = 2 * 2**20  # bytes
TROUBLE = 200  # characters of what a vendor says is wrong


class Asking:
    """`host` says why one may not be reached now; empty: it may."""

    def __init__(
        self,
        version: str,
        guard: Guard,
        now: Callable[[], datetime],
        secret: str = "",
        host: Callable[[str], str] = lambda _: "",
    ) -> None:
        self._host = host
        self._guard = guard
        self._now = now
        self._secret = secret
        self._headers = {"User-Agent": f"GoClaw/{version}", "Accept-Encoding": "gzip"}

    def since(self, freshness: Freshness) -> datetime:
        return self._now() - timedelta(days=DAYS[freshness])

    async def json(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Any:
        """Raises NotFound."""
        content = None if body is None else msgspec.json.encode(body)
        more = {"Accept": "application/json", **({"Content-Type": "application/json"} if content else {}), **headers}
        try:
            return msgspec.json.decode(await self._send(method, url, more, content, params))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise NotFound("no JSON") from None

    async def text(self, method: str, url: str, *, form: Mapping[str, str]) -> str:
        """Raises NotFound."""
        content = str(httpx.QueryParams(dict(form))).encode()
        more = {"Accept": "text/html", "Content-Type": "application/x-www-form-urlencoded"}
        return (await self._send(method, url, more, content, None)).decode("utf-8", "replace")

    def rows(self, said: Any, *path: str, empty: bool = False) -> list[dict[str, Any]]:
        """The objects of the list at `path`. `empty`: none at all is a list, too. Raises NotFound."""
        for name in path:
            said = said.get(name) if isinstance(said, dict) else None
        if said is None and empty:
            return []
        if not isinstance(said, list):
            raise NotFound("an answer of another shape")
        return [row for row in said if isinstance(row, dict)]

    async def _send(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None, params: Mapping[str, str] | None
    ) -> bytes:
        sent = {**self._headers, **headers}
        if why := self._host(urlsplit(url).hostname or ""):
            raise NotFound(why)
        try:
            async with httpx.AsyncClient(transport=guarded(self._guard, tls()), timeout=WITHIN) as http:
                request = httpx.Request(method, url, params=params, headers=sent, content=content)
                response = await http.send(request, stream=True)
                body = await read(response, ANSWER)
        except Refused as refused:
            raise NotFound(str(refused)) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NotFound(self._without_key(weather(error).message)) from None
        if response.status_code != 200:
            said = " ".join(body.decode("utf-8", "replace").split()) if b"<" not in body[:1] else ""
            raise NotFound(self._without_key(f"status {response.status_code} {said}".strip())[:TROUBLE])
        return body

    def _without_key(self, text: str) -> str:
        return text.replace(self._secret, "***") if self._secret else text
