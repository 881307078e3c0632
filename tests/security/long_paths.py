"""The race of security.md §7.2 at its full length: `make chaos`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.security import race

OPENS = 100_000  # security.md §7.2


@pytest.mark.parametrize("path", race.PATHS)
def test_a_hundred_thousand_opens_and_none_outside(path: str, tmp_path: Path) -> None:
    assert race.read(tmp_path.resolve(), path, opens=OPENS)["outside"] == 0


@pytest.mark.parametrize("how", race.WAYS)
def test_a_hundred_thousand_changes_and_none_outside(how: race.Way, tmp_path: Path) -> None:
    assert race.written(tmp_path.resolve(), how, times=OPENS) == []
