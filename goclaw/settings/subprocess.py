"""Models that are programs on this machine. Contract: providers.md §7.1, §7.2; config-cli.md §4.4."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from goclaw.settings.section import Section


class AcpAgent(Section, frozen=True):
    """An agent program that speaks the Agent Client Protocol."""

    binary: Annotated[str, Meta(max_length=4096, description="such as claude-code-acp or gemini")] = ""
    args: tuple[str, ...] = ()
    model: Annotated[str, Meta(max_length=256, description="one the agent offers; empty = its own choice")] = ""
    work_dir: Annotated[
        str, Meta(max_length=4096, description="one directory for all sessions; empty = each its own")
    ] = ""
    idle_ttl: Annotated[float, Meta(ge=0, le=86_400, description="an agent nobody asks ends after it")] = 300.0
    perm_mode: Literal["approve-all", "approve-reads", "deny-all"] = "approve-all"
    timeout_sec: Annotated[float, Meta(ge=1, le=86_400, description="one whole answer")] = 300.0


class ClaudeProgram(Section, frozen=True):
    """The `claude` program with the login it has on this machine."""

    cli_path: Annotated[str, Meta(max_length=4096, description="empty = not used")] = ""
    model: Annotated[str, Meta(max_length=256, description="sonnet, opus, haiku, or a full name")] = "sonnet"
    base_work_dir: Annotated[str, Meta(max_length=4096, description="a directory per session below it")] = (
        "~/.goclaw/cli-workspaces"
    )
    perm_mode: Literal["bypassPermissions", "default", "acceptEdits"] = "bypassPermissions"
    timeout_sec: Annotated[float, Meta(ge=1, le=86_400, description="one whole answer")] = 300.0
