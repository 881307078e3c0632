from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goclaw.runtime.child import Backoff, restart_delay


@given(st.integers(1, 10_000), st.integers())
def test_back_off_doubles_up_to_its_longest_and_jitters_by_a_fifth(attempt: int, seed: int) -> None:
    spec = Backoff()
    expected = min(30.0, 0.1 * 2.0 ** min(attempt - 1, 20))

    delay = restart_delay(attempt, spec, Random(seed))

    assert 0.8 * expected <= delay <= 1.2 * expected


def test_attempts_count_from_one() -> None:
    with pytest.raises(ValueError, match="from 1"):
        restart_delay(0, Backoff(), Random(1))
