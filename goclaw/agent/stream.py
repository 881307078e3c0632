"""What a model says, as people may read it while it comes. Contract: agent-loop.md §9.2.

Thoughts in tags go where thoughts go, calls written out go nowhere, and what may become a mark is held back until it
is clear. However the text is split, the same comes out. The answer as a whole, at the end, is what counts.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from goclaw.agent.markup import CALLS, SILENT, TAG, THINKING, closes

NAMES = [name for pattern in (THINKING, CALLS, "final") for name in pattern.replace("s?", "s").split("|")]
MAYBE = re.compile(
    r"</?(?:" + "|".join("".join(f"(?:{re.escape(c)}" for c in name) + ")?" * len(name) for name in NAMES) + r")$"
    rf"|</?(?:{THINKING}|{CALLS}|final)(?:[\s/][^<>]{{0,200}})?$",
    re.IGNORECASE,
)  # what may still become a tag
SPECIAL = re.compile(r"[<`~N\n]")
SPACES = 64  # held back behind the word that says there is no answer
NO_FENCE = "." * SPACES  # instead of a line that neither begins nor ends a code block


class Said(NamedTuple):
    text: str
    thinking: str


class StreamFilter:
    """Feed it what a model says; `end` gives what was held back, which is a mark's length at most."""

    def __init__(self) -> None:
        self._mode = "text"  # or fence, think, call, silent
        self._held = ""
        self._call = ""  # the name of the call we are in
        self._mark = ""  # what began the code block we are in
        self._line = ""  # the current line, as long as it may begin or end a code block
        self._text: list[str] = []
        self._thoughts: list[str] = []
        self._before = "\n"  # the last character that came out
        self._begun = False  # something that can be read came out

    def feed(self, delta: str) -> Said:
        if self._mode == "text" and not self._held and delta and SPECIAL.search(delta) is None:
            self._line += delta[: 4 - len(self._line)] if len(self._line) < 4 else ""
            self._before, self._begun = delta[-1], self._begun or not delta.isspace()
            return Said(delta, "")
        for char in delta:
            self._take(char)
        return self._said()

    def end(self) -> Said:
        """The answer is complete."""
        if self._held.rstrip() != SILENT and self._mode in ("text", "think"):
            held, self._held = self._held, ""
            for char in held:
                self._thoughts.append(char) if self._mode == "think" else self._emit(char)
        return self._said()

    def _said(self) -> Said:
        said = Said("".join(self._text), "".join(self._thoughts))
        self._text.clear()
        self._thoughts.clear()
        return said

    def _take(self, char: str) -> None:
        match self._mode:
            case "silent":
                return
            case "fence":
                self._emit(char)
            case "text" if not self._held and char != "<" and (char != "N" or _in_word(self._before)):
                self._emit(char)
            case "think" | "call" if not self._held and char != "<":
                self._inner(char)
            case _:
                self._hold(char)

    def _hold(self, char: str) -> None:
        held = self._held = self._held + char
        if held[0] == "N":
            return self._no_answer(held, char)
        if char == ">" and (tag := TAG.fullmatch(held)):
            self._held = ""
            self._tag(tag)
        elif MAYBE.match(held) is None:
            self._release()

    def _no_answer(self, held: str, char: str) -> None:
        if SILENT.startswith(held) or (held.rstrip() == SILENT and len(held) <= len(SILENT) + SPACES):
            return
        if not self._begun and held.startswith(SILENT) and not _in_word(held[len(SILENT)]):
            self._mode, self._held = "silent", ""
            return
        self._release()

    def _release(self) -> None:
        """It is no mark: the first character comes out, the others may begin one."""
        held, self._held = self._held, ""
        if self._mode == "text":
            self._emit(held[0])
        else:
            self._inner(held[0])
        for char in held[1:]:
            self._take(char)

    def _tag(self, tag: re.Match[str]) -> None:
        if self._mode == "think":
            if tag["think"] and tag["end"]:
                self._mode = "text"
            return
        if self._mode == "call":
            if tag["call"] and tag["end"] and tag["call"].lower() == self._call:
                self._mode = "text"
            return
        if tag["end"] or tag["final"] or tag["rest"].rstrip().endswith("/"):
            return
        self._mode, self._call = ("think", "") if tag["think"] else ("call", tag["call"].lower())

    def _inner(self, char: str) -> None:
        if self._mode == "think":
            self._thoughts.append(char)

    def _emit(self, char: str) -> None:
        self._text.append(char)
        self._before, self._begun = char, self._begun or not char.isspace()
        if char == "\n":
            if self._mode == "fence" and closes(self._line, self._mark):
                self._mode = "text"
            self._line = ""
        elif len(self._line) < SPACES:
            self._line += char
            bare = self._line.lstrip(" ")
            if self._mode == "text" and bare in ("```", "~~~") and len(self._line) - len(bare) < 4:
                self._mode, self._mark, self._line = "fence", bare, NO_FENCE
        elif self._mode == "fence" and self._line is NO_FENCE:  # the line that begins it
            if char == self._mark[0]:
                self._mark += char
            else:
                self._line = "-" * SPACES


class Unsaid:
    """Takes one word out of a text that comes in pieces. An empty word takes nothing."""

    def __init__(self, word: str) -> None:
        self._word = word
        self._held = ""

    def feed(self, delta: str) -> str:
        if not self._word:
            return delta
        *before, rest = (self._held + delta).split(self._word)
        longest = min(len(self._word) - 1, len(rest))
        keep = next((n for n in range(longest, 0, -1) if self._word.startswith(rest[-n:])), 0)
        self._held = rest[len(rest) - keep :]
        return "".join(before) + rest[: len(rest) - keep]

    def end(self) -> str:
        held, self._held = self._held, ""
        return held


def _in_word(char: str) -> bool:
    return char.isalnum() or char == "_"
