"""What all have in common who ask over HTTP: certificates, the end of a response, what goes wrong on the way."""

from __future__ import annotations

import functools
import ssl
from collections.abc import AsyncIterator

import httpx
import trio

from goclaw.domain.errors import ProviderError
from goclaw.providers.bodies import opened
from goclaw.providers.trouble import one_line

CONNECT = 10.0  # seconds to reach the vendor


@functools.cache
def tls() -> ssl.SSLContext:
    """Shared by all clients: reading the certificates takes 20 ms."""
    return httpx.create_ssl_context()


async def read(response: httpx.Response, limit_bytes: int) -> bytes:
    """The start of a body, and the end of the response."""
    raw, read = response.aiter_raw(), bytearray()
    try:
        async for piece in opened(raw, response.headers):
            read += piece
            if len(read) >= limit_bytes:
                break
    finally:
        await close(response, raw, linger=0)
    return bytes(read[:limit_bytes])


async def close(response: httpx.Response, raw: AsyncIterator[bytes], linger: float) -> None:
    """End a response. What the vendor still sends within `linger` seconds is thrown away.

    Leaving the body's generators where they are would leave those inside httpx to the garbage collector, under a
    ResourceWarning each; a cancelled read ends them all.
    """
    try:
        with trio.move_on_after(linger):
            async for _ in raw:
                pass
    except httpx.HTTPError:
        pass  # nobody reads it any more
    finally:
        await response.aclose()


def weather(error: httpx.HTTPError | httpx.InvalidURL) -> ProviderError:
    """What httpx met on the way, as an error."""
    said = one_line(str(error)) or type(error).__name__
    match error:
        case httpx.ConnectTimeout():
            return ProviderError("timeout", f"cannot connect within {CONNECT:g} s")
        case httpx.ConnectError() | httpx.ProxyError():
            return ProviderError("server_error", f"cannot connect: {said}")
        case httpx.InvalidURL() | httpx.UnsupportedProtocol() | httpx.LocalProtocolError():
            return ProviderError("format", f"cannot be asked like this: {said}")
        case httpx.DecodingError():
            return ProviderError("server_error", f"unreadable encoding: {said}")
        case _:
            return ProviderError("server_error", f"stream_interrupted: {said}")
