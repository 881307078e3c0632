"""What a section of the configuration is made of: the base struct and the value types its fields may have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

from msgspec import Struct

MASK = "***"  # in place of a secret; config-cli.md S3.5
TELLING = re.compile(r"(?i)(^|[_-])(api[_-]?keys?|token|secret|password|authorization)$")  # names of secrets; S3.1


class Section(Struct, frozen=True):
    """A group of settings: one field per key, every field with a default.

    The type is the schema, the check and the documentation: ranges and descriptions live in `Meta`.
    Keys that end in `_sec`, `_ms`, `_delay`, `_timeout` or `_ttl` also take text such as "5m". A field typed
    `dict[str, SomeSection]` holds rows: it takes every key of the section that is not a field (`providers.<name>`)
    and is one of its ROW_NAMES.
    """

    ALIASES: ClassVar[Mapping[str, str]] = {}
    IGNORED: ClassVar[frozenset[str]] = frozenset()  # keys that pages in use send, and that mean nothing here
    ROW_NAMES: ClassVar[re.Pattern[str]] = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class Secret:
    """Text that never prints. Only `reveal()` gives it away."""

    __slots__ = ("_text",)

    def __init__(self, text: str = "") -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return MASK if self._text else ""


class Id(str):
    """An id in a list: numbers in the file are turned to text (config-cli.md §2)."""

    __slots__ = ()
