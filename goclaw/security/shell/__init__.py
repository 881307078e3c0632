"""Whether a command line may run: parsed and judged, never executed. Contract: security.md §3."""

from __future__ import annotations

from goclaw.security.shell.check import SimpleCommand, Verdict, deny_check, simple_commands

__all__ = ["SimpleCommand", "Verdict", "deny_check", "simple_commands"]
