"""Every vendor of the farm behind one port, told apart by the first part of the path."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import trio

from tests.fakes.http1 import Hangup, next_request, whole
from tests.fakes.vendors.anthropic import anthropic
from tests.fakes.vendors.compatible import compatible, minimax
from tests.fakes.vendors.gemini import gemini
from tests.fakes.vendors.ollama import ollama
from tests.fakes.vendors.openai import chatgpt, openai
from tests.fakes.vendors.vendor import Vendor, encode


class Farm:
    """`farm["groq"]` is a vendor; its `url` is what a client is given."""

    def __init__(self, port: int) -> None:
        self.origin = f"http://127.0.0.1:{port}"
        self.connections = 0  # open now
        self.accepted = 0  # so far
        self._vendors = {vendor.name: vendor for vendor in vendors()}
        for vendor in self:
            vendor.origin = self.origin

    def __getitem__(self, name: str) -> Vendor:
        return self._vendors[name]

    def __iter__(self) -> Iterator[Vendor]:
        return iter(self._vendors.values())

    async def serve(self, connection: trio.SocketStream) -> None:
        """Answer the requests of one connection until it closes."""
        self.connections += 1
        self.accepted += 1
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        buffer = bytearray()
        try:
            while request := await next_request(connection, buffer):
                _, name, *rest = request.target.split("/", 2)
                if vendor := self._vendors.get(urlsplit(name).path):
                    await vendor.answer(connection, request, f"/{''.join(rest)}")
                else:
                    names = ", ".join(f"/{name}" for name in self._vendors)
                    said = encode({"error": {"message": f"the farm has no such vendor; it has {names}"}})
                    await connection.send_all(whole(404, said))
        except (trio.BrokenResourceError, trio.ClosedResourceError, Hangup):
            pass
        finally:
            self.connections -= 1
            await trio.aclose_forcefully(connection)


def vendors() -> list[Vendor]:
    return [anthropic(), openai(), chatgpt(), gemini(), *compatible(), minimax(), ollama()]


@asynccontextmanager
async def open_farm(port: int = 0) -> AsyncIterator[Farm]:
    """A farm that lives as long as the block; port 0 takes a free one."""
    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
    farm = Farm(listeners[0].socket.getsockname()[1])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, farm.serve, listeners)
        yield farm
        nursery.cancel_scope.cancel()
