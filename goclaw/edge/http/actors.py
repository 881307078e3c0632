"""What operators follow as a stream: the life of actors, the messages of one of them. Contract: edge-http.md §26."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, ExitStack
from typing import Any

import trio
from quart import Response

from goclaw.domain.access import Caller, Role
from goclaw.domain.address import REQUESTS
from goclaw.domain.errors import Rejected, invalid
from goclaw.domain.events import EVERYBODY, Farewell
from goclaw.domain.ids import new_id
from goclaw.edge.http.answers import json_response
from goclaw.edge.http.request import Call, Raw
from goclaw.edge.http.sse import KEEP_ALIVE_FRAME, Stream, frame, or_keep_alive
from goclaw.operations.actor_events import Follow, FollowActors
from goclaw.operations.actor_orders import Trace, envelope, trace
from goclaw.operations.actor_sight import Sight
from goclaw.operations.context import Context
from goclaw.runtime import tree
from goclaw.runtime.inbox import inbox
from goclaw.runtime.lens import Seen
from goclaw.runtime.message import Message, Told

LAST_EVENT = "Last-Event-ID"
RETRY = b"retry: 3000\n"  # a field of the first frame; edge-http.md §0.5
DIGITS = 18  # of an event's number


async def events(call: Call, caller: Caller) -> Response:
    """Follow what happens to actors: a snapshot, then events. Last-Event-ID goes on where a stream broke off."""
    ctx = call.context(caller)
    follow = Follow(ctx, await call.input(FollowActors))
    last = call.request.headers.get(LAST_EVENT, "")
    if last and not (last.isascii() and last.isdigit() and len(last) <= DIGITS):
        raise Rejected(invalid(LAST_EVENT, "not a number of an event"))
    following = Following(ctx, follow, int(last) if last else None)
    return Stream(following.frames(), following.close).response({})


class Following:
    """One reader of the bulletin."""

    def __init__(self, ctx: Context, follow: Follow, last: int | None) -> None:
        self._ctx = ctx
        self._follow = follow
        self._bulletin = ctx.house.bulletin
        self._foreign = last is not None and not self._bulletin.knows(last)  # a number of an earlier process
        self._at = self._bulletin.newest if last is None else self._bulletin.start if self._foreign else last
        self._over = False
        self._stack = ExitStack()
        box = self._stack.enter_context(inbox(ctx.system, REQUESTS / new_id(), "ActorEvents", self._hear))
        box.join(EVERYBODY)

    def close(self) -> None:
        self._stack.close()

    def _hear(self, message: Message[Any]) -> Told:
        if isinstance(message, Farewell):
            self._over = True
            self._bulletin.stir()
        return Told.ACCEPTED

    async def frames(self) -> AsyncGenerator[bytes, None]:
        found = {"generated_at": self._ctx.now(), "totals": await tree.totals(self._ctx.system)}
        yield RETRY + frame(found, "snapshot", self._at)
        if self._foreign:
            yield self._told()
        while not self._over:
            piece = await or_keep_alive(self._heard)
            if piece:
                yield piece

    async def _heard(self) -> bytes:
        """The next piece this reader asked for, however much it did not; nothing at the end."""
        while not self._over:
            if self._bulletin.newest == self._at:
                await self._bulletin.stirred()
            elif piece := self._told():
                return piece
            else:
                await trio.lowlevel.checkpoint()
        return b""

    def _told(self) -> bytes:
        """What is new, from the bulletin. After a gap the reader had better look at the tree again."""
        news, missed = self._bulletin.since(self._at)
        piece = frame({"missed": missed}, "gap") if missed or self._foreign else b""
        self._foreign = False
        self._at = self._bulletin.newest
        for number, one in news:
            if (payload := self._follow.payload(one)) is not None:
                piece += frame(payload, one.event, number)
        return piece


async def record(call: Call, caller: Caller) -> Response:
    """Record the next messages of an actor, streamed as they are handled, or as one array of JSON."""
    ctx = call.context(caller)
    ask = await call.input(Trace)
    tap, sight = await trace(ctx, ask), Sight(ctx)
    if "application/json" in call.request.headers.get("Accept", ""):
        async with tap as seen:
            return json_response([envelope(one, ask, sight) async for one in seen])
    return Stream(_recorded(tap, ask, sight), lambda: None).response({})


async def _recorded(
    tap: AbstractAsyncContextManager[AsyncIterator[Seen]], ask: Trace, sight: Sight
) -> AsyncGenerator[bytes, None]:
    async with tap as seen:
        while True:
            one = await or_keep_alive(lambda: anext(seen, None))
            if one is None:
                return
            yield one if one is KEEP_ALIVE_FRAME else frame(envelope(one, ask, sight), "envelope")


ROUTES = (
    Raw("GET /v1/actors/events", Role.OPERATOR, events),
    Raw("POST /v1/actors/{path...}/trace", Role.ADMIN, record),
)
