"""Where a tool asks before it does something that somebody must allow.

The port; the broker behind it is an actor. Contract: tools.md §12.2, §12.3.
"""

from __future__ import annotations

from typing import Protocol

from goclaw.domain.approval import Wish


class Approvals(Protocol):
    @property
    def asks(self) -> bool:
        """Whether anybody is ever asked."""

    async def ask(self, wish: Wish) -> None:
        """Returns when it may be done: at once where nobody need be asked, else when somebody has said yes.

        Raises ToolFailed `denied_approval` or `approval_timeout`. Nobody is asked any more when this is cancelled.
        """
