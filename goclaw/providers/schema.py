"""JSON Schemas of tools as vendors take them. Contract: providers.md §6."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

PLAIN = frozenset({"additionalProperties", "examples", "default"})  # what Gemini does not take
FORMATS = frozenset({"date-time", "enum"})  # those it does
DEEP = 24  # references inside of references; deeper is a circle


def cleaned(schema: dict[str, Any], drop: Collection[str] = ()) -> dict[str, Any]:
    """An object schema without local references and without the keywords in `drop`.

    A circle of references ends as a schema that accepts anything. With `PLAIN` also: only texts in `enum`, one type
    where there were several, few formats.
    """
    definitions = {f"#/{name}/{key}": value for name in ("$defs", "definitions") for key, value in _of(schema, name)}
    clean = _clean(schema, definitions, frozenset(drop) | {"$defs", "definitions", "$ref", "$schema", "$id"}, 0)
    clean = {"type": "object", "properties": {}, **clean}
    required = [name for name in clean.get("required", ()) if name in clean["properties"]]
    clean.pop("required", None)
    return clean | ({"required": required} if required else {})


def _of(schema: dict[str, Any], name: str) -> Collection[tuple[str, Any]]:
    found = schema.get(name)
    return found.items() if isinstance(found, dict) else ()


def _clean(part: Any, definitions: dict[str, Any], drop: frozenset[str], depth: int) -> Any:
    match part:
        case {"$ref": str(name), **beside}:
            if depth >= DEEP or name not in definitions:
                return {}
            return _clean({**definitions[name], **beside}, definitions, drop, depth + 1)
        case dict():
            if drop >= PLAIN:
                part = _plain(part)
            return {
                name: {key: _clean(value, definitions, drop, depth) for key, value in inner.items()}
                if name == "properties" and isinstance(inner, dict)
                else inner
                if name in ("enum", "const", "default", "examples", "required")
                else _clean(inner, definitions, drop, depth)
                for name, inner in part.items()
                if name not in drop
            }
        case list():
            return [_clean(one, definitions, drop, depth) for one in part]
        case _:
            return part


def _plain(part: dict[str, Any]) -> dict[str, Any]:
    """One level of a schema without what only some vendors read; what is lost of a type is said in words."""
    out = dict(part)
    kind = out.get("type")
    if isinstance(kind, list):
        named = [one for one in kind if one != "null"]
        out["type"] = named[0] if named else "string"
        if "null" in kind:
            out["description"] = f"{out.get('description', '')} (may be null)".strip()
    if isinstance(values := out.get("enum"), list):
        out["enum"] = [value if isinstance(value, str) else str(value) for value in values if value is not None]
        if out.get("type") not in (None, "string"):
            out["type"] = "string"
    if out.get("format") not in FORMATS:
        out.pop("format", None)
    return out
