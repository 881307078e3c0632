"""Results no longer than a model should read. Contract: tools.md §8."""

from __future__ import annotations

import unicodedata

from goclaw.security.untrusted import ending

HEAD, TAIL = 0.6, 0.35  # of what is kept, from where; the rest is for the note between
JOINER = "\u200d"  # makes one sign of two: 👩 + 🚀


def shortened(text: str, most: int, full: str = "") -> str:
    """At most `most` characters: the beginning, how much is missing, and the end. Never cuts a sign in two.

    `full` is where all of it can be read. The last lines of a wrapped text stay whole.
    """
    if len(text) <= most:
        return text
    head = _between_signs(text, int(most * HEAD))
    tail = _between_signs(text, len(text) - max(int(most * TAIL), len(ending(text))))
    where = f"; full text: {full}" if full else ""
    return f"{text[:head]}\n[… {tail - head} characters omitted{where}]\n{text[tail:]}"


def _between_signs(text: str, place: int) -> int:
    """`place`, or a little before it when it is inside of what a reader sees as one sign."""
    for cut in range(place, place - 32, -1):
        joined = text[cut] == JOINER or text[cut - 1] == JOINER or unicodedata.category(text[cut]).startswith("M")
        if not joined:
            return cut
    return place
