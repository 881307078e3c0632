"""The cases of a guard: one JSON object a line, each a test of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PLACE = Path(__file__).parent / "corpora"


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (PLACE / f"{name}.jsonl").read_text().splitlines()]


def cases(name: str, refused: Callable[[dict[str, Any]], Any]) -> list[Any]:
    """Every row of a file. `refused`: must the guard do something about it? What is not must pass as it is."""
    return [case(name, row["id"], bool(refused(row)), row) for row in rows(name)]


def case(name: str, id: str, refused: bool, *values: Any) -> Any:
    """A case that is counted for the guard which the first word of `name` tells."""
    marks = pytest.mark.corpus(name.partition("_")[0], f"{name}-{id}", refused)
    return pytest.param(*values, id=id, marks=marks)


def changed(row: dict[str, Any]) -> bool:
    """Of the corpora whose guards rewrite a text."""
    return bool(row["becomes"] != row["text"])
