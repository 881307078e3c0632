"""What a tool may ask of the house: the methods every client has, in the name of the run's user.

The port; behind it stand the operations, which check rights and parameters as for anybody else. A tool that needs it
names it as a parameter and is given it when the house is put together (`equipped`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Asker:
    """Whose call it is: the run's user, through the agent that answers him."""

    tenant_id: str = ""
    user_id: str = ""
    agent_id: str = ""
    agent_key: str = ""
    session_key: str = ""
    channel: str = ""  # of the chat that gets the run's answer, if one does …
    chat_id: str = ""  # … and its id there


NOBODY = Asker()


class Methods(Protocol):
    async def call(self, asker: Asker, method: str, params: dict[str, Any], *, key: str = "") -> dict[str, Any]:
        """The method's payload. Raises `Rejected`. What is made under one `key` is made once."""
