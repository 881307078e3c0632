"""Which tools a run has: profiles, groups, allow and deny, in one fixed order. Contract: tools.md §4.

Asked when tools are offered and again for every call. Pure; what is denied by anybody above stays denied.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from msgspec import Struct

from goclaw.domain.tool_rules import NO_RULES, Rules
from goclaw.domain.tools import ALIASES
from goclaw.tools.groups import FULL, GROUPS, LEAVES_NEVER, OTHER_NAMES, PROFILES, SUBAGENTS_NEVER


class Situation(Struct, frozen=True, kw_only=True):
    """Whose run it is, as far as it decides about tools. None as a list: it says nothing."""

    provider: str = ""
    chat: tuple[str, ...] | None = None  # of the group or topic
    request: tuple[str, ...] | None = None  # of the run itself
    subagent: bool = False
    leaf: bool = False  # a subagent that has none of its own


ANY = Situation()


def allowed(
    groups: Mapping[str, Collection[str]], gateway: Rules, agent: Rules = NO_RULES, at: Situation = ANY
) -> tuple[str, ...]:
    """The names a run may use, sorted. `groups` are the tools there are, each with the groups it says it is in."""
    universe = frozenset(groups)

    def named(entries: Iterable[str]) -> frozenset[str]:
        return frozenset().union(*(_meant(entry, groups) for entry in entries)) & universe

    def within(current: frozenset[str], entries: tuple[str, ...] | None) -> frozenset[str]:
        return current if entries is None else current & named(entries)

    provider = gateway.by_provider.get(at.provider, NO_RULES)
    own = agent.by_provider.get(at.provider, NO_RULES)
    profile = agent.profile or provider.profile or gateway.profile or FULL
    current = universe if profile == FULL else universe & PROFILES.get(profile, PROFILES["minimal"])
    for narrower in (gateway.allow, provider.allow, agent.allow, own.allow):
        current = within(current, narrower or None)
    for asked in (at.chat, at.request):
        current = within(current, asked)
    above = named((*gateway.deny, *provider.deny))
    never = above | named(agent.deny)
    current -= never
    current |= (named(gateway.also_allow) - never) | (named(agent.also_allow) - above)
    for asked in (at.chat, at.request):
        current = within(current, asked)
    if at.subagent:
        current -= SUBAGENTS_NEVER
        if at.leaf:
            current -= LEAVES_NEVER
    return tuple(sorted(current))


def _meant(entry: str, groups: Mapping[str, Collection[str]]) -> frozenset[str]:
    if entry == "*":
        return frozenset(groups)
    if not entry.startswith("group:"):
        return frozenset({ALIASES.get(entry, entry)})
    name = OTHER_NAMES.get(entry[6:], entry[6:])
    return GROUPS.get(name, frozenset()) | {tool for tool, its in groups.items() if name in its}


def strangers(rules: Rules, groups: Mapping[str, Collection[str]]) -> list[str]:
    """Entries that name no tool there is, nor a group: for one warning when rules are loaded."""
    known = frozenset(groups) | frozenset(ALIASES)
    named = {*GROUPS, *OTHER_NAMES, *(name for its in groups.values() for name in its), "mcp", "custom", "goclaw"}
    entries = {*rules.allow, *rules.deny, *rules.also_allow}
    return sorted(
        entry
        for entry in entries
        if entry != "*" and (entry[6:] not in named if entry.startswith("group:") else entry not in known)
    )


def known_profile(name: str | None) -> bool:
    return name is None or name == FULL or name in PROFILES
