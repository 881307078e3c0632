"""What an operation may touch: who asks, the actors, the store, the facts of this gateway."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from socket import gethostname
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar
from weakref import WeakValueDictionary

import trio

from goclaw.domain.access import Caller
from goclaw.domain.cluster import Ownership
from goclaw.domain.delivery import Courier, Line
from goclaw.domain.errors import Err, Rejected
from goclaw.domain.events import RunEvent
from goclaw.domain.ids import new_id
from goclaw.operations.bulletin import Bulletin
from goclaw.operations.replay_buffer import ReplayBuffer
from goclaw.providers.authority import Login
from goclaw.runtime.address import Address
from goclaw.runtime.message import Message
from goclaw.runtime.system import System
from goclaw.security.box import Box
from goclaw.security.estop import Brake
from goclaw.security.known import Known
from goclaw.security.links import Links
from goclaw.security.policy_book import PolicyBook
from goclaw.security.scrub import secrets_of
from goclaw.settings.settings import Settings
from goclaw.settings.writer import ConfigFile
from goclaw.stores.audit_book import AuditBook
from goclaw.tools.tool import Tool

if TYPE_CHECKING:
    from goclaw.operations.actor_events import Follow

P = ParamSpec("P")
T = TypeVar("T")


class Guest(Protocol):
    """An open socket, as health shows it."""

    def facts(self) -> dict[str, Any]: ...
    def is_of(self, caller: Caller) -> bool: ...
    def follow(self, wanted: Follow | None) -> None: ...
    def replay(self, events: Sequence[RunEvent]) -> int: ...


@dataclass
class House:
    """What every request of this gateway shares. `draining`, `connections` and the counters change."""

    settings: Settings
    system: System
    version: str
    node_id: str
    tools: int  # how many tools agents have
    production: bool = False  # GOCLAW_ENV
    draining: bool = False
    ownership: Ownership = field(default_factory=Ownership)
    database_lost: bool = False  # as of the last look at it
    connections: dict[str, Guest] = field(default_factory=dict)
    node_name: str = ""  # empty: the name of the machine
    box: Box = field(default_factory=Box)
    builtin: Mapping[str, Tool] = field(default_factory=dict)  # tools of the code
    known: Known = field(default_factory=Known)  # the secrets in use, which nobody is told
    policy: PolicyBook = field(default_factory=PolicyBook)
    brake: Brake = field(default_factory=Brake)
    audit: AuditBook | None = None  # None: a house of tests, which nobody has to answer for
    config: ConfigFile | None = None  # None: a house of tests, which was not read from one
    restart: Callable[[], None] | None = None  # end in order, and begin again; None: it cannot
    restarting: bool = False
    auth_base: str = ""  # of ChatGPT accounts; empty: the real one
    couriers: dict[Line, Courier] = field(default_factory=dict)  # of the channel instances there are
    logins: dict[str, Login] = field(default_factory=dict)  # begun, by state
    turns_offered: int = 0  # since the start, through any door …
    turns_refused: int = 0  # … and how many of them were not taken in

    def __post_init__(self) -> None:
        self.bulletin = Bulletin(self.system)
        self.replays = ReplayBuffer(self.system)
        self.known.hold("settings", secrets_of(self.settings))
        self.changing_config = trio.StrictFIFOLock()
        self.links = Links(self.box.signing("files"))
        self.mask = secrets.token_bytes(16)  # what names of actors that others may not know are made with
        self.on_the_way: WeakValueDictionary[str, trio.StrictFIFOLock] = WeakValueDictionary()
        self.started_at = self.system.clock.monotonic()
        self.node_name = self.node_name or gethostname()

    @property
    def uptime_ms(self) -> int:
        return int((self.system.clock.monotonic() - self.started_at) * 1000)

    @contextmanager
    def counting_a_turn(self) -> Iterator[None]:
        """Around its acceptance; whatever leaves the block is a refusal."""
        self.turns_offered += 1
        try:
            yield
        except BaseException:
            self.turns_refused += 1
            raise

    @property
    def embedded(self) -> bool:
        return self.settings.database.mode == "embedded"


class Context:
    """One request. Identity comes from `caller`, never from the input."""

    def __init__(
        self,
        house: House,
        caller: Caller,
        *,
        request_id: str | int | None = None,
        connection_id: str = "",
        peer: str = "",
        route: str = "",
        idempotency_key: str = "",
    ) -> None:
        self.house = house
        self.caller = caller
        self.peer = peer  # the address it came from
        self.route = route  # of the HTTP request, if it was one …
        self.idempotency_key = idempotency_key  # … and the key in its header
        self.replayed = False  # it was asked before: the answer is that of the first time
        self.request_id = request_id  # of the socket frame, if it was one
        self.connection_id = connection_id
        self.received_at = house.system.clock.epoch_ms()

    @property
    def system(self) -> System:
        return self.house.system

    @property
    def user_id(self) -> str:
        """Who the caller is. Refuses a caller that did not say."""
        if not self.caller.user_id:
            raise Rejected(Err("INVALID_REQUEST", "user_id_required", {"reason": "user_id_required"}))
        return self.caller.user_id

    async def ask(self, to: Address, message: Message[T], within: float) -> T:
        """Ask an actor; its refusal is raised as `Rejected`."""
        return await self.system.ask(to, message, within, principal=self.caller)

    async def db(self, work: Callable[Concatenate[Any, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a store function in one transaction."""
        result: T = await self.system.database.run(work, *args, **kwargs)
        return result

    def in_order(self, session_key: str | None) -> trio.StrictFIFOLock:
        """Held while a turn is on its way to its session: turns arrive as they were sent, whatever each waits for."""
        if session_key is None:
            return trio.StrictFIFOLock()
        return self.house.on_the_way.setdefault(f"{self.caller.tenant_id}/{session_key}", trio.StrictFIFOLock())

    def new_id(self) -> str:
        return new_id()

    def now(self) -> datetime:
        return self.system.clock.now()
