"""Where a browser ends a login at a ChatGPT account, if it runs on this machine. Open only while one is awaited.

Address   /edge/login
Contract  providers.md §7.3
"""

from __future__ import annotations

from http import HTTPStatus

import trio

from goclaw.domain.errors import Rejected
from goclaw.domain.model import AwaitLogin
from goclaw.edge.outcomes import refusal_of
from goclaw.operations import openai_login
from goclaw.operations.context import Context as Asking
from goclaw.operations.context import House
from goclaw.providers.authority import CALLBACK_PATH, CALLBACK_PORT, returned
from goclaw.runtime.actor import Actor, Context, handles

HEAD = 16_384  # bytes of a request
PATIENCE = 10.0  # seconds a browser has to ask
LOOK = 1.0  # seconds between two looks whether a login is still awaited
PAGE = "<!doctype html><meta charset=utf-8><title>GoClaw</title><p>{}</p>"


class LoginDoor(Actor):
    """Listens on the loopback address that the authority sends browsers to. Where it is taken, pasting still works."""

    def __init__(self, house: House, port: int = CALLBACK_PORT) -> None:
        self.house = house
        self.port = port
        self.until = 0.0
        self._listeners: list[trio.SocketListener] = []
        self._wanted = trio.Event()

    @handles
    async def await_login(self, ctx: Context, ask: AwaitLogin) -> None:
        """Answered when a browser may come."""
        self.until = trio.current_time() + ask.within
        if not self._listeners:
            try:
                self._listeners = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
            except OSError as taken:
                ctx.log.warning("login.port_taken", port=self.port, error=str(taken))
                return
            self.port = self._listeners[0].socket.getsockname()[1]
        self._wanted.set()

    async def live(self, ctx: Context) -> None:
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.serve_listeners, self._answer, self._listeners)
                while (left := self.until - trio.current_time()) > 0 and self.house.logins:
                    with trio.move_on_after(min(left, LOOK)):
                        await self._wanted.wait()
                        self._wanted = trio.Event()
                nursery.cancel_scope.cancel()
            self._listeners = []

    async def _answer(self, stream: trio.SocketStream) -> None:
        with trio.move_on_after(PATIENCE):
            try:
                status, said = await self._ended(await _request(stream))
                body = PAGE.format(said).encode()
                head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: text/html; charset=utf-8\r\n"
                head += f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
                await stream.send_all(head.encode() + body)
            except trio.BrokenResourceError:
                pass  # the browser has gone
        await trio.aclose_forcefully(stream)

    async def _ended(self, target: str) -> tuple[HTTPStatus, str]:
        """What a browser is told that came with `target`."""
        path, _, _ = target.partition("?")
        if path != CALLBACK_PATH:
            return HTTPStatus.NOT_FOUND, "There is nothing here."
        begun = self.house.logins.get(returned(target).get("state", ""))
        if begun is None:
            return HTTPStatus.BAD_REQUEST, "This login is not awaited any more: begin again."
        asking = Asking(self.house, begun.caller, peer="127.0.0.1", route=CALLBACK_PATH)
        try:
            await openai_login.callback(asking, openai_login.Returned(redirect_url=target))
        except Rejected as refused:
            reason = refused.err.details.get("reason", refused.err.code)
            return HTTPStatus.BAD_GATEWAY, f"The login failed ({reason}): begin again."
        except Exception as error:  # whatever it is, the browser is told no more than that
            refusal_of(error, CALLBACK_PATH)
            return HTTPStatus.INTERNAL_SERVER_ERROR, "The login failed: begin again."
        return HTTPStatus.OK, "You are logged in. This page can be closed."

    def snapshot(self) -> dict[str, object]:
        return {"port": self.port, "open": bool(self._listeners)}


async def _request(stream: trio.SocketStream) -> str:
    """The target of a GET; empty for anything else."""
    head = bytearray()
    while b"\r\n\r\n" not in head and len(head) < HEAD:
        data = await stream.receive_some(4096)
        if not data:
            break
        head += data
    words = bytes(head.partition(b"\r\n")[0]).decode("ascii", "replace").split(" ")
    return words[1] if len(words) == 3 and words[0] == "GET" else ""
