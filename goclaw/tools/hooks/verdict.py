"""What a hook says of what happens, and how its words are read. Contract: tools.md §22."""

from __future__ import annotations

import json
import re
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from goclaw.domain.hook import Happening, Hook

REASON = 500  # characters
CONTEXT = 4000  # characters


OBJECT = re.compile(rb"^(?:\xef\xbb\xbf)?[ \t]*(\{)", re.MULTILINE)
SAYS = re.compile(rb'"(?:decision|continue|updated_?input)"', re.IGNORECASE)
OURS = {
    name.casefold(): name for name in ("decision", "reason", "additionalContext", "updatedInput", "continue")
}  # in answers


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
    """An object of JSON says it, at the beginning or after lines of something else; other text allows.

    One that is broken, says a thing twice or stands among other words is no answer. Raises HookFailed.
    """
    raw = text.encode() if isinstance(text, str) else text
    at = OBJECT.search(raw)
    if at is None or (at.start(1) and not SAYS.search(raw)):
        if _is_json(raw):
            raise HookFailed("its answer is JSON and no object")
        return Verdict(**more)
    try:
        said = msgspec.convert(_ours(json.loads(raw[at.start(1) :], object_pairs_hook=_once, parse_constant=_no)), Said)
    except (ValueError, RecursionError) as error:
        raise HookFailed(f"its answer is none: {str(error)[:REASON]}") from None
    decision = said.decision.strip().casefold()
    if decision not in ("", "allow", "approve", "block", "deny"):
        raise HookFailed(f"unknown decision {decision[:40]}")
    return Verdict(
        blocks=said.go_on is False or decision in ("block", "deny"),
        reason=said.reason[:REASON],
        context=said.additional_context[:CONTEXT],
        updated=said.updated_input,
        **more,
    )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Each member once: who puts words of others into JSON may be made to say a thing twice."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name[:40]} is here for the second time")
        found[name] = value
    return found


def _ours(members: dict[str, Any]) -> dict[str, Any]:
    """Members of ours, however they are spelled."""
    return _once([(OURS.get(name.replace("_", "").casefold(), name), value) for name, value in members.items()])


def _no(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _is_json(raw: bytes) -> bool:
    """A list, a text …; a bare word or number is what programs say anyway."""
    if raw.strip()[:1] not in (b"[", b'"'):
        return False
    try:
        json.loads(raw)
    except (ValueError, RecursionError):
        return False
    return True


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
