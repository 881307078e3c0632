"""What the pipeline asks before a tool acts: the policy, the emergency stop, the audit. Ports; the house fills them.

All answers come from memory and at once; only an audit line that must be kept first is waited for.
Contract: security.md §9, §11, §13; tools.md §2, steps 3 and 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from goclaw.security.audit import Act
from goclaw.security.policy import AllowedPath
from goclaw.security.policy_book import Decision
from goclaw.tools.ledger import ToolResult
from goclaw.tools.tool import Tool


class Pinned(Protocol):
    """The policy of one run: what its version allows and the current one still does."""

    @property
    def version(self) -> str | None:
        """At the start of the attempt; None: there was no policy."""

    @property
    def paths(self) -> tuple[AllowedPath, ...]:
        """Directories besides the workspace."""

    @property
    def loopback(self) -> bool: ...
    def capability(self, name: str) -> Decision:
        """Of anything but a tool: `skill.inject`, `node.invoke` …"""

    def tool(self, name: str, *, custom: bool = False) -> Decision: ...
    def mcp(self, agent: str, server: str, tool: str) -> Decision:
        """`tool` by the server's own name for it."""

    def host(self, host: str) -> Decision:
        """For tool egress, every hop of it. `host` in ASCII, as `ssrf.parse` gives it."""


class Capabilities(Protocol):
    @property
    def version(self) -> str | None:
        """In force now; None: no policy is."""

    def pin(self, tenant_id: str, version: str | None = None) -> Pinned:
        """For all of an attempt, which began with that version."""


class Estop(Protocol):
    """Each answers why not, or empty: go on."""

    def tool(self, name: str) -> str: ...
    def network(self) -> str: ...
    def host(self, host: str) -> str: ...


def stopped(estop: Estop, tool: Tool) -> str:
    """Why a tool may not be used, or empty."""
    return estop.tool(tool.name) or (estop.network() if tool.group == "web" else "")


class Hooks(Protocol):
    """What people put before and behind the calls of a run (tools.md §22)."""

    async def before(self, tool: str, arguments: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Other arguments for the call; None: as they are. Raises ToolFailed `denied_policy`."""

    def after(self, tool: str, arguments: Mapping[str, Any], result: ToolResult) -> None:
        """Never waits, changes nothing."""


class Audit(Protocol):
    def note(self, act: Act) -> None:
        """Write soon; never waits. For what is allowed."""

    async def write(self, act: Act) -> bool:
        """On a disk when this returns; False: do not go on. For denials, approvals, secrets, what admins change."""

    def count(self, run_id: str, action: str, *, tenant_id: str, actor_id: str, policy_version: str | None) -> None:
        """An allowed call of a tool that only reads; one line per run sums them up."""

    def run_ended(self, run_id: str) -> None:
        """Write that line."""
