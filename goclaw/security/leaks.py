"""What a model says, without the secrets it should not know. Contract: security.md §12.1.

A filter is fed with deltas and holds back only what may be the beginning of a secret, so that a stream stays one.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import structlog
import trio

from goclaw.security.known import NOTHING, Forms
from goclaw.security.shapes import PEM_BEGIN, SHAPES, TOKENS, redacted, without_pem, without_shapes

Mode = Literal["off", "registered", "patterns", "block"]

HOLD = 256  # characters after a percent sign or a backslash, which may be part of a secret in disguise
WORD = 4096  # characters of an unfinished word with the look of a secret
SLICE = 8 * 1024  # characters of a whole text between two checkpoints
BORDER = 100  # characters of the last line of a private key
LAST = re.compile(r"\S*\Z")
LINE = re.compile(r"-{1,5}[A-Z0-9 -]{0,80}\Z")  # may become the beginning of a private key
ANCHORS = tuple(anchor for name in TOKENS for anchor in SHAPES[name].anchors)

log = structlog.get_logger()


class Leaked(Exception):
    """The message has a secret in it, and the mode is `block`: nobody gets it (`content_policy`)."""


class LeakFilter:
    """Of one message. `where` is what its one event says. In mode `block` nothing is said before the end."""

    def __init__(self, mode: Mode, known: Forms = NOTHING, **where: Any) -> None:
        self._mode = mode
        self._known = known
        self._where = where
        self._held = ""
        self._whole: list[str] = []
        self._in_pem = False
        self._in_key = ""  # the end of what was swallowed of it
        self.leaked = False

    def feed(self, delta: str) -> str:
        if self._mode == "off":
            return delta
        text = self._known.hide(self._held + delta, redacted)
        self._tell(text != self._held + delta)
        begun = self._begun(text)
        self._held = text[begun:]
        return self._said(self._unshaped(text[:begun]))

    def finish(self) -> str:
        """The rest; the filter begins anew. Raises Leaked."""
        said = self._said(self._unshaped(self._held))
        self._held, self._in_pem, self._in_key = "", False, ""
        if self._mode != "block":
            return said
        whole, self._whole = "".join(self._whole), []
        if self.leaked:
            raise Leaked("the message contains a secret")
        return whole

    def _said(self, text: str) -> str:
        if self._mode != "block":
            return text
        self._whole.append(text)
        return ""

    def _unshaped(self, text: str) -> str:
        if self._mode in ("off", "registered"):
            return text
        whole = self._in_key + text
        parts, self._in_pem = without_pem(whole, inside=self._in_pem)
        begun = max((found.end() for found in PEM_BEGIN.finditer(whole)), default=0)
        self._in_key = whole[begun:][-BORDER:] if self._in_pem else ""
        clean = without_shapes("".join(parts), only=TOKENS)
        self._tell(clean != text)
        return clean

    def _tell(self, leaked: bool) -> None:
        if leaked and not self.leaked:
            self.leaked = True
            log.warning("security.secret_leak_blocked", mode=self._mode, **self._where)

    def _begun(self, text: str) -> int:
        """Where a secret may have begun."""
        begun = self._known.begun(text)
        recent = max(0, len(text) - HOLD)
        if self._known.values and max(text.find("%", recent), text.find("\\", recent)) >= 0:
            begun = min(begun, recent)
        if self._mode != "registered":
            last = LAST.search(text, max(0, len(text) - WORD))
            word = last.start() if last is not None else len(text)
            if len(text) - word < HOLD or any(anchor in text[word:].lower() for anchor in ANCHORS):
                begun = min(begun, word)
            if line := LINE.search(text, max(0, len(text) - HOLD)):
                begun = min(begun, line.start())
        return begun


async def unleaked(text: str, mode: Mode, known: Forms = NOTHING, **where: Any) -> str:
    """A whole message. Raises Leaked."""
    filter = LeakFilter(mode, known, **where)
    said: list[str] = []
    for at in range(0, len(text), SLICE):
        said.append(filter.feed(text[at : at + SLICE]))
        await trio.lowlevel.checkpoint()
    return "".join([*said, filter.finish()])
