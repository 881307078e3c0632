"""The orchestration branch: children of runs, and how their results travel."""

from __future__ import annotations

from goclaw.actors.orch.announcer import Announcer
from goclaw.actors.orch.subagents import Subagents
from goclaw.domain.cluster import Ownership
from goclaw.runtime.child import Exhausted, Limit, child
from goclaw.runtime.supervisor import Supervisor
from goclaw.settings.orchestration import Orchestration
from goclaw.settings.orchestration import Subagents as Limits


def orch(limits: Limits, rules: Orchestration, ownership: Ownership) -> Supervisor:
    return Supervisor(
        [
            child("announcer", Announcer, rules.announce, ownership),
            child("subagents", Subagents, limits, rules.child_runs, ownership),
        ],
        limit=Limit(restarts=5, within=60.0),
        on_exhausted=Exhausted.QUARANTINE,  # one bad row must not take the gateway with it
    )
