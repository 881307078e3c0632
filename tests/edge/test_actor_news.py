"""What a subscribed socket hears of actors, whoever reports it."""

from __future__ import annotations

import json
from typing import Any

import trio
import trio.lowlevel
from trio.testing import MockClock

from goclaw.domain.address import CONNECTIONS
from goclaw.edge.gatekeeper import Gatekeeper
from goclaw.edge.ws.connection import Connection
from goclaw.edge.ws.server import methods_of
from goclaw.operations.context import House
from goclaw.operations.operation import collect
from goclaw.runtime.address import Address
from goclaw.runtime.child import Child
from goclaw.runtime.news import EVENTS
from goclaw.runtime.watch import Watchman
from goclaw.settings.gateway import Gateway
from goclaw.settings.settings import Settings
from tests.edge.test_idle_socket import CONNECT, QuietLink
from tests.runtime.house import Say, Scribe, Wait, house


class Responsive(Scribe):
    responsive = True
    capacity = 10


async def test_slow_handlers_full_mailboxes_and_dead_letters_are_heard_of(autojump_clock: MockClock) -> None:
    subscribe = json.dumps({"type": "req", "id": "s", "method": "actors.subscribe", "params": {"action": "start"}})
    link = QuietLink(CONNECT, subscribe, answers_pings=True)
    async with house(Child("watch", Watchman), Child("a", Responsive)) as system, trio.open_nursery() as nursery:
        gateway = House(Settings(), system, "0", "node", 0)
        keeper = Gatekeeper(Gateway(), {"127.0.0.1"})
        methods = methods_of(collect("goclaw.operations"))
        connection = Connection(gateway, methods, keeper, link, peer="127.0.0.1", bearer=None, locale="en")  # type: ignore[arg-type]
        nursery.start_soon(connection.live)
        await trio.sleep(0.1)
        assert CONNECTIONS / connection.id in system.groups[EVENTS]

        system.tell(Address("a"), Wait(seconds=8))
        for n in range(8):
            await trio.lowlevel.checkpoint()
            system.tell(Address("a"), Say(text=str(n)))
        for _ in range(200):
            await trio.sleep(0.07)
            system.tell(Address("nobody"), Say(text=""))
        nursery.cancel_scope.cancel()

    frames: list[dict[str, Any]] = link.sent
    heard = {frame["event"]: frame["payload"] for frame in reversed(frames) if frame["type"] == "event"}
    assert {"actor.slow", "actor.mailbox", "actor.deadletters"} <= set(heard)
    assert heard["actor.slow"].items() >= {"path": "/a", "class": "Responsive", "message_type": Wait.TYPE}.items()
    assert heard["actor.slow"]["age_ms"] >= 5000
    assert heard["actor.mailbox"].items() >= {"path": "/a", "depth": 8, "capacity": 10, "dropped": 0}.items()
    assert heard["actor.deadletters"].items() >= {"reason": "no_actor", "top_type": Say.TYPE}.items()
    assert heard["actor.deadletters"]["rate"] > 10
    slow = [frame for frame in frames if frame.get("event") == "actor.slow"]
    assert 3 <= len(slow) <= 4  # once a second at most
