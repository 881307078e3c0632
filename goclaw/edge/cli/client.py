"""A client of a running gateway: one socket, requests and the events between. Contract: edge-websocket.md §2–§5."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import msgspec
import trio
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    DisconnectionTimeout,
    HandshakeError,
    WebSocketConnection,
    open_websocket_url,
)

from goclaw import __version__
from goclaw.edge.cli.address import Target, target
from goclaw.edge.cli.options import PROTOCOL, Exit, Failure, Options

CONNECT = 10.0  # seconds for the socket, and again for the answer to `connect`
CLOSE = 2.0  # seconds for the closing handshake
LARGEST = 8 * 1024 * 1024  # bytes of one frame from the gateway: answers carry whole conversations
REFUSED = {"UNAUTHORIZED", "FORBIDDEN", "NOT_PAIRED", "TENANT_ACCESS_REVOKED"}

Event = dict[str, Any]


class Socket:
    """A connection that has said `connect`. `call` is for one request at a time; `Line` has many on their way."""

    def __init__(self, connection: WebSocketConnection) -> None:
        self._connection = connection
        self._requests = 0

    async def hello(self, token: str) -> None:
        """Say `connect`. The user is `system`, whom the gateway's own token stands for (edge-auth.md §6)."""
        client = {"name": "goclaw", "version": __version__, "platform": sys.platform, "mode": "cli"}
        params: dict[str, Any] = {"protocol": PROTOCOL, "user_id": "system", "client": client}
        answer = await self.call("connect", params | ({"token": token} if token else {}), CONNECT)
        if answer.get("status") == "pending_pairing":
            raise Failure("the gateway wants a token: --token or GOCLAW_TOKEN", Exit.REFUSED)

    async def call(
        self, method: str, params: dict[str, Any], within: float, on_event: Callable[[Event], None] | None = None
    ) -> dict[str, Any]:
        """The payload of the answer; events that arrive meanwhile go to `on_event`.

        Raises Failure: the gateway's refusal, a lost connection, or no answer `within` seconds.
        """
        try:
            with trio.fail_after(within):
                asked = await self.send(method, params)
                while True:
                    answer = await self.receive()
                    if answer.get("type") == "event" and on_event:
                        on_event(answer)
                    elif answer.get("type") == "res" and answer.get("id") == asked:
                        return payload_of(answer)
        except trio.TooSlowError:
            raise Failure(f"no answer to {method} within {within:g} s") from None

    async def send(self, method: str, params: dict[str, Any]) -> str:
        """Returns the id that the answer will have."""
        self._requests += 1
        asked = str(self._requests)
        frame = {"type": "req", "id": asked, "method": method, "params": params}
        with _still_there():
            await self._connection.send_message(msgspec.json.encode(frame).decode())
        return asked

    async def receive(self) -> dict[str, Any]:
        """The next frame."""
        with _still_there():
            return msgspec.json.decode(await self._connection.get_message(), type=dict[str, Any])


@contextmanager
def _still_there() -> Iterator[None]:
    try:
        yield
    except ConnectionClosed as closed:
        reason = closed.reason.reason or closed.reason.name if closed.reason else "no reason given"
        raise Failure(f"the gateway closed the connection ({reason})", Exit.UNREACHABLE) from None
    except msgspec.DecodeError:
        raise Failure("the other end does not speak the gateway's protocol", Exit.UNREACHABLE) from None


@asynccontextmanager
async def connect(to: Target) -> AsyncIterator[Socket]:
    """An authenticated socket. Raises Failure with exit code 3 (nobody there) or 4 (not let in)."""
    opening = open_websocket_url(
        to.url, connect_timeout=CONNECT, disconnect_timeout=CLOSE, max_message_size=LARGEST, message_queue_size=16
    )
    try:
        async with opening as connection:
            socket = Socket(connection)
            await socket.hello(to.token)
            yield socket
    except DisconnectionTimeout:
        pass  # everything was said; the gateway is slow to hang up
    except ConnectionRejected as rejected:
        code = Exit.REFUSED if rejected.status_code in (401, 403) else Exit.UNREACHABLE
        raise Failure(f"{to.url} refused the connection (HTTP {rejected.status_code})", code) from None
    except HandshakeError as error:
        reason = error.__cause__ or "no answer"
        raise Failure(f"no gateway at {to.url} ({reason}); start one with: goclaw", Exit.UNREACHABLE) from None


def ask(chosen: Options, method: str, params: dict[str, Any]) -> dict[str, Any]:
    """One request on a socket of its own, from outside of any loop."""

    async def main() -> dict[str, Any]:
        async with connect(target(chosen)) as socket:
            return await socket.call(method, params, chosen.timeout)

    return trio.run(main)


def download(chosen: Options, verb: str, path: str) -> bytes:
    """The body of an HTTP answer, for what is too large for a frame. Raises Failure as `connect` does."""
    import httpx

    to = target(chosen)
    headers = {"X-GoClaw-User-Id": "system"} | ({"Authorization": f"Bearer {to.token}"} if to.token else {})
    url = to.url.replace("ws", "http", 1).removesuffix("/ws") + path
    try:
        answer = httpx.request(verb, url, headers=headers, timeout=httpx.Timeout(chosen.timeout, connect=CONNECT))
    except httpx.ConnectError as error:
        raise Failure(f"no gateway at {to.url} ({error}); start one with: goclaw", Exit.UNREACHABLE) from None
    except httpx.HTTPError as error:
        raise Failure(f"{path} broke off ({error or type(error).__name__})", Exit.UNREACHABLE) from None
    if answer.is_success:
        return answer.content
    try:
        refused = msgspec.json.decode(answer.content, type=dict[str, Any])
    except msgspec.MsgspecError:
        refused = {}
    code = Exit.REFUSED if answer.status_code in (401, 403) else Exit.FAILED
    raise Failure(f"{refused.get('error', 'refused')} ({refused.get('code', answer.status_code)})", code)


def payload_of(answer: dict[str, Any]) -> dict[str, Any]:
    """Raises Failure for a refusal."""
    if answer.get("ok") is True and isinstance(answer.get("payload"), dict):
        payload: dict[str, Any] = answer["payload"]
        return payload
    error = answer.get("error") or {}
    code = str(error.get("code", "INTERNAL"))
    raise Failure(f"{error.get('message', 'refused')} ({code})", Exit.REFUSED if code in REFUSED else Exit.FAILED)
