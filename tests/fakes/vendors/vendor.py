"""A vendor of the farm: it keeps what it is asked, and answers on its wires what its script or its brain says."""

from __future__ import annotations

import re
import socket
import struct
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import trio
from msgspec import Struct

from tests.fakes.http1 import END, Hangup, Request, chunked, whole
from tests.fakes.vendors.brain import Ask, reply_to
from tests.fakes.vendors.script import Answer, Behaviour, Refuse, Trouble

BAD_KEY = "bad-key"  # refused by every vendor that asks for keys
PATIENCE = 5.0  # seconds
encode = msgspec.json.encode


class Heard(Struct, frozen=True):
    """A request that came, as a test wants to look at it."""

    method: str
    path: str  # below the vendor's name, without the query
    query: dict[str, str]
    headers: dict[str, str]  # names in lower case
    body: Any  # JSON as Python, or None
    raw: bytes
    at: float  # the loop's clock, seconds

    @property
    def key(self) -> str:
        """Of an `Authorization: Bearer` header."""
        return self.headers.get("authorization", "").removeprefix("Bearer ").strip()


class Wire:
    """One way of asking a vendor and of being answered. `ask` and `admit` raise Refuse."""

    def content_type(self, ask: Ask) -> str:
        """Of a stream."""
        return "text/event-stream"

    def admit(self, heard: Heard) -> None:
        """Look at the key."""

    def ask(self, heard: Heard, found: re.Match[str]) -> Ask:
        raise NotImplementedError

    def events(self, said: Answer, ask: Ask) -> list[bytes]:
        """The answer as it is streamed, an event an item."""
        raise NotImplementedError

    def whole(self, said: Answer, ask: Ask) -> Any:
        """The answer in one JSON document."""
        raise NotImplementedError

    def failed(self, ask: Ask, message: str, sent: int) -> bytes:
        """An error in a stream after so many events."""
        raise NotImplementedError

    def refusal(self, no: Refuse) -> Any:
        """The JSON document of an error."""
        raise NotImplementedError

    def refused_as(self, no: Refuse) -> int:
        """The HTTP status of an error."""
        return no.status

    def headers(self) -> dict[str, str]:
        """Sent with every answer."""
        return {}


Table = Callable[[Heard, re.Match[str]], Any]  # a JSON document; raises Refuse


