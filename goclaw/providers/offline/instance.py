"""The smallest value a JSON Schema accepts, for when a structured answer is asked of a model that cannot think."""

from __future__ import annotations

from typing import Any

DEPTH = 32  # of nested schemas; a schema that contains itself ends here


def instance(schema: Any, text: str, root: Any = None, depth: int = 0) -> Any:
    """A value for `schema`: required members only, first of an enum, minimum of a number, `text` where a string goes.

    Raises ValueError for a schema that only an endless value would fit.
    Source: providers.md §16.3 step 2.
    """
    if depth > DEPTH:
        raise ValueError("the schema has no finite smallest value")
    if not isinstance(schema, dict):
        return {} if schema is True else None
    root = schema if root is None else root

    def inner(part: Any) -> Any:
        return instance(part, text, root, depth + 1)

    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    if isinstance(reference := schema.get("$ref"), str):
        return inner(_target(root, reference))
    if parts := schema.get("allOf"):
        return inner(_merged([{k: v for k, v in schema.items() if k != "allOf"}, *parts], root))
    for name in ("anyOf", "oneOf"):
        if options := schema.get(name):
            return inner(next((o for o in options if o.get("type") == "null"), options[0]))
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = "null" if "null" in kind else kind[0]
    match kind:
        case "object":
            members = schema.get("properties", {})
            return {name: inner(members.get(name, {})) for name in schema.get("required", ())}
        case "array":
            return [inner(schema.get("items", {})) for _ in range(min(schema.get("minItems", 0), 100))]
        case "string":
            return _string(schema, text)
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
                else _string(schema, text)
            )


def _string(schema: dict[str, Any], text: str) -> str:
    cut = text[: schema.get("maxLength", 2000)]
    return cut.ljust(schema.get("minLength", 0), "-")


def _number(schema: dict[str, Any], kind: str) -> int | float:
    """The number nearest to zero, from below the range, that the schema admits."""
    step = schema.get("multipleOf", 1)
    low, high = schema.get("minimum"), schema.get("maximum")
    if (above := schema.get("exclusiveMinimum")) is not None:
        low = (above // step + 1) * step
    if (below := schema.get("exclusiveMaximum")) is not None:
        high = -(-below // step) * step - step
    number = low if low is not None else min(0, high) if high is not None else 0
    if number % step:
        number = -(-number // step) * step
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
