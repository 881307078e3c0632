"""How Python values travel to PostgreSQL and back.

uuid is str, jsonb is plain JSON data, timestamptz is an aware datetime, numeric is Decimal.
NUL characters are dropped from text and JSON on the way in: PostgreSQL refuses them (data-model.md §1).
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import AdaptersMap, Dumper, Loader
from psycopg.types.string import StrDumperUnknown, TextLoader

from goclaw.stores.unit import Json

# not after an odd backslash: "\\u0000" is the text \u0000, spelt out
_ESCAPED_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


class _Text(StrDumperUnknown):
    """Sent without a type, so the server reads it as whatever the column is: text, uuid, timestamptz."""

    def dump(self, obj: str) -> Buffer | None:
        return super().dump(obj.replace("\0", "") if "\0" in obj else obj)


class _ToJson(Dumper):
    oid = psycopg.adapters.types["jsonb"].oid

    def dump(self, obj: Any) -> bytes:
        encoded = msgspec.json.encode(obj.value if isinstance(obj, Json) else obj)
        return _ESCAPED_NUL.sub(rb"\1", encoded) if rb"\u0000" in encoded else encoded


class _FromJson(Loader):
    def load(self, data: Buffer) -> Any:
        return msgspec.json.decode(data)


def _adapters() -> AdaptersMap:
    adapters = AdaptersMap(psycopg.adapters)
    adapters.register_dumper(str, _Text)
    adapters.register_dumper(dict, _ToJson)
    adapters.register_dumper(msgspec.Struct, _ToJson)
    adapters.register_loader("uuid", TextLoader)
    adapters.register_loader("json", _FromJson)
    adapters.register_loader("jsonb", _FromJson)
    return adapters


ADAPTERS = _adapters()


def cut(text: str, chars: int) -> str:
    """At most so many characters of a text from anywhere, without halves of pairs, which PostgreSQL refuses too."""
    return text[:chars].encode("utf-8", "replace").decode()
