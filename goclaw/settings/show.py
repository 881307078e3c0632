"""The configuration as others may see it: masked values and its JSON Schema. Contract: config-cli.md §3, §7.4."""

from __future__ import annotations

import inspect
from typing import Any

import msgspec
from msgspec.structs import FieldInfo

from goclaw.settings.convert import DURATION, SPANS
from goclaw.settings.keys import default_of, entries, fields, rows_of, subsection
from goclaw.settings.load import REFERENCE
from goclaw.settings.section import MASK, TELLING, Id, Secret, Section
from goclaw.settings.settings import Settings


def masked(settings: Settings) -> dict[str, Any]:
    """Every value by dotted key, as JSON: `***` for a secret that is set, empty for one that is not."""
    return {key: _hidden(msgspec.to_builtins(value, enc_hook=_plain)) for key, value in entries(settings)}


def _hidden(value: Any) -> Any:
    """Objects of anything may hold secrets, too: their names tell."""
    if not isinstance(value, dict):
        return value
    secret = {name for name, one in value.items() if isinstance(one, str) and one and TELLING.search(name)}
    return {name: MASK if name in secret else _hidden(one) for name, one in value.items()}


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """Dotted keys as objects in objects, the shape of the file."""
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *sections, name = key.split(".")
        inner = tree
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[name] = value
    return tree


def json_schema(section: type[Section] = Settings) -> dict[str, Any]:
    """JSON Schema (2020-12) of the file, made from the sections. Lists canonical spellings only."""
    properties: dict[str, Any] = {} if section is not Settings else {"$schema": {"type": "string"}}
    others: dict[str, Any] | bool = False
    for name, field in fields(section).items():
        if inner := subsection(field.type):
            properties[name] = json_schema(inner)
        elif row := rows_of(field.type):
            others = {**json_schema(row), "propertyNames": {"pattern": f"^{section.ROW_NAMES.pattern}$"}}
        else:
            properties[name] = _leaf(name, field)
    about = {"description": inspect.getdoc(section), "type": "object"}
    return about | {"properties": properties, "additionalProperties": others}


def _leaf(name: str, field: FieldInfo) -> dict[str, Any]:
    """A key, with text where text may stand for it: a reference, and for times a duration."""
    schema = _inlined(msgspec.json.schema(field.type, schema_hook=_text_schema))
    about = {
        "description": schema.pop("description", ""),
        "default": msgspec.to_builtins(default_of(field), enc_hook=_plain),
    }
    if schema.get("type") != "string":
        pattern = REFERENCE.pattern + (f"|{DURATION.pattern}" if name.endswith(SPANS) else "")
        schema = {"anyOf": [schema, {"type": "string", "pattern": f"^({pattern})$"}]}
    return about | schema


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """`schema` without references: what they name is put in their place."""
    named = schema.pop("$defs", {})

    def put(part: Any) -> Any:
        if isinstance(part, list):
            return [put(item) for item in part]
        if not isinstance(part, dict):
            return part
        return put(named[part["$ref"].rpartition("/")[2]]) if "$ref" in part else {k: put(v) for k, v in part.items()}

    inlined: dict[str, Any] = put(schema)
    return inlined


def _text_schema(kind: type) -> dict[str, Any]:
    return {"type": ["string", "integer"]} if kind is Id else {"type": "string"}


def _plain(value: Any) -> str:
    return repr(value) if isinstance(value, Secret) else str(value)
