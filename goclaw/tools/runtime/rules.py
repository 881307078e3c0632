"""What this gateway says of commands, whoever's agent runs them. Contract: tools.md §9.3, §12; security.md §3.4."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from goclaw.domain.access import SYSTEM_USER
from goclaw.security.confine import environment
from goclaw.settings.tools import Tools
from goclaw.tools.methods import Asker
from goclaw.tools.tool import ToolFailed

COMMANDS = frozenset({"exec", "process", "skill_exec"})  # tools that run commands, and custom ones


@dataclass(frozen=True)
class Rules:
    """`variables` are the gateway's own; `programs` are directories whose programs are found first."""

    channels: tuple[str, ...] | None = None
    denied: tuple[str, ...] = ()  # places no command may name, beside those called .goclaw (§9.3)
    variables: Mapping[str, str] = field(default_factory=dict)
    programs: tuple[Path, ...] = ()

    def check_channel(self, asker: Asker) -> None:
        """Raises ToolFailed `denied_policy` where commands may not come from (§12.4)."""
        if self.channels is not None and asker.channel not in self.channels:
            where = f"the channel {asker.channel}" if asker.channel else "here"
            raise ToolFailed("denied_policy", f"commands cannot be run from {where}")

    def environment(self, root: Path, user_id: str) -> dict[str, str]:
        """What a command sees. HOME is the workspace, unless it works for the installation's own user."""
        return environment(self.variables, None if user_id == SYSTEM_USER else root, self.programs)


def hidden(tool: str, settings: Tools) -> bool:
    """Whether nobody has it, because nobody has commands (§12.2)."""
    return tool in COMMANDS and settings.exec_approval.security == "deny"
