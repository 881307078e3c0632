"""The orderly end, as a message."""

from __future__ import annotations

from goclaw.runtime.message import Message


class BeginDrain(Message[int]):
    """Announce, let runs end, put the rest back into the queue, close the sockets.

    `within` seconds in all. Answered with the number of runs that were put back.
    """

    reason: str
    within: float
