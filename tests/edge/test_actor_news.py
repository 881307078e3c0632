"""What a subscribed socket hears of actors, whoever reports it."""

from __future__ import annotations

import json
from typing import Any

import trio
import trio.lowlevel
from trio.testing import MockClock

from goclaw.domain.access import Caller, Role
from goclaw.domain.address import CONNECTIONS
from goclaw.edge.gatekeeper import Gatekeeper
from goclaw.edge.http.actors import Following
from goclaw.edge.http.sse import KEEP_ALIVE, KEEP_ALIVE_FRAME
from goclaw.edge.ws.connection import Connection
from goclaw.edge.ws.server import methods_of
from goclaw.operations.actor_events import Follow, FollowActors
from goclaw.operations.context import Context, House
from goclaw.operations.operation import collect
from goclaw.runtime.address import Address
from goclaw.runtime.child import Child
from goclaw.runtime.news import EVENTS
from goclaw.runtime.watch import Watchman
from goclaw.settings.gateway import Gateway
from goclaw.settings.settings import Settings
from tests.edge.test_idle_socket import CONNECT, QuietLink
from tests.runtime.house import Boom, Say, Scribe, Wait, house

OWNER = Caller(user_id="root", role=Role.ADMIN, is_owner=True)


async def test_a_stream_that_wants_nothing_of_what_happens_is_kept_alive(autojump_clock: MockClock) -> None:
    async def noise() -> None:
        while True:
            system.tell(Address("a"), Boom())
            await trio.sleep(4)

    async with house(Child("a", Scribe)) as system, trio.open_nursery() as nursery:
        ctx = Context(House(Settings(), system, "0", "node", 0), OWNER)
        following = Following(ctx, Follow(ctx, FollowActors(path="/b")), None)
        frames = following.frames()
        assert (await anext(frames)).startswith(b"retry: 3000\nevent: snapshot\n")
        nursery.start_soon(noise)
        began = trio.current_time()
        assert [await anext(frames) for _ in range(2)] == [KEEP_ALIVE_FRAME] * 2
        assert trio.current_time() - began == 2 * KEEP_ALIVE
        await frames.aclose()
        following.close()
        nursery.cancel_scope.cancel()


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
