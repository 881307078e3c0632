"""Every test of the kernel runs in virtual time, unless it needs threads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[EventDict]]:
    """What was logged, kept out of the output: crashes are what is tested here."""
    with capture_logs() as entries:
        yield entries
