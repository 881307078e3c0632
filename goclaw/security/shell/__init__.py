"""Whether a command line may run: parsed and judged, never executed. Contract: security.md §3."""

from __future__ import annotations

from goclaw.security.shell.allowed import listed, safe
from goclaw.security.shell.check import SimpleCommand, Verdict, deny_check, simple_commands
from goclaw.security.shell.switches import GROUPS, UnknownGroup, groups_off

__all__ = [
    "GROUPS",
    "SimpleCommand",
    "UnknownGroup",
    "Verdict",
    "deny_check",
    "groups_off",
    "listed",
    "safe",
    "simple_commands",
]
