"""Approvals: what an agent does only when somebody said so, and the messages of their broker.

Contract: tools.md §12.2, §12.3; edge-websocket.md §7.10.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from goclaw.runtime.message import Message

Security = Literal["full", "allowlist", "deny"]
Asking = Literal["off", "on-miss", "always"]
Known = Literal["listed", "safe", "unknown"]  # all on the allow-list; else all there or safe bins; else
Fate = Literal["run", "ask", "deny"]
Decision = Literal["allow_once", "allow_always", "deny", "timeout"]

SHOWN = 4000  # characters of a command; tools.md §12.3


def fate(security: Security, ask: Asking, known: Known) -> Fate:
    """What becomes of a command, before anybody is asked (§12.2)."""
    if security == "deny":
        return "deny"
    if ask == "always":
        return "ask"
    if known == "listed" or (security == "full" and (known == "safe" or ask == "off")):
        return "run"
    return "ask" if ask == "on-miss" else "deny"


class Simple(Struct, frozen=True):
    """One simple command of a line: the base name of its program, and its whole text.

    `plain`: the program everybody knows by that name.
    """

    name: str
    text: str
    plain: bool = True

    @property
    def program(self) -> str:
        """What lists and rules know it by; empty: only this very text is known."""
        return self.name if self.plain else ""


class Wish(Struct, frozen=True, kw_only=True):
    """What an agent wants to do. `commands` are the simple commands of `command`, those inside of wrappers too."""

    tenant_id: str
    user_id: str
    agent_id: str
    agent_key: str
    session_key: str
    run_id: str
    call_id: str
    tool: str
    command: str
    kind: str = "exec"
    cwd: str = ""
    commands: tuple[Simple, ...] = ()
    groups: tuple[str, ...] = ()  # of the deny engine, touched
    forced: bool = False  # asked about whatever the settings say, if anybody is asked at all
    channel: str = ""
    chat_id: str = ""
    sender_id: str = ""
    lane: str = ""
    key: str = ""  # of the call, the same in every life of its run; none: nobody comes back for the answer

    @property
    def call(self) -> str | None:
        """What the one approval of this call is found by, whoever asks again. Another command is another wish."""
        return f"{self.key}:{self.digest}" if self.key else None

    @property
    def digest(self) -> str:
        """Of exactly this, by this agent in this session: an approval is never one of something else."""
        return _digest(self.command, self.cwd, self.agent_id, self.session_key)

    @property
    def exact(self) -> str:
        """Of exactly this, in any session: what a rule names it by."""
        return _digest(self.command, self.cwd)


def _digest(*parts: str) -> str:
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


class Rule(Struct, frozen=True, kw_only=True):
    """What an agent may do without being asked about again: a base name, or one exact command."""

    id: str
    tenant_id: str
    agent_id: str
    pattern: str
    match_kind: Literal["basename", "exact_hash"]
    created_by: str
    created_at: int  # epoch milliseconds, and so are the times below
    kept: bool = False  # outlives the process in which it was made


class Pending(Struct, frozen=True, kw_only=True):
    """One that waits for an answer, as its row has it. `row` is the row's id, `id` what people call it."""

    row: str
    id: str
    code: str
    tenant_id: str
    user_id: str
    agent_id: str
    agent_key: str
    session_key: str
    run_id: str
    tool: str
    command: str  # without secrets and shortened
    detail: str  # JSON: what there is to know for whoever shall answer
    rule: str  # the program that "always" would let through; empty: exactly this line …
    exact: str  # … by this digest
    node_id: str | None  # the process in which somebody waits
    created_at: int
    expires_at: int

    @property
    def digest(self) -> str:
        return str(msgspec.json.decode(self.detail).get("sha256", ""))


class Answered(Struct, frozen=True, kw_only=True):
    """What a wish came to. `decision` None: nobody had to be asked."""

    allowed: bool
    decision: Decision | None = None
    reason: str = ""  # of the one who refused, or ours


class AskApproval(Message[Answered]):
    """Answered when it is decided: at once, by somebody, or by time."""

    wish: Wish


class Withdraw(Message[None]):
    """Whoever made the call is not waiting any more."""

    run_id: str
    call_id: str


class ListPending(Message[tuple[Pending, ...]]):
    tenant_id: str
    user_id: str | None  # None: of everybody


class Answer(Message[Decision]):
    """Somebody says yes or no. `user_id` None: he may answer for everybody."""

    id: str
    tenant_id: str
    user_id: str | None
    by: str
    allow: bool
    always: bool = False
    keep: bool = False  # the rule outlives the process
    reason: str = ""


class ListRules(Message[tuple[Rule, ...]]):
    tenant_id: str


class DropRule(Message[bool]):
    tenant_id: str
    id: str


def approval_topic(row: str) -> str:
    """Rung for other nodes when an approval is asked for, and when it is answered."""
    return f"approval:{row}"


def approvals_in(topics: Sequence[str]) -> list[str]:
    return [topic.removeprefix("approval:") for topic in topics if topic.startswith("approval:")]


class ApprovalEvent(Message[None]):
    """`exec.approval.requested` or `exec.approval.resolved`. For the run's user and the admins."""

    type: str
    body: msgspec.Raw


def detail_of(wish: Wish, commands: Sequence[str], rule: str) -> dict[str, Any]:
    """What there is to know for whoever shall answer."""
    return {
        "kind": wish.kind,
        "cwd": wish.cwd,
        "sha256": wish.digest,
        "commands": list(commands),
        "rule": rule,
        "groups": list(wish.groups),
        "channel": wish.channel,
        "chatId": wish.chat_id,
        "senderId": wish.sender_id,
    }


def row_of(pending: Pending) -> dict[str, Any]:
    """PendingApproval of edge-websocket.md §9. `shortCode` is what is typed in a chat (tools.md §12.3)."""
    return {
        "id": pending.id,
        "toolName": pending.tool,
        "command": pending.command,
        "detail": {**msgspec.json.decode(pending.detail), "shortCode": pending.code},
        "agentId": pending.agent_key,
        "sessionKey": pending.session_key,
        "runId": pending.run_id,
        "userId": pending.user_id,
        "createdAt": pending.created_at,
        "expiresAt": pending.expires_at,
    }
