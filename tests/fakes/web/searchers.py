"""Five search vendors behind one port, each with its own wire, as strict as they are about keys and parameters."""

from __future__ import annotations

import html
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import trio

from tests.fakes.http1 import Request, next_request, whole

KEYS = {
    "exa": "exa-key-0123456789",
    "tavily": "tvly-key-0123456789",
    "brave": "BSA-0123456789",
    "perplexity": "pplx-0123456789",
}
ROWS = [
    ("Bún chả", "https://food.example/bun-cha?a=1&b=2", "Grilled <b>pork</b> & noodles"),
    ("Phở", "https://food.example/pho", "Soup"),
    ("No page", "ftp://food.example/x", "not of the web"),
    ("Bánh mì", "http://food.example/banh-mi", "Bread"),
]


class Searchers:
    """`rows` is what each finds; `status` and `body` let one fail; `stuck` never answer."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.rows = list(ROWS)
        self.status: dict[str, int] = {}
        self.body: dict[str, bytes] = {}
        self.stuck: set[str] = set()
        self._stir = trio.Event()
        self.heard: list[tuple[str, dict[str, Any]]] = []  # vendor, what it was asked

    def base(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"

    async def until(self, count: int) -> None:
        """Until so many questions have been heard."""
        while len(self.heard) < count:
            await self._stir.wait()

    @property
    def asked(self) -> list[str]:
        return [name for name, _ in self.heard]

    async def serve(self, stream: trio.SocketStream) -> None:
        buffer = bytearray()
        async with stream:
            while request := await next_request(stream, buffer):
                name = request.target.split("/")[1]
                params = self._read(name, request)
                self.heard.append((name, params))
                self._stir.set()
                self._stir = trio.Event()
                if name in self.stuck:
                    await trio.sleep_forever()
                status = self.status.get(name, 401 if params.get("key") != KEYS.get(name) else 200)
                if status != 200:
                    said = {"error": f"refused {params.get('key')}"}
                    await stream.send_all(whole(status, self.body.get(name) or json.dumps(said).encode()))
                    continue
                kind = "text/html" if name == "duckduckgo" else "application/json"
                await stream.send_all(whole(200, self.body.get(name) or self._answer(name), kind))

    def _read(self, name: str, request: Request) -> dict[str, Any]:
        path = request.target[len(name) + 1 :]
        headers = request.headers
        match name, request.method, urlsplit(path).path:
            case "exa", "POST", "/search":
                return {**json.loads(request.body), "key": headers.get("x-api-key")}
            case "tavily", "POST", "/search":
                return {**json.loads(request.body), "key": headers.get("authorization", "").removeprefix("Bearer ")}
            case "brave", "GET", "/res/v1/web/search":
                query = {key: values[0] for key, values in parse_qs(urlsplit(path).query).items()}
                return {**query, "key": headers.get("x-subscription-token")}
            case "perplexity", "POST", "/chat/completions":
                return {**json.loads(request.body), "key": headers.get("authorization", "").removeprefix("Bearer ")}
            case "duckduckgo", "POST", "/html/":
                return {key: values[0] for key, values in parse_qs(request.body.decode()).items()}
        return {"key": "wrong path"}

    def _answer(self, name: str) -> bytes:
        match name:
            case "exa":
                rows = [{"id": url, "title": title, "url": url, "highlights": [text]} for title, url, text in self.rows]
                return json.dumps({"requestId": "r", "results": rows}).encode()
            case "tavily":
                rows = [{"title": title, "url": url, "content": text, "score": 0.9} for title, url, text in self.rows]
                return json.dumps({"query": "q", "results": rows}).encode()
            case "brave":
                found = [
                    {"title": title, "url": url, "description": f"<strong>{text}</strong>"}
                    for title, url, text in self.rows
                ]
                return json.dumps({"type": "search", "web": {"results": found}}).encode()
            case "perplexity":
                said = {
                    "choices": [{"message": {"role": "assistant", "content": "Eat."}}],
                    "citations": [row[1] for row in self.rows],
                }
                said["search_results"] = [
                    {"title": title, "url": url, "date": "2026-01-01"} for title, url, _ in self.rows
                ]
                return json.dumps(said).encode()
        results = "".join(
            f"""<div class="result results_links results_links_deep web-result"><div class="links_main">
            <h2 class="result__title"><a rel="nofollow" class="result__a"
              href="//duckduckgo.com/l/?uddg={quote(url, safe="")}&amp;rut=abc">{html.escape(title)}</a></h2>
            <a class="result__snippet" href="x">{text}</a></div></div>"""
            for title, url, text in self.rows
        )
        ad = """<div class="result result--ad"><a class="result__a" href="https://duckduckgo.com/y.js?ad=1">Ad</a></div>"""
        return f"<!DOCTYPE html><html><body><div id='links' class='results'>{ad}{results}</div></body></html>".encode()


@asynccontextmanager
async def open_searchers() -> AsyncIterator[Searchers]:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    searchers = Searchers(listeners[0].socket.getsockname()[1])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, searchers.serve, listeners)
        yield searchers
        nursery.cancel_scope.cancel()
