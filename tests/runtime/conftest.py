"""Every test of the kernel runs in virtual time, unless it needs threads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import Phase, settings
from structlog.testing import capture_logs
from structlog.typing import EventDict

settings.register_profile("nightly", max_examples=10_000, deadline=None)
# the first failure is enough, and an example of another day proves nothing; see test_mutants.py
settings.register_profile("mutants", deadline=None, database=None, phases=(Phase.explicit, Phase.generate))


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[EventDict]]:
    """What was logged, kept out of the output: crashes are what is tested here."""
    with capture_logs() as entries:
        yield entries
