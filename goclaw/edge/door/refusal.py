"""A no that the door says itself, before any application, and how to leave so that it is heard."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from secrets import token_hex

import msgspec
import trio

# edge-http.md §0.3
REFUSALS = {
    400: ("INVALID_REQUEST", "this is not a valid HTTP request"),
    408: ("INVALID_REQUEST", "the request body did not arrive in time"),
    413: ("PAYLOAD_TOO_LARGE", "the request body is too large"),
    414: ("PAYLOAD_TOO_LARGE", "the URL is too long"),
    426: ("INVALID_REQUEST", "this path speaks WebSocket (RFC 6455, version 13) only"),
    431: ("PAYLOAD_TOO_LARGE", "the request headers are too large"),
    503: ("UNAVAILABLE", "the gateway takes no new connections at the moment"),
}
MORE: dict[int, dict[str, str]] = {
    426: {"upgrade": "websocket", "connection": "Upgrade, close", "sec-websocket-version": "13"},
    503: {"retry-after": "5"},  # edge-websocket.md §1
}


def refusal(status: int) -> tuple[dict[str, str], bytes]:
    """Headers and JSON body."""
    code, text = REFUSALS.get(status, REFUSALS[400])
    return MORE.get(status, {}), msgspec.json.encode({"error": text, "code": code})


def framed(body: bytes, headers: Mapping[str, str]) -> dict[str, str]:
    """The whole header block of a last answer on a connection; `headers` win."""
    return {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "connection": "close",
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "x-request-id": token_hex(16),
        **headers,
    }


async def answer(
    stream: trio.SocketStream, status: int, body: bytes, headers: Mapping[str, str], *, within: float
) -> None:
    """Write one HTTP/1.1 response and close. A peer that does not read is left after `within` seconds."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in framed(body, headers).items())
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{fields}\r\n"
    with trio.move_on_after(within), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await stream.send_all(head.encode("latin-1") + body)
    await hang_up(stream, within)


async def hang_up(stream: trio.SocketStream, within: float) -> None:
    """Close so that what was sent last arrives.

    Closing over unread input makes TCP reset the connection, and a reset takes the answer with it. So: end our side,
    swallow what still comes for at most `within` seconds, close. Nobody else may be reading.
    """
    with trio.move_on_after(within, shield=True), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await stream.send_eof()
        await swallow(stream)
    stream.socket.close()


async def swallow(stream: trio.SocketStream) -> None:
    """Read and forget until the peer ends its side."""
    while await stream.receive_some(65_536):
        pass
