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
        self._data: list[bytes] = []  # lines of the unfinished event
        self._size = 0  # bytes in `_data`

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The data of every event that `data` completes. Raises EventTooLarge."""
        if b"\n" not in data:
            self._rest += data  # grows in place: a long line in small pieces costs linear time
            self._check()
            return
        if self._rest:
            data = bytes(self._rest) + data
            self._rest.clear()
        *lines, rest = data.split(b"\n")
        self._rest += rest
        for line in lines:
            if line.endswith(b"\r"):
                line = line[:-1]
            if line.startswith(b"data:"):
                value = line[6:] if line.startswith(b"data: ") else line[5:]
                self._data.append(value)
                self._size += len(value) + 1
                self._check()
            elif not line and self._data:
                yield self._take()
        self._check()

    def _take(self) -> bytes:
        event = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        self._data.clear()
        self._size = 0
        return event

    def _check(self) -> None:
        if self._size + len(self._rest) > EVENT_LIMIT:
            raise EventTooLarge(f"an event of more than {EVENT_LIMIT} bytes")
