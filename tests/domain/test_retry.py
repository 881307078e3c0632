"""Whether a failed run is tried again, and when. Contract: durability.md §6."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goclaw.domain.retry import Again, Over, Rules, delay, fingerprint, verdict

RULES = Rules()


def fate(**more: Any) -> Again | Over:
    facts: dict[str, Any] = {
        "run_id": "r",
        "kind": "task",
        "attempt": 1,
        "max_attempts": 3,
        "age": 0.0,
        "alike": 1,
        "rules": RULES,
    }
    return verdict(**{**facts, **more})


@given(st.uuids(version=4), st.integers(1, 60))
def test_waits_double_with_half_as_much_by_chance_up_to_thirty_seconds(run_id: Any, attempt: int) -> None:
    plain = 2.0 ** (attempt - 1)
    found = delay(str(run_id), attempt, RULES)
    assert min(30.0, plain) <= found <= min(30.0, plain * 1.5)
    assert found == delay(str(run_id), attempt, RULES), "a restart changes nothing"


def test_a_hundred_runs_that_fail_together_do_not_come_back_together() -> None:
    assert len({round(delay(f"run {n}", 1, RULES), 2) for n in range(100)}) > 30


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"alike": 3}, Over("DEAD_LETTER_POISON_PILL")),
        ({"attempt": 3}, Over("DEAD_LETTER_MAX_ATTEMPTS")),
        ({"max_attempts": 1}, Over(None)),
        ({"kind": "chat", "age": 119.5}, Over(None)),
        ({"kind": "channel", "age": 300.0}, Over(None)),
    ],
)
def test_there_is_an_end(facts: dict[str, Any], expected: Over) -> None:
    assert fate(**facts) == expected


def test_a_task_may_wait_longer_than_a_person() -> None:
    assert isinstance(fate(age=300.0), Again)
    assert isinstance(fate(kind="chat", age=10.0), Again)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("timeout after 31 s", "timeout after 7 s"),
        ("run 0193a5b0-7000-7000-8000-000000000001 is stuck", "run 0193a5b0-7000-7000-8000-00000000beef is stuck"),
        ("no such file /home/a/x.txt", "no such file /srv/b/c/y.txt"),
        ('tool "read" said no', 'tool "write" said no'),
        ("at 7ffe21ab00", "at 55d0aa1234"),
    ],
)
def test_errors_that_differ_in_names_and_numbers_are_one(one: str, other: str) -> None:
    assert fingerprint("E", one) == fingerprint("E", other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("rate limited", "overloaded"), ("decade", "facade"), ("cannot read", "cannot write")],
)
def test_errors_that_say_something_else_are_two(one: str, other: str) -> None:
    assert fingerprint("E", one) != fingerprint("E", other)


def test_the_class_of_an_error_counts() -> None:
    assert fingerprint("timeout", "x") != fingerprint("network", "x")


def test_a_subagent_is_tried_again_after_two_seconds_more_each_time() -> None:
    assert [fate(kind="subagent", attempt=n, max_attempts=9) for n in (1, 2, 3)] == [Again(2.0), Again(4.0), Again(6.0)]
