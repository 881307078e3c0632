"""The written part of the screen: its last lines, with what they are."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from goclaw.edge.cli.conversation import Style

KEPT = 2000  # lines
LONGEST = 4000  # characters of one; a longer one is broken
BEFORE: dict[Style, str] = {"you": "> ", "tool": "  ", "note": "· ", "error": "! ", "ask": "? "}

Fragment = tuple[str, str]  # style and text, as prompt_toolkit reads them


class Page:
    """A `Paper` in memory."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self.lines: deque[Fragment] = deque(maxlen=KEPT)
        self.back = 0  # lines that are scrolled up
        self._changed = changed
        self._open = False

    def line(self, style: Style, text: str) -> None:
        self._open = False
        for number, part in enumerate(text.split("\n")):
            before = BEFORE.get(style, "")
            self._add(style, (before if number == 0 else " " * len(before)) + part)
        self._changed()

    def stream(self, text: str) -> None:
        for number, part in enumerate(text.split("\n")):
            last = self.lines[-1][1] if self._open and self.lines else ""
            if number or not self._open or len(last) + len(part) > LONGEST:
                self._add("agent", part)
            else:
                self.lines[-1] = ("class:agent", last + part)
            self._open = True
        self._changed()

    def clear(self) -> None:
        self.lines.clear()
        self._open, self.back = False, 0
        self._changed()

    def scroll(self, lines: int) -> None:
        """Up by so many; down if negative, at most to the end."""
        self.back = max(0, min(self.back + lines, len(self.lines) - 1))
        self._changed()

    def fragments(self) -> list[Fragment]:
        """Everything, a line break between each two."""
        return [piece for style, text in self.lines for piece in ((style, text), ("", "\n"))][:-1]

    def _add(self, style: Style, text: str) -> None:
        self.lines += [(f"class:{style}", text[at : at + LONGEST]) for at in range(0, max(len(text), 1), LONGEST)]
