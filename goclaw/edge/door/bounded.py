"""Request bodies end: at a size and at a time. An ASGI middleware. Contract: edge-auth.md §9.2."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import msgspec
import trio
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    Scope,
)

from goclaw.edge.door.refusal import framed, refusal


class BodyLimit(msgspec.Struct, frozen=True):
    """Of one request body: bytes, and seconds from its headers to its last byte."""

    size: int = 1_048_576  # README R12
    within: float = 30.0


BodyLimits = Callable[[str, str], BodyLimit]  # method, raw path


def json_bodies(method: str, path: str) -> BodyLimit:
    return BodyLimit()


class Bounded:
    """Counts what the application reads (quart's own limit does not see chunked bodies: trap 10).

    A body over its limit, or late, cancels the application and answers 413 or 408, unless an answer has begun.
    """

    def __init__(self, app: ASGIFramework, limits: BodyLimits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limits(scope["method"], scope["raw_path"].decode("ascii"))
        patience = trio.CancelScope()
        deadline = trio.current_time() + limit.within
        status = 408
        size = 0
        begun = False

        async def counted() -> ASGIReceiveEvent:
            nonlocal size, status, deadline
            patience.deadline = deadline
            event = await receive()
            if event["type"] == "http.request":
                size += len(event["body"])
                if size > limit.size:
                    status = 413
                    patience.cancel()
                    await trio.lowlevel.checkpoint()
                if not event["more_body"]:
                    patience.deadline = deadline = inf
            return event

        async def watched(event: ASGISendEvent) -> None:
            nonlocal begun
            begun = True
            await send(event)

        with patience:
            await self._app(scope, counted, watched)
        if patience.cancelled_caught and not begun:
            await _refuse(status, send)


async def _refuse(status: int, send: ASGISendCallable) -> None:
    more, body = refusal(status)
    headers = [(name.encode(), value.encode()) for name, value in framed(body, more).items()]
    await send({"type": "http.response.start", "status": status, "headers": headers, "trailers": False})
    await send({"type": "http.response.body", "body": body, "more_body": False})
