"""What was found a moment ago, so that nobody is asked twice. Contract: tools.md §10."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

import trio

T = TypeVar("T")

FRESH = 900.0  # seconds
ENTRIES = 100
WEIGHT = 32 * 2**20  # characters of all entries together


class Cache(Generic[T]):
    """The oldest give way. What is too heavy by itself is not kept."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, tuple[T, int, float]] = OrderedDict()
        self._weight = 0

    def get(self, key: Hashable) -> T | None:
        if key not in self._kept:
            return None
        what, _, until = self._kept[key]
        if until < trio.current_time():
            self._drop(key)
            return None
        return what

    def put(self, key: Hashable, what: T, weight: int) -> None:
        """`weight` in characters."""
        if key in self._kept:
            self._drop(key)
        if weight > WEIGHT:
            return
        self._kept[key] = what, weight, trio.current_time() + FRESH
        self._weight += weight
        while len(self._kept) > ENTRIES or self._weight > WEIGHT:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: Hashable) -> None:
        self._weight -= self._kept.pop(key)[1]
