"""Tool calls, counted. Contract: tools.md §7."""

from __future__ import annotations

from msgspec import Struct

from goclaw.runtime.message import Message


class TooMany(Struct, frozen=True):
    limit: int  # calls in an hour
    wait: float  # seconds until one more may be made


class TakeCall(Message[TooMany | None]):
    """A tool is about to be called. None: it may be, and counts."""

    session: str
    payer: str  # an agent and a user
