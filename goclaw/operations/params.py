"""What a client sent becomes an input struct, or one named error. The one place for all surfaces.

Rules: edge-websocket.md §2 (6, 7), edge-http.md §0.1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from goclaw.domain.errors import Err, Rejected, ambiguous, invalid, malformed, required, wrong_type

S = TypeVar("S", bound=msgspec.Struct)
ALIASES = {"agent_key": "agent_id"}  # understood everywhere; an input may add its own as a class attribute
NAME = 100  # characters; no parameter has a longer name
REASON = 200  # characters of a reason, which may quote the client
PLACE = re.compile(r" - at `(?:key in )?\$\.?(?P<field>[^`]*)`$")
MISSING = re.compile(r"^Object missing required field `(?P<field>[^`]+)`$")
EXPECTED = re.compile(r"^Expected `(?P<expected>[^`]+)`, got `[^`]+`$")


def decode(input: type[S], given: object, *, strict: bool = True) -> S:
    """Make `input` from a JSON object. Raises `Rejected` naming the field.

    Both spellings of a name are taken (`sessionKey`, `session_key`); unknown names are ignored; null counts
    as absent, unless it clears the field, and so does "" where the field is optional. With `strict=False`
    numbers and booleans may come as text, as in a query string.
    """
    if not isinstance(given, Mapping):
        raise Rejected(malformed("parameters"))
    values: dict[str, Any] = {}
    for key, value in given.items():
        name = _field(input, key)
        if name is None or (value is None and name not in _clearable(input)):
            continue
        empty = value == "" and name not in getattr(input, "CLEARED_BY_EMPTY", ())
        if empty and (name in values or not _fields(input)[name]):
            continue
        if values.get(name, "") not in ("", value):
            raise Rejected(ambiguous(name))
        if _holds_nul(value):
            raise Rejected(invalid(name, "a NUL character"))
        values[name] = value
    if whole := getattr(input, "WHOLE", ""):  # the field that takes all that was sent, for clients that send no names
        values[whole] = dict(given)
    try:
        return msgspec.convert(values, input, strict=strict)
    except msgspec.ValidationError as error:
        raise Rejected(explain(str(error))) from None


def moment(name: str, given: datetime | None) -> datetime | None:
    """In a zone that the database knows: its own go less far than a client's."""
    try:
        return None if given is None else given.astimezone(UTC)
    except OverflowError:
        raise Rejected(invalid(name, "a year beyond 1 … 9999")) from None


def explain(message: str, within: str = "") -> Err:
    """A validation message as a named error with the field, which is a member of `within`, and what was expected."""
    place = PLACE.search(message)
    field = ".".join(part for part in (within, place["field"] if place else "") if part)
    what = message[: place.start()] if place else message
    if missing := MISSING.match(what):
        return required(f"{field}.{missing['field']}" if field else missing["field"])
    field = field or "parameters"
    if expected := EXPECTED.match(what):
        return wrong_type(field, expected["expected"].removesuffix(" | null"))
    return invalid(field, what.replace("`", "").lower()[:REASON])


@lru_cache(maxsize=512)
def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def _field(input: type[msgspec.Struct], key: str) -> str | None:
    """The field a client means by `key`, None if there is none."""
    if len(key) > NAME:
        return None
    name = snake(key)
    if name not in _fields(input):
        name = {**ALIASES, **getattr(input, "ALIASES", {})}.get(name, "")
    return name if name in _fields(input) else None


@lru_cache(maxsize=512)
def _fields(input: type[msgspec.Struct]) -> dict[str, bool]:
    """Field name → whether it is required."""
    return {field.encode_name: field.required for field in msgspec.structs.fields(input)}


@lru_cache(maxsize=512)
def _clearable(input: type[msgspec.Struct]) -> frozenset[str]:
    """Fields that may be absent, null or a value, which are three things: `T | None | UnsetType = UNSET`."""
    optional = {field.encode_name for field in msgspec.structs.fields(input) if field.default is msgspec.UNSET}
    if not optional:
        return frozenset()
    info = msgspec.inspect.type_info(input)
    assert isinstance(info, msgspec.inspect.StructType)
    return frozenset(
        field.encode_name
        for field in info.fields
        if field.encode_name in optional
        and isinstance(field.type, msgspec.inspect.UnionType)
        and field.type.includes_none
    )


def _holds_nul(value: object) -> bool:
    """Whether a text in `value` holds what no text in the database may hold (edge-auth.md §13)."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case str(text) if "\0" in text:
                return True
            case dict(members):
                waiting += members
                waiting += members.values()
            case list(items):
                waiting += items
    return False
