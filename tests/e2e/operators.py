"""How an operator's tests look at a gateway: nodes, streams, and waiting for what happens to actors."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlencode

import h11
import httpx
import trio

from tests.e2e.gateway import PATIENCE, Client, Json


class Told:
    """The frames of one event stream, in the order they came."""

    def __init__(self, tcp: trio.SocketStream) -> None:
        self._tcp = tcp
        self._wire = h11.Connection(h11.CLIENT)
        self._text = b""
        self._frames: deque[Json] = deque()
        self.seen: list[Json] = []

    async def open(self, target: str, headers: dict[str, str]) -> None:
        sent = self._wire.send(h11.Request(method="GET", target=target, headers=list(headers.items())))
        await self._tcp.send_all((sent or b"") + (self._wire.send(h11.EndOfMessage()) or b""))
        answer = await self._event()
        assert isinstance(answer, h11.Response)
        assert answer.status_code == 200, await self._event()

    async def next(self) -> Json:
        """The next frame: `event`, `id`, `data`. Keep-alives are skipped."""
        with trio.fail_after(PATIENCE):
            while not self._frames:
                data = await self._event()
                if not isinstance(data, h11.Data):
                    raise EOFError
                *whole, self._text = (self._text + bytes(data.data)).split(b"\n\n")
                self._frames += [parsed(frame) for frame in whole if not frame.startswith(b":")]
        self.seen.append(self._frames.popleft())
        return self.seen[-1]

    async def until(self, fits: Callable[[Json], bool]) -> Json:
        while not fits(frame := await self.next()):
            pass
        return frame

    async def hears(self, event: str, path: str) -> Json:
        """Until this happens to that actor; the payload."""
        frame = await self.until(lambda frame: frame["event"] == event and frame["data"]["path"] == path)
        payload: Json = frame["data"]
        return payload

    async def _event(self) -> object:
        while (event := self._wire.next_event()) is h11.NEED_DATA:
            self._wire.receive_data(await self._tcp.receive_some())
        return event


def parsed(frame: bytes) -> Json:
    lines = dict(line.split(": ", 1) for line in frame.decode().splitlines())
    return {"event": lines["event"], "id": lines.get("id"), "data": json.loads(lines["data"])}


@asynccontextmanager
async def following(http: httpx.AsyncClient, last: str | None = None, **asked: str) -> AsyncIterator[Told]:
    """The stream of events, open and past its snapshot."""
    headers = {"Host": http.base_url.netloc.decode()}
    headers |= {name: http.headers[name] for name in ("authorization", "x-goclaw-user-id")}
    if last is not None:
        headers["Last-Event-ID"] = last
    async with await trio.open_tcp_stream(http.base_url.host, http.base_url.port or 80) as tcp:
        told = Told(tcp)
        await told.open(f"/v1/actors/events?{urlencode(asked)}", headers)
        assert (await told.next())["event"] == "snapshot"
        yield told


async def node_of(http: httpx.AsyncClient, path: str) -> Json:
    answer = await http.get(f"/v1/actors{path.replace('%', '%25')}")
    assert answer.status_code == 200, answer.text
    node: Json = answer.json()
    return node


def told_of(client: Client, event: str, path: str) -> Json | None:
    """The payload of such an event, if the socket has heard one."""
    frames = (frame["payload"] for frame in client.events if frame["event"] == event)
    return next((payload for payload in frames if payload.get("path") == path), None)
