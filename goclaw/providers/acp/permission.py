"""Whether an agent may do what it asks for. Contract: providers.md §7.1, `perm_mode`."""

from __future__ import annotations

import re
from typing import Any, Literal

from msgspec import Raw, Struct, json

PermMode = Literal["approve-all", "approve-reads", "deny-all"]
READS = frozenset({"read", "search"})  # kinds of tool calls that change nothing and reach nobody
READING = re.compile(r"read|glob|grep|search|list|view", re.IGNORECASE)  # names of tools, where no kind is told
CANCELLED = {"outcome": {"outcome": "cancelled"}}


class _ToolCall(Struct, frozen=True, rename="camel"):
    tool_call_id: str = ""
    kind: str | None = None


class _Option(Struct, frozen=True, rename="camel"):
    option_id: str
    kind: str = ""


class _Ask(Struct, frozen=True, rename="camel"):
    options: list[_Option]
    tool_call: _ToolCall = _ToolCall()


class _OldAsk(Struct, frozen=True, rename="camel"):
    tool_name: str = ""


def may(mode: PermMode, *, read: bool) -> bool:
    return mode == "approve-all" or (mode == "approve-reads" and read)


def decide(mode: PermMode, params: Raw, kinds: dict[str, str]) -> dict[str, Any]:
    """The answer to `session/request_permission`. `kinds` are those of calls the agent has announced.

    Nothing is allowed for longer than this once if that can be chosen. Raises msgspec.DecodeError.
    """
    ask = json.decode(params, type=_Ask)
    kind = ask.tool_call.kind or kinds.get(ask.tool_call.tool_call_id, "")
    wanted = ("allow_once", "allow_always") if may(mode, read=kind in READS) else ("reject_once", "reject_always")
    for choice in wanted:
        for option in ask.options:
            if option.kind == choice:
                return {"outcome": {"outcome": "selected", "optionId": option.option_id}}
    return CANCELLED


def decide_old(mode: PermMode, params: Raw) -> dict[str, str]:
    """The answer to `permission/request`, which knows names instead of kinds."""
    ask = json.decode(params, type=_OldAsk)
    return {"outcome": "approved" if may(mode, read=bool(READING.search(ask.tool_name))) else "denied"}
