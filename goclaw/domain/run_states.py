"""Which state of a run may follow which. Contract: durability.md §4, sessions-lanes-cron.md §9.2."""

from __future__ import annotations

from goclaw.domain.run import RunState

LEGAL: frozenset[tuple[RunState | None, RunState]] = frozenset(
    {
        (None, "QUEUED"),  # T1; None = the run did not exist
        ("QUEUED", "CLAIMED"),  # T2
        ("RETRY_WAIT", "QUEUED"),  # T3, in the transaction of T2
        ("CLAIMED", "RUNNING"),  # T4
        ("RUNNING", "SUCCEEDED"),  # T5
        ("RUNNING", "RETRY_WAIT"),  # T6
        ("RUNNING", "FAILED"),  # T7, T14
        ("RETRY_WAIT", "FAILED"),  # T7, T14
        ("FAILED", "DEAD_LETTER"),  # T8, in the transaction of T7
        ("CLAIMED", "QUEUED"),  # T9, T10, T11
        ("RUNNING", "QUEUED"),  # T9, T10, T11
        ("QUEUED", "CANCELED"),  # T12
        ("CLAIMED", "CANCELED"),  # T12
        ("RETRY_WAIT", "CANCELED"),  # T12
        ("RUNNING", "CANCELED"),  # T13
        ("FAILED", "RETRY_WAIT"),  # T15
    }
)
"""All pairs there are: any other is refused, and a checker that reads `run_events` finds only these."""
