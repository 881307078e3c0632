"""The emergency stop as a value, and what is said about it. Contract: security.md §13."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from goclaw.runtime.message import Message

TOOL_CALLS = "tools.running"  # every call that is being made
TOPIC = "estop"  # rung for other nodes

Name = Annotated[str, Meta(min_length=1, max_length=255)]
Names = Annotated[tuple[Name, ...], Meta(max_length=100)]


class Levels(Struct, frozen=True, kw_only=True):
    """What is meant: tools by globs, domains by suffixes."""

    all: bool = False
    network: bool = False
    tools: Names = ()
    domains: Names = ()

    def __bool__(self) -> bool:
        return self.all or self.network or bool(self.tools or self.domains)

    def without(self, other: Levels) -> Levels:
        """What is here and not there."""
        return Levels(
            all=self.all and not other.all,
            network=self.network and not other.network,
            tools=tuple(one for one in self.tools if one not in other.tools),
            domains=tuple(one for one in self.domains if one not in other.domains),
        )


class Stopped(Levels, frozen=True, kw_only=True):
    """The state of the stop; levels add up. Without `at` nobody said it: it was found to be unreadable."""

    by: str = ""
    at: str = ""  # ISO
    reason: str = ""

    @property
    def said(self) -> float:
        """When, in Unix seconds; of two, the later word counts."""
        try:
            return datetime.fromisoformat(self.at).timestamp()
        except ValueError:
            return 0.0

    def after(self, change: Change) -> Stopped:
        """Levels that are released are named as they were engaged, or all of a list by `*`."""
        levels, domains = change.levels, {plain(domain) for domain in change.levels.domains}
        if change.engage:
            more = Levels(
                all=self.all or levels.all,
                network=self.network or levels.network,
                tools=tuple(sorted({*self.tools, *levels.tools})),
                domains=tuple(sorted({*self.domains, *domains})),
            )
        else:
            more = Levels(
                all=self.all and not levels.all,
                network=self.network and not levels.network,
                tools=() if "*" in levels.tools else tuple(one for one in self.tools if one not in levels.tools),
                domains=() if "*" in domains else tuple(one for one in self.domains if one not in domains),
            )
        return Stopped(
            all=more.all,
            network=more.network,
            tools=more.tools,
            domains=more.domains,
            by=change.by,
            at=change.at,
            reason=change.reason,
        )


class Change(Struct, frozen=True, kw_only=True):
    """What an operator wants. `engage` false releases exactly the levels that are named."""

    engage: bool
    levels: Levels
    by: str
    at: str
    reason: str = ""


class ToolsStopped(Message[None]):
    """Something was stopped: look whether it was you."""


class SpreadStop(Message[Stopped]):
    """A change that is in force here shall be so at every node. Answered with the state of all, when it is stored."""

    change: Change


def plain(domain: str) -> str:
    return domain.strip().casefold().strip(".")
