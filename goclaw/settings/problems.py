"""What is wrong with a configuration, all of it at once, in words an operator can act on."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from goclaw.domain.errors import StartupFatal

FARTHEST = 2  # edits between a wrong word and its suggestion; config-cli.md §2


class Problem(Struct, frozen=True):
    """One mistake. `key` is dotted, or the name of a variable; `line` only for the file."""

    key: str
    message: str
    line: int | None = None
    suggestion: str | None = None

    def __str__(self) -> str:
        return self.message + (f' (did you mean "{self.suggestion}"?)' if self.suggestion else "")


class ConfigInvalid(StartupFatal):
    """The configuration cannot be used. Carries every problem found, not just the first."""

    def __init__(self, path: Path, problems: list[Problem]) -> None:
        listed = "".join(f"\n  {problem}" for problem in problems[1:])
        super().__init__("E_CONFIG_LOAD", f"{path}: {problems[0]}{listed}", "correct it, then: goclaw config check")
        self.path = path
        self.problems = problems


def quoted(text: str) -> str:
    """A word of the operator's in our message: on one line, at most 80 characters."""
    return json.dumps(text if len(text) <= 80 else text[:79] + "…", ensure_ascii=False)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word fewest edits away, if it is at most two and fewer than the word has letters."""
    if len(word) > 100:
        return None
    distance, best = min(((_edits(word, other), other) for other in known), default=(FARTHEST + 1, ""))
    return best if distance <= FARTHEST and distance < len(word) else None


def _edits(a: str, b: str) -> int:
    """Levenshtein distance: insertions, deletions and replacements."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right))
    return row[-1]
