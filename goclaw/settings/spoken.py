"""A value as somebody types it in one line. Contract: config-cli.md §7.4."""

from __future__ import annotations

from typing import Any

from goclaw.settings.convert import NUMBER
from goclaw.settings.document import Malformed, parse

WORDS = {"true": True, "false": False, "null": None}


def spoken(text: str) -> Any:
    """true, false, null, a number, text in quotes, JSON; anything else is text."""
    stripped = text.strip()
    if stripped in WORDS:
        return WORDS[stripped]
    if NUMBER.fullmatch(stripped):
        return float(stripped) if "." in stripped else int(stripped)
    if stripped[:1] in ("{", "[", '"', "'"):
        try:
            return parse(stripped).value
        except Malformed:
            return text
    return text


def placed(path: str, value: Any) -> dict[str, Any]:
    """A value as a patch: `gateway.port` and 1 are {"gateway": {"port": 1}}."""
    *sections, name = path.strip().strip(".").split(".")
    patch: dict[str, Any] = {name: value}
    for section in reversed(sections):
        patch = {section: patch}
    return patch
