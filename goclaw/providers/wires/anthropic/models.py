"""Names of Anthropic's models: what they are short for, what they can, and the list of them."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Struct

from goclaw.providers.wire import ModelPage

ALIASES = {  # providers.md §4.1
    "opus": "claude-opus-4-6",
    "sonnet": "claude-sonnet-4-6",
    "haiku": "claude-haiku-4-5-20251001",
}
VERSION = re.compile(r"-(\d)(?:[-.](\d{1,2}))?(?:-|@|$)")
DATE = re.compile(r"[-@]\d{8}$")


def model_id(name: str) -> str:
    return ALIASES.get(name, name)


def family(model: str) -> str:
    """Models that understand each other's thoughts: the same one, whatever its date."""
    return "anthropic:" + DATE.sub("", model)


def version(model: str) -> tuple[int, int]:
    """(4, 5) of claude-haiku-4-5-20251001; (4, 0) of what is no such name."""
    found = VERSION.search(model)
    return (int(found[1]), int(found[2] or 0)) if found else (4, 0)


def thinks_by_effort(model: str) -> bool:
    """4-6 and later take an effort; the ones before it a budget in tokens (providers.md §10.2)."""
    return version(model) >= (4, 6)


def takes_schemas(model: str) -> bool:
    """Whether it can be held to a JSON Schema."""
    return version(model) >= (4, 5)


def thinking(model: str) -> dict[str, Any]:
    """How a model that takes an effort is asked to think.

    From 4-7 it shows its thoughts only to who asks for them; from 5-1 a thought belongs to the very prompt it was
    had with, and is dropped instead of refused when that has changed.
    """
    how: dict[str, Any] = {"type": "adaptive"}
    if version(model) >= (4, 7):
        how["display"] = "summarized"
    if version(model) > (5, 0):
        how["block_binding"] = {"prefix_mismatch_behavior": "drop_block"}
    return how


class _Model(Struct):
    id: str


class _Page(Struct):
    data: list[_Model]
    has_more: bool = False
    last_id: str | None = None


def list_models(body: bytes) -> ModelPage:
    page = msgspec.json.decode(body, type=_Page)
    more = f"&after_id={page.last_id}" if page.has_more and page.last_id else ""
    return ModelPage([model.id for model in page.data], more)
