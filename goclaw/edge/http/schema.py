"""JSON Schema 2020-12, which msgspec writes, as OpenAPI 3.0.3 reads it: an older dialect with other words."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
NULL = {"type": "null"}
FOREIGN = frozenset({"patternProperties", "propertyNames", "contentEncoding", "prefixItems", "const", "examples"})


def in_openapi(schema: Json) -> Json:
    """The same meaning in the older words; what they cannot say is left out, never said wrongly."""
    if "$ref" in schema and len(schema) > 1:  # neighbours of a $ref would be ignored
        return in_openapi({"allOf": [{"$ref": schema["$ref"]}], **{k: v for k, v in schema.items() if k != "$ref"}})
    if schema.get("type") == "null":
        return {"nullable": True, "enum": [None]}
    if NULL in schema.get("anyOf", ()):
        return _nullable({**schema, "anyOf": [choice for choice in schema["anyOf"] if choice != NULL]})
    older = {word: _older(word, value) for word, value in schema.items() if word not in FOREIGN}
    for word, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if word in schema:
            older |= {limit: schema[word], word: True}
    if "const" in schema:
        older["enum"] = [schema["const"]]
    if "prefixItems" in schema:
        older["items"] = {"anyOf": [in_openapi(item) for item in schema["prefixItems"]]}
    if schema.get("type") == "array":
        older.setdefault("items", {})
    if schema.get("contentEncoding") == "base64":
        older["format"] = "byte"
    if None in schema.get("enum", ()):
        older["nullable"] = True
    return older


def _nullable(schema: Json) -> Json:
    """`schema` without the null among its choices, marked nullable; beside a $ref that takes an allOf."""
    choices = [in_openapi(choice) for choice in schema.pop("anyOf")]
    beside = in_openapi(schema)
    if len(choices) > 1:
        return {"anyOf": [{**choice, "nullable": True} for choice in choices], **beside}
    (only,) = choices
    if "$ref" in only:
        only = {"allOf": [only]}
    return {**only, "nullable": True, **beside}


def _older(word: str, value: Any) -> Any:
    match word:
        case "properties":
            return {name: in_openapi(shape) for name, shape in value.items()}
        case "items" | "additionalProperties" if isinstance(value, dict):
            return in_openapi(value)
        case "anyOf" | "oneOf" | "allOf":
            return [in_openapi(choice) for choice in value]
        case _:
            return value