class Vendor:
    """`routes` maps `METHOD /path` (a pattern below the vendor's name) to a wire, or to what makes a document."""

    def __init__(self, name: str, base: str, routes: Mapping[str, Wire | Table]) -> None:
        self.name = name
        self.base = base
        self.wire = next(to for to in routes.values() if isinstance(to, Wire))  # refuses what no route takes
        self._routes: list[tuple[re.Pattern[str], Wire, Table | None]] = []
        for pattern, to in routes.items():
            self._add(pattern, *((to, None) if isinstance(to, Wire) else (self.wire, to)))
        self.origin = ""  # set by the farm
        self.heard: deque[Heard] = deque(maxlen=200)
        self.held = 0  # answers that wait for `release`
        self.abandoned = 0  # answers whose client left in the middle
        self._script: deque[Behaviour] = deque()
        self._go = trio.Event()
        self._changed = trio.Event()

    def tables(self, wire: Wire, routes: Mapping[str, Table]) -> None:
        """More documents, for which `wire` looks at the key and refuses."""
        for pattern, table in routes.items():
            self._add(pattern, wire, table)

    def _add(self, pattern: str, wire: Wire, table: Table | None) -> None:
        self._routes.append((re.compile(pattern), wire, table))

    @property
    def url(self) -> str:
        """What a client is given as base URL."""
        return f"{self.origin}/{self.name}{self.base}"

    @property
    def bodies(self) -> list[Any]:
        """Of the requests that had one, oldest first."""
        return [heard.body for heard in self.heard if heard.body is not None]

    def will(self, *behaviours: Behaviour) -> None:
        """Answer the next requests so. After the last one the vendor thinks for itself again."""
        self._script.extend(behaviours)

    @property
    def unsaid(self) -> int:
        return len(self._script)

    def release(self) -> None:
        """Let every held answer go on, and those to come."""
        self._go.set()

    async def until(self, true: Callable[[Vendor], bool]) -> None:
        with trio.fail_after(PATIENCE):
            while not true(self):
                self._changed = trio.Event()
                await self._changed.wait()

    async def answer(self, to: trio.SocketStream, request: Request, path: str) -> None:
        """One request of a connection. Raises Hangup when the connection cannot be used again."""
        heard = heard_of(request, path)
        self.heard.append(heard)
        self._changed.set()
        if heard.method == "HEAD":
            return await to.send_all(b"HTTP/1.1 404 Fake\r\ncontent-length: 0\r\n\r\n")
        wire = self.wire
        try:
            found, wire, table = self._route(heard)
            wire.admit(heard)
            if table is not None:
                return await to.send_all(whole(200, encode(table(heard, found)), more=lines(wire.headers())))
            if not isinstance(heard.body, dict):
                raise Refuse(400, "We could not parse the JSON body of your request.")
            ask = wire.ask(heard, found)
            behaviour = self._script.popleft() if self._script else reply_to(ask)
            if isinstance(behaviour, Refuse):
                raise behaviour
        except Refuse as no:
            more = lines({**wire.headers(), **no.headers})
            if no.body is not None:
                return await to.send_all(whole(no.status, no.body, no.content_type, more))
            return await to.send_all(whole(wire.refused_as(no), encode(wire.refusal(no)), more=more))
        await self._say(to, wire, behaviour, ask)

    def _route(self, heard: Heard) -> tuple[re.Match[str], Wire, Table | None]:
        for pattern, wire, table in self._routes:
            if found := pattern.fullmatch(f"{heard.method} {heard.path}"):
                return found, wire, table
        raise Refuse(404, f"Unknown request URL: {heard.method} {heard.path}.")

    async def _say(self, to: trio.SocketStream, wire: Wire, said: Answer, ask: Ask) -> None:
        trouble = said.trouble
        if trouble and trouble.after is None:
            await self._trouble(to, wire, trouble, ask)
        if not ask.stream:
            return await self._say_whole(to, wire, said, ask)
        head = f"HTTP/1.1 200 OK\r\ncontent-type: {wire.content_type(ask)}\r\ntransfer-encoding: chunked\r\n"
        await to.send_all((head + lines(wire.headers()) + "\r\n").encode())
        frames = wire.events(said, ask)
        due = min(trouble.after, len(frames)) if trouble and trouble.after is not None else -1
        for place in range(len(frames) + 1):
            if trouble and place == due:
                await self._trouble(to, wire, trouble, ask)
            if place < len(frames):
                if said.pace:
                    await trio.sleep(1 / said.pace)
                await to.send_all(chunked(frames[place]))
        await to.send_all(END)

    async def _say_whole(self, to: trio.SocketStream, wire: Wire, said: Answer, ask: Ask) -> None:
        """A trouble that is due after some events comes within the document; those of streams alone do not come."""
        body = whole(200, encode(wire.whole(said, ask)), more=lines(wire.headers()))
        if said.trouble and said.trouble.after is not None and said.trouble.kind not in ("garbage", "error"):
            most = len(body) - len(body) // 4
            await to.send_all(body[:most])
            await self._trouble(to, wire, said.trouble, ask)
            body = body[most:]
        await to.send_all(body)

    async def _trouble(self, to: trio.SocketStream, wire: Wire, trouble: Trouble, ask: Ask) -> None:
        match trouble.kind:
            case "garbage":
                return await to.send_all(chunked(trouble.data))
            case "hold":
                return await self._hold(to)
            case "stall":
                await until_left(to)
                self.abandoned += 1
                self._changed.set()
            case "raw":
                await to.send_all(trouble.data)
            case "error":
                message = trouble.data.decode() or "something broke"
                await to.send_all(chunked(wire.failed(ask, message, trouble.after or 0)) + END)
            case "reset":
                to.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            case "close":
                pass
        raise Hangup

    async def _hold(self, to: trio.SocketStream) -> None:
        gone = False

        async def notice() -> None:
            nonlocal gone
            await until_left(to)
            gone = True
            nursery.cancel_scope.cancel()

        self.held += 1
        self._changed.set()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(notice)
                await self._go.wait()
                nursery.cancel_scope.cancel()
        finally:
            self.held -= 1
            self.abandoned += gone
            self._changed.set()
        if gone:
            raise Hangup


async def until_left(client: trio.SocketStream) -> None:
    with suppress(trio.BrokenResourceError):
        await client.receive_some(1)


def heard_of(request: Request, path: str) -> Heard:
    parts = urlsplit(path)
    try:
        body = msgspec.json.decode(request.body) if request.body else None
    except msgspec.DecodeError:
        body = None
    query = dict(parse_qsl(parts.query))
    return Heard(request.method, parts.path, query, request.headers, body, request.body, trio.current_time())


def lines(headers: Mapping[str, str]) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


def sse(data: Any, event: str = "") -> bytes:
    return (f"event: {event}\n" if event else "").encode() + b"data: %s\n\n" % encode(data)
