"""A chat platform on 127.0.0.1 that keeps what it is sent, and misbehaves on request; and the courier that goes there.

`POST /messages` takes {chat, text, nonce}, `GET /messages/{nonce}` tells what became of one; `/edit`, `/react`,
`/delete`, `/topics` and `/members` do what they say. Trouble is arranged per chat, and used up by the requests it
meets.
"""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import httpx
import trio
from msgspec.structs import replace

from goclaw.domain.delivery import Delivery, Member, NotDelivered, Parcel

Trouble = Literal["refuse", "busy", "broken", "lost answer"]
STATUS: dict[Trouble, int] = {"refuse": 400, "busy": 429, "broken": 500}


class Platform:
    def __init__(self, *, nonces: bool) -> None:
        self.nonces = nonces  # a message whose nonce is known is not taken again
        self.port = 0
        self.taken: list[dict[str, Any]] = []
        self.asked: Counter[str] = Counter()  # requests to send, by chat
        self.trouble: defaultdict[str, list[Trouble]] = defaultdict(list)
        self.stuck: dict[str, trio.Event] = {}  # chats whose requests wait
        self.people: dict[str, list[tuple[str, str]]] = {}  # ids and names, by chat
        self._stir = trio.Event()

    def texts(self, chat: str) -> list[str]:
        return [message["text"] for message in self.taken if message["chat"] == chat]

    async def until(self, count: int) -> None:
        """Until so many messages have been taken."""
        with trio.fail_after(15):
            while len(self.taken) < count:
                await self._stir.wait()

    async def asked_for(self, chat: str, times: int = 1) -> None:
        with trio.fail_after(15):
            while self.asked[chat] < times:
                await self._stir.wait()

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            data = b""
            while True:
                while b"\r\n\r\n" not in data:
                    if not (more := await stream.receive_some()):
                        return
                    data += more
                head, _, data = data.partition(b"\r\n\r\n")
                verb, path, _ = head.split(b" ", 2)
                length = next((int(h[15:]) for h in head.lower().split(b"\r\n") if h.startswith(b"content-length:")), 0)
                while len(data) < length:
                    data += await stream.receive_some()
                body, data = data[:length], data[length:]
                answer = self._found(path) if verb == b"GET" else await self._take(path, json.loads(body))
                if answer is None:
                    return
                status, payload = answer
                text = json.dumps(payload).encode()
                await stream.send_all(
                    b"HTTP/1.1 %d x\r\nContent-Length: %d\r\nRetry-After: 7\r\n\r\n%s" % (status, len(text), text)
                )

    def _found(self, path: bytes) -> tuple[int, Any]:
        nonce = path.decode().rpartition("/")[2]
        found = [message["id"] for message in self.taken if message["nonce"] == nonce]
        return (200, {"id": found[0]}) if found else (404, {})

    async def _take(self, path: bytes, ask: dict[str, Any]) -> tuple[int, Any] | None:
        if path == b"/messages":
            return await self._post(ask)
        if path == b"/topics":
            return 200, {"id": f"{ask['chat']}/{ask['name']}/{ask['color']}"}
        if path == b"/members":
            return (200, self.people[ask["chat"]]) if ask["chat"] in self.people else (400, {})
        found = [one for one in self.taken if one["id"] == ask["id"] and one["chat"] == ask["chat"]]
        if not found:
            return 400, {}
        match path:
            case b"/edit":
                found[0]["text"] = ask["text"]
            case b"/react":
                found[0].setdefault("reactions", []).append(ask["emoji"])
            case b"/delete":
                self.taken.remove(found[0])
        return 200, {}

    async def _post(self, message: dict[str, Any]) -> tuple[int, Any] | None:
        chat = message["chat"]
        self.asked[chat] += 1
        self._news()
        if chat in self.stuck:
            await self.stuck[chat].wait()
        trouble = self.trouble[chat].pop(0) if self.trouble[chat] else None
        if trouble in STATUS:
            return STATUS[trouble], {}
        known = [m["id"] for m in self.taken if self.nonces and m["nonce"] == message["nonce"]]
        if not known:
            self.taken.append({**message, "id": f"m{len(self.taken)}"})
            self._news()
        return None if trouble == "lost answer" else (200, {"id": known[0] if known else self.taken[-1]["id"]})

    def _news(self) -> None:
        self._stir.set()
        self._stir = trio.Event()


@asynccontextmanager
async def open_platform(*, nonces: bool) -> AsyncIterator[Platform]:
    platform = Platform(nonces=nonces)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    platform.port = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, platform.serve, listeners)
        yield platform
        nursery.cancel_scope.cancel()


class HttpCourier:
    def __init__(self, platform: Platform) -> None:
        self.takes_nonce = platform.nonces
        self.url = f"http://127.0.0.1:{platform.port}/messages"

    async def send(self, delivery: Delivery) -> str:
        message = {"chat": delivery.chat_id, "text": delivery.payload["text"], "nonce": delivery.nonce}
        message |= {"files": files} if (files := delivery.payload.get("files")) else {}
        answer = await self._ask("POST", self.url, json=message)
        if answer.status_code == 200:
            return str(answer.json()["id"])
        wait = float(answer.headers["Retry-After"]) if answer.status_code == 429 else None
        final = answer.status_code == 400
        raise NotDelivered(f"status {answer.status_code}", final=final, retry_after=wait)

    async def _ask(self, verb: str, url: str, **more: Any) -> httpx.Response:
        try:
            async with httpx.AsyncClient(timeout=None) as http:
                return await http.request(verb, url, **more)
        except httpx.ConnectError as error:
            raise NotDelivered("not reached") from error
        except httpx.TransportError as error:
            raise NotDelivered("no answer", unknown=True) from error


class LookingCourier(HttpCourier):
    """Its platform can be asked what arrived."""

    async def find(self, nonce: str) -> str | None:
        answer = await self._ask("GET", f"{self.url}/{nonce}")
        return str(answer.json()["id"]) if answer.status_code == 200 else None


class AbleCourier(HttpCourier):
    """Its platform can do everything a tool may want."""

    async def send_files(self, delivery: Delivery, files: Sequence[tuple[Parcel, int]]) -> str:
        payload = {**delivery.payload, "files": [(one.name, os.pread(file, 1000, 0).decode()) for one, file in files]}
        return await self.send(replace(delivery, payload=payload))

    async def edit(self, chat_id: str, message_id: str, text: str) -> None:
        await self._do("edit", chat=chat_id, id=message_id, text=text)

    async def react(self, chat_id: str, message_id: str, emoji: str) -> None:
        await self._do("react", chat=chat_id, id=message_id, emoji=emoji)

    async def delete(self, chat_id: str, message_id: str) -> None:
        await self._do("delete", chat=chat_id, id=message_id)

    async def open_topic(self, chat_id: str, name: str, icon_color: int | None) -> str:
        return str((await self._do("topics", chat=chat_id, name=name, color=icon_color))["id"])

    async def members(self, chat_id: str, limit: int) -> Sequence[Member]:
        return [Member(id, name) for id, name in await self._do("members", chat=chat_id)]

    async def _do(self, what: str, **ask: Any) -> Any:
        answer = await self._ask("POST", self.url.replace("messages", what), json=ask)
        if answer.status_code != 200:
            raise NotDelivered(f"status {answer.status_code}", final=True)
        return answer.json()
