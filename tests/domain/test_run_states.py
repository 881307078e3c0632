"""Which steps between the states of a run are legal."""

from __future__ import annotations

import itertools

import pytest
from msgspec import Struct

from goclaw.domain.run import RunState
from goclaw.domain.run_states import LEGAL, OPEN, STATES, TERMINAL, flaws


class Step(Struct, frozen=True):
    type: str
    state_from: RunState | None
    state_to: RunState | None


BEGIN = [Step("task.enqueued", None, "QUEUED"), Step("task.claimed", "QUEUED", "CLAIMED")]
RUNNING = [*BEGIN, Step("task.running", "CLAIMED", "RUNNING")]


def test_nothing_leaves_a_terminal_state_and_failed_rests() -> None:
    assert {(a, b) for a, b in LEGAL if a in TERMINAL} == set()
    assert {b for a, b in LEGAL if a == "FAILED"} == {"DEAD_LETTER", "RETRY_WAIT"}
    assert OPEN | TERMINAL | {"FAILED"} == set(STATES)


def test_every_state_is_reached_from_the_beginning() -> None:
    reached: set[RunState | None] = {None}
    for _ in STATES:
        reached |= {b for a, b in LEGAL if a in reached}

    assert reached == {None, *STATES}


def test_a_long_life_is_legal() -> None:
    trail = [
        *RUNNING,
        Step("step.committed", None, None),
        Step("task.retry_wait", "RUNNING", "RETRY_WAIT"),
        Step("task.requeued", "RETRY_WAIT", "QUEUED"),
        *RUNNING[1:],
        Step("task.lease_expired_requeued", "RUNNING", "QUEUED"),
        *RUNNING[1:],
        Step("task.cancel_requested", "RUNNING", "RUNNING"),
        Step("task.canceled", "RUNNING", "CANCELED"),
    ]

    assert flaws(trail, "CANCELED") == []
    assert flaws(trail[5:], "CANCELED", whole=False) == []


@pytest.mark.parametrize(("a", "b"), [pair for pair in itertools.product(STATES, STATES) if pair[0] != pair[1]])
def test_every_other_pair_is_a_flaw(a: RunState, b: RunState) -> None:
    named = next(iter(LEGAL.get((a, b), {"task.moved"})))

    assert bool(flaws([Step(named, a, b)], b, whole=False)) is ((a, b) not in LEGAL)


@pytest.mark.parametrize(
    ("trail", "state", "says"),
    [
        ([], "QUEUED", "the trail ends before it begins, the run is QUEUED"),
        (BEGIN, "RUNNING", "the trail ends CLAIMED, the run is RUNNING"),
        (RUNNING[1:], "RUNNING", "event 1 (task.claimed) leaves QUEUED, but the run was not there"),
        ([BEGIN[0], RUNNING[2]], "RUNNING", "event 2 (task.running) leaves CLAIMED, but the run was QUEUED"),
        (
            [BEGIN[0], Step("task.running", "QUEUED", "CLAIMED")],
            "CLAIMED",
            "event 2 (task.running) is not what QUEUED → CLAIMED is called",
        ),
        (
            [*RUNNING, Step("task.succeeded", "RUNNING", "SUCCEEDED"), Step("task.failed", "SUCCEEDED", "FAILED")],
            "FAILED",
            "event 5 (task.failed): SUCCEEDED → FAILED is not legal",
        ),
    ],
)
def test_a_flaw_is_named(trail: list[Step], state: RunState, says: str) -> None:
    assert flaws(trail, state) == [says]
