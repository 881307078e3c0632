"""A socket nobody speaks on, in virtual time: deadlines, pings, ticks. A link that obeys the door's contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import trio

from goclaw.domain.events import SOCKETS, Farewell, Pulse
from goclaw.edge.door import LinkClosed
from goclaw.edge.gatekeeper import Gatekeeper
from goclaw.edge.tree import BEAT
from goclaw.edge.ws.connection import Connection
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
async def connected(link: QuietLink) -> AsyncIterator[System]:
    """The connection lives beside the block; the pulse goes as the edge's heart sends it."""
    async with open_system(NoDatabase()) as system, trio.open_nursery() as nursery:
        house = House(Settings(), system, "0", "node", 0)
        gatekeeper = Gatekeeper(Gateway(), {"127.0.0.1"})

        async def beat() -> None:
            while True:
                await trio.sleep(BEAT)
                system.publish(SOCKETS, Pulse())

        nursery.start_soon(beat)
        connection = Connection(house, {}, gatekeeper, link, peer="127.0.0.1", bearer=None, locale="en")  # type: ignore[arg-type]
        nursery.start_soon(connection.live)
        yield system
        nursery.cancel_scope.cancel()


CONNECT = '{"type":"req","id":"c","method":"connect","params":{}}'


async def test_a_socket_that_never_connects_is_closed_after_fifteen_seconds(autojump_clock: Any) -> None:
    link = QuietLink(answers_pings=True)
    began = trio.current_time()

    async with connected(link):
        await trio.sleep(60)

    assert link.closed is not None
    assert link.closed[:2] == (4401, "handshake_timeout")
    assert 15 <= link.closed[2] - began <= 15 + 2 * BEAT
    assert link.sent == []


async def test_a_peer_that_answers_nothing_is_given_up_after_a_minute(autojump_clock: Any) -> None:
    link = QuietLink(CONNECT, answers_pings=False)

    async with connected(link):
        await trio.sleep(120)

    assert link.closed is not None
    assert link.closed[:2] == (4408, "idle")
    assert 60 <= link.closed[2] - link.heard_at <= 60 + 2 * BEAT
    assert link.pings >= 1


async def test_an_idle_socket_is_pinged_and_told_the_time(autojump_clock: Any) -> None:
    link = QuietLink(CONNECT, answers_pings=True)

    async with connected(link):
        await trio.sleep(180)

    assert link.closed is None
    assert 5 <= link.pings <= 6
    events = [frame["event"] for frame in link.sent if frame["type"] == "event"]
    assert events.count("tick") == link.pings
    assert events.count("health") == link.pings // 2
    assert [frame["seq"] for frame in link.sent if frame["type"] == "event"] == list(range(1, len(events) + 1))


async def test_a_farewell_closes_every_socket_with_1001(autojump_clock: Any) -> None:
    link = QuietLink(CONNECT, answers_pings=True)

    async with connected(link) as system:
        await trio.sleep(1)
        for group in list(system.groups):
            system.publish(group, Farewell())
        await trio.sleep(1)

    assert link.closed is not None
    assert link.closed[:2] == (1001, "shutdown")
