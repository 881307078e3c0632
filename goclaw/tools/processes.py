"""Programs that go on when the call that started them has ended.

The port; the actors behind it are one for each program. Every method raises ToolFailed: `not_found` for what is not
the owner's, `conflict` for what cannot be told any more. Contract: tools.md §13.
"""

from __future__ import annotations

from typing import Protocol

from goclaw.domain.process import Facts, Killed, Owner, Piece, StartProcess, Stroke


class Processes(Protocol):
    async def start(self, ask: StartProcess) -> str:
        """Its id. The directory that is open as `place` is closed in any case. Raises `rate_limited`."""

    async def list(self, owner: Owner) -> tuple[Facts, ...]:
        """Newest first."""

    async def wait(self, owner: Owner, id: str, within: float) -> Facts:
        """Returns when it has ended, or after so many seconds."""

    async def read(self, owner: Owner, id: str, offset: int, limit: int) -> Piece: ...

    async def write(self, owner: Owner, id: str, data: bytes) -> int: ...

    async def kill(self, owner: Owner, id: str, signal: Stroke) -> Killed:
        """Returns when it is gone. TERM and INT have 3 s to be heeded."""
