"""When a model that failed may be asked again. Contract: providers.md §9.1, §9.2, PR-13, PR-14, PR-16."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goclaw.domain.cooldown import ANY, LASTS, MOST, NEVER, Cooldowns, Rest
from goclaw.domain.errors import ProviderTrouble

TROUBLES = get_args(ProviderTrouble)


@pytest.mark.parametrize("trouble", sorted(LASTS))
def test_a_model_rests_as_long_as_its_trouble_says(trouble: ProviderTrouble):
    cooldowns = Cooldowns()
    cooldowns.failed("m", 0, trouble, 1000.0)

    assert cooldowns.pick("m", (), 1000.0 + LASTS[trouble] - 1) is None
    assert cooldowns.pick("m", (), 1000.0 + LASTS[trouble]) == 0
    assert cooldowns.pick("other", (), 1000.0) == 0


def test_every_trouble_has_a_rest_or_none_on_purpose():
    assert set(TROUBLES) == set(LASTS) | NEVER


def test_a_bad_key_rests_alone():
    cooldowns = Cooldowns(slots=2)
    cooldowns.failed("m", 0, "auth", 0.0)

    assert cooldowns.pick("m", (), 1.0) == 1
    cooldowns.failed("m", 1, "auth", 2.0)
    assert cooldowns.pick("m", (), 3.0) is None
    assert cooldowns.until("m", 3.0) == Rest("m", 0, 600.0, "auth", 1, 0.0)


def test_five_failures_in_a_row_open_the_breaker_and_an_answer_closes_it():
    cooldowns = Cooldowns()
    for now in (0.0, 40.0, 80.0, 120.0, 160.0):
        cooldowns.failed("m", 0, "server_error", now)

    assert cooldowns.pick("m", (), 459.0) is None
    assert cooldowns.pick("m", (), 460.0) == 0
    assert cooldowns.succeeded("m", 0) == [("m", ANY)]
    cooldowns.failed("m", 0, "server_error", 500.0)
    assert cooldowns.pick("m", (), 531.0) == 0


def test_a_vendor_that_says_when_is_left_alone_until_then():
    cooldowns = Cooldowns()
    cooldowns.failed("m", 0, "rate_limit", 0.0, retry_after=90.0)
    cooldowns.failed("n", 0, "rate_limit", 0.0, retry_after=1.0)

    assert cooldowns.pick("m", (), 89.0) is None
    assert cooldowns.pick("n", (), 1.0) == 0


def test_a_model_that_is_overloaded_again_and_again_rests_longer():
    cooldowns = Cooldowns(threshold=100)
    for _ in range(5):
        rest = cooldowns.failed("m", 0, "overloaded", 0.0)
        assert rest is not None
        assert rest.until == 60.0
    rest = cooldowns.failed("m", 0, "overloaded", 0.0)
    assert rest is not None
    assert rest.until == 120.0


def test_one_may_try_a_busy_model_in_half_a_minute():
    cooldowns = Cooldowns()
    cooldowns.failed("m", 0, "overloaded", 0.0)

    assert [cooldowns.probe("m", now) for now in (1.0, 2.0, 30.0, 31.0)] == [0, None, None, 0]


def test_all_may_try_a_model_that_failed_once_until_its_breaker_opens():
    cooldowns = Cooldowns(threshold=2)
    cooldowns.failed("m", 0, "server_error", 0.0)
    assert [cooldowns.probe("m", 1.0), cooldowns.probe("m", 1.0)] == [0, 0]

    cooldowns.failed("m", 0, "server_error", 1.0)
    assert [cooldowns.probe("m", 2.0), cooldowns.probe("m", 2.0)] == [0, None]


def test_keys_that_were_tried_are_not_offered_again():
    assert Cooldowns(slots=3).pick("m", (0, 2), 0.0) == 1
    assert Cooldowns(slots=1).pick("m", (0,), 0.0) is None


def test_who_tried_a_key_may_try_the_next_of_a_model_that_rests():
    cooldowns = Cooldowns(slots=2)
    cooldowns.failed("m", 0, "server_error", 0.0)

    assert cooldowns.pick("m", (0,), 1.0) == 1
    assert cooldowns.pick("m", (), 1.0) is None


def test_wrong_questions_open_no_breaker():
    cooldowns = Cooldowns()
    for _ in range(6):
        cooldowns.failed("m", 0, "format", 0.0)

    assert [cooldowns.probe("m", 1.0), cooldowns.probe("m", 1.0)] == [0, 0]


def test_nobody_rests_for_longer_than_a_day():
    cooldowns = Cooldowns()
    cooldowns.failed("m", 0, "rate_limit", 0.0, retry_after=999_999.0)

    assert cooldowns.pick("m", (), 86_400.0) == 0


def test_what_is_forgotten_of_a_model_is_forgotten_whole():
    cooldowns = Cooldowns()
    for n in range(3 * MOST):
        cooldowns.failed(f"m{n}", 0, "overloaded", 0.0)
        cooldowns.probe(f"m{n}", 0.0)

    assert len(cooldowns._rests) == len(cooldowns._probed) == MOST


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b"]),
            st.integers(0, 2),
            st.sampled_from(TROUBLES),
            st.floats(0, 100),
            st.booleans(),
        )
    )
)
def test_a_restart_forgets_nothing(history):
    """Whoever is built from the rows says the same as the one who wrote them."""
    cooldowns, now = Cooldowns(slots=3), 0.0
    for model, slot, trouble, later, well in history:
        now += later
        if well:
            cooldowns.succeeded(model, slot)
        else:
            cooldowns.failed(model, slot, trouble, now)

    again = Cooldowns(slots=3, rows=cooldowns.rows(now))

    for model in ("a", "b"):
        assert again.pick(model, (), now) == cooldowns.pick(model, (), now)
        assert again.until(model, now) == cooldowns.until(model, now)


def test_only_so_many_are_kept():
    cooldowns = Cooldowns()
    for number in range(MOST + 10):
        cooldowns.failed(f"m{number}", 0, "billing", 0.0)

    assert len(cooldowns.rows(1.0)) == MOST
