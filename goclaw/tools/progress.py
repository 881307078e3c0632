"""What a tool of a run that goes on by itself may know and say of it. Contract: durability.md §8.3."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    def step(self) -> int | None:
        """Which step it is in, from 1. None for a run that does not go on by itself."""

    async def tell(self, status: str) -> None:
        """Keep what it is at, and tell whoever listens."""
