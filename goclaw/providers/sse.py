"""Server-sent events: bytes in, the data of each event out. Contract: providers.md §5.2."""

from __future__ import annotations

from collections.abc import Iterator

EVENT_LIMIT = 8 * 2**20  # bytes; providers.md §5.2


class EventTooLarge(ValueError):
    """One event had more than `EVENT_LIMIT` bytes."""


class EventReader:
    """Splits a byte stream into events, whatever pieces it arrives in.

    Only `data` fields are kept; comments, ids and names are dropped. Lines end in LF or CRLF.
    """

    def __init__(self) -> None:
        self._rest = bytearray()  # an unfinished line
        self._data: bytes | bytearray | None = None  # of the unfinished event

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The data of every event that `data` completes. Raises EventTooLarge."""
        if b"\n" not in data:
            self._rest += data  # grows in place: a long line in small pieces costs linear time
            return self._check(len(self._rest))
        if self._rest:
            data = bytes(self._rest) + data
            self._rest.clear()
        *lines, rest = data.split(b"\n")
        for line in lines:
            if line.endswith(b"\r"):
                line = line[:-1]
            if line.startswith(b"data:"):
                self._take(line[6:] if line.startswith(b"data: ") else line[5:])
            elif not line and self._data is not None:
                event, self._data = bytes(self._data), None
                yield event
        self._rest += rest
        self._check(len(rest))

    def _take(self, value: bytes) -> None:
        if self._data is None:
            self._data = value
        else:  # one text, for a list of short lines would be many times as large
            if isinstance(self._data, bytes):
                self._data = bytearray(self._data)
            self._data += b"\n" + value
        self._check(0)

    def _check(self, waiting: int) -> None:
        if len(self._data or b"") + waiting > EVENT_LIMIT:
            self._rest, self._data = bytearray(), None  # whoever keeps the error does not keep this
            raise EventTooLarge(f"an event of more than {EVENT_LIMIT} bytes")
