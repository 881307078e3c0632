"""The cases of a guard: one JSON object a line, each with an id and a text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

PLACE = Path(__file__).parent / "corpora"


def cases(name: str) -> list[Any]:
    """Each as a test of its own."""
    rows = [json.loads(line) for line in (PLACE / f"{name}.jsonl").read_text().splitlines()]
    return [pytest.param(row, id=row["id"]) for row in rows]
