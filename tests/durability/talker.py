"""A client as a sensible person would write it, who keeps notes: what was sent, acknowledged, answered, refused.

It says the same thing again, under the same key, until it has an answer: after a lost connection, a gateway that
is not there, a refusal that says it may be tried again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from urllib.parse import urlsplit

import trio
from trio_websocket import ConnectionClosed, HandshakeError, WebSocketConnection, wrap_client_stream

from tests.durability.checker import Said
from tests.e2e.gateway import Gateway, Json

AGAIN = 0.25  # seconds before the next try of anything
GIVE_UP = 240.0  # seconds for one answer, kills and all
SHAKE = 5.0  # seconds for the handshake of a socket
PIPELINE = 3  # inputs of one client under way at a time

LOST = (ConnectionClosed, HandshakeError, trio.BrokenResourceError, trio.TooSlowError, OSError)


class Talker:
    def __init__(self, gateway: Gateway, name: str, session: str | None = None) -> None:
        self.gateway = gateway
        self.name = name
        self.session = session or f"agent:default:ws:direct:{name}"
        self.notes: list[Said] = []
        self.reconnects = 0
        self.refusals: list[str] = []  # codes of those it did not accept as the end

    async def say(self, *texts: str, pipeline: int = PIPELINE) -> list[Said]:
        """Say all of it in this order and return when everything has its end."""
        notes = [Said(text, self.session) for text in texts]
        self.notes += notes
        with trio.move_on_after(GIVE_UP + len(texts)) as limit:
            while left := [said for said in notes if said.content is None and not said.error]:
                try:
                    await self._converse(left, pipeline)
                except* LOST:
                    self.reconnects += 1
                    await trio.sleep(AGAIN)
        if limit.cancelled_caught:
            open_ = [(said.text, said.run_id) for said in left]
            raise AssertionError(f"{self.name} waits for {open_} after {self.reconnects} connections")
        return notes

    async def _converse(self, left: list[Said], pipeline: int) -> None:
        """As far as one connection goes. Raises LOST."""
        url = urlsplit(self.gateway.address)
        tcp = await trio.open_tcp_stream(url.hostname or "", url.port or 80)
        async with tcp, trio.open_nursery() as nursery:
            with trio.fail_after(SHAKE):  # the library waits for ever when the other side dies in the handshake
                wire = await wrap_client_stream(nursery, tcp, url.netloc, "/ws")
            params = {"token": self.gateway.token, "user_id": self.name}
            await wire.send_message(json.dumps({"type": "req", "id": "hello", "method": "connect", "params": params}))
            under_way: dict[str, Said] = {}
            waiting = iter(left)
            await self._send(wire, under_way, waiting, pipeline)
            while under_way:
                frame = json.loads(await wire.get_message())
                if await self._note(frame, under_way):
                    await self._send(wire, under_way, waiting, pipeline)
            await wire.aclose()

    async def _send(
        self, wire: WebSocketConnection, under_way: dict[str, Said], waiting: Iterable[Said], pipeline: int
    ) -> None:
        for said in waiting if len(under_way) < pipeline else ():
            under_way[said.nonce] = said
            params = {"message": said.text, "sessionKey": self.session, "idempotencyKey": said.nonce, "stream": True}
            await wire.send_message(
                json.dumps({"type": "req", "id": said.nonce, "method": "chat.send", "params": params})
            )
            if len(under_way) >= pipeline:
                return

    async def _note(self, frame: Json, under_way: dict[str, Said]) -> bool:
        """Write down what the frame says. True if an input has its end."""
        if frame.get("event") == "agent" and frame["payload"]["type"] == "run.queued":
            asked = frame["payload"]["payload"].get("requestId")
            if asked in under_way:
                under_way[asked].run_id = frame["payload"]["runId"]
        if frame["type"] != "res" or frame["id"] not in under_way:
            return False
        said = under_way.pop(frame["id"])
        if frame["ok"]:
            said.run_id, said.content = frame["payload"]["runId"], frame["payload"]["content"]
            return True
        error = frame["error"]
        if error.get("retryable") and error.get("details", {}).get("reason") != "crashed":
            self.refusals.append(error["code"])
            raise ConnectionAbortedError  # begin again, in order, with what is left
        said.error = f"{error['code']} {error.get('details', {}).get('reason', '')}"
        return True
