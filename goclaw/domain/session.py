"""Sessions: a conversation's key, and what its actor understands. Contract: sessions-lanes-cron.md §1, §3."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Hashable
from datetime import datetime
from typing import ClassVar, Literal
from urllib.parse import quote

import msgspec
from msgspec import Struct

from goclaw.domain.queue_policy import NOTHING, Override, QueueMode
from goclaw.domain.run import Lane, RunKind, RunRequest
from goclaw.runtime.address import SAFE
from goclaw.runtime.message import Message

KEY_CHARS = 500  # S1.2, and what a segment of an address holds
ENCODED = re.compile(r"[\x00-\x20\x7f-\x9f]")  # of a peer or chat; S1.2
SHORT = re.compile(r"[^:\s]{1,200}\Z")  # a name somebody gives a session on the command line; S1.7

KeyKind = Literal[
    "direct",
    "group",
    "main",
    "ws",
    "http",
    "cli",
    "wake",
    "subagent",
    "delegate",
    "team",
    "cron",
    "heartbeat",
    "replay",
]

NAMED: dict[str, KeyKind] = {
    "ws": "ws",
    "http": "http",
    "cli": "cli",
    "wake": "wake",
    "subagent": "subagent",
    "delegate": "delegate",
    "team": "team",
    "cron": "cron",  # also in its older form `cron:<job>:run:<run>` (S1.8)
    "heartbeat": "heartbeat",
    "replay": "replay",
}
LANE_OF_KEY: dict[KeyKind, Lane] = {
    "subagent": "subagent",
    "delegate": "team",
    "team": "team",
    "cron": "cron",
    "heartbeat": "cron",
    "replay": "cron",
}
ALONE = frozenset(
    {"cli", "subagent", "delegate", "team", "cron", "heartbeat", "replay"}
)  # their rest is a name, never a group


class SessionKey(Struct, frozen=True):
    """`agent:<agent key>:<rest>`; the rest may hold colons."""

    agent_key: str
    rest: str

    def __str__(self) -> str:
        return f"agent:{self.agent_key}:{self.rest}"

    @property
    def channel(self) -> str:
        return self.rest.partition(":")[0]

    @property
    def kind(self) -> KeyKind:
        first, *more = self.rest.split(":", 2)
        if len(more) == 2 and more[0] == "group" and first not in ALONE:
            return "group"
        return NAMED.get(first) or ("direct" if more else "main")

    @property
    def group(self) -> bool:
        return self.kind == "group"

    @property
    def lane(self) -> Lane:
        """Where its runs work. One lane per session: its head belongs to one (durability.md §5.1)."""
        return LANE_OF_KEY.get(self.kind, "main")


def key_of(agent_key: str, *parts: str) -> SessionKey:
    """The key made of these parts; in peers and chats control characters and spaces are percent-encoded (S1.2)."""
    rest = ":".join(ENCODED.sub(lambda odd: quote(odd[0], safe=""), part) for part in parts)
    return SessionKey(agent_key, rest)


def cli_key(name: str, agent_key: str) -> str:
    """What a name given on the command line stands for: a whole key, or a session of that agent (S1.7)."""
    return str(key_of(agent_key, "cli", name)) if SHORT.match(name) else name


def parse_key(text: str) -> SessionKey:
    """Raises ValueError unless `text` is `agent:<key>:<rest>` of at most 500 printable characters.

    A character counts as often as it has bytes in the session's address: 9 for a Chinese one.
    """
    prefix, _, tail = text.partition(":")
    agent_key, _, rest = tail.partition(":")
    if (
        prefix != "agent"
        or not agent_key
        or not rest
        or not text.isprintable()
        or len(quote(text[: KEY_CHARS + 1], SAFE)) > KEY_CHARS
    ):
        raise ValueError("a session key is agent:<agent key>:<rest>")
    return SessionKey(agent_key, rest)


class Earlier(Struct, frozen=True, kw_only=True):
    """A message a caller brings along as the history of a fresh session (edge-http.md §2.3)."""

    role: Literal["user", "assistant"]
    content: str


class Terms(Struct, frozen=True, kw_only=True):
    """What a task may ask for beyond what its kind gives it. `priority` is the base, 0–10."""

    priority: int
    max_attempts: int
    run_at: datetime | None = None  # not before
    resource_keys: tuple[str, ...] = ()
    keys_inferred: bool = False  # nobody asked for them


class Accepted(Message[None]):
    """The turn is stored. `position` 0 runs now.

    `merged`: it is part of a turn that was there already. `injected`: the run that works has taken it.
    """

    run_id: str
    session_key: str
    position: int
    merged: bool = False
    injected: bool = False


class Send(Message[Accepted]):
    """Add a turn. Answered when it is committed, not when it has run.

    `run_id` is the sender's choice, so that it can listen before anything happens. A turn sent again with its
    idempotency key is not stored twice: the answer names the run of the first time.
    """

    TYPE: ClassVar[str] = "session.enqueue"

    run_id: str
    user_id: str
    as_admin: bool  # may write to somebody else's session
    agent_id: str
    agent_key: str
    kind: RunKind
    request: RunRequest
    before: str = ""  # what the same sender said just before it, to be answered with it
    earlier: tuple[Earlier, ...] = ()
    terms: Terms | None = None  # those of its kind
    idempotency_key: str = ""  # the same key again means the same turn; whose and where from is part of it
    fresh: bool = False  # the key was made for this turn, so nothing is stored under it
    mode: QueueMode | Literal["inject"] | None = None  # None: the session's own (sessions-lanes-cron.md §3.2)
    debounce_ms: int | None = None  # wait so long for more of the same sender; None: as its kind does (§3.3)
    queue: Override = NOTHING  # what its agent says of waiting (§3.1)
    timeout: float | None = None  # seconds from acceptance to its end; None: as its kind has it
    received_at: int = 0  # epoch milliseconds at the door; 0: just now
    provider: str = ""  # who will answer, as far as is known at the door
    unmetered: bool = False  # an owner asks: no quota holds
    asked_by: str = ""  # the socket connection, which alone hears `request_id` back
    request_id: str | int | None = None

    @property
    def text(self) -> str:
        return f"{self.before}\n{self.request.message}" if self.before else self.request.message

    @property
    def poison_key(self) -> Hashable:
        return (self.user_id, self.idempotency_key) if self.idempotency_key else None

    def digest(self, session_key: str) -> str:
        """Equal for what asks for the same. How the answer is shown, streamed or whole, or in what language, is not."""
        request = msgspec.structs.replace(self.request, stream=True, locale="en")
        named = "" if self.fresh else session_key
        terms = self.terms and msgspec.structs.replace(self.terms, run_at=None)  # a moment that is over is left out
        asked = [named, self.agent_id, self.kind, request, self.earlier, terms]
        return hashlib.sha256(msgspec.json.encode(asked)).hexdigest()


class Aborted(Message[None]):
    run_ids: tuple[str, ...]  # runs that were asked to stop
    drained: int  # waiting runs that were cancelled


class Abort(Message[Aborted]):
    """Stop runs: one by id, the oldest, or all; with `drain` the waiting ones too (edge-websocket.md §7.2.2)."""

    user_id: str
    as_admin: bool
    run_id: str = ""
    oldest: bool = False
    drain: bool = False
    reason: str = "user"
    received_at: int = 0  # as in `Send`; what a drain makes stale came before it


class Injected(Message[None]):
    message_id: str


class Inject(Message[Injected]):
    """Put a text into the history without a run."""

    user_id: str
    as_admin: bool
    role: Literal["assistant", "system"]
    text: str
    label: str = ""


class FlushWindows(Message[None]):
    """Nobody knows how long we live: what waits for more of its sender goes into the queue now."""


class Activity(Message[None]):
    running: tuple[str, ...]
    waiting: tuple[str, ...]


class GetActivity(Message[Activity]):
    """What runs and waits here, oldest first."""


WINDOWS = 5  # a window closes after so many of its lengths, whatever else is said (§3.3)
OPEN_WINDOWS = "sessions.windows"  # the group of the sessions that hold texts back


class RunLost(Message[None]):
    """From a run that is no longer ours: it ended or belongs to somebody else, only the database knows."""


class RunEnded(Message[None]):
    """From a run or its lane to the session: the run is over."""

    run_id: str
    first: bool = False  # it is the first exchange of two people, and the session has no name of its own
    long: bool = False  # the history may have become too long …
    tokens: int = 0  # … which with this run took so many
