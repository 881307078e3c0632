"""Many requests on their way at once over one socket, and the events between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from goclaw.edge.cli.client import Event, Socket, payload_of
from goclaw.edge.cli.options import Exit, Failure


class Line:
    def __init__(self, socket: Socket, hear: Callable[[Event], None]) -> None:
        self._socket = socket
        self._hear = hear
        self._waiting: dict[str, trio.MemorySendChannel[Event]] = {}

    async def listen(self) -> None:
        """For as long as the connection lasts. Raises Failure when it is lost."""
        try:
            while True:
                frame = await self._socket.receive()
                if frame.get("type") == "event":
                    self._hear(frame)
                elif (asker := self._waiting.get(str(frame.get("id")))) is not None:
                    asker.send_nowait(frame)
        finally:
            for asker in self._waiting.values():
                asker.close()

    async def ask(self, method: str, within: float, **params: Any) -> dict[str, Any]:
        """Needs `listen` at its side. Raises Failure: refused, or no answer `within` seconds."""
        send, receive = trio.open_memory_channel[Event](1)
        asked = ""
        try:
            with trio.fail_after(within):
                asked = await self._socket.send(method, params)
                self._waiting[asked] = send
                return payload_of(await receive.receive())
        except trio.TooSlowError:
            raise Failure(f"no answer to {method} within {within:g} s") from None
        except trio.EndOfChannel:
            raise Failure("the connection broke", Exit.UNREACHABLE) from None
        finally:
            self._waiting.pop(asked, None)
