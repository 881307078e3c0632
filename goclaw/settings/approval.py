"""Commands of agents: which are asked about, and who is. Contract: tools.md §12.2, §12.4; config-cli.md §4.6."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from goclaw.settings.section import Id, Section


class ExecApproval(Section, frozen=True):
    """Commands that wait for somebody's yes."""

    ALIASES: ClassVar = {"timeout_seconds": "timeout_sec", "timeoutSeconds": "timeout_sec"}

    security: Annotated[
        Literal["full", "allowlist", "deny"], Meta(description="deny: agents have no commands at all")
    ] = "full"
    ask: Annotated[
        Literal["off", "on-miss", "always", "risky"],
        Meta(description="on-miss: about what is neither safe nor on the list; risky means the same"),
    ] = "off"
    allowlist: Annotated[
        tuple[str, ...], Meta(max_length=1000, description="base names or whole simple commands; * is any text")
    ] = ()
    approvers: Annotated[
        tuple[Id, ...], Meta(max_length=1000, description="users who may answer besides admins; empty = the run's own")
    ] = ()
    timeout_sec: Annotated[float, Meta(ge=1, le=3600, description="no answer within it is a no")] = 120.0

    @property
    def asks(self) -> bool:
        """Whether anybody is ever asked."""
        return self.security != "deny" and self.ask != "off"


class ExecRemote(Section, frozen=True):
    """Where commands may come from."""

    allow_channels: (
        Annotated[tuple[str, ...], Meta(max_length=100, description="channels whose agents have commands; unset = all")]
        | None
    ) = None
