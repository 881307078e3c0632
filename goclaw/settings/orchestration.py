"""Agents that start others. Contract: config-cli.md §4.3, orchestration.md §3.2, §5, §17."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta
from msgspec.structs import replace

from goclaw.settings.section import Section


class Subagents(Section, frozen=True):
    """What an agent may hand to copies of itself. An agent's own `subagents_config` comes first."""

    max_concurrent: Annotated[int, Meta(ge=1, le=100, description="at work below one run")] = 20
    max_spawn_depth: Annotated[int, Meta(ge=1, le=5)] = 1
    max_children_per_agent: Annotated[int, Meta(ge=1, le=20, description="of one run, at work or waiting")] = 5
    archive_after_minutes: Annotated[int, Meta(ge=1, le=43_200, description="lists show one so long")] = 60
    max_retries: Annotated[int, Meta(ge=0, le=10, description="after errors that may pass")] = 2
    model: Annotated[str, Meta(max_length=200, description="empty = the parent's")] = ""

    def of_agent(self, own: Mapping[str, Any] | None) -> Subagents:
        """As an agent's record has it; what lies outside of the range is the nearest within, what is none is left out.

        Its keys are written `maxConcurrent`, as the record's other objects are.
        """
        said = own or {}
        numbers = {
            name: min(max(low, value), high)
            for name, (key, low, high) in OWN.items()
            if isinstance(value := said.get(key), int) and not isinstance(value, bool)
        }
        model = said.get("model")
        return replace(self, **numbers, model=model[:200] if isinstance(model, str) and model else self.model)


OWN = {
    "max_concurrent": ("maxConcurrent", 1, 100),
    "max_spawn_depth": ("maxSpawnDepth", 1, 5),
    "max_children_per_agent": ("maxChildrenPerAgent", 1, 20),
    "archive_after_minutes": ("archiveAfterMinutes", 1, 43_200),
    "max_retries": ("maxRetries", 0, 10),
}


class ChildRuns(Section, frozen=True):
    """Children of all runs together."""

    process_cap: Annotated[int, Meta(ge=1, le=10_000, description="at work at once")] = 32
    pending_cap: Annotated[int, Meta(ge=1, le=100_000, description="waiting until fewer work")] = 128


class Announce(Section, frozen=True):
    """How results travel back to the session that asked for them."""

    debounce_ms: Annotated[int, Meta(ge=0, le=60_000, description="wait so long for more of them")] = 1000
    cap: Annotated[int, Meta(ge=1, le=100, description="results told at once")] = 20
    max_hold_sec: Annotated[float, Meta(ge=1, le=3600, description="none waits longer")] = 120.0


class Orchestration(Section, frozen=True):
    """Runs that start runs."""

    max_runs_per_root: Annotated[int, Meta(ge=1, le=10_000, description="children below one run, ever")] = 100
    child_runs: ChildRuns = ChildRuns()
    announce: Announce = Announce()
