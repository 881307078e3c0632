"""What a run needs besides its row: tools, defaults, places. Fixed for the life of the process."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from goclaw.actors.engine.journal import KnownBlobs
from goclaw.domain.access import SYSTEM_USER
from goclaw.domain.agent import AgentProfile
from goclaw.domain.cluster import Ownership
from goclaw.domain.retry import Rules
from goclaw.security.paths import Workspace
from goclaw.settings.agents import AgentDefaults
from goclaw.settings.queue import Queue
from goclaw.settings.record import Record
from goclaw.settings.telemetry import ModelPrice
from goclaw.tools.tool import Tool


@dataclass(frozen=True)
class Engine:
    node_id: str
    tools: Mapping[str, Tool]
    defaults: AgentDefaults
    queue: Queue
    record: Record = field(default_factory=Record)
    blobs: KnownBlobs = field(default_factory=KnownBlobs)
    ownership: Ownership = field(default_factory=Ownership)
    pricing: Mapping[str, ModelPrice] = field(default_factory=dict)

    @property
    def rules(self) -> Rules:
        """When a failed run is tried again."""
        queue = self.queue
        return Rules(
            base=queue.retry_base_ms / 1000,
            cap=queue.retry_cap_ms / 1000,
            poison=queue.poison_threshold,
            interactive=queue.interactive_retry_sec,
        )

    def workspace(self, agent: AgentProfile, user_id: str) -> Workspace:
        """The directory of an agent for one user, made on first use (tools.md §9.1).

        The installation's own user works in the base directory, everybody else below it.
        """
        base = self.defaults.workspace / agent.workspace  # an absolute one replaces the default
        place = base if user_id == SYSTEM_USER else base / f"user_{file_name(user_id)}"
        return _made(place)


@lru_cache(maxsize=4096)
def _made(place: Path) -> Workspace:
    """A few system calls on first use, none later. Raises OSError."""
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Workspace(place.resolve())


def file_name(id: str) -> str:
    """A name no two ids share: odd characters replaced, and 8 hex of the id's SHA-256 (tools.md §9.1)."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", id)[:200]
    return f"{plain}-{hashlib.sha256(id.encode()).hexdigest()[:8]}"
