"""IDENTITY.md: who an agent says it is, which its own row says too. Contract: agent-loop.md §7.4."""

from __future__ import annotations

import re

from goclaw.knowledge.context_files import COMMENT

FIELDS = {"name": ("display_name", 255), "emoji": ("emoji", 16), "avatar": ("avatar", 2048)}
FIELDS |= {"description": ("description", 8000)}
LINE = re.compile(
    r"^[ \t]*(?:[-*][ \t]+)?\**(?P<field>Name|Emoji|Avatar|Description)\**[ \t]*:\**[ \t]*(?P<value>.*)$", re.I | re.M
)
UNSAID = re.compile(r"^[_(<\[].*[_)>\]]$")  # a hint of the template instead of a value


def identity(text: str) -> dict[str, str]:
    """Columns of the agent that its IDENTITY.md names, at most as long as they may be."""
    found: dict[str, str] = {}
    for line in LINE.finditer(COMMENT.sub("", text)):
        column, longest = FIELDS[line["field"].lower()]
        value = line["value"].strip().strip("*").strip()
        if value and not UNSAID.match(value):
            found.setdefault(column, value[:longest])
    return found


def renamed(text: str, name: str) -> str:
    """IDENTITY.md with another `Name`; it gets the line if it has none."""
    for line in LINE.finditer(text):
        if line["field"].lower() == "name":
            return f"{text[: line.start('value')]}{name}{text[line.end('value') :]}"
    gap = "" if not text or text.endswith("\n") else "\n"
    return f"{text}{gap}- Name: {name}\n"
