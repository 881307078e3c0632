"""Which safety groups are off for an agent. Contract: security.md §3.4."""

from __future__ import annotations

from collections.abc import Mapping

from goclaw.security.shell.groups import RULES

GROUPS = tuple(RULES)


class UnknownGroup(ValueError):
    """A group nobody knows. `suggestion`: the one that may be meant."""

    def __init__(self, name: str) -> None:
        from goclaw.settings.problems import nearest, quoted

        self.name = name
        self.suggestion = nearest(name, GROUPS)
        hint = f" (did you mean {quoted(self.suggestion)}?)" if self.suggestion else ""
        super().__init__(f"unknown safety group {quoted(name)}{hint}")


def groups_off(everywhere: Mapping[str, bool], agent: Mapping[str, bool] | None = None) -> frozenset[str]:
    """The groups that are off: `false` in the agent's own, else in the settings. Both hold `true` for deny.

    Raises UnknownGroup.
    """
    merged = {**everywhere, **(agent or {})}
    for name in merged:
        if name not in RULES:
            raise UnknownGroup(name)
    return frozenset(name for name, denies in merged.items() if not denies)
