"""The vectors everybody compares: one length for all models. Contract: data-model.md §10, providers.md §12."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import TypeAlias

DIMENSIONS = 1536  # of every vector column; data-model.md §1.1

Vector: TypeAlias = "array[float]"  # 32-bit floats, DIMENSIONS of them


def padded(values: Sequence[float]) -> Vector:
    """`values` and then zeros, which change no cosine. Raises ValueError for too many and for what is no number."""
    if len(values) > DIMENSIONS:
        raise ValueError(f"{len(values)} dimensions, the database holds {DIMENSIONS}")
    vector = array("f", values)
    if not math.isfinite(sum(vector)):  # of 32-bit numbers, so it cannot overflow
        raise ValueError("a dimension that is no number")
    vector.extend((0.0,) * (DIMENSIONS - len(vector)))
    return vector
