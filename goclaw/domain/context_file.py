"""A text that makes an agent who it is, as it is stored. Contract: agent-loop.md §7."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Scope = Literal["agent", "user"]


class Text(Struct, frozen=True, kw_only=True):
    """`scope` says whose it is: the agent's for everybody, or one user's own."""

    name: str
    content: str
    scope: Scope
