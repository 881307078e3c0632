"""A place in the tree for a task that is no actor: a socket's connection, a waiting request, a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import structlog
import trio

from goclaw.runtime.address import Address
from goclaw.runtime.faults import NoSuchActor
from goclaw.runtime.message import Envelope, Message, Told
from goclaw.runtime.system import System

log = structlog.get_logger()

Sink = Callable[[Message[Any]], Told]


class Inbox:
    """Receives what groups publish and others tell. `sink` decides what is kept; it must not wait.

    A crash of the hosting task ends the inbox with it: nothing is restarted here, the peer comes back.
    """

    def __init__(self, system: System, address: Address, kind: str, sink: Sink) -> None:
        self.system = system
        self.address = address
        self.kind = kind
        self.groups: set[str] | None = None
        self.born_at = trio.current_time()
        self.received = 0
        self._sink = sink

    def deliver(self, envelope: Envelope) -> Told:
        self.received += 1
        if envelope.reply is not None:
            envelope.reply.fail(NoSuchActor(f"{self.address} is an inbox: it can be told, not asked"))
            return Told.CLOSED
        try:
            return self._sink(envelope.message)
        except Exception:  # the sender must not fail for what its receiver does
            log.exception("inbox.sink_failed", inbox=self.address)
            return Told.CLOSED

    def join(self, group: str) -> None:
        self.system.join(group, self)


@contextmanager
def inbox(system: System, address: Address, kind: str, sink: Sink) -> Iterator[Inbox]:
    """Registered as long as the block runs. Raises `AlreadyRegistered`."""
    box = Inbox(system, address, kind, sink)
    system.register(box)
    try:
        yield box
    finally:
        system.forget(box)
