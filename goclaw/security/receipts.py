"""Proof that a result of a tool is one: a model cannot make it up. Contract: security.md §12.3."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import msgspec
import structlog

Mode = Literal["off", "log", "enforce"]

KEY = 32  # bytes, of one run, in memory only
TOKEN = re.compile(r"\[\s{0,4}receipt\s{1,4}r1\s{0,4}:\s{0,4}([0-9a-f]{24})\s{0,4}\]", re.IGNORECASE)
LINE = re.compile(r"\n?" + TOKEN.pattern, re.IGNORECASE)
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
    note: str = ""  # for the model, before its next turn


class Receipts:
    """Those of one run. `earlier` are the receipts in the history that the run began with."""

    def __init__(self, run: str, earlier: str = "", *, key: bytes = b"") -> None:
        self._run = run
        self._key = key or os.urandom(KEY)
        self._given = {found.lower() for found in TOKEN.findall(earlier)}

    def signed(self, call: str, tool: str, arguments: Mapping[str, Any], text: str) -> str:
        """A result with its receipt as the last line."""
        token = receipt(self._key, self._run, call, tool, arguments, text)
        self._given.add(token)
        return f"{text}\n[receipt r1:{token}]"

    def checked(self, text: str, mode: Mode, **where: Any) -> Checked:
        """What a model said: as it is, or when a receipt in it is none and the mode is `enforce`, without that."""
        forged = [token for token in TOKEN.findall(text) if token.lower() not in self._given]
        if mode == "off" or not forged:
            return Checked(text)
        log.warning("security.receipt_forged", run=self._run, count=len(forged), mode=mode, **where)
        if mode == "log":
            return Checked(text, len(forged))
        shown = TOKEN.sub(lambda it: it[0] if it[1].lower() in self._given else INVALID, text)
        return Checked(shown, len(forged), NOTE)
