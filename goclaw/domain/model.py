"""What provider actors understand, and what becomes of a model call that did not go well at once."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from goclaw.runtime.message import Message


class BorrowProvider(Message[Any]):
    """The provider's client, to stream from in the asker's own task. Stays on this node."""


class Retrying(Struct, frozen=True):
    """The same vendor is asked again, after `error` (providers.md §8)."""

    attempt: int
    most: int
    error: str
    delay: float  # seconds


class FellBack(Struct, frozen=True):
    """Somebody else is asked, because `wanted` failed with `trouble` (providers.md §9.2)."""

    wanted: str  # provider:model
    now: str
    trouble: str


class OwnTool(Struct, frozen=True, kw_only=True):
    """A tool that the one who was asked runs by himself: told when it begins, and when it has ended."""

    id: str
    name: str
    arguments: dict[str, Any] = {}
    ended: bool = False
    is_error: bool = False
    text: str = ""  # what came of it


Note = Retrying | FellBack | OwnTool
