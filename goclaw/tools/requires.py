"""What a tool needs of the machine it runs on. Contract: tools.md §1.1."""

from __future__ import annotations

import shutil

from goclaw.tools.tool import Tool


def missing(tool: Tool) -> tuple[str, ...]:
    """Programs that it requires and that are not there."""
    return tuple(program for program in tool.requires if shutil.which(program) is None)
