"""Approvals: what an agent does only when somebody said so, and the messages of their broker.

Contract: tools.md §12.2, §12.3; edge-websocket.md §7.10.
"""

from __future__ import annotations

import hashlib
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
    """One simple command of a line: the base name of its program, and its whole text."""

    name: str
    text: str


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
    kept: bool = False  # outlives the process


class Pending(Struct, frozen=True, kw_only=True):
    id: str
    code: str
    wish: Wish
    shown: str  # the command, without secrets and shortened …
    commands: tuple[str, ...]  # … and the simple ones in it likewise
    rule: str  # the program that "always" would let through; empty: exactly this line
    created_at: int
    expires_at: int


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


class ApprovalEvent(Message[None]):
    """`exec.approval.requested` or `exec.approval.resolved`. For the run's user and the admins."""

    type: str
    body: msgspec.Raw


def detail_of(pending: Pending) -> dict[str, Any]:
    """What there is to know for whoever shall answer."""
    wish = pending.wish
    return {
        "kind": wish.kind,
        "cwd": wish.cwd,
        "sha256": wish.digest,
        "commands": list(pending.commands),
        "rule": pending.rule,
        "groups": list(wish.groups),
        "channel": wish.channel,
        "chatId": wish.chat_id,
        "senderId": wish.sender_id,
    }


def row_of(pending: Pending) -> dict[str, Any]:
    """PendingApproval of edge-websocket.md §9."""
    wish = pending.wish
    return {
        "id": pending.id,
        "toolName": wish.tool,
        "command": pending.shown,
        "detail": detail_of(pending),
        "agentId": wish.agent_key,
        "sessionKey": wish.session_key,
        "runId": wish.run_id,
        "userId": wish.user_id,
        "createdAt": pending.created_at,
        "expiresAt": pending.expires_at,
    }
