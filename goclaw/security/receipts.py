"""Proof that a result of a tool is one: a model cannot make it up. Contract: security.md §12.3."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

import msgspec
import structlog

Mode = Literal["off", "log", "enforce"]

KEY = 32  # bytes, of one run, in memory only
GAP = r"[^\w\n]{0,6}"  # whatever signs a model puts there
TOKEN = re.compile(
    rf"(?:[\[({{［]{GAP})?receipt[\W_]{{0,6}}r1[\W_]{{0,10}}([0-9a-f]{{24}})(?![^\W_])(?:{GAP}[\])}}］])?",
    re.IGNORECASE,
)
LINE = re.compile(r"\n?" + TOKEN.pattern, re.IGNORECASE)
LAST = re.compile(LINE.pattern + r"\s{0,8}\Z", re.IGNORECASE)
LONGEST = 96  # characters of a receipt, however it is spaced
BEGUN = re.compile(
    rf"\n?(?:[\[({{［]{GAP})?(?:r(?:e(?:c(?:e(?:i(?:p(?:t[\W_]{{0,6}}(?:r(?:1[\W_]{{0,10}}[0-9a-f]{{0,24}}{GAP})?)?)?)?)?)?)?)?)?\Z",
    re.IGNORECASE,
)
INVALID = "[invalid receipt]"
NOTE = (
    "Your last answer showed a receipt that no tool of this conversation has given. Do not make up results: call the "
    "tool, or say that you have not."
)

log = structlog.get_logger()


def receipt(key: bytes, run: str, call: str, tool: str, arguments: Mapping[str, Any], text: str) -> str:
    """24 hex digits for a result `text`, as models see it before the receipt's own line."""
    said = hashlib.sha256(msgspec.json.encode(arguments, order="sorted")).hexdigest()
    heard = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    parts = "\n".join(("r1", run, call, tool, said, heard))
    return hmac.digest(key, parts.encode("utf-8", "surrogatepass"), "sha256").hex()[:24]


def unreceipted(text: str) -> str:
    """What users see."""
    return LINE.sub("", text)


class Checked(NamedTuple):
    text: str
    forged: int = 0  # receipts that nobody gave


class Receipts:
    """Those of one run. `earlier` are results of tools that it began with."""

    def __init__(self, run: str, earlier: Iterable[str] = (), *, key: bytes = b"") -> None:
        self._run = run
        self._key = key or os.urandom(KEY)
        self._given: set[str] = set()
        self.recall(earlier)

    def recall(self, results: Iterable[str]) -> None:
        """Results of earlier turns or lives, each with its receipt as the last line."""
        self._given.update(found[1].lower() for text in results if (found := LAST.search(text)))

    def signed(self, call: str, tool: str, arguments: Mapping[str, Any], text: str) -> str:
        """A result with its receipt as the last line, and no other there."""
        text = LAST.sub("", text)
        token = receipt(self._key, self._run, call, tool, arguments, text)
        self._given.add(token)
        return f"{text}\n[receipt r1:{token}]"

    def checked(self, text: str, mode: Mode, **where: Any) -> Checked:
        """What a model said: as it is, or when a receipt in it is none and the mode is `enforce`, without that."""
        forged = sum(1 for token in TOKEN.findall(text) if token.lower() not in self._given)
        if mode == "off" or not forged:
            return Checked(text)
        log.warning("security.receipt_forged", run=self._run, count=forged, mode=mode, **where)
        return Checked(self.honest(text) if mode == "enforce" else text, forged)

    def honest(self, text: str) -> str:
        return TOKEN.sub(lambda it: it[0] if it[1].lower() in self._given else INVALID, text)


class ReceiptFilter:
    """What users see of one message while it comes, in deltas: no receipt is left in it, however it was cut."""

    def __init__(self, receipts: Receipts, mode: Mode) -> None:
        self._receipts = receipts
        self._mode = mode
        self._held = ""

    def feed(self, delta: str) -> str:
        text = self._held + delta
        begun = BEGUN.search(text, max(0, len(text) - LONGEST))
        end = begun.start() if begun is not None else len(text)
        self._held = text[end:]
        return self._shown(text[:end])

    def finish(self) -> str:
        """The rest."""
        held, self._held = self._held, ""
        return self._shown(held)

    def _shown(self, text: str) -> str:
        return unreceipted(self._receipts.honest(text) if self._mode == "enforce" else text)
