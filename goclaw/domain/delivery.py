"""Messages on their way to a chat platform: what is sent, who carries it. Contract: durability.md §7.3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol, runtime_checkable

from msgspec import Struct

from goclaw.runtime.message import Message

DeliveryKind = Literal["final", "block", "reasoning", "notice", "progress", "command_reply", "approval"]
NEVER = frozenset({"ws", "cli", "system"})  # channels whose readers hear events; data-model.md §9
Line = tuple[str, str]  # tenant and channel instance


class Delivery(Struct, frozen=True, kw_only=True):
    """One message for one chat. `nonce` is the same in every attempt."""

    outbox_id: str
    tenant_id: str
    run_id: str | None
    seq: int
    channel_instance: str
    chat_id: str
    local_key: str
    kind: DeliveryKind
    payload: dict[str, Any]
    nonce: str
    attempt: int  # 1 the first time
    doubtful: bool  # it may have arrived already: an earlier attempt was not seen to end
    spent: bool = False  # and neither was the one after it


class Parcel(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file that goes with a message, in its payload's `media`: opened and checked when it is sent, not before."""

    workspace: str  # its directory
    path: str  # in it
    content_type: str
    caption: str = ""
    as_voice: bool = False

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


class NotDelivered(Exception):
    """The platform did not take it.

    `final`: trying again is pointless. `unknown`: nobody can tell whether it was taken. `retry_after` in seconds.
    """

    def __init__(
        self, message: str, *, final: bool = False, unknown: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.final = final
        self.unknown = unknown
        self.retry_after = retry_after


class Courier(Protocol):
    """Brings messages to one channel instance. A call that takes too long is cancelled."""

    @property
    def takes_nonce(self) -> bool:
        """The platform drops a second message with the same nonce."""
        ...

    async def send(self, delivery: Delivery) -> str:
        """The platform's id of the message. Raises `NotDelivered`."""
        ...


@runtime_checkable
class LooksUp(Courier, Protocol):
    """A courier whose platform can be asked what arrived."""

    async def find(self, nonce: str) -> str | None:
        """The platform's id of the message with this nonce; None if it did not arrive. Raises `NotDelivered`."""
        ...


@runtime_checkable
class TakesFiles(Courier, Protocol):
    """A courier whose platform takes files."""

    async def send_files(self, delivery: Delivery, files: Sequence[tuple[Parcel, int]]) -> str:
        """The message with its files, each an open descriptor to read from. As `send`."""
        ...


@runtime_checkable
class Edits(Courier, Protocol):
    """A courier whose platform can change what it was sent. `NotDelivered` with `final`: it will not."""

    async def edit(self, chat_id: str, message_id: str, text: str) -> None: ...


@runtime_checkable
class Reacts(Courier, Protocol):
    async def react(self, chat_id: str, message_id: str, emoji: str) -> None: ...


@runtime_checkable
class Deletes(Courier, Protocol):
    async def delete(self, chat_id: str, message_id: str) -> None: ...


@runtime_checkable
class OpensTopics(Courier, Protocol):
    async def open_topic(self, chat_id: str, name: str, icon_color: int | None) -> str:
        """The platform's id of the topic."""
        ...


class Member(Struct, frozen=True):
    id: str
    name: str


@runtime_checkable
class ListsMembers(Courier, Protocol):
    async def members(self, chat_id: str, limit: int) -> Sequence[Member]: ...


Ability = Literal["files", "edit", "react", "delete", "topics", "members"]
ABILITIES: dict[Ability, type] = {
    "files": TakesFiles,
    "edit": Edits,
    "react": Reacts,
    "delete": Deletes,
    "topics": OpensTopics,
    "members": ListsMembers,
}


def can(courier: Courier | None, ability: Ability) -> bool:
    """Whether a channel offers it."""
    return isinstance(courier, ABILITIES[ability])


class Post(Message[None]):
    """To the outbox: something was put in. A hint, never needed: it looks by itself every two seconds."""


class DeliveryDied(Message[None]):
    """To operators: a message was given up."""

    tenant_id: str
    outbox_id: str
    channel_instance: str
    chat_id: str
    run_id: str | None
    error: str
