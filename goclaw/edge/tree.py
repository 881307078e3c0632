"""The edge branch: the door as an actor, and a place for everybody who came through it.

Address   /edge/…
Contract  supervision.md §13, §14
"""

from __future__ import annotations

from socket import socket

from goclaw.domain.events import SOCKETS, Pulse
from goclaw.edge.door import Door, DoorLimits, reserve
from goclaw.edge.door.reserve import listen
from goclaw.edge.gatekeeper import Gatekeeper
from goclaw.edge.http.server import HttpServer
from goclaw.edge.login import LoginDoor
from goclaw.edge.ws.server import SocketServer
from goclaw.operations.context import House
from goclaw.operations.operation import Operation, collect
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.child import Limit, Strategy, child
from goclaw.runtime.message import Message
from goclaw.runtime.supervisor import Supervisor

BEAT = 5.0  # seconds; how late a silent socket may be noticed


class Doorway:
    """Makes the door, again after a crash, and knows the one that is open."""

    def __init__(self, house: House, sockets: list[socket]) -> None:
        """`sockets` are bound already, so that a taken port shows before any work is done."""
        self.house = house
        gateway = self._settings = house.settings.gateway
        self._reserved = sockets
        self._host, self._port = gateway.bind_host, sockets[0].getsockname()[1]
        self._limits = DoorLimits(sockets=gateway.max_ws_connections)
        operations = collect("goclaw.operations")
        if not gateway.admin_tree:
            operations = tuple(operation for operation in operations if not of_tree(operation))
        gatekeeper = Gatekeeper(gateway, {self._host, sockets[0].getsockname()[0]}, house.audit)
        self._app = HttpServer(house, operations, gatekeeper).app
        self._on_socket = SocketServer(house, operations, gatekeeper)
        self.door: Door | None = None

    @property
    def address(self) -> str:
        """HOST:PORT where a browser on this machine finds us."""
        return self._settings.local_address(self._port)

    def open(self) -> Door:
        """A door that listens: who connects from now on is answered as soon as it serves. Raises StartupFatal."""
        sockets, self._reserved = self._reserved or reserve(self._host, self._port), []
        for sock in sockets:
            listen(sock, self._limits.backlog)
        self.door = Door(sockets, self._app, self._on_socket, self._limits)
        return self.door


def of_tree(operation: Operation) -> bool:
    """It is one of those that `gateway.admin_tree=false` removes (edge-http.md §26)."""
    names = [rpc.name for rpc in operation.rpc] + [http.path for http in operation.http]
    return any(name.startswith(("actors.", "/v1/actors", "/v1/actor-crashes")) for name in names)


class Beat(Message[None]):
    """Send the pulse."""


class Heart(Actor):
    """Tells all sockets every five seconds that time has passed."""

    async def on_start(self, ctx: Context) -> None:
        ctx.every(BEAT, Beat())

    @handles
    async def beat(self, ctx: Context, _tick: Beat) -> None:
        ctx.publish(SOCKETS, Pulse())


class Listener(Actor):
    """Serves until it is stopped; a crash of the server is a crash of the actor, which opens a new door."""

    def __init__(self, doorway: Doorway) -> None:
        self._doorway = doorway

    async def on_start(self, ctx: Context) -> None:
        self.door = self._doorway.open()

    async def live(self, ctx: Context) -> None:
        await self.door.serve()

    def snapshot(self) -> dict[str, object]:
        return {
            "addresses": [f"{host}:{port}" for host, port in self.door.addresses],
            "connections": self.door.connections,
            "sockets": self.door.links,
        }


def edge(doorway: Doorway) -> Supervisor:
    return Supervisor(
        strategy=Strategy.REST_FOR_ONE,
        limit=Limit(restarts=3, within=30.0),
        children=[
            child("conns", guests),
            child("http", guests),
            child("heart", Heart),
            child("listener", Listener, doorway, critical=True),
            child("login", LoginDoor, doorway.house),
        ],
    )


def guests() -> Supervisor:
    """Nothing to supervise: connections and requests stand here as long as their own task lives."""
    return Supervisor(strategy=Strategy.DYNAMIC)
