"""One socket: reads requests, answers each exactly once, passes events on, notices when nobody is there.

Place in the tree   /edge/conns/{id}
Contract            edge-websocket.md §1, §2, §4, §6
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Mapping
from typing import Any, NoReturn

import structlog
import trio

from goclaw.domain.access import Caller
from goclaw.domain.address import CONNECTIONS
from goclaw.domain.errors import (
    Err,
    Rejected,
    connect_first,
    exhausted,
    failed_precondition,
    role_too_low,
    unknown_method,
)
from goclaw.domain.events import EVERYBODY, Farewell, of_admins, of_user
from goclaw.edge.door import Link, LinkClosed
from goclaw.edge.gatekeeper import Gatekeeper
from goclaw.edge.outcomes import refusal_of
from goclaw.edge.ws import frames
from goclaw.edge.ws.connect import Client, greet
from goclaw.edge.ws.frames import BadFrame, Request
from goclaw.edge.ws.news import entry_of
from goclaw.edge.ws.outbox import Entry, Outbox
from goclaw.operations.context import Context, House
from goclaw.operations.gateway import PROTOCOL, status_of
from goclaw.operations.operation import Operation, Rpc
from goclaw.operations.params import decode
from goclaw.runtime.inbox import Inbox, inbox
from goclaw.runtime.message import Message, Told

HANDSHAKE = 15.0  # seconds from 101 to a connect; §1.1, with all below
ATTEMPTS = 3
PING = 30.0
SILENCE = 60.0
IN_FLIGHT = 64
FLOOD = (200, 10.0)  # frames in seconds
GARBAGE = (10, 60.0)  # malformed frames in seconds
FAREWELL = 2.0  # seconds for what is still to be written when we end a connection
MESSAGE_BYTES = 524_288

Methods = Mapping[str, tuple[Operation, Rpc]]
log = structlog.get_logger()


class Closing(Exception):
    """We end this connection, with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Connection:
    def __init__(
        self,
        house: House,
        methods: Methods,
        gatekeeper: Gatekeeper,
        link: Link,
        *,
        peer: str,
        bearer: str | None,
        locale: str,
    ) -> None:
        self.id = f"conn_{secrets.token_hex(6)}"
        self._house = house
        self._methods = methods
        self._gatekeeper = gatekeeper
        self._link = link
        self._peer = peer
        self._bearer = bearer
        self._locale = locale
        self._caller: Caller | None = None
        self._client = Client()
        self._attempts = 0
        self._outbox = Outbox()
        self._news = trio.Event()
        self._in_flight: set[str | int] = set()
        self._frames: deque[float] = deque(maxlen=FLOOD[0])
        self._bad: deque[float] = deque(maxlen=GARBAGE[0])
        self._began_at = house.system.clock.now()
        self._greeted = trio.Event()
        self._leaving = trio.Event()
        self._writing = False
        self._quiet = trio.lowlevel.ParkingLot()  # woken when all that was to be said is written
        self._overrun = False

    async def live(self) -> None:
        """Until the peer leaves or we close. What it started goes on without it."""
        with inbox(self._house.system, CONNECTIONS / self.id, "Connection", self._hear) as box:
            code, reason = 1000, ""
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    nursery.start_soon(self._watch)
                    nursery.start_soon(self._say_goodbye)
                    try:
                        await self._read(nursery, box)
                    except Closing as ending:
                        await self._hang_up(ending)
            except* Closing as ending:
                first = ending.exceptions[0]
                code, reason = (first.code, first.reason) if isinstance(first, Closing) else (1011, "")
            except* LinkClosed:
                pass
            finally:
                self._house.connections.pop(self.id, None)
            await self._link.close(code, reason)

    # --- for health ---------------------------------------------------------------------------

    def facts(self) -> dict[str, Any]:
        caller = self._caller or Caller()
        return {
            "id": self.id,
            "remoteAddr": self._peer,
            "userId": caller.user_id,
            "role": caller.role.label,
            "connectedAt": self._began_at,
            "client": self._client,
        }

    def is_of(self, caller: Caller) -> bool:
        return self._caller is not None and self._caller.user_id == caller.user_id

    # --- in -----------------------------------------------------------------------------------

    async def _read(self, nursery: trio.Nursery, box: Inbox) -> None:
        while True:
            text = await self._link.receive()
            if isinstance(text, bytes):
                raise Closing(1003, "binary")
            self._pace(self._frames, FLOOD[1], Closing(4429, "flood"))
            try:
                request = frames.parse(text)
            except BadFrame as bad:
                self._put(Entry("keep", "", frames.refusal(bad.id, bad.err, self._locale)))
                self._pace(self._bad, GARBAGE[1], Closing(4400, "malformed"))
                continue
            if request.method == "connect":
                self._connect(request, box)
            elif self._caller is None:
                self._refuse(request.id, connect_first())
            elif request.id in self._in_flight:
                self._refuse(request.id, Err("INVALID_REQUEST", "malformed", {"reason": "duplicate_id", "what": "id"}))
            elif len(self._in_flight) >= IN_FLIGHT:
                self._refuse(request.id, exhausted("too_many_in_flight", 1.0))
            else:
                self._in_flight.add(request.id)
                nursery.start_soon(self._answer, request, self._caller)

    async def _answer(self, request: Request, caller: Caller) -> None:
        """Method, role, parameters, work: in this order (§4). Exactly one response."""
        try:
            found = self._methods.get(request.method)
            if found is None:
                raise Rejected(unknown_method(request.method))
            operation, surface = found
            if caller.role < surface.role:
                raise Rejected(role_too_low(request.method, surface.role.label))
            ask = decode(operation.input, request.params)
            ctx = Context(self._house, caller, request_id=request.id, connection_id=self.id)
            text = frames.response(request.id, surface.reply(await operation.fn(ctx, ask)))
        except Exception as error:  # the connection's boundary: every outcome is an answer
            text = frames.refusal(request.id, refusal_of(error, request.method), caller.locale)
        self._in_flight.discard(request.id)
        self._put(Entry("keep", "", text))

    def _connect(self, request: Request, box: Inbox) -> None:
        if self._caller is not None:
            return self._refuse(request.id, failed_precondition("already_connected"))
        try:
            caller, self._client = greet(
                self._gatekeeper, request.params, bearer=self._bearer, peer=self._peer, locale=self._locale
            )
        except Rejected as refusal:
            self._refuse(request.id, refusal.err)
            self._attempts += 1
            if self._attempts >= ATTEMPTS:
                raise Closing(4401, "auth_failed") from None
            return None
        self._caller, self._locale = caller, caller.locale
        self._house.connections[self.id] = self
        self._greeted.set()
        admins = caller.is_admin
        box.join(of_admins(caller.tenant_id) if admins else of_user(caller.tenant_id, caller.user_id))
        box.join(EVERYBODY)
        self._put(Entry("keep", "", frames.response(request.id, self._welcome(caller))))
        return None

    def _welcome(self, caller: Caller) -> dict[str, Any]:
        return {
            "protocol": PROTOCOL,
            "role": caller.role.label,
            "user_id": caller.user_id,
            "tenant_id": caller.tenant_id,
            "tenant_slug": caller.tenant_slug,
            "tenant_name": caller.tenant_name,
            "is_owner": caller.is_owner,
            "cross_tenant": caller.is_owner,
            "connection_id": self.id,
            "locale": caller.locale,
            "server": {"name": "goclaw", "version": self._house.version, "uptimeMs": self._house.uptime_ms},
            "limits": {
                "maxMessageBytes": MESSAGE_BYTES,
                "pingIntervalMs": int(PING * 1000),
                "outboxFrames": 256,
                "resumeWindowMs": 0,  # runs are re-read from the history; there is no event buffer yet
            },
            "stateVersion": self._versions(),
            "methods": sorted(name for name, (_, rpc) in self._methods.items() if caller.role >= rpc.role),
        }

    # --- out ----------------------------------------------------------------------------------

    def _hear(self, message: Message[Any]) -> Told:
        """From the house: an event for this socket. Must not wait."""
        if isinstance(message, Farewell):
            self._leaving.set()
        elif (entry := entry_of(message, self.id)) is not None:
            self._put(entry)
        return Told.ACCEPTED

    def _refuse(self, id: str | int, err: Err) -> None:
        self._put(Entry("keep", "", frames.refusal(id, err, self._locale)))

    def _put(self, entry: Entry) -> None:
        if not self._outbox.put(entry):
            self._overrun = True
        self._news.set()

    async def _write(self) -> None:
        while True:
            self._writing = True
            while len(self._outbox):
                if self._overrun:
                    raise Closing(4408, "slow_consumer")
                await self._link.send(self._outbox.take())
            self._writing = False
            self._quiet.unpark_all()
            self._news = trio.Event()
            await self._news.wait()

    async def _watch(self) -> None:
        """The handshake's deadline, then liveness and the regular news of an idle socket."""
        with trio.move_on_after(HANDSHAKE):
            await self._greeted.wait()
        if self._caller is None:
            raise Closing(4401, "handshake_timeout")
        beats = 0
        while True:
            await trio.sleep(PING)
            if trio.current_time() - self._link.heard_at > SILENCE:
                raise Closing(4408, "idle")
            await self._link.ping()
            beats += 1
            self._tell("tick", {"ts": self._now_ms(), "uptimeMs": self._house.uptime_ms})
            if beats % 2 == 0:
                self._tell("health", self._health())

    def _tell(self, event: str, payload: dict[str, Any]) -> None:
        self._put(Entry("newest", event, payload, more={"stateVersion": self._versions()}))

    def _health(self) -> dict[str, Any]:
        house = self._house
        return {"status": status_of(house), "version": house.version, "uptimeMs": house.uptime_ms}

    def _versions(self) -> dict[str, int]:
        return {"presence": len(self._house.connections), "health": 1}

    def _now_ms(self) -> int:
        return int(self._house.system.clock.now().timestamp() * 1000)

    async def _say_goodbye(self) -> None:
        """At shutdown: open requests have been answered by their operations; write that, then close."""
        await self._leaving.wait()
        await self._hang_up(Closing(1001, "shutdown"), wait_for_answers=True)

    async def _hang_up(self, ending: Closing, *, wait_for_answers: bool = False) -> NoReturn:
        """End when all that was to be said is written: a frame cut short would cost the peer our reason too."""
        with trio.move_on_after(FAREWELL):
            while self._writing or len(self._outbox) or (wait_for_answers and self._in_flight):
                await self._quiet.park()
        raise ending

    def _pace(self, seen: deque[float], within: float, too_much: Closing) -> None:
        now = trio.current_time()
        seen.append(now)
        if len(seen) == seen.maxlen and now - seen[0] < within:
            raise too_much
