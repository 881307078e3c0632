"""What somebody says about tools: the gateway, a provider, an agent. Contract: tools.md §4."""

from __future__ import annotations

from msgspec import Struct, field


class Rules(Struct, frozen=True, kw_only=True, rename="camel"):
    """What one side says: the gateway, a provider, an agent. An empty `allow` says nothing.

    Entries are names, aliases, `group:<name>` or `*`; what names no tool is ignored.
    """

    profile: str | None = None
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    also_allow: tuple[str, ...] = ()
    by_provider: dict[str, Rules] = field(default_factory=dict)


NO_RULES = Rules()
