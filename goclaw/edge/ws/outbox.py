"""What a socket still has to be told: bounded, so that a slow reader costs a known amount and delays nobody.

Contract: edge-websocket.md §6.2. Answers and most events are kept; adjacent deltas merge; of ticks and the
like the newest win. When even that finds no room the socket is closed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from io import StringIO
from typing import Any, Literal

import msgspec

from goclaw.edge.ws import frames

Kind = Literal["keep", "merge", "newest"]
FRAMES = 256
BYTES = 4 * 1024 * 1024
MERGE = 192  # queued frames from which deltas merge
FRAME = 256  # bytes counted for a frame besides its payload and text

_encode = msgspec.json.Encoder().encode


class Entry:
    """One frame to come. A delta carries its `text` beside the payload, and a `key` that says what it may join."""

    __slots__ = ("event", "key", "kind", "more", "payload", "size", "text")

    def __init__(
        self,
        kind: Kind,
        event: str,
        payload: Any,
        *,
        key: Any = None,
        text: str = "",
        more: dict[str, Any] | None = None,
    ) -> None:
        self.kind = kind
        self.event = event  # "" for a response, whose payload is the whole frame
        self.key = key
        self.more = more or {}
        self.text = StringIO()
        self.text.write(text)
        self.size = FRAME + _bytes(text)
        if kind == "merge":
            self.payload = payload
        else:
            self.payload = payload if event == "" else msgspec.Raw(_encode(payload))
            self.size += _bytes(payload) if event == "" else len(self.payload)

    def joins(self, last: Entry) -> bool:
        return self.kind == last.kind == "merge" and self.key == last.key

    def join(self, later: Entry) -> None:
        """Take in a delta: its text behind ours, its members in place of ours."""
        first = self.payload.get("runSeqFrom", self.payload["runSeq"])
        self.payload = {**later.payload, "runSeqFrom": first}
        self.text.write(later.text.getvalue())
        self.size += later.size - FRAME


class Burst(Entry):
    """What is told again, in order and ahead of all that comes later. It counts as one frame, and with all its bytes:
    the buffer it comes from holds fewer than fit here."""

    __slots__ = ("entries",)

    def __init__(self, entries: Iterable[Entry]) -> None:
        super().__init__("keep", "", "")
        self.entries = deque(entries)
        self.size = sum(entry.size for entry in self.entries)


class Outbox:
    """Never longer than 256 frames and 4 MiB. `seq` counts events as they are written, without holes."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self._dropped = 0
        self._seq = 0

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, entry: Entry) -> bool:
        """False if there is no room even after evicting: the reader is too slow and must go."""
        last = self._entries[-1] if len(self._entries) >= MERGE and entry.joins(self._entries[-1]) else None
        size = entry.size - FRAME if last else entry.size
        while self._bytes + size > BYTES or (last is None and len(self._entries) >= FRAMES):
            if self._evict():
                continue
            if entry.kind == "newest":
                self._dropped += 1
                return True
            return False
        if last is None:
            self._entries.append(entry)
        else:
            last.join(entry)
        self._bytes += size
        return True

    def take(self) -> str:
        """The next frame as text. Only call it while there is one."""
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            return self._event("system.backpressure", {"dropped": dropped, "classes": ["C"], "queued": len(self)}, {})
        entry = self._next()
        self._bytes -= entry.size
        if entry.event == "":
            return str(entry.payload)
        payload = entry.payload
        if entry.kind == "merge":
            text = entry.text.getvalue()
            payload = {**payload, "text": text, "payload": {"content": text}}
        return self._event(entry.event, payload, entry.more)

    def _next(self) -> Entry:
        first = self._entries[0]
        if not isinstance(first, Burst):
            return self._entries.popleft()
        entry = first.entries.popleft()
        if not first.entries:
            self._entries.popleft()
        return entry

    def _event(self, name: str, payload: Any, more: dict[str, Any]) -> str:
        self._seq += 1
        return frames.event(name, payload, self._seq, **more)

    def _evict(self) -> bool:
        for place, entry in enumerate(self._entries):
            if entry.kind == "newest":
                del self._entries[place]
                self._bytes -= entry.size
                self._dropped += 1
                return True
        return False


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
