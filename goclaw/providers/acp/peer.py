"""JSON-RPC 2.0 over lines, as one of two equals: we ask, and we are asked. Contract: providers.md §7.1."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import msgspec
import structlog
import trio
from msgspec import Raw, Struct

from goclaw.providers.program import Program

BAD_PARAMS, NO_METHOD, FAILED = -32602, -32601, -32000  # codes of refusals
SERVED = 32  # requests of the other side at once; our decision
BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

log = structlog.get_logger()


class Refusal(Exception):
    """The other side's answer to a call, or ours to one of its requests: no, and why."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Gone(Exception):
    """There is nobody who could answer any more."""


class _Error(Struct, frozen=True):
    code: int = FAILED
    message: str = ""


class _Incoming(Struct, frozen=True):
    id: int | str | None = None
    method: str = ""
    params: Raw = Raw(b"{}")
    result: Raw = Raw(b"null")
    error: _Error | None = None


class _Call:
    """A request of ours on its way."""

    def __init__(self) -> None:
        self.answered = trio.Event()
        self.result = Raw(b"null")
        self.error: Exception | None = None


class Peer:
    """`serve` answers requests and may raise `Refusal`; `hear` takes notifications, in order, and may wait."""

    def __init__(
        self, serve: Callable[[str, Raw], Awaitable[Any]], hear: Callable[[str, Raw], Awaitable[None]]
    ) -> None:
        self._serve = serve
        self._hear = hear
        self._program: Program | None = None
        self._calls: dict[int, _Call] = {}
        self._last = 0
        self._served = 0
        self._over = False

    def write_to(self, program: Program) -> None:
        self._program = program

    async def run(self, program: Program) -> None:
        """Read until the other side has said its last word. Garbage is left out."""
        self.write_to(program)
        try:
            async with trio.open_nursery() as nursery:
                async for line in program.lines:
                    await self._take(line, nursery)
                nursery.cancel_scope.cancel()
        finally:
            self._over = True
            for call in self._calls.values():
                call.error = Gone()
                call.answered.set()

    async def call(self, method: str, params: dict[str, Any]) -> Raw:
        """The other side's answer. Raises Refusal and Gone."""
        self._last += 1
        number, call = self._last, _Call()
        self._calls[number] = call
        try:
            await self._send({"id": number, "method": method, "params": params})
            if self._over:
                raise Gone
            await call.answered.wait()
        finally:
            del self._calls[number]
        if call.error is not None:
            raise call.error
        return call.result

    async def notify(self, method: str, params: dict[str, Any]) -> None:
        await self._send({"method": method, "params": params})

    async def _send(self, message: dict[str, Any]) -> None:
        if self._program is None or self._over:
            raise Gone
        await self._program.send(msgspec.json.encode({"jsonrpc": "2.0", **message}) + b"\n")

    async def _take(self, line: bytes, nursery: trio.Nursery) -> None:
        try:
            message = msgspec.json.decode(line, type=_Incoming)
        except BROKEN as error:
            log.debug("acp.garbage", error=str(error), bytes=len(line))
            return
        if message.method and message.id is None:
            await self._hear(message.method, message.params)
        elif message.method:
            nursery.start_soon(self._answer, message)
        elif isinstance(message.id, int) and (call := self._calls.get(message.id)) is not None:
            if message.error is not None:
                call.error = Refusal(message.error.code, message.error.message)
            call.result = message.result
            call.answered.set()
        else:
            log.debug("acp.unasked_answer", id=message.id)

    async def _answer(self, message: _Incoming) -> None:
        answer: dict[str, Any]
        self._served += 1
        try:
            if self._served > SERVED:
                raise Refusal(FAILED, f"more than {SERVED} requests at once")
            answer = {"result": await self._serve(message.method, message.params)}
        except Refusal as refusal:
            answer = {"error": {"code": refusal.code, "message": refusal.message}}
        except BROKEN as error:
            answer = {"error": {"code": BAD_PARAMS, "message": f"params: {error}"}}
        finally:
            self._served -= 1
        with suppress(Gone):
            await self._send({"id": message.id, **answer})
