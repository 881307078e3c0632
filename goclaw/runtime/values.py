"""Values that messages may carry besides plain ones: frozen mappings, secrets, references to large things.

Contract: supervision.md §3 M2, M3, M5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from msgspec import Struct

K = TypeVar("K")
V = TypeVar("V", covariant=True)


class FrozenMap(Mapping[K, V]):
    """A mapping that never changes; its values must not either. Equal to any mapping with the same items."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[K, V] | tuple[tuple[K, V], ...] = ()) -> None:
        self._items = dict(items)

    def __getitem__(self, key: K) -> V:
        return self._items[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return f"FrozenMap({self._items!r})"


class Secret:
    """A text that is never shown: not in logs, not in traces, not on the wire."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "***"


class BlobRef(Struct, frozen=True):
    """Something too large for a message, kept elsewhere. `size` in bytes, `sha256` in hex."""

    id: str
    size: int
    sha256: str


def plain(value: Any) -> Any:
    """How these values are written by the codec; raises TypeError for others."""
    match value:
        case str():  # of a subclass, such as an address
            return str(value)
        case FrozenMap():
            return dict(value)
        case Secret():
            return repr(value)
    raise TypeError(f"{type(value).__name__} does not travel")
