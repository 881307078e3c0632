"""Marks that models leave in their text and nobody should read. Contract: agent-loop.md §9.2, §12.1."""

from __future__ import annotations

import re

THINKING = "think|thinking|thought|antthinking|redacted_thinking"
CALLS = "function_calls?|functioninvoke|invoke|invfunction_calls|tool_calls?|tool_use|parameter|minimax:tool_call"
TAG = re.compile(
    rf"<(?P<end>/?)(?:(?P<think>{THINKING})|(?P<call>{CALLS})|(?P<final>final))(?=[\s>/])(?P<rest>[^<>]{{0,200}})>",
    re.IGNORECASE,
)
LONGEST = 64  # characters held back until it is clear what they are
FENCE = re.compile(r"^ {0,3}(?P<mark>`{3,}|~{3,})", re.MULTILINE)
SILENT = "NO_REPLY"


def closes(line: str, mark: str) -> bool:
    """Whether a line ends the code block that `mark` began."""
    bare = line.strip()
    return len(bare) >= len(mark) and set(bare) == {mark[0]}


def without(text: str, keyword: str) -> str:
    """A text without a word that only we read."""
    return "\n".join(line.replace(keyword, "").rstrip() for line in text.split("\n")).strip()


def silent(text: str) -> bool:
    """Whether a whole answer says that there is none (§12.3)."""
    text = text.strip()
    if text.startswith(SILENT):
        return not text[len(SILENT) : len(SILENT) + 1].isidentifier() and not text[len(SILENT) :][:1].isdigit()
    before = text[: -len(SILENT)]
    return text.endswith(SILENT) and not (before[-1:].isalnum() or before[-1:] == "_")
