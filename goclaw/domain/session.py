"""Sessions: a conversation's key, and what its actor understands. Contract: sessions-lanes-cron.md §1, §3."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from datetime import datetime
from typing import ClassVar, Literal
from urllib.parse import quote

import msgspec
from msgspec import Struct

from goclaw.domain.run import RunKind, RunRequest
from goclaw.runtime.address import SAFE
from goclaw.runtime.message import Message

KEY_CHARS = 500  # S1.2, and what a segment of an address holds


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
    def kind(self) -> Literal["direct", "group"]:
        return "group" if self.rest.split(":", 2)[1:2] == ["group"] else "direct"


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


class Accepted(Message[None]):
    """The turn is stored. `position` 0 runs now."""

    run_id: str
    session_key: str
    position: int


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
    earlier: tuple[Earlier, ...] = ()
    terms: Terms | None = None  # those of its kind
    idempotency_key: str = ""  # the same key again means the same turn; whose and where from is part of it
    fresh: bool = False  # the key was made for this turn, so nothing is stored under it
    asked_by: str = ""  # the socket connection, which alone hears `request_id` back
    request_id: str | int | None = None

    @property
    def poison_key(self) -> Hashable:
        return (self.user_id, self.idempotency_key) if self.idempotency_key else None

    def digest(self, session_key: str) -> str:
        """Equal for what asks for the same. How the answer is shown, streamed or whole, is no part of it."""
        request = msgspec.structs.replace(self.request, stream=True)
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


class Injected(Message[None]):
    message_id: str


class Inject(Message[Injected]):
    """Put a text into the history without a run."""

    user_id: str
    as_admin: bool
    role: Literal["assistant", "system"]
    text: str
    label: str = ""


class Activity(Message[None]):
    running: tuple[str, ...]
    waiting: tuple[str, ...]


class GetActivity(Message[Activity]):
    """What runs and waits here, oldest first."""


class RunLost(Message[None]):
    """From a run that is no longer ours: it ended or belongs to somebody else, only the database knows."""


class RunEnded(Message[None]):
    """From a run or its lane to the session: the run is over."""

    run_id: str
