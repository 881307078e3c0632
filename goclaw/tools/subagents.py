"""Copies of an agent that work for it. The port; the actors behind it see to their limits and ends.

Every method raises ToolFailed. Contract: orchestration.md §3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from goclaw.domain.subagent import Spawned, Steering, Subagent
from goclaw.tools.methods import Asker


class Subagents(Protocol):
    async def spawn(
        self,
        asker: Asker,
        run_id: str,
        key: str,
        *,
        task: str,
        label: str,
        role: str,
        model: str,
        detached: bool,
        announces: bool,
        depth: int = 0,
    ) -> Spawned:
        """One more below the run, which is `depth` deep itself; the same one for the same `key`."""

    async def known(
        self, asker: Asker, *, ids: Sequence[str] | None = None, recent: int | None = None, most: int = 0
    ) -> list[Subagent]:
        """Those of the asker's session, by number; without `ids` not those that ended long ago.

        `recent`: minutes; `most`: characters of a result.
        """

    async def limit(self, asker: Asker) -> int:
        """How many children a run may have at a time."""

    async def stop(self, asker: Asker, ids: Sequence[str]) -> None:
        """End these and all below them."""

    async def steer(self, asker: Asker, id: str, key: str, message: str) -> Steering:
        """Another instruction for one that has not ended."""

    async def wait(self, asker: Asker, run_id: str, ids: Sequence[str], within: float) -> None:
        """Returns when these have ended, or after so many seconds. The run lends its slot meanwhile."""

    async def announce(self, asker: Asker, id: str) -> None:
        """Nobody waits for it any more: its session shall be told how it ends."""

    async def log(self, asker: Asker, run_id: str) -> list[str]:
        """The latest lines of a subagent's run."""
