"""Command lines that must be refused, by which group, and lines that must pass."""

from __future__ import annotations

import json
from typing import NamedTuple

from goclaw.security.shell import deny_check
from tests.security.corpus import PLACE

PLACES = {"{TMP}": "/tmp", "{VTMP}": "/var/tmp", "{ROOTHOME}": "/root", "{ROOT}": "root"}  # security.md, first lines


class Line(NamedTuple):
    expected: str  # a group, `denied_path`, `invalid_args` or `allow`
    text: str


def lines(name: str) -> list[Line]:
    found = []
    for row in map(json.loads, (PLACE / f"shell_{name}.jsonl").read_text().splitlines()):
        text = row["text"]
        for mark, place in PLACES.items():
            text = text.replace(mark, place)
        found.append(Line(row["expect"], text))
    return found


def verdict(text: str, off: frozenset[str] = frozenset()) -> str:
    return deny_check(text, off, "/ws").group or "allow"
