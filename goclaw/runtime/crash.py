"""What is remembered of a crash, and of messages nobody received. Contract: supervision.md §7, §16."""

from __future__ import annotations

import hashlib
import sysconfig
import traceback
from collections import Counter, deque
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from goclaw.runtime.message import Envelope, Message
from goclaw.runtime.values import plain

MESSAGE = 2_000  # characters kept of an exception's text
FRAMES = 40  # innermost ones
TRACEBACK = 20_000  # characters, the innermost frames being last
CRASHES = 500  # newest kept per node
LETTERS = 1_000
NOT_OURS = (str(Path(__file__).parent), *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")))


class Crash(Struct, frozen=True, kw_only=True):
    at: datetime
    path: str
    incarnation: int
    type: str
    message: str
    fingerprint: str  # 16 hex: equal for the same exception type raised in the same place
    in_hand: str  # type of the message that was handled, "" outside a handler
    queued: int
    lived: float  # seconds since the incarnation started
    traceback: str
    injected: str = ""  # the fault plan that caused it


class DeadLetter(Struct, frozen=True, kw_only=True):
    seq: int
    at: datetime
    to: str
    sender: str
    type: str
    reason: str
    size: int  # bytes of the message as it would travel, 0 if it never does


def fingerprint(error: BaseException) -> str:
    """16 hex of SHA-256 over the exception's type and its innermost three frames of the product.

    The same while the exception travels outward: frames of libraries and of the runtime do not count.
    """
    code = [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)]
    own = [c for c in code if not c.co_filename.startswith(NOT_OURS)]
    where = "|".join(f"{c.co_filename}:{c.co_qualname}" for c in own[-3:] or code[-1:])
    return hashlib.sha256(f"{type(error).__qualname__}|{where}".encode()).hexdigest()[:16]


def crash_of(
    error: Exception,
    *,
    at: datetime,
    path: str,
    incarnation: int,
    in_hand: str,
    queued: int,
    lived: float,
    injected: str = "",
) -> Crash:
    """What is kept of `error`, cut to size."""
    said = "".join(traceback.format_exception_only(error)).rstrip()  # survives a broken __str__
    return Crash(
        at=at,
        path=path,
        incarnation=incarnation,
        type=type(error).__name__,
        message=said.partition(": ")[2][:MESSAGE],
        fingerprint=fingerprint(error),
        in_hand=in_hand,
        queued=queued,
        lived=lived,
        injected=injected,
        traceback=_trace(error, said)[-TRACEBACK:],
    )


def _trace(error: Exception, said: str) -> str:
    if error.__cause__ is not None or (error.__context__ is not None and not error.__suppress_context__):
        return "".join(traceback.format_exception(error, limit=-FRAMES))
    frames = [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)][-FRAMES:]
    # without columns: the carets under a line cost more than the rest of a crash
    stack = traceback.StackSummary.from_list([(c.co_filename, line, c.co_name, None) for c, line in frames])
    return "".join(("Traceback (most recent call last):\n", *stack.format(), said, "\n"))


def size_of(message: Message[Any]) -> int:
    """Bytes of a message as it would travel; 0 if it cannot."""
    try:
        return len(msgspec.json.encode(message, enc_hook=plain))
    except (TypeError, ValueError):
        return 0


class CrashLog:
    """The newest crashes of this node."""

    def __init__(self) -> None:
        self.records: deque[Crash] = deque(maxlen=CRASHES)
        self.total = 0

    def add(self, crash: Crash) -> None:
        self.records.append(crash)
        self.total += 1


class DeadLetters:
    """Messages that reached nobody, newest kept, all counted by reason and type. Bodies are never kept."""

    def __init__(self) -> None:
        self.records: deque[DeadLetter] = deque(maxlen=LETTERS)
        self.counters: Counter[tuple[str, str]] = Counter()
        self.total = 0

    def add(self, at: datetime, to: str, envelope: Envelope, reason: str) -> None:
        self.total += 1
        kind = type(envelope.message).TYPE
        self.counters[reason, kind] += 1
        self.records.append(
            DeadLetter(
                seq=self.total,
                at=at,
                to=to,
                sender=envelope.sender or "",
                type=kind,
                reason=reason,
                size=size_of(envelope.message),
            )
        )
