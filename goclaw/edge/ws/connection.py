"""One socket: reads requests, answers each exactly once, passes events on, notices when nobody is there.

Place in the tree   /edge/conns/{id}
Contract            edge-websocket.md §1, §2, §4, §6
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

import structlog
import trio

from goclaw.domain.access import Caller, Role
from goclaw.domain.address import CONNECTIONS
from goclaw.domain.errors import (
    Err,
    Rejected,
    connect_first,
    exhausted,
    failed_precondition,
    too_large,
    unknown_method,
)
from goclaw.domain.events import EVERYBODY, SOCKETS, Farewell, Pulse, RunEvent, of_admins, of_operators, of_user
from goclaw.edge.door import MESSAGE_BYTES, Link, LinkClosed
from goclaw.edge.gatekeeper import Gatekeeper
from goclaw.edge.outcomes import refusal_of
from goclaw.edge.ws import frames
from goclaw.edge.ws.connect import Client, greet
from goclaw.edge.ws.frames import BadFrame, Request
from goclaw.edge.ws.news import entry_of
from goclaw.edge.ws.outbox import BYTES, FRAMES, Burst, Entry, Outbox
from goclaw.operations.activity import denied
from goclaw.operations.actor_events import Follow
from goclaw.operations.context import Context, House
from goclaw.operations.gateway import PROTOCOL, status_of
from goclaw.operations.operation import Operation, Rpc
from goclaw.operations.params import decode
from goclaw.operations.replay_buffer import KEPT
from goclaw.runtime.inbox import Inbox, inbox
from goclaw.runtime.message import Message, Told
from goclaw.runtime.news import EVENTS, ActorNews, MailboxFilling

HANDSHAKE = 15.0  # seconds from 101 to a connect; §1.1, with all below
ATTEMPTS = 3
PING = 30.0
SILENCE = 60.0
IN_FLIGHT = 64
FLOOD = (200, 10.0)  # frames in seconds
GARBAGE = (10, 60.0)  # malformed frames in seconds
FAREWELL = 2.0  # seconds for what is still to be written when we end a connection

Methods = Mapping[str, tuple[Operation, Rpc]]
log = structlog.get_logger()


class Closing(Exception):
    """We end this connection, with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Pace:
    """Counts up to `limit` within so many seconds from the first; two numbers, because every socket has two of us."""

    __slots__ = ("_count", "_limit", "_since", "_within")

    def __init__(self, limit: int, within: float) -> None:
        self._limit = limit
        self._within = within
        self._count = 0
        self._since = 0.0

    def exceeded(self) -> bool:
        """Count one more. True from the `limit`th on."""
        now = trio.current_time()
        if now - self._since >= self._within:
            self._count, self._since = 0, now
        self._count += 1
        return self._count >= self._limit


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
        self._in_flight: set[str | int] = set()
        self._frames = Pace(*FLOOD)
        self._bad = Pace(*GARBAGE)
        self._began_at = house.system.clock.now()
        self._since = self._pinged_at = trio.current_time()
        self._ticks = 0
        self._ping_due = False
        self._writing = False
        self._quiet: trio.Event | None = None  # somebody waits until all that was to be said is written
        self._overrun = False
        self._nursery: trio.Nursery | None = None  # while we live; an idle socket has no task in it
        self._follows: Follow | None = None

    async def live(self) -> None:
        """Until the peer leaves or we close. What it started goes on without it."""
        with inbox(self._house.system, CONNECTIONS / self.id, "Connection", self._hear) as box:
            box.join(SOCKETS)
            code, reason = 1000, ""
            try:
                async with trio.open_nursery() as self._nursery:
                    try:
                        await self._read(self._nursery, box)
                    except Closing as ending:
                        await self._hang_up(ending)
                    finally:
                        self._nursery = None  # it takes nothing in while it closes
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

    # --- for operators ------------------------------------------------------------------------

    def follow(self, wanted: Follow | None) -> None:
        """Hear of the actors `wanted` names, or of none any more."""
        self._follows = wanted
        member = self._house.system.members[CONNECTIONS / self.id]
        if wanted is None:
            self._house.system.leave(EVENTS, member)
        else:
            self._house.system.join(EVENTS, member)

    # --- for who comes back -------------------------------------------------------------------

    def replay(self, events: Sequence[RunEvent]) -> int:
        """Tell what happened before, ahead of everything that is put later. How many of the events sockets hear."""
        entries = [entry for event in events if (entry := entry_of(event, self.id)) is not None]
        if entries:
            self._put(Burst(entries))
        return len(entries)

    # --- in -----------------------------------------------------------------------------------

    async def _read(self, nursery: trio.Nursery, box: Inbox) -> None:
        while True:
            text = await self._link.receive()
            if isinstance(text, bytes):
                raise Closing(1003, "binary")
            if self._frames.exceeded():
                raise Closing(4429, "flood")
            try:
                request = frames.parse(text)
            except BadFrame as bad:
                self._put(Entry("keep", "", frames.refusal(bad.id, bad.err, self._locale)))
                if self._bad.exceeded():
                    raise Closing(4400, "malformed") from None
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
                raise denied(self._house, caller, request.method, surface.role, self._peer)
            ask = decode(operation.input, request.params)
            ctx = Context(self._house, caller, request_id=request.id, connection_id=self.id, peer=self._peer)
            answer = Entry("keep", "", frames.response(request.id, surface.reply(await operation.fn(ctx, ask))))
            if answer.size > BYTES:
                raise Rejected(too_large(BYTES))  # no reader is quick enough for it
        except Exception as error:  # the connection's boundary: every outcome is an answer
            answer = Entry("keep", "", frames.refusal(request.id, refusal_of(error, request.method), caller.locale))
        self._in_flight.discard(request.id)
        self._put(answer)

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
        admins = caller.is_admin
        box.join(of_admins(caller.tenant_id) if admins else of_user(caller.tenant_id, caller.user_id))
        if caller.role >= Role.OPERATOR:
            box.join(of_operators(caller.tenant_id))
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
                "outboxFrames": FRAMES,
                "resumeWindowMs": int(KEPT * 1000),
            },
            "stateVersion": self._versions(),
            "methods": sorted(name for name, (_, rpc) in self._methods.items() if caller.role >= rpc.role),
        }

    # --- out ----------------------------------------------------------------------------------

    def _hear(self, message: Message[Any]) -> Told:
        """From the house: an event for this socket. Must not wait."""
        if isinstance(message, Pulse):
            self._beat()
        elif isinstance(message, Farewell):  # open requests have been answered by their operations
            self._end(Closing(1001, "shutdown"), wait_for_answers=True)
        elif isinstance(message, ActorNews):
            if self._follows is not None and (payload := self._follows.payload(message)) is not None:
                self._put(Entry("newest" if isinstance(message, MailboxFilling) else "keep", message.event, payload))
        elif (entry := entry_of(message, self.id)) is not None:
            self._put(entry)
        return Told.ACCEPTED

    def _refuse(self, id: str | int, err: Err) -> None:
        self._put(Entry("keep", "", frames.refusal(id, err, self._locale)))

    def _put(self, entry: Entry) -> None:
        if not self._outbox.put(entry):
            self._overrun = True
        self._write_soon()

    def _write_soon(self) -> None:
        if not self._writing and self._nursery is not None:
            self._writing = True
            self._nursery.start_soon(self._write)

    async def _write(self) -> None:
        """Lives while there is something to say."""
        while self._ping_due or len(self._outbox):
            if self._overrun:
                raise Closing(4408, "slow_consumer")
            if self._ping_due:
                self._ping_due = False
                await self._link.ping()
            else:
                await self._link.send(self._outbox.take())
        self._writing = False
        if self._quiet is not None:
            self._quiet.set()

    def _beat(self) -> None:
        """The handshake's deadline, then liveness and the regular news of an idle socket."""
        now = trio.current_time()
        if self._caller is None:
            if now - self._since > HANDSHAKE:
                self._end(Closing(4401, "handshake_timeout"))
        elif now - self._link.heard_at > SILENCE:
            self._end(Closing(4408, "idle"))
        elif now - self._pinged_at >= PING:
            self._pinged_at = now
            self._ping_due = True
            self._ticks += 1
            self._tell("tick", {"ts": self._house.system.clock.epoch_ms(), "uptimeMs": self._house.uptime_ms})
            if self._ticks % 2 == 0:
                self._tell("health", self._health())

    def _tell(self, event: str, payload: dict[str, Any]) -> None:
        self._put(Entry("newest", event, payload, more={"stateVersion": self._versions()}))

    def _health(self) -> dict[str, Any]:
        house = self._house
        return {"status": status_of(house), "version": house.version, "uptimeMs": house.uptime_ms}

    def _versions(self) -> dict[str, int]:
        return {"presence": len(self._house.connections), "health": 1}

    def _end(self, ending: Closing, *, wait_for_answers: bool = False) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(partial(self._hang_up, ending, wait_for_answers=wait_for_answers))

    async def _hang_up(self, ending: Closing, *, wait_for_answers: bool = False) -> NoReturn:
        """End when all that was to be said is written: a frame cut short would cost the peer our reason too."""
        with trio.move_on_after(FAREWELL):
            while self._writing or len(self._outbox) or (wait_for_answers and self._in_flight):
                self._quiet = trio.Event()
                await self._quiet.wait()
        raise ending
