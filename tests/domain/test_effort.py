"""Efforts as models take them. Contract: providers.md §10.2."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from goclaw.domain.effort import EFFORTS, Effort, nearest


def test_an_effort_is_lowered_before_it_is_raised() -> None:
    assert nearest("xhigh", ("low", "medium", "high")) == "high"
    assert nearest("none", ("low", "medium", "high")) == "low"
    assert nearest("minimal", ("none", "low")) == "none"
    assert nearest("medium", ("low", "medium", "high")) == "medium"
    assert nearest("high", ()) is None


@given(st.sampled_from(EFFORTS), st.lists(st.sampled_from(EFFORTS), unique=True))
def test_the_answer_is_always_one_that_is_offered(wanted: Effort, offered: list[Effort]) -> None:
    taken = nearest(wanted, tuple(offered))

    assert (taken is None) == (not offered)
    assert taken is None or taken in offered
    assert wanted not in offered or taken == wanted
