"""Tools as people set them, and calls of tools that no run makes. Contract: tools.md §3, §6."""

from __future__ import annotations

from msgspec import Raw, Struct

from goclaw.runtime.message import Message

TOOLS = "tools"  # group: whoever keeps what is said of tools
ALIASES = {  # other names of tools; tools.md §6
    "Read": "read_file",
    "Write": "write_file",
    "Edit": "edit_file",
    "edit": "edit_file",
    "Bash": "exec",
    "bash": "exec",
    "WebFetch": "web_fetch",
    "WebSearch": "web_search",
    "sessions_spawn": "spawn",
    "spawn_task": "spawn",
    "find_files": "glob",
    "grep_files": "search",
    "list_dir": "list_files",
    "alert": "send_alert",
    "send_message": "team_message",
    "read_messages": "team_message",
    "memory_read": "memory_get",
}


class ToolsChanged(Message[None]):
    """Rows of tools were written. Published to `TOOLS`. An empty tenant: for everybody."""

    tenant_id: str = ""


class ToolsEvent(Message[None]):
    """`tools.updated`: a tool was made, changed or taken away. For operators."""

    body: Raw


class Invoked(Struct, frozen=True, kw_only=True):
    """What became of a call, or what would. `data` is JSON."""

    tool: str
    description: str
    parameters: Raw
    allowed: bool = True
    reason: str = ""  # why it is not
    problem: str = ""  # with its arguments
    command: str = ""  # what it would run
    text: str = ""
    for_user: str = ""
    is_error: bool = False
    error_code: str = ""
    media: Raw = Raw(b"[]")
    data: Raw = Raw(b"null")
    duration_ms: int = 0


class InvokeTool(Message[Invoked]):
    """Call a tool as an agent would, for a user. Refused with `not_found` for a tool nobody knows."""

    id: str
    tenant_id: str
    user_id: str
    role: str
    agent_id: str
    agent_key: str
    tool: str
    action: str = ""
    arguments: Raw = Raw(b"{}")  # a JSON object
    dry: bool = False
    channel: str = ""
    chat_id: str = ""
    peer_kind: str = "direct"
    timeout: float | None = None  # seconds


class GiveUp(Message[None]):
    """Nobody waits for this call any more."""

    id: str


class PreviewPolicy(Message[tuple[str, ...]]):
    """The tools a run would have. Layers are JSON; those that are absent are as they stand."""

    tenant_id: str
    agent_key: str
    gateway: Raw | None = None
    agent: Raw | None = None
    run: Raw = Raw(b"{}")
