"""A request to speak WebSocket, not yet answered. Contract: edge-websocket.md §1."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import h11
import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request
from wsproto.utilities import RemoteProtocolError

from goclaw.edge.door.limits import DoorLimits
from goclaw.edge.door.link import ABNORMAL, Link, LinkClosed, Wire
from goclaw.edge.door.refusal import answer

END = re.compile(rb"\n\r?\n")


class Refused(Exception):
    """The door itself says no."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Headers:
    """Header fields by name, in any case. A field sent twice keeps both values."""

    def __init__(self, fields: Iterable[tuple[bytes, bytes]]) -> None:
        self._values: dict[str, tuple[str, ...]] = {}
        for name, value in fields:
            key = name.decode("latin-1").lower()
            self._values[key] = (*self._values.get(key, ()), value.decode("latin-1"))

    def get(self, name: str) -> str | None:
        """The first value."""
        return next(iter(self.all(name)), None)

    def all(self, name: str) -> tuple[str, ...]:
        return self._values.get(name.lower(), ())


class Upgrade:
    """Answered once, by `accept` or `reject`. The query string is not kept (a credential there is ignored)."""

    def __init__(
        self,
        stream: trio.SocketStream,
        handshake: WSConnection,
        request: Request,
        early: bytes,
        nursery: trio.Nursery,
        limits: DoorLimits,
    ) -> None:
        self._stream = stream
        self._handshake: WSConnection | None = handshake
        self._early = early
        self._nursery = nursery
        self._limits = limits
        self.path = request.target.partition("?")[0]
        self.headers = Headers([(b"host", request.host.encode("latin-1", "replace")), *request.extra_headers])
        self.subprotocols = tuple(request.subprotocols)
        self.peer: str = stream.socket.getpeername()[0]
        self.link: Link | None = None

    @property
    def answered(self) -> bool:
        return self._handshake is None

    async def reject(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Answer with HTTP and close. `body` is JSON unless `headers` say otherwise."""
        self._handshake = None
        await answer(self._stream, status, body, headers or {}, within=self._limits.close_within)

    async def accept(self, subprotocol: str | None = None) -> Link:
        """Answer 101. `subprotocol` is echoed only if it was offered; extensions are never negotiated (trap 7).

        Raises LinkClosed when the peer has left.
        """
        assert self._handshake is not None, "answered twice"
        handshake, self._handshake = self._handshake, None
        chosen = subprotocol if subprotocol in self.subprotocols else None
        switching = handshake.send(AcceptConnection(subprotocol=chosen))
        try:
            with trio.fail_after(self._limits.write_within):
                await self._stream.send_all(switching)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            raise LinkClosed(ABNORMAL) from None
        frames = handshake.connection
        assert frames is not None
        frames.receive_data(self._early)  # an impatient peer's first frames; nothing was read since, so they are few
        self._early = b""
        wire = Wire(self._stream, frames, self._limits)
        self._nursery.start_soon(wire.live)
        self.link = Link(wire, chosen, self._limits)
        return self.link


async def read_upgrade(stream: trio.SocketStream, nursery: trio.Nursery, limits: DoorLimits) -> Upgrade:
    """Read the header block and judge it. Raises Refused, or trio's errors when the peer leaves or stalls."""
    with trio.fail_after(limits.header_within / 2):
        head, early = await _read_head(stream, limits)
    handshake = WSConnection(ConnectionType.SERVER)
    try:
        handshake.receive_data(head)
        request = next(handshake.events())
    except RemoteProtocolError as error:
        malformed = isinstance(error.__context__, h11.RemoteProtocolError)
        raise Refused(400 if malformed else 426) from None
    except UnicodeError:  # trap 1's second trigger: header values that are not ASCII
        raise Refused(400) from None
    assert isinstance(request, Request)
    return Upgrade(stream, handshake, request, early, nursery, limits)


async def _read_head(stream: trio.SocketStream, limits: DoorLimits) -> tuple[bytes, bytes]:
    """The header block with its empty line, and what came behind it."""
    block = b""
    while (end := END.search(block)) is None:
        line = block.partition(b"\n")[0]
        if len(line) > limits.url_bytes + len("GET  HTTP/1.1"):
            raise Refused(414)
        if len(block) >= limits.header_bytes:
            raise Refused(431)
        more = await stream.receive_some(limits.header_bytes - len(block))
        if not more:
            raise trio.BrokenResourceError("the peer left before its headers ended")
        block += more
    head, early = block[: end.end()], block[end.end() :]
    if len(head.partition(b"\n")[0]) > limits.url_bytes + len("GET  HTTP/1.1\r"):
        raise Refused(414)
    if head.count(b"\n") - 2 > limits.header_fields:
        raise Refused(431)
    return head, early
