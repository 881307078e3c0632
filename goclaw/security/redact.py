"""Text on its way to a model or a user, without secrets: in slices, so that nobody else waits.

Contract: security.md §6.2. In results of tools nothing of a value stays, not even its length.
"""

from __future__ import annotations

import re

import structlog
import trio

from goclaw.security.known import NOTHING, Forms
from goclaw.security.shapes import PEM_BEGIN, PEM_END, REDACTED, redacted, without_pem, without_shapes

SLICE = 6 * 1024  # characters between two checkpoints; 64 KiB would hold others up for 50 ms (benchmarks/guards.py)
HOLD = 4 * 1024  # characters of an unfinished line that are held back
NEAR = 512  # characters on either side of a place that say whether a line may be cut there
TRIES = 2  # such places
BORDER = 64  # characters of the first or last line of a private key, at most
APART = re.compile(r"[\s\"']")  # where it is cut best: what no secret goes over, if not its name
REST = re.compile(r"[^\s\"'<>`,;&)}\]]*")  # of a secret that is longer than the window
ROW = re.compile(rf"(?:{re.escape(REDACTED)}){{2,}}")
WITHHELD = "[result withheld: redaction failed]"

log = structlog.get_logger()


async def without_secrets(text: str, known: Forms = NOTHING) -> str:
    """A whole text, scrubbed. What breaks on the way withholds all of it (§1.1)."""
    stream = Redactor(known)
    try:
        return ROW.sub(REDACTED, await stream.feed(text) + await stream.finish())
    except Exception as error:  # whatever it was, the text may hold a secret
        log.error("security.redaction_failed", error_type=type(error).__name__)
        return WITHHELD


class Redactor:
    """A stream without its secrets. Hands out whole lines, and of a long one all but its last 4 to 8 KiB."""

    def __init__(self, known: Forms = NOTHING) -> None:
        self._known = known
        self._held = ""
        self._in_pem = False
        self._in_secret = False  # one so long that its end has not come
        self._ends_within = False  # what is said next ends inside of such a one

    async def feed(self, text: str) -> str:
        """What can be said of it and of what was held back."""
        held, at = self._held + text, 0
        said: list[str] = []
        while len(held) - at > SLICE + HOLD:
            cut = held.rfind("\n", at, at + SLICE) + 1 or await self._place_within(held, at, at + SLICE)
            await trio.lowlevel.checkpoint()
            said.append(self._hidden(held[at:cut]))
            at = cut
            await trio.lowlevel.checkpoint()
        if cut := held.rfind("\n", at) + 1:
            said.append(self._hidden(held[at:cut]))
            at = cut
        if len(held) - at > HOLD + NEAR:
            cut = await self._place_within(held, at, len(held) - HOLD)
            said.append(self._hidden(held[at:cut]))
            at = cut
        self._held = held[at:]
        return "".join(said)

    async def finish(self) -> str:
        """The rest. The stream begins anew."""
        rest = self._hidden(self._held)
        self._held, self._in_pem, self._in_secret = "", False, False
        return rest

    async def _place_within(self, line: str, at: int, end: int) -> int:
        """Where to cut a line that goes on: both sides alone say what they say together. `end` if nowhere."""
        if self._in_secret and _rest(line, at, end) == end:
            return end
        for border in (found for shape in (PEM_BEGIN, PEM_END) for found in shape.finditer(line, at, end + 2 * BORDER)):
            if at < border.start() < end < border.end():
                end = border.start()
        places = [found.end() for found in APART.finditer(line, max(at, end - NEAR), end)]
        for place, near in [*((place, NEAR) for place in places[-TRIES:][::-1]), (end, HOLD // 2)]:
            before, after = line[max(at, place - near) : place], line[place : place + near]
            on_border = place < end and "PRIVATE KEY" in before[-BORDER:] + after[:BORDER]
            if not on_border and self._tried(before) + self._tried(after) == self._tried(before + after):
                return place
            await trio.lowlevel.checkpoint()
        self._ends_within = True
        return end

    def _tried(self, text: str) -> str:
        return _shapeless(without_pem(self._known.hide(text, redacted))[0])

    def _hidden(self, text: str) -> str:
        begin = _rest(text, 0, len(text)) if self._in_secret else 0
        self._in_secret = self._ends_within or (self._in_secret and begin == len(text))
        self._ends_within = False
        parts, self._in_pem = without_pem(self._known.hide(text[begin:], redacted), inside=self._in_pem)
        return self._known.hide_addresses(_shapeless(parts))


def _shapeless(parts: list[str]) -> str:
    """Without shapes, and with one mark for several in a row: how many there were tells something, too."""
    return ROW.sub(REDACTED, without_shapes("".join(parts)))


def _rest(text: str, at: int, end: int) -> int:
    """Where a secret ends that began before `at`."""
    rest = REST.match(text, at, end)
    return rest.end() if rest is not None else at
