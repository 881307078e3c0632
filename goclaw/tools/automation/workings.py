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

    async def rehearse(self, asker: Asker, path: str, value: Any) -> str:
        """What changing a key would do, in one line without secrets; empty: nothing. The file stays as it is."""
        ...

    async def patch(self, asker: Asker, path: str, value: Any) -> dict[str, Any]:
        """Give a key of the configuration file a value; None takes it away."""
        ...

    async def restart(self, asker: Asker) -> None:
        """Begin to end in order, and start again: what runs goes on after it."""
        ...

    def logs(self, asker: Asker, lines: int) -> list[str]:
        """The latest of this process, oldest first."""
        ...
