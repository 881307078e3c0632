"""What a replacement changed, as a unified diff.

Only lines around what was replaced are compared: the time does not grow with the square of the file.
"""

from __future__ import annotations

import difflib
import re

SHOWN = 2_000  # characters; tools.md §10
AROUND = 3  # lines shown before and after a change
TOGETHER = 200  # lines compared at once
LINE = re.compile(r"[^\n]*\n|[^\n]+")
PLACES = re.compile(r"^@@ -(\d+)(,\d+)? \+(\d+)(,\d+)? @@")


def difference(path: str, text: bytes, old: bytes, new: bytes) -> str:
    """The diff of `text` and what it is with every `old` replaced by `new`, cut at 2,000 characters."""
    out = f"--- {path}\n+++ {path}\n"
    at = line = shift = 0
    while (found := text.find(old, at)) >= 0 and len(out) <= SHOWN:
        begins = max(at, _back(text, found))
        end = _on(text, found + len(old))
        while (more := text.rfind(old, found + 1, end + len(old) - 1)) >= 0 and text.count(
            b"\n", begins, end
        ) < TOGETHER:  # the last that begins in these lines: there may be any number of them in one
            found, end = more, _on(text, more + len(old))
        line += text.count(b"\n", at, begins)
        piece = text[begins:end]
        changed = piece.replace(old, new)
        out += _hunks(piece, changed, line, line + shift)
        line += piece.count(b"\n")
        shift += changed.count(b"\n") - piece.count(b"\n")
        at = end
    return out.rstrip("\n") if len(out) <= SHOWN else f"{out[:SHOWN]}…"


def _back(text: bytes, place: int) -> int:
    """The beginning of the line `AROUND` lines before."""
    for _ in range(AROUND + 1):
        place = text.rfind(b"\n", 0, max(0, place))
        if place < 0:
            return 0
    return place + 1


def _on(text: bytes, place: int) -> int:
    """The end of the line `AROUND` lines behind, its newline with it."""
    place -= 1
    for _ in range(AROUND + 1):
        place = text.find(b"\n", place + 1)
        if place < 0:
            return len(text)
    return place + 1


def _hunks(old: bytes, new: bytes, old_line: int, new_line: int) -> str:
    """Without the names; `old_line` and `new_line` lines come before."""
    was, now = (LINE.findall(side.decode("utf-8", "replace")) for side in (old, new))
    if max(len(was), len(now)) <= 4 * TOGETHER:
        lines = list(difflib.unified_diff(was, now, n=AROUND))[2:]
    else:
        lines = [f"@@ -1,{len(was)} +1,{len(now)} @@\n", *(f"-{line}" for line in was), *(f"+{line}" for line in now)]
    moved = (PLACES.sub(lambda at: _moved(at, old_line, new_line), line, 1) for line in lines)
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in moved)


def _moved(at: re.Match[str], old: int, new: int) -> str:
    return f"@@ -{int(at[1]) + old}{at[2] or ''} +{int(at[3]) + new}{at[4] or ''} @@"
