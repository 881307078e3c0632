"""Texts of one sender that wait a moment for more, to become one turn. Contract: sessions-lanes-cron.md §3.3."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec.structs import replace

from goclaw.domain.session import WINDOWS, Send
from goclaw.runtime.reply import Reply
from goclaw.runtime.timers import Timer
from goclaw.stores.session_queue import LONGEST

MOST = 50  # texts; one more closes it


@dataclass
class Said:
    """One text, and the duty to answer whoever sent it, once or again."""

    ask: Send
    replies: list[Reply]


@dataclass
class Window:
    """What one sender has said so far, oldest first."""

    opened_at: float  # monotonic seconds
    said: list[Said] = field(default_factory=list)
    timer: Timer | None = None

    def add(self, ask: Send, reply: Reply | None, now: float) -> float:
        """Seconds from `now` until it closes. A text that is sent again is not said again."""
        replies = [reply] if reply is not None else []
        twin = self.twin(ask)
        if twin is not None:
            twin.replies += replies
        else:
            self.said.append(Said(ask, replies))
        window = (ask.debounce_ms or 0) / 1000
        return max(0.0, min(window, self.opened_at + WINDOWS * window - now))

    def twin(self, ask: Send) -> Said | None:
        """The text that was sent with the same idempotency key."""
        key = ask.idempotency_key
        return next((said for said in self.said if key and said.ask.idempotency_key == key), None)

    def takes(self, ask: Send) -> bool:
        """Whether there is room for one more; a window never grows without bound. One with terms begins its own."""
        length = sum(len(said.ask.request.message) for said in self.said)
        return ask.terms is None and len(self.said) < MOST and length + len(ask.request.message) < LONGEST

    def turn(self) -> Send:
        """All of it as one turn: the newest send, after everything that was said before it."""
        *earlier, last = [said.ask for said in self.said]
        terms = self.said[0].ask.terms
        return replace(last, before="\n".join(ask.request.message for ask in earlier), terms=terms, debounce_ms=0)
