"""HTTP connections that go only where a guard lets them: to what was looked up once. Contract: security.md §4.2.

Proxies of the environment are ignored: what is behind one cannot be checked.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable

import httpcore
import httpx
from httpcore import SOCKET_OPTION, AsyncNetworkBackend, AsyncNetworkStream

from goclaw.security.ssrf import Guard

CONNECTIONS = 64
IDLE = 30.0  # seconds an unused connection is kept


class Pinned(AsyncNetworkBackend):
    """Looks a name up once and connects to what the guard has seen. TLS and `Host` keep the name."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._network = httpcore.TrioBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        last: Exception | None = None
        for address in await self._guard.addresses(host, port):
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last = error
        assert last is not None
        raise last

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)


class Guarded(httpx.AsyncHTTPTransport):
    """httpx over `Pinned`. Refuses by `Refused` whatever the guard refuses, redirects too."""

    def __init__(self, guard: Guard, tls: ssl.SSLContext, at_once: int) -> None:
        super().__init__(verify=tls, trust_env=False)
        self._guard = guard
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=at_once,
            max_keepalive_connections=CONNECTIONS,
            keepalive_expiry=IDLE,
            network_backend=Pinned(guard),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._guard.check(str(request.url))
        return await super().handle_async_request(request)


def guarded(guard: Guard, tls: ssl.SSLContext, at_once: int = CONNECTIONS) -> httpx.AsyncHTTPTransport:
    """A transport for `httpx.AsyncClient`, which then asks no proxy. `at_once`: connections."""
    return Guarded(guard, tls, at_once)
