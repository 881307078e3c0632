"""A vendor of the farm: it keeps what it is asked, and answers on its wires what its script or its brain says."""

from __future__ import annotations

import re
import socket
import struct
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, ClassVar
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

    content_type: ClassVar[str] = "text/event-stream"

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

    def failed(self, message: str, sent: int) -> bytes:
        """An error in a stream after so many events."""
        raise NotImplementedError

    def refusal(self, no: Refuse) -> Any:
        """The JSON document of an error."""
        raise NotImplementedError

    def headers(self) -> dict[str, str]:
        """Sent with every answer."""
        return {}


Table = Callable[[Heard, re.Match[str]], Any]  # a JSON document; raises Refuse


class Vendor:
    """`routes` maps `METHOD /path` (a pattern below the vendor's name) to a wire, or to what makes a document."""

    def __init__(self, name: str, base: str, routes: Mapping[str, Wire | Table]) -> None:
        self.name = name
        self.base = base
        self.routes = [(re.compile(pattern), to) for pattern, to in routes.items()]
        self.wire = next(to for to in routes.values() if isinstance(to, Wire))  # refuses what no route takes
        self.origin = ""  # set by the farm
        self.heard: deque[Heard] = deque(maxlen=200)
        self.held = 0  # answers that wait for `release`
        self.abandoned = 0  # answers whose client left in the middle
        self._script: deque[Behaviour] = deque()
        self._go = trio.Event()
        self._changed = trio.Event()

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
            found, target = self._route(heard)
            wire = target if isinstance(target, Wire) else wire
            wire.admit(heard)
            if not isinstance(target, Wire):
                return await to.send_all(whole(200, encode(target(heard, found)), more=lines(wire.headers())))
            if not isinstance(heard.body, dict):
                raise Refuse(400, "We could not parse the JSON body of your request.")
            ask = target.ask(heard, found)
            behaviour = self._script.popleft() if self._script else reply_to(ask)
            if isinstance(behaviour, Refuse):
                raise behaviour
        except Refuse as no:
            body = no.body if no.body is not None else encode(wire.refusal(no))
            more = lines({**wire.headers(), **no.headers})
            return await to.send_all(whole(no.status, body, no.content_type, more))
        await self._say(to, target, behaviour, ask)

    def _route(self, heard: Heard) -> tuple[re.Match[str], Wire | Table]:
        for pattern, to in self.routes:
            if found := pattern.fullmatch(f"{heard.method} {heard.path}"):
                return found, to
        raise Refuse(404, f"Unknown request URL: {heard.method} {heard.path}.")

    async def _say(self, to: trio.SocketStream, wire: Wire, said: Answer, ask: Ask) -> None:
        trouble = said.trouble
        if trouble and trouble.after is None:
            await self._trouble(to, wire, trouble)
        if not ask.stream:
            return await self._say_whole(to, wire, said, ask)
        head = f"HTTP/1.1 200 OK\r\ncontent-type: {wire.content_type}\r\ntransfer-encoding: chunked\r\n"
        await to.send_all((head + lines(wire.headers()) + "\r\n").encode())
        frames = wire.events(said, ask)
        due = min(trouble.after, len(frames)) if trouble and trouble.after is not None else -1
        for place in range(len(frames) + 1):
            if trouble and place == due:
                await self._trouble(to, wire, trouble)
            if place < len(frames):
                if said.pace:
                    await trio.sleep(1 / said.pace)
                await to.send_all(chunked(frames[place]))
        await to.send_all(END)

    async def _say_whole(self, to: trio.SocketStream, wire: Wire, said: Answer, ask: Ask) -> None:
        """A trouble that is due after some events is due after half of the document."""
        body = whole(200, encode(wire.whole(said, ask)), more=lines(wire.headers()))
        if said.trouble and said.trouble.after is not None and said.trouble.kind not in ("garbage", "error"):
            half = len(body) - len(body) // 4
            await to.send_all(body[:half])
            await self._trouble(to, wire, said.trouble)
            body = body[half:]
        await to.send_all(body)

    async def _trouble(self, to: trio.SocketStream, wire: Wire, trouble: Trouble) -> None:
        match trouble.kind:
            case "garbage":
                return await to.send_all(chunked(trouble.data))
            case "hold":
                return await self._hold(to)
            case "stall":
                await to.receive_some(1)
                self.abandoned += 1
                self._changed.set()
            case "raw":
                await to.send_all(trouble.data)
            case "error":
                await to.send_all(
                    chunked(wire.failed(trouble.data.decode() or "something broke", trouble.after or 0)) + END
                )
            case "reset":
                to.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            case "close":
                pass
        raise Hangup

    async def _hold(self, to: trio.SocketStream) -> None:
        gone = False

        async def notice() -> None:
            nonlocal gone
            await to.receive_some(1)
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
