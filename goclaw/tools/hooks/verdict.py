"""What a hook says of what happens, and how its words are read. Contract: tools.md §22."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
from msgspec import Struct

from goclaw.domain.hook import Happening, Hook

REASON = 500  # characters
CONTEXT = 4000  # characters


class HookFailed(Exception):
    """It gave no verdict. Says why, for operators."""


class Verdict(Struct, frozen=True, kw_only=True):
    blocks: bool = False
    reason: str = ""
    context: str = ""  # for the model
    updated: dict[str, Any] | None = None  # other arguments of the call
    stdout: str = ""
    stderr: str = ""
    status: int | None = None  # of HTTP


ALLOWED = Verdict()


class Said(Struct, rename="camel"):
    """The answer of a command or a server; members of ours may have either spelling."""

    decision: str = ""
    reason: str = ""
    additional_context: str = ""
    updated_input: dict[str, Any] | None = None
    go_on: bool | None = msgspec.field(default=None, name="continue")


class Judge(Protocol):
    """One kind of handler."""

    async def __call__(self, hook: Hook, about: Happening) -> Verdict:
        """Raises HookFailed."""


def verdict_of(text: str | bytes, **more: Any) -> Verdict:
    """JSON says it, or what goes without saying. Text that is no JSON object allows. Raises HookFailed."""
    raw = text.encode() if isinstance(text, str) else text
    if not raw.strip().startswith(b"{"):
        return Verdict(**more)
    try:
        said = msgspec.json.decode(raw, type=Said)
    except msgspec.ValidationError as error:
        raise HookFailed(f"its answer is none: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Verdict(**more)
    if said.decision not in ("", "allow", "approve", "block", "deny"):
        raise HookFailed(f"unknown decision {said.decision[:40]}")
    return Verdict(
        blocks=said.go_on is False or said.decision in ("block", "deny"),
        reason=said.reason[:REASON],
        context=said.additional_context[:CONTEXT],
        updated=said.updated_input,
        **more,
    )


def told(about: Happening) -> bytes:
    """The event as commands and servers read it."""
    members: dict[str, Any] = {
        "event": about.event,
        "runId": about.run_id,
        "sessionKey": about.session_key,
        "agentId": about.agent_id,
        "userId": about.user_id,
        "depth": about.depth,
    }
    if about.tool_name:
        members |= {"toolName": about.tool_name, "toolInput": about.tool_input}
    if about.prompt:
        members["prompt"] = about.prompt
    if about.event in ("post_tool_use", "subagent_stop"):
        members |= {"result": about.result, "isError": about.is_error}
    return msgspec.json.encode(members)
