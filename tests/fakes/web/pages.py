"""A web site on 127.0.0.1: pages are put, requests are kept."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from tests.fakes.http1 import Request, next_request

Handler = Callable[[trio.SocketStream], Awaitable[None]]


class Site:
    def __init__(self, port: int) -> None:
        self.port = port
        self.heard: list[Request] = []
        self.connections = 0
        self._pages: dict[str, bytes | Handler] = {}

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def put(
        self,
        path: str,
        body: bytes | str,
        kind: str = "text/html",
        status: int = 200,
        *,
        packed: bool = False,
        **more: str,
    ) -> None:
        data = body.encode() if isinstance(body, str) else body
        if packed:
            data, more = gzip.compress(data), {**more, "content-encoding": "gzip"}
        lines = {
            "content-type": kind,
            "content-length": str(len(data)),
            **{n.replace("_", "-"): v for n, v in more.items()},
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
        self._pages[path] = f"HTTP/1.1 {status} Fake\r\n{head}\r\n".encode() + data

    def send(self, path: str, to: str, status: int = 302, **more: str) -> None:
        self.put(path, b"", "", status, location=to, **more)

    def act(self, path: str, handler: Handler) -> None:
        """Speak for itself; the connection is closed after it."""
        self._pages[path] = handler

    async def serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        buffer = bytearray()
        async with stream:
            while request := await next_request(stream, buffer):
                self.heard.append(request)
                page = self._pages.get(
                    request.target.partition("?")[0], b"HTTP/1.1 404 Fake\r\ncontent-length: 0\r\n\r\n"
                )
                try:
                    if isinstance(page, bytes):
                        await stream.send_all(page)
                        continue
                    await page(stream)
                except trio.BrokenResourceError:
                    pass
                return


@asynccontextmanager
async def open_site() -> AsyncIterator[Site]:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    site = Site(listeners[0].socket.getsockname()[1])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, site.serve, listeners)
        yield site
        nursery.cancel_scope.cancel()
