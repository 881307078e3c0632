"""The smallest value a JSON Schema accepts, for when a structured answer is asked of a model that cannot think."""

from __future__ import annotations

import math
from typing import Any

import msgspec

DEPTH = 32  # of nested schemas; a schema that contains itself ends here
ROOM = 1_000_000  # characters of all texts together
VALUE = 100  # of them that each value costs besides


def instance(schema: Any, text: str) -> Any:
    """A value for `schema`: required members only, first of an enum, minimum of a number, `text` where a string goes.

    Raises ValueError for a schema that is none, or that only an endless or a huge value would fit.
    Source: providers.md §16.3 step 2.
    """
    try:
        return _Instance(schema, text).value(schema, 0)
    except (TypeError, AttributeError, LookupError, ArithmeticError) as error:
        raise ValueError(f"the schema is malformed ({error})") from None


class _Instance:
    def __init__(self, root: Any, text: str) -> None:
        self._root = root
        self._text = text
        self._room = ROOM

    def value(self, schema: Any, depth: int) -> Any:
        self._take(VALUE)
        if depth > DEPTH:
            raise ValueError("the schema has no finite smallest value")
        if not isinstance(schema, dict):
            return {} if schema is True else None

        def inner(part: Any) -> Any:
            return self.value(part, depth + 1)

        if "const" in schema:
            return self._copy(schema["const"])
        if schema.get("enum"):
            return self._copy(schema["enum"][0])
        if isinstance(reference := schema.get("$ref"), str):
            return inner(_target(self._root, reference))
        if parts := schema.get("allOf"):
            return inner(_merged([{k: v for k, v in schema.items() if k != "allOf"}, *parts], self._root))
        for name in ("anyOf", "oneOf"):
            if options := schema.get(name):
                return inner(next((o for o in options if o.get("type") == "null"), options[0]))
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = "null" if "null" in kind else kind[0]
        match kind:
            case "object":
                members = schema.get("properties", {})
                return {self._name(name): inner(members.get(name, {})) for name in schema.get("required", ())}
            case "array":
                return [inner(schema.get("items", {})) for _ in range(schema.get("minItems", 0))]
            case "string":
                return self._string(schema)
            case "integer" | "number":
                return _number(schema, kind)
            case "boolean":
                return False
            case "null":
                return None
            case _:
                return (
                    inner({**schema, "type": "object"})
                    if "properties" in schema or "required" in schema
                    else self._string(schema)
                )

    def _string(self, schema: dict[str, Any]) -> str:
        cut = self._text[: schema.get("maxLength", 2000)]
        shortest = schema.get("minLength", 0)
        self._take(max(len(cut), shortest))
        return cut.ljust(shortest, "-")

    def _name(self, name: Any) -> str:
        if not isinstance(name, str):
            raise ValueError("what the schema requires must have names")
        self._take(len(name))
        return name

    def _copy(self, value: Any) -> Any:
        self._take(len(msgspec.json.encode(value)))
        return value

    def _take(self, room: int) -> None:
        self._room -= room
        if self._room < 0:
            raise ValueError("the smallest value of the schema is too large")


def _number(schema: dict[str, Any], kind: str) -> int | float:
    """The number nearest to zero, from below the range, that the schema admits."""
    step = schema.get("multipleOf", 1)
    if step <= 0:
        raise ValueError("multipleOf in the schema must be above 0")
    low, high = schema.get("minimum"), schema.get("maximum")
    if (above := schema.get("exclusiveMinimum")) is not None:
        low = (above // step + 1) * step
    if (below := schema.get("exclusiveMaximum")) is not None:
        high = -(-below // step) * step - step
    number = low if low is not None else min(0, high) if high is not None else 0
    if number % step:
        number = -(-number // step) * step
    if not math.isfinite(number):
        raise ValueError("the numbers in the schema are too far apart")
    return int(-(-number // 1)) if kind == "integer" else number


def _target(root: Any, reference: str) -> Any:
    if not reference.startswith("#"):
        raise ValueError(f"the schema refers to {reference}, which is elsewhere")
    found = root
    for name in reference[1:].split("/")[1:]:
        name = name.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, dict) else None
    if found is None:
        raise ValueError(f"the schema refers to {reference}, which is not there")
    return found


def _merged(parts: list[Any], root: Any) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for part in parts:
        part = _target(root, part["$ref"]) if "$ref" in part else part
        merged |= {
            **part,
            "properties": {**merged.get("properties", {}), **part.get("properties", {})},
            "required": [*merged.get("required", ()), *part.get("required", ())],
        }
    return merged
