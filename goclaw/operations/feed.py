"""Listening to one run: its events in order, merged when the reader is slow, and its result.

Contract: edge-websocket.md §6.2 (class B), edge-http.md §0.5.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import trio

from goclaw.domain.address import REQUESTS
from goclaw.domain.errors import unavailable
from goclaw.domain.events import EVERYBODY, Farewell, RunEvent, of_run
from goclaw.domain.ids import new_id
from goclaw.domain.run import RunResult
from goclaw.runtime.inbox import inbox
from goclaw.runtime.message import Message, Told
from goclaw.runtime.system import System

MERGE = 192  # waiting events from which adjacent deltas become one
DELTAS = frozenset({"chunk", "thinking"})


class RunFeed:
    """Bounded by merging: a slow reader gets fewer, longer deltas and every other event."""

    def __init__(self, run_id: str, *, only_result: bool) -> None:
        self.run_id = run_id
        self._only_result = only_result
        self._waiting: deque[RunEvent] = deque()
        self._result: RunResult | None = None
        self._news = trio.Event()

    def receive(self, message: Message[Any]) -> Told:
        if isinstance(message, Farewell):
            err = unavailable("shutting_down", runId=self.run_id)
            self._result = self._result or RunResult(run_id=self.run_id, session_key="", error=err)
        elif isinstance(message, RunEvent):
            self._keep(message)
            if message.result is not None:
                self._result = message.result
        self._news.set()
        return Told.ACCEPTED

    def _keep(self, event: RunEvent) -> None:
        if self._only_result:
            return
        last = self._waiting[-1] if self._waiting else None
        if len(self._waiting) >= MERGE and last is not None and last.type == event.type and event.type in DELTAS:
            self._waiting[-1] = msgspec.structs.replace(event, text=last.text + event.text)
        else:
            self._waiting.append(event)

    def catch_up(self, missed: Iterable[RunEvent]) -> None:
        """Take in what was said before, when nothing has been heard yet. Whether it has ended since, or was taken up
        again after an end, the database knows: see `finish`."""
        for event in missed:
            if event.result is None:
                self.receive(event)

    def finish(self, result: RunResult) -> None:
        """It ended before anybody listened."""
        self._result = self._result or result
        self._news.set()

    async def next(self) -> list[RunEvent]:
        """What happened since the last call, at least one event; nothing when the run is over and all was taken."""
        while not self._waiting:
            if self._result is not None:
                return []
            self._news = trio.Event()
            await self._news.wait()
        events = list(self._waiting)
        self._waiting.clear()
        return events

    async def result(self) -> RunResult:
        """How the run ended. Events that were not taken are dropped."""
        while self._result is None:
            self._waiting.clear()
            self._news = trio.Event()
            await self._news.wait()
        return self._result


@contextmanager
def listening(system: System, run_id: str, *, only_result: bool = False) -> Iterator[RunFeed]:
    """Hear a run from before it exists: enter this, then send the turn."""
    feed = RunFeed(run_id, only_result=only_result)
    with inbox(system, REQUESTS / new_id(), "RunFeed", feed.receive) as box:
        box.join(of_run(run_id))
        box.join(EVERYBODY)
        yield feed
