"""Ids: UUIDv7, so that they sort by the time they were made (RFC 9562 §5.7)."""

from __future__ import annotations

import secrets
import threading
import time

_COUNTER_LIMIT = 1 << 12  # ids per millisecond before time is borrowed; data-model.md §1

_lock = threading.Lock()
_last = 0  # milliseconds << 12 | counter


def new_id() -> str:
    """A new id in lower case, greater than every id made before in this process, from any thread.

    When the clock stands still, goes back, or more than 4,096 ids are wanted in a millisecond, the id's time
    runs ahead of the clock.
    """
    global _last
    with _lock:
        _last = max(time.time_ns() // 1_000_000 * _COUNTER_LIMIT, _last + 1)
        milliseconds, counter = divmod(_last, _COUNTER_LIMIT)
    value = milliseconds << 80 | 0x7 << 76 | counter << 64 | 0b10 << 62 | secrets.randbits(62)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
