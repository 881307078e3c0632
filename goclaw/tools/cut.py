"""Results no longer than a model should read. Contract: tools.md §8."""

from __future__ import annotations

import unicodedata

HEAD, TAIL = 0.6, 0.35  # of what is kept, from where; the rest is for the note between
JOINER = "\u200d"  # makes one sign of two: 👩 + 🚀


def shortened(text: str, most: int, full: str = "") -> str:
    """At most `most` characters: the beginning, how much is missing, and the end. Never cuts a sign in two.

    `full` is where all of it can be read.
    """
    if len(text) <= most:
        return text
    head = _between_signs(text, int(most * HEAD))
    tail = _between_signs(text, len(text) - int(most * TAIL))
    where = f"; full text: {full}" if full else ""
    return f"{text[:head]}\n[… {tail - head} characters omitted{where}]\n{text[tail:]}"


def _between_signs(text: str, place: int) -> int:
    """`place`, or a little before it when it is inside of what a reader sees as one sign."""
    for cut in range(place, place - 32, -1):
        joined = text[cut] == JOINER or text[cut - 1] == JOINER or unicodedata.category(text[cut]).startswith("M")
        if not joined:
            return cut
    return place
