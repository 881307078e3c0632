"""One answer of any wire: bytes in, `StreamChunk`s out. Contract: providers.md §5.2, §14.

What the wires share is here: events or one JSON body, limits, unreadable pieces. What an event means is the wire's
own `Assembly`.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Protocol

import msgspec

from goclaw.domain.chat import ChatResponse, StreamChunk, ToolCall, Usage
from goclaw.domain.errors import ProviderError
from goclaw.providers.sse import EventReader, EventTooLarge
from goclaw.providers.trouble import foreign_page, one_line

BODY_LIMIT = 64 * 2**20  # bytes of one answer; providers.md §14
PAGE_LIMIT = 64 * 2**10  # bytes kept of something that is not an answer; providers.md §8
BAD_CHUNKS = 10  # unreadable chunks that are forgiven; providers.md §5.2
CALLS = 128  # tool calls in one answer; more is a model in a loop
DEEPEST = 64  # lists and objects in each other; deeper arguments could not be written again further down the stack
MOST_TOKENS = 10**9  # of one answer; what is counted must fit into tables
MOST_DOLLARS = 1_000_000  # for one; more is no price
FIELD = re.compile(rb"(?:data|event|id|retry)?:")  # how a stream of events begins
LONGEST_FIELD = len(b"event:")
BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Assembly(Protocol):
    """What a wire makes of the events of one answer. May raise `BROKEN` for one it cannot read, and ProviderError."""

    usage: Usage | None  # what the vendor counted, if it did
    done: bool  # the vendor said that this was all

    def event(self, data: bytes) -> StreamChunk | None:
        """Take one event; what it adds to the text or the thinking, if anything."""

    def whole(self, body: bytes) -> StreamChunk | None:
        """Take the answer of a vendor that does not stream."""

    def answer(self) -> ChatResponse | ProviderError:
        """The answer that the events so far make, or why they make none."""


class AnswerReader:
    """Reads one answer. Feed it bytes as they come, then `finish` it when the connection ends or `done` is set.

    Never raises on what a vendor sends: what is wrong with it becomes `error`, after which everything is ignored.
    Any split of the same bytes gives the same chunks. An answer that is plain JSON instead of a stream is read too.
    """

    def __init__(self, assembly: Assembly, content_type: str = "") -> None:
        self.assembly = assembly
        self.content_type = content_type
        self.error: ProviderError | None = None
        self._size = 0
        self._head = bytearray()  # the body so far, while it does not look like events
        self._whole = False  # it will not: this is JSON, or somebody's page
        self._events: EventReader | None = None  # it does
        self._bad = 0

    @property
    def done(self) -> bool:
        return self.assembly.done

    @property
    def usage(self) -> Usage | None:
        return self.assembly.usage

    def feed(self, data: bytes) -> list[StreamChunk]:
        """What `data` adds to the answer: nothing, or pieces of text and thinking in order."""
        if self.error or self.assembly.done:
            return []
        self._size += len(data)
        if self._size > BODY_LIMIT:
            self._fail(f"the answer is larger than {BODY_LIMIT} bytes")
            return []
        if self._events is None:
            self._head += data
            if self._whole:  # JSON or a page: judged when it has all come
                if len(self._head) > PAGE_LIMIT and self._head[:1] not in b"{[":
                    self._fail_as_page()
                return []
            self._head = self._head.lstrip(b"\xef\xbb\xbf \t\r\n")
            if not FIELD.match(self._head):
                self._whole = len(self._head) >= LONGEST_FIELD
                return []
            self._events, data = EventReader(), bytes(self._head)
            self._head.clear()
        return self._read(self._events, data)

    def finish(self) -> tuple[list[StreamChunk], ChatResponse | ProviderError]:
        """The pieces that were still held back, and the whole answer or why there is none."""
        chunks: list[StreamChunk] = []
        if self._events is not None and not (self.error or self.assembly.done):
            chunks = self._read(self._events, b"\n\n")  # the last event may lack its empty line
        elif self._events is None and not self.error:
            chunks = self._read_whole()
        return chunks, self.error or self.assembly.answer()

    def _read(self, events: EventReader, data: bytes) -> list[StreamChunk]:
        chunks: list[StreamChunk] = []
        try:
            for event in events.feed(data):
                try:
                    if event and (chunk := self.assembly.event(event)) is not None:
                        chunks.append(chunk)
                except BROKEN:
                    self._bad += 1
                    if self._bad > BAD_CHUNKS:
                        shown = event[:80].decode("utf-8", "replace")
                        self._fail(f"more than {BAD_CHUNKS} unreadable chunks: {shown}")
                if self.assembly.done or self.error:
                    break
        except EventTooLarge as error:
            self._fail(str(error))
        except ProviderError as error:
            self.error = error
        return chunks

    def _read_whole(self) -> list[StreamChunk]:
        try:
            chunk = self.assembly.whole(bytes(self._head))
        except BROKEN:
            self._fail_as_page()
        except ProviderError as error:
            self.error = error
        else:
            self.assembly.done = True
            return [chunk] if chunk is not None else []
        return []

    def _fail(self, message: str) -> None:
        self.error = ProviderError("server_error", one_line(message))
        self._head.clear()

    def _fail_as_page(self) -> None:
        page = self._head[:PAGE_LIMIT].decode("utf-8", "replace")
        self._fail(foreign_page(200, self.content_type, page))


def tool_call(id: str, name: str, arguments: str | bytes, **more: Any) -> ToolCall:
    """A call whose arguments came as text. An empty text is no arguments."""
    try:
        given = msgspec.json.decode(arguments or "{}", type=dict[str, Any])
    except BROKEN as error:
        return ToolCall(id=id, name=name, parse_error=one_line(f"arguments are not a JSON object: {error}"), **more)
    if nested(given):
        return ToolCall(id=id, name=name, parse_error=f"arguments are nested deeper than {DEEPEST}", **more)
    return ToolCall(id=id, name=name, arguments=given, **more)


def nested(value: Any) -> bool:
    """Whether lists and objects lie deeper than `DEEPEST` in each other."""
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True


def tokens(said: int | None) -> int:
    """A vendor's count, or the nearest that can be one."""
    return min(max(0, said or 0), MOST_TOKENS)


def dollars(said: Any) -> Decimal | None:
    """What a vendor says an answer cost, if that can be a price."""
    if isinstance(said, bool) or not isinstance(said, int | float) or not 0 <= said < MOST_DOLLARS:
        return None
    return Decimal(str(said))


def too_many_calls() -> ProviderError:
    return ProviderError("server_error", f"more than {CALLS} tool calls in one answer")


def interrupted() -> ProviderError:
    return ProviderError("server_error", "stream_interrupted: the vendor closed the connection in mid-answer")


def empty() -> ProviderError:
    return ProviderError("server_error", "the vendor sent an empty answer")
