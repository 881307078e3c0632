"""Which keys a section has, and how each may be spelled. Contract: config-cli.md §2."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, get_args, get_origin

from msgspec import NODEFAULT
from msgspec.structs import FieldInfo
from msgspec.structs import fields as struct_fields

from goclaw.settings.section import Section


@cache
def fields(section: type[Section]) -> dict[str, FieldInfo]:
    return {field.name: field for field in struct_fields(section)}


@cache
def spellings(section: type[Section]) -> dict[str, str]:
    """Every accepted spelling of a key → its canonical one: `maxChars` and `max_chars`, `enable` for `enabled`."""
    names = [name for name, field in fields(section).items() if not rows_of(field.type)]
    accepted = {camel(name): name for name in names} | {name: name for name in names}
    return accepted | ({"enable": "enabled"} if "enabled" in names else {}) | dict(section.ALIASES)


@cache
def row_field(section: type[Section]) -> tuple[str, type[Section]] | None:
    """The field that takes the keys that are no fields, and what each of its rows is."""
    for name, field in fields(section).items():
        if row := rows_of(field.type):
            return name, row
    return None


def default_of(field: FieldInfo) -> Any:
    """What a field is when nobody sets it; a map starts empty."""
    return {} if field.default is NODEFAULT else field.default


def subsection(kind: Any) -> type[Section] | None:
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def rows_of(kind: Any) -> type[Section] | None:
    return subsection(get_args(kind)[1]) if get_origin(kind) is dict else None


def entries(settings: Section, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value with its dotted key, in the order of the declarations."""
    for name, field in fields(type(settings)).items():
        value = getattr(settings, name)
        if isinstance(value, Section):
            yield from entries(value, f"{prefix}{name}.")
        elif rows_of(field.type):
            for row, section in value.items():
                yield from entries(section, f"{prefix}{row}.")
        else:
            yield prefix + name, value


def camel(name: str) -> str:
    return re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), name)


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()
