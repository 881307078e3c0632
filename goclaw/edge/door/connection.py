"""One HTTP/1.1 connection: hypercorn's, with what a network does to it cured. Traps: stack.md §1.3.

Hypercorn's methods are replaced by subclassing; each replacement says which trap it closes and
`tests/edge/test_door_libraries.py` fails when a release moves the method.
"""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from typing import Any

import h11
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.events import Response
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState

from goclaw.edge.door.bounded import BodyLimits
from goclaw.edge.door.limits import DoorLimits
from goclaw.edge.door.refusal import framed, hang_up, refusal

RECYCLE_WITHIN = 1.0  # seconds; it only tells the application and resets a parser
ABSOLUTE = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)


def hypercorn_config(limits: DoorLimits) -> Config:
    config = Config()
    config.accesslog = None  # the application logs what it knows better
    config.errorlog = logging.getLogger("goclaw.edge.http")
    config.include_server_header = False
    config.h11_max_incomplete_size = limits.header_bytes
    config.keep_alive_max_requests = 100_000
    config.shutdown_timeout = 5.0  # supervision.md §14, phase 6
    # the first half of `header_within` is spent on the first bytes (door.py)
    config.keep_alive_timeout = limits.header_within / 2
    return config


class Http1(H11Protocol):
    """Plain HTTP/1.1. No HTTP/2 and no WebSocket: both have paths that end the process (traps 1, 7, 8)."""

    limits: DoorLimits
    body_limits: BodyLimits

    async def _check_protocol(self, event: h11.Request) -> None:
        """Hypercorn looks for HTTP/2 here."""

    async def _create_stream(self, request: h11.Request) -> None:
        """Refuse what is too big before anybody acts on it, `100 Continue` included; drop `Upgrade`."""
        target = ABSOLUTE.sub(b"", request.target, count=1) or b"/"
        if status := self._too_much(request, target):
            await self._refuse(status, suppress_body=request.method == b"HEAD")
            await self.send(Closed())
            return
        headers = [(name, value) for name, value in request.headers if name != b"upgrade"]
        await super()._create_stream(
            h11.Request(method=request.method, target=target, headers=headers, http_version=request.http_version)
        )

    def _too_much(self, request: h11.Request, target: bytes) -> int | None:
        fields = list(request.headers)
        if len(target) > self.limits.url_bytes:
            return 414
        if len(fields) > self.limits.header_fields:
            return 431
        if sum(len(name) + len(value) + 4 for name, value in fields) > self.limits.header_bytes:
            return 431
        if not target.startswith(b"/") or request.http_version not in (b"1.0", b"1.1"):
            return 400
        path = target.partition(b"?")[0].decode("ascii")
        declared = int(next((value for name, value in fields if name == b"content-length"), b"0"))
        if declared > self.body_limits(request.method.decode("ascii"), path).size:
            return 413
        return None

    async def stream_send(self, event: StreamEvent) -> None:
        """An answer before the end of the body ends the connection (trap 2), and says so."""
        if isinstance(event, Response) and event.status_code >= 200 and self.connection.their_state is not h11.DONE:
            headers = [(name, value) for name, value in event.headers if name.lower() != b"connection"]
            event = Response(event.stream_id, [*headers, (b"connection", b"close")], event.status_code)
        await super().stream_send(event)

    async def _maybe_recycle(self) -> None:
        """Trap 2: quart-trio cancels its request, and this with it, as soon as it hears `http.disconnect`."""
        with trio.move_on_after(RECYCLE_WITHIN, shield=True) as patience:
            await super()._maybe_recycle()
        if patience.cancelled_caught:  # the application left its queue full of a body it does not read
            await self.send(Closed())

    async def _send_error_response(self, status_code: int) -> None:
        await self._refuse(status_code)

    async def _refuse(self, status: int, *, suppress_body: bool = False) -> None:
        more, body = refusal(status)
        fields = [(name.encode(), value.encode()) for name, value in framed(body, more).items()]
        headers = [*fields, *self.config.response_headers("h11")]
        await self._send_h11_event(h11.Response(status_code=status, headers=headers))
        if not suppress_body:
            await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())


class Connection(TCPServer):
    """Reads until there is a reason to stop, waits for the application, hangs up."""

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        stream: trio.SocketStream,
        limits: DoorLimits,
        body_limits: BodyLimits,
    ) -> None:
        super().__init__(app, config, context, {}, stream)  # type: ignore[arg-type]  # its annotation knows TLS only
        self._tcp = stream
        self._limits = limits
        self._body_limits = body_limits
        self._reading = trio.CancelScope()

    async def run(self) -> None:
        try:
            async with TaskGroup() as self._task_group:
                self.protocol = self._http1()
                await self.idle_task.restart(self._task_group, self._idle_timeout)
                with self._reading, suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await self._read()
                self._reading.cancel()
                await self.protocol.handle(Closed())  # outside of the scope, or a cancel would lose it
                await self.idle_task.stop()
        finally:
            await hang_up(self._tcp, self._limits.close_within)

    async def _read(self) -> None:
        while data := bytes(await self._tcp.receive_some(65_536)):
            await self.protocol.handle(RawData(data))
        await self.protocol.handle(RawData(b""))  # an end in the middle of a request is refused

    async def protocol_send(self, event: Event) -> None:
        """Every end leaves through `run`. Hypercorn closes the socket under its own reader, and after a failed write
        forgets a reader that waits for its turn (trap 11).
        """
        match event:
            case RawData(data=data):
                try:
                    async with self.send_lock:
                        with trio.CancelScope(shield=True):  # half a chunk would spoil the rest
                            await self._tcp.send_all(data)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    self._reading.cancel()
            case Closed():
                self._reading.cancel()
            case Updated() if not self._reading.cancel_called:
                await super().protocol_send(event)  # starts or stops the idle timer

    def _http1(self) -> Any:
        client, server = self._tcp.socket.getpeername()[:2], self._tcp.socket.getsockname()[:2]
        state = ConnectionState(self.state)
        protocol = Http1(
            self.app, self.config, self.context, self._task_group, state, False, client, server, self.protocol_send
        )
        protocol.limits = self._limits
        protocol.body_limits = self._body_limits
        return protocol
