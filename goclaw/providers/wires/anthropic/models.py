"""Names of Anthropic's models: what they are short for, what they can, and the list of them."""

from __future__ import annotations

import re

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


def thinks_by_effort(model: str) -> bool:
    """4-6 and later take an effort; the ones before it a budget in tokens (providers.md §10.2)."""
    found = VERSION.search(model)
    return found is not None and (int(found[1]), int(found[2] or 0)) >= (4, 6)


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
