"""An open WebSocket. trio-websocket underneath, with the ends it leaves open tied."""

from __future__ import annotations

import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NoReturn, cast

import trio
from trio_websocket import CloseReason, ConnectionClosed, WebSocketConnection
from wsproto import WSConnection
from wsproto.connection import Connection, ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.events import Event as WsEvent
from wsproto.utilities import LocalProtocolError

from goclaw.edge.door.limits import DoorLimits
from goclaw.edge.door.refusal import swallow

ABNORMAL = 1006  # RFC 6455 §7.4.1: the connection ended without a close frame
TOO_BIG = 1009
RECEIVE_BYTES = 16 * 1024  # held only while bytes arrive, so idle sockets do not pay
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close sends RST and drops what is queued


class LinkClosed(Exception):
    """The socket is gone or going. `code` is the close code, 1006 when the peer never said one."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"{code} {reason}".rstrip())
        self.code = code
        self.reason = reason


class Link:
    """One WebSocket, after 101.

    Somebody must be receiving all the time: pings are answered and a lost peer is noticed by the reader, and the
    reader waits while a message is not taken (trap 5).
    """

    def __init__(self, wire: Wire, subprotocol: str | None, limits: DoorLimits) -> None:
        self._wire = wire
        self._limits = limits
        self.subprotocol = subprotocol

    @property
    def heard_at(self) -> float:
        """Trio time of the last frame of any kind, or fragment of a message."""
        return self._wire.heard_at

    async def receive(self) -> str | bytes:
        """The next whole message.

        Bigger than the limit and bad UTF-8 never get here: the peer is told 1009 or 1007 and this raises LinkClosed.
        """
        try:
            return await self._wire.get_message()
        except ConnectionClosed as end:
            raise _closed(end) from None

    async def send(self, text: str) -> None:
        """Write one text message. A peer that does not take it within the write deadline is aborted.

        Raises LinkClosed. Cancelled half-way it aborts too, since half a frame may be out.
        """
        await self._write(self._wire.send_message, text)

    async def ping(self) -> None:
        """Send an empty ping. The pong moves `heard_at`."""
        await self._write(self._wire.send_ping)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye, wait for the peer's answer, and be gone within a second with or without it. Idempotent."""
        try:
            with trio.move_on_after(self._limits.close_within):
                await self._wire.say_goodbye(code, reason)
                await self._wire.ended.wait()
        finally:
            self.abort()

    def abort(self) -> None:
        """Drop the TCP connection now. The peer sees 1006."""
        self._wire.reset()

    async def _write(self, write: Callable[..., Awaitable[None]], *what: str) -> None:
        done = False
        try:
            with trio.move_on_after(self._limits.write_within):
                await write(*what)
                done = True
        except ConnectionClosed as end:
            done = True
            raise _closed(end) from None
        finally:
            if not done:
                self.abort()
        if not done:
            raise LinkClosed(ABNORMAL, "write deadline")


class Wire(WebSocketConnection):
    """trio-websocket's connection, started after the handshake.

    Cured here: messages are measured in bytes, not characters; a violation is answered with its close frame; after
    any close frame, ours or theirs, the TCP connection has `close_within` seconds.
    """

    def __init__(self, stream: trio.SocketStream, frames: Connection, limits: DoorLimits) -> None:
        super().__init__(
            stream,
            cast(WSConnection, frames),  # the same five names, without the handshake's memory
            max_message_size=limits.message_bytes,
            receive_buffer_size=RECEIVE_BYTES,
        )
        self._tcp = stream
        self._limits = limits
        self._life = trio.CancelScope()
        self._bytes = 0  # of the message that is arriving
        self.heard_at = trio.current_time()
        self.ended = trio.Event()

    async def live(self) -> None:
        """Read until the connection ends, whoever ends it."""
        try:
            with self._life:
                await self._reader_task()
        finally:
            self._tcp.socket.close()
            self.ended.set()

    async def send_ping(self) -> None:
        if self._close_reason:
            raise ConnectionClosed(self._close_reason)
        await self._send(Ping(payload=b""))

    async def say_goodbye(self, code: int, reason: str) -> None:
        """Send one close frame, once; from now on the clock runs."""
        self._life.deadline = min(self._life.deadline, trio.current_time() + self._limits.close_within)
        if self._close_reason is None:
            self._close_reason = CloseReason(code, reason)
            with suppress(ConnectionClosed):
                await self._send(CloseConnection(code=code, reason=reason))

    def reset(self) -> None:
        with suppress(OSError):  # already closed
            self._tcp.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._tcp.socket.close()

    async def _refuse(self, code: int, reason: str) -> NoReturn:
        """Runs in the reader. Ends reading frames, not bytes: see `refusal.hang_up`."""
        await self.say_goodbye(code, reason)
        await self._send_channel.aclose()
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._tcp.send_eof()
            await swallow(self._tcp)
        raise ConnectionClosed(self._close_reason)

    async def _handle_message_event(self, event: BytesMessage | TextMessage) -> None:
        self.heard_at = trio.current_time()
        if self._close_reason is not None:
            return
        data = event.data
        self._bytes += len(data.encode()) if isinstance(data, str) and not data.isascii() else len(data)
        if self._bytes > self._limits.message_bytes:
            await self._refuse(TOO_BIG, "too_big")
        if event.message_finished:
            self._bytes = 0
        elif not data:
            return  # empty fragments cost nothing to send and would pile up
        await super()._handle_message_event(event)

    async def _handle_close_connection_event(self, event: CloseConnection) -> None:
        if self._wsproto.state is ConnectionState.OPEN:  # not a close frame: wsproto reports a violation
            await self._refuse(event.code, event.reason or "")
        self._life.deadline = min(self._life.deadline, trio.current_time() + self._limits.close_within)
        await super()._handle_close_connection_event(event)

    async def _handle_ping_event(self, event: Ping) -> None:
        self.heard_at = trio.current_time()
        await super()._handle_ping_event(event)

    async def _handle_pong_event(self, event: Pong) -> None:
        self.heard_at = trio.current_time()
        await super()._handle_pong_event(event)

    async def _send(self, event: WsEvent) -> None:
        try:
            await super()._send(event)
        except LocalProtocolError:  # closed between the caller's look and now
            raise ConnectionClosed(self._close_reason) from None


def _closed(end: ConnectionClosed) -> LinkClosed:
    if end.reason is None:
        return LinkClosed(ABNORMAL)
    return LinkClosed(end.reason.code, end.reason.reason or "")
