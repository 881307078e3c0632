"""The gateway itself, for agents of its owner. The port; behind it stand the operations."""

from __future__ import annotations

from typing import Any, Protocol

from goclaw.tools.methods import Asker


class Workings(Protocol):
    """Each of these raises `Rejected` for whoever is no owner."""

    def check(self, asker: Asker) -> None: ...

    def config(self, asker: Asker) -> dict[str, Any]:
        """Every value by dotted key; secrets are `***`."""
        ...

    async def reload(self, asker: Asker) -> dict[str, Any]:
        """Read the configuration again: what was applied, what waits for a start, what is wrong with it."""
        ...

    def logs(self, asker: Asker, lines: int) -> list[str]:
        """The latest of this process, oldest first."""
        ...
