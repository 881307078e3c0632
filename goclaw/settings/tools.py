"""Which tools agents have, and how much of them. Contract: config-cli.md §4.6, tools.md §4, §7, §8."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, field

from goclaw.settings.approval import ExecApproval, ExecRemote
from goclaw.settings.deny_groups import ShellDenyGroups
from goclaw.settings.section import Section
from goclaw.settings.web import Web, WebFetch, WebSearch

Names = Annotated[tuple[str, ...], Meta(max_length=256)]
Profile = Literal["full", "coding", "messaging", "minimal"]


class ToolRules(Section, frozen=True):
    """Which tools runs of one provider have."""

    profile: Profile | None = None
    allow: Annotated[Names, Meta(description="names or group:<name>; empty = no restriction")] = ()
    deny: Names = ()


class ByProvider(Section, frozen=True):
    """Rules that hold when this provider answers."""

    named: dict[str, ToolRules] = field(default_factory=dict)


class Tools(Section, frozen=True):
    """Tools of every agent."""

    profile: Profile = "full"
    allow: Annotated[Names, Meta(description="names or group:<name>; empty = no restriction")] = ()
    deny: Names = ()
    also_allow: Annotated[Names, Meta(description="beyond the profile")] = ()
    by_provider: ByProvider = ByProvider()
    deny_paths: Annotated[tuple[Path, ...], Meta(max_length=64, description="no tool reaches these")] = ()
    rate_limit_per_hour: Annotated[int, Meta(ge=0, le=1_000_000, description="calls of a session; 0 = no limit")] = 150
    rate_limit_per_hour_user: (
        Annotated[int, Meta(ge=0, le=1_000_000, description="of an agent for one user; unset = 4 times that")] | None
    ) = None
    max_result_chars: Annotated[int, Meta(ge=1000, le=200_000, description="of a result that models read")] = 50_000
    scrub_credentials: Annotated[bool, Meta(description="results show [REDACTED] in place of secrets")] = True
    receipts: Annotated[
        Literal["off", "log", "enforce"], Meta(description="results carry a proof that models cannot make up")
    ] = "off"
    web: Web = Web()
    web_search: WebSearch = WebSearch()
    web_fetch: WebFetch = WebFetch()
    exec_approval: ExecApproval = ExecApproval()
    exec: ExecRemote = ExecRemote()
    shell_deny_groups: ShellDenyGroups = ShellDenyGroups()
