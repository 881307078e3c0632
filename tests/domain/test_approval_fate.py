"""What becomes of a command before anybody is asked. Contract: tools.md §12.2, every cell of its table."""

from __future__ import annotations

from itertools import product

import pytest

from goclaw.domain.approval import Asking, Fate, Known, Security, fate

TABLE: dict[tuple[Security, Known], tuple[Fate, Fate, Fate]] = {  # off, on-miss, always
    ("full", "listed"): ("run", "run", "ask"),
    ("full", "safe"): ("run", "run", "ask"),
    ("full", "unknown"): ("run", "ask", "ask"),
    ("allowlist", "listed"): ("run", "run", "ask"),
    ("allowlist", "safe"): ("deny", "ask", "ask"),
    ("allowlist", "unknown"): ("deny", "ask", "ask"),
    ("deny", "listed"): ("deny", "deny", "deny"),
    ("deny", "safe"): ("deny", "deny", "deny"),
    ("deny", "unknown"): ("deny", "deny", "deny"),
}
ASKING: tuple[Asking, ...] = ("off", "on-miss", "always")


@pytest.mark.parametrize(("row", "column"), list(product(TABLE, range(3))))
def test_every_cell(row: tuple[Security, Known], column: int) -> None:
    assert fate(row[0], ASKING[column], row[1]) == TABLE[row][column]
