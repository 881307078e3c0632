"""What a tool takes when no struct says it: a JSON Schema of an operator, checked, and checked against.

Contract: tools.md §14.1. Keywords that follow references are refused, and expressions are those of RE2: neither may go
on for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec
import re2

QUIET = re2.Options()
QUIET.log_errors = False
DEPTH, PROPERTIES = 8, 64
LONGEST = 64 * 2**10  # bytes of a schema
PLAIN = frozenset(
    {"type", "enum", "const", "default", "description", "title", "examples", "format", "deprecated", "x-allow-dash"}
    | {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength"}
    | {"pattern", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties", "required"}
)
ONE = frozenset({"items", "additionalProperties", "not"})
MANY = frozenset({"anyOf", "oneOf", "allOf"})


class BadSchema(ValueError):
    """Why parameters cannot be stored, for who writes them."""


def checked(parameters: dict[str, Any]) -> dict[str, Any]:
    """The schema, whole: {} takes nothing. Raises BadSchema."""
    from jsonschema import Draft202012Validator, SchemaError  # 40 ms, for who asks for it

    schema = {"type": "object", "properties": {}, **parameters}
    if schema["type"] != "object":
        raise BadSchema("the root must be of type object")
    if len(msgspec.json.encode(schema)) > LONGEST:
        raise BadSchema(f"more than {LONGEST} bytes")
    if sum(_walk(schema, 1)) > PROPERTIES:
        raise BadSchema(f"more than {PROPERTIES} properties")
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise BadSchema(f"{'/'.join(map(str, error.absolute_path)) or 'the root'}: {error.message[:200]}") from None
    return schema


def _walk(schema: Any, depth: int) -> Iterator[int]:
    """How many properties each object of it has."""
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        raise BadSchema("a schema must be an object")
    if depth > DEPTH:
        raise BadSchema(f"nested deeper than {DEPTH}")
    for keyword, value in schema.items():
        if keyword == "properties":
            if not isinstance(value, dict):
                raise BadSchema("properties must be an object")
            yield len(value)
            for inner in value.values():
                yield from _walk(inner, depth + 1)
        elif keyword == "pattern":
            _readable(value)
        elif keyword in ONE:
            yield from _walk(value, depth + 1)
        elif keyword in MANY:
            for inner in value if isinstance(value, list) else ():
                yield from _walk(inner, depth + 1)
        elif keyword not in PLAIN:
            raise BadSchema(f"the keyword {keyword[:64]} is not supported")


def _readable(pattern: Any) -> None:
    try:
        re2.compile(pattern, QUIET)
    except (re2.error, TypeError):
        raise BadSchema(f"the pattern {str(pattern)[:100]} cannot be read as one of RE2") from None


def shown(schema: dict[str, Any]) -> dict[str, Any]:
    """As models are told it: without what is ours alone."""
    properties = {name: _without_marks(shape) for name, shape in schema["properties"].items()}
    return {**schema, "properties": properties, "additionalProperties": False}


def _without_marks(shape: Any) -> Any:
    return (
        {name: value for name, value in shape.items() if name != "x-allow-dash"} if isinstance(shape, dict) else shape
    )


def mended(value: Any, shape: Any) -> Any:
    """What a model means by it: numbers and yes or no may come as text."""
    match shape:
        case {"type": "integer" | "number" as kind} if isinstance(value, str) and len(value) <= 40:
            try:
                return msgspec.json.decode(value, type=int if kind == "integer" else float)
            except msgspec.DecodeError:
                return value
        case {"type": "boolean"} if value in ("true", "false"):
            return value == "true"
    return value


@cache
def _judge() -> Any:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    return extend(Draft202012Validator, {"pattern": _matches})


def _matches(validator: Any, pattern: str, value: Any, schema: Any) -> Iterator[Exception]:
    from jsonschema import ValidationError

    if not isinstance(value, str):
        return
    if re2.compile(pattern.encode(), QUIET).search(value.encode("utf-8", "replace")) is None:
        yield ValidationError(f"does not match {pattern[:100]!r}")


def trouble(schema: dict[str, Any], values: dict[str, Any]) -> tuple[str, str] | None:
    """The first place that does not fit, as a JSON pointer, and what is wrong with it."""
    errors = sorted(_judge()(schema).iter_errors(values), key=lambda error: list(map(str, error.path)))
    if not errors:
        return None
    return "/" + "/".join(map(str, errors[0].absolute_path)), errors[0].message[:300]
