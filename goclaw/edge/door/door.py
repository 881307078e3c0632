"""The one listening port: looks at the first bytes of a connection and takes it to WebSocket or to HTTP.

Contract: edge-websocket.md §1, edge-auth.md §9.2, supervision.md §14. Traps: stack.md §1.3.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Sequence

import structlog
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework

from goclaw.edge.door.bounded import BodyLimits, Bounded, json_bodies
from goclaw.edge.door.connection import Connection, hypercorn_config
from goclaw.edge.door.limits import DoorLimits
from goclaw.edge.door.link import LinkClosed
from goclaw.edge.door.refusal import answer, refusal
from goclaw.edge.door.reserve import listen
from goclaw.edge.door.upgrade import Refused, Upgrade, read_upgrade

SOCKET_STARTS = (b"GET /ws ", b"GET /ws?")  # `/ws/` and the rest are HTTP
LOOK = len(SOCKET_STARTS[0])
INTERNAL = 1011

log = structlog.get_logger(__name__)


class Door:
    """Serves once, until closed. `app` gets its lifespan events; `on_socket` one call per upgrade.

    `on_socket` answers the upgrade and returns when its Link is closed. An exception there is logged and closes 1011.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        app: ASGIFramework,
        on_socket: Callable[[Upgrade], Awaitable[None]],
        limits: DoorLimits,
        body_limits: BodyLimits = json_bodies,
    ) -> None:
        self.addresses: list[tuple[str, int]] = [sock.getsockname()[:2] for sock in sockets]
        self._sockets = sockets
        self._app = ASGIWrapper(Bounded(app, body_limits))
        self._on_socket = on_socket
        self._limits = limits
        self._body_limits = body_limits
        self._config = hypercorn_config(limits)
        self._context = WorkerContext(None)
        self._intake = trio.CancelScope()
        self._closing = trio.Event()
        self._leaving = trio.lowlevel.ParkingLot()  # woken at the end of every connection
        self._streams: set[trio.SocketStream] = set()
        self._links = 0
        self._refusing = False

    @property
    def connections(self) -> int:
        """Open TCP connections, WebSocket and HTTP."""
        return len(self._streams)

    @property
    def links(self) -> int:
        """Open WebSockets, those still in their handshake included."""
        return self._links

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Returns after `close`. Cancelled, it drops every connection at once."""
        lifespan = Lifespan(self._app, self._config, {})
        async with trio.open_nursery() as house:
            await house.start(lifespan.handle_lifespan)
            await lifespan.wait_for_startup()
            async with trio.open_nursery() as guests:
                try:
                    await guests.start(self._listen, guests)
                    task_status.started()
                    await self._closing.wait()
                finally:
                    for stream in self._streams:
                        stream.socket.close()  # a shielded write in hypercorn ends only with its socket (trap 3)
                    guests.cancel_scope.cancel()
            await lifespan.wait_for_shutdown()
            house.cancel_scope.cancel()

    def refuse_sockets(self) -> None:
        """From now on upgrades get 503. The first step of a drain."""
        self._refusing = True

    async def stop_intake(self) -> None:
        """Stop listening. Open sockets go on; HTTP connections end after the answer they owe."""
        self._refusing = True
        self._intake.cancel()
        await self._context.terminated.set()

    async def close(self, within: float) -> None:
        """Let what is open end for `within` seconds, then drop it. `serve` returns after that."""
        await self.stop_intake()
        with trio.move_on_after(within):
            while self._streams:
                await self.departure()
        self._closing.set()

    async def departure(self) -> None:
        """Until the next connection ends."""
        await self._leaving.park()

    async def _listen(self, guests: trio.Nursery, *, task_status: trio.TaskStatus[None]) -> None:
        for sock in self._sockets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            # trap 3: accepted sockets inherit it
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self._limits.stuck_within * 1000))
            listen(sock, self._limits.backlog)
        listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(sock)) for sock in self._sockets]
        task_status.started()
        with self._intake:
            await trio.serve_listeners(self._admit, listeners, handler_nursery=guests)

    async def _admit(self, stream: trio.SocketStream) -> None:
        """The guard around one connection: nothing it does may reach its neighbours (trap 1)."""
        self._streams.add(stream)
        try:
            await self._receive(stream)
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            pass  # weather: it left, or it stalled
        except* Exception:
            log.exception("door.connection_crashed")
        finally:
            stream.socket.close()
            self._streams.discard(stream)
            self._leaving.unpark_all()

    async def _receive(self, stream: trio.SocketStream) -> None:
        if len(self._streams) - self._links > self._limits.http_connections:
            await self._refuse(stream, 503)
        elif await self._first_bytes(stream) in SOCKET_STARTS:
            if self._refusing or self._links >= self._limits.sockets:
                await self._refuse(stream, 503)
            else:
                await self._link(stream)
        else:
            await Connection(self._app, self._config, self._context, stream, self._limits, self._body_limits).run()

    async def _first_bytes(self, stream: trio.SocketStream) -> bytes:
        """What the peer says first, left unread. Raises TooSlowError when it says nothing.

        SO_RCVLOWAT lets the kernel wait for enough bytes; an early end of the stream wakes it too.
        """
        sock = stream.socket
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, LOOK)
        with trio.fail_after(self._limits.header_within / 2):
            await trio.lowlevel.wait_readable(sock.fileno())
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        return await sock.recv(LOOK, socket.MSG_PEEK)

    async def _link(self, stream: trio.SocketStream) -> None:
        self._links += 1
        try:
            async with trio.open_nursery() as nursery:
                try:
                    upgrade = await read_upgrade(stream, nursery, self._limits)
                except Refused as no:
                    await self._refuse(stream, no.status)
                    return
                await self._host(upgrade)
                nursery.cancel_scope.cancel()
        finally:
            self._links -= 1

    async def _host(self, upgrade: Upgrade) -> None:
        """Run the product's side of one socket and see it to its end."""
        code = 1000
        try:
            await self._on_socket(upgrade)
        except* LinkClosed:
            pass
        except* Exception:
            log.exception("door.socket_crashed", peer=upgrade.peer)
            code = INTERNAL
        if upgrade.link is not None:
            await upgrade.link.close(code)
        elif not upgrade.answered:
            await upgrade.reject(500, b'{"error":"internal error","code":"INTERNAL"}')

    async def _refuse(self, stream: trio.SocketStream, status: int) -> None:
        headers, body = refusal(status)
        await answer(stream, status, body, headers, within=self._limits.close_within)
