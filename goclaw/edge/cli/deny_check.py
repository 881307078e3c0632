"""`goclaw deny-check`: what the command guard says to a text, without running it. Contract: security.md §17."""

from __future__ import annotations

from typing import Annotated

import typer

from goclaw.edge.cli.options import Exit, Failure, print_json


def deny_check(
    text: Annotated[str, typer.Argument(help="The command line to judge.")],
    off: Annotated[str, typer.Option(help="Safety groups to switch off, with commas between.")] = "",
    workspace: Annotated[str, typer.Option(help="The agent's workspace, absolute.")] = "",
) -> None:
    """Print the command guard's verdict on TEXT as JSON. Nothing runs."""
    from goclaw.security import shell

    try:
        groups = shell.groups_off({name.strip(): False for name in off.split(",") if name.strip()})
    except shell.UnknownGroup as unknown:
        raise Failure(str(unknown), Exit.USAGE) from None
    verdict = shell.deny_check(text, groups, workspace)
    print_json({"decision": verdict.decision, "group": verdict.group or None, "why": verdict.why or None})
