"""The eight states of a run and every step between them that is legal. Contract: durability.md §4, sessions §9.2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, get_args

from goclaw.domain.run import RunState

STATES: tuple[RunState, ...] = get_args(RunState)
TERMINAL: frozenset[RunState] = frozenset({"SUCCEEDED", "CANCELED", "DEAD_LETTER"})  # nothing leaves them
WAITING: frozenset[RunState] = frozenset({"QUEUED", "RETRY_WAIT"})
HELD: frozenset[RunState] = frozenset({"CLAIMED", "RUNNING"})  # by a node, under a lease
OPEN = WAITING | HELD

BACK = frozenset({"task.released", "task.lease_expired_requeued", "task.recovered"})  # T9, T10, T11
CANCELED = frozenset({"task.canceled"})

LEGAL: dict[tuple[RunState | None, RunState], frozenset[str]] = {
    (None, "QUEUED"): frozenset({"task.enqueued"}),
    ("QUEUED", "CLAIMED"): frozenset({"task.claimed"}),
    ("RETRY_WAIT", "QUEUED"): frozenset({"task.requeued"}),
    ("CLAIMED", "RUNNING"): frozenset({"task.running"}),
    ("RUNNING", "SUCCEEDED"): frozenset({"task.succeeded"}),
    ("RUNNING", "RETRY_WAIT"): frozenset({"task.retry_wait"}),
    ("RUNNING", "FAILED"): frozenset({"task.failed"}),
    ("RETRY_WAIT", "FAILED"): frozenset({"task.failed"}),
    ("FAILED", "DEAD_LETTER"): frozenset({"task.dead_letter"}),
    ("FAILED", "RETRY_WAIT"): frozenset({"task.requeued_by_operator"}),
    ("CLAIMED", "QUEUED"): BACK,
    ("RUNNING", "QUEUED"): BACK,
    ("QUEUED", "CANCELED"): CANCELED,
    ("CLAIMED", "CANCELED"): CANCELED,
    ("RETRY_WAIT", "CANCELED"): CANCELED,
    ("RUNNING", "CANCELED"): CANCELED,
}  # the pair, and the events that may say so


class Step(Protocol):
    """An event of a run's trail. One without `state_to`, or with the state it came from, changes nothing."""

    @property
    def type(self) -> str: ...
    @property
    def state_from(self) -> RunState | None: ...
    @property
    def state_to(self) -> RunState | None: ...


def flaws(trail: Sequence[Step], state: RunState, *, whole: bool = True) -> list[str]:
    """What is wrong with the path of a run that is in `state` now; nothing, when it is legal.

    `whole` is False when retention took the beginning of the trail away.
    """
    found: list[str] = []
    at = trail[0].state_from if trail and not whole else None
    for number, step in enumerate(trail, 1):
        if step.state_to is None or step.state_to == step.state_from:
            continue
        told = f"event {number} ({step.type})"
        if step.state_from != at:
            found.append(f"{told} leaves {step.state_from or 'nothing'}, but the run was {at or 'not there'}")
        allowed = LEGAL.get((step.state_from, step.state_to))
        if allowed is None:
            found.append(f"{told}: {step.state_from or 'nothing'} → {step.state_to} is not legal")
        elif step.type not in allowed:
            found.append(f"{told} is not what {step.state_from or 'nothing'} → {step.state_to} is called")
        at = step.state_to
    if at != state:
        found.append(f"the trail ends {at or 'before it begins'}, the run is {state}")
    return found
