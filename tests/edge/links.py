"""A socket's connection in virtual time, on a link that obeys the door's contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import trio

from goclaw.domain.events import SOCKETS, Pulse
from goclaw.edge.door import LinkClosed
from goclaw.edge.gatekeeper import Gatekeeper
from goclaw.edge.tree import BEAT
from goclaw.edge.ws.connection import Connection, Methods
from goclaw.operations.context import House
from goclaw.runtime.system import System, open_system
from goclaw.settings.gateway import Gateway
from goclaw.settings.settings import Settings


class NoDatabase:
    async def run(self, work: Any, /, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("nothing here needs the store")


class QuietLink:
    """Says what it is given, then nothing. A peer that is gone answers no ping."""

    def __init__(self, *said: str, answers_pings: bool) -> None:
        self._said = list(said)
        self._answers = answers_pings
        self.heard_at = trio.current_time()
        self.sent: list[dict[str, Any]] = []
        self.pings = 0
        self.closed: tuple[int, str, float] | None = None

    async def receive(self) -> str | bytes:
        if self._said:
            self.heard_at = trio.current_time()
            return self._said.pop(0)
        await trio.sleep_forever()
        raise LinkClosed(1006)

    async def send(self, text: str) -> None:
        await trio.lowlevel.checkpoint()
        self.sent.append(msgspec.json.decode(text))

    async def ping(self) -> None:
        await trio.lowlevel.checkpoint()
        self.pings += 1
        if self._answers:
            self.heard_at = trio.current_time()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        self.closed = (code, reason, trio.current_time())


@asynccontextmanager
async def connected(
    link: QuietLink, methods: Methods | None = None, gatekeeper: Gatekeeper | None = None
) -> AsyncIterator[System]:
    """The connection lives beside the block; the pulse goes as the edge's heart sends it."""
    async with open_system(NoDatabase()) as system, trio.open_nursery() as nursery:
        house = House(Settings(), system, "0", "node", 0)
        keeper = gatekeeper or Gatekeeper(Gateway(), {"127.0.0.1"})

        async def beat() -> None:
            while True:
                await trio.sleep(BEAT)
                system.publish(SOCKETS, Pulse())

        nursery.start_soon(beat)
        connection = Connection(house, methods or {}, keeper, link, peer="127.0.0.1", bearer=None, locale="en")  # type: ignore[arg-type]
        nursery.start_soon(connection.live)
        yield system
        nursery.cancel_scope.cancel()


CONNECT = '{"type":"req","id":"c","method":"connect","params":{}}'
