"""Where calls with effects are written down before they are made, so that none is made twice.

The port; the store behind it belongs to the run. Contract: durability.md §7.2.
"""

from __future__ import annotations

import mimetypes
from datetime import datetime
from typing import Protocol

import msgspec


class Media(msgspec.Struct, frozen=True):
    """A file to be delivered with the answer."""

    path: str  # relative to the workspace
    mime: str
    as_voice: bool = False
    caption: str = ""


def kind_of(name: str) -> str:
    """The MIME type of a file, by its name."""
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


class ToolResult(msgspec.Struct, frozen=True, kw_only=True):
    """`text` is for the model; an error starts with `Error: ` and says what to do next."""

    text: str
    is_error: bool = False
    error_code: str = ""
    duration_ms: int = 0
    for_user: str = ""  # what clients show; empty: nothing but that it ran
    silent: bool = False
    media: tuple[Media, ...] = ()
    data: msgspec.Raw = msgspec.Raw(b"null")


class Place(msgspec.Struct, frozen=True):
    """Where in its run a call stands: the step that asked for it, and its number there. Survives a crash."""

    step: int
    index: int


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    place: Place
    tool: str
    effect: str
    request_hash: str
    before: str = ""  # what the tool wanted to remember
    adopts: str = ""  # the key of the call of an earlier try that this one stands for
    settled: bool = False  # its result is known, so nothing will be done


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """A call that was begun before: in this place by an earlier life, or in an earlier try whose steps are forgotten.

    `result` is there if its end was seen too. `key` is what its target knows it by.
    """

    key: str
    request_hash: str
    before: str
    at: datetime
    result: ToolResult | None
    former: bool = False  # of an earlier try; the model of this one does not know of it


class LedgerConflict(Exception):
    """A call is not the one that was begun in its place: a bug, or somebody changed the database."""


class Ledger(Protocol):
    def key(self, place: Place) -> str:
        """What targets know the call by."""

    async def past(self, place: Place, request_hash: str) -> Past | None:
        """What is known of a call; None if it was never begun. Each call of an earlier try stands for one of these."""

    async def begin(self, call: Begun) -> None:
        """Write down that a call is about to be made. Returns when that is stored."""
