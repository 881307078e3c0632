"""Every request is answered, also when the answer is more than a socket can be told. edge-websocket.md §4, §6.2."""

from __future__ import annotations

from typing import Any

import msgspec
import trio

from goclaw.domain.access import Role
from goclaw.edge.ws.outbox import BYTES, FRAME
from goclaw.edge.ws.server import methods_of
from goclaw.operations.context import Context
from goclaw.operations.operation import Operation, Rpc
from tests.edge.links import CONNECT, QuietLink, connected


class Length(msgspec.Struct):
    bytes: int


async def say(ctx: Context, ask: Length) -> str:
    await trio.sleep(0.1)  # until the answer to connect is written
    return "x" * ask.bytes


METHODS = methods_of([Operation("say.say", "", say, Length, str, rpc=(Rpc("say", Role.VIEWER),))])
AROUND = len('{"type":"res","id":"1","ok":true,"payload":""}')


def ask(id: str, bytes: int) -> str:
    return msgspec.json.encode({"type": "req", "id": id, "method": "say", "params": {"bytes": bytes}}).decode()


async def test_an_answer_that_fits_nowhere_is_refused_and_the_socket_lives_on(autojump_clock: Any) -> None:
    most = BYTES - FRAME - AROUND
    link = QuietLink(CONNECT, ask("1", most + 1), answers_pings=True)

    async with connected(link, METHODS):
        await trio.sleep(1)

    (refused,) = [frame for frame in link.sent if frame.get("id") == "1"]
    assert refused["error"]["code"] == "PAYLOAD_TOO_LARGE"
    assert refused["error"]["details"] == {"reason": "too_large", "limit_bytes": BYTES}
    assert link.closed is None


async def test_the_largest_answer_is_given(autojump_clock: Any) -> None:
    most = BYTES - FRAME - AROUND
    link = QuietLink(CONNECT, ask("1", most), answers_pings=True)

    async with connected(link, METHODS):
        await trio.sleep(1)

    (answer,) = [frame for frame in link.sent if frame.get("id") == "1"]
    assert len(answer["payload"]) == most
