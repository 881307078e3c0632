"""Answers written by hand: rules in JSON5, for tests and a house's own habits. Contract: providers.md §16.5."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pyjson5
from msgspec import Meta, Struct

from goclaw.domain.chat import ChatRequest, FinishReason, ToolCall, Usage
from goclaw.domain.errors import ProviderError
from goclaw.providers.offline.answer import since_user
from goclaw.providers.offline.purposes import last_user
from goclaw.providers.offline.reply import Pace, Reply
from goclaw.providers.trouble import refusal

FILE_LIMIT = 256 * 2**10  # bytes
TEXT_LIMIT = 4000  # characters of user text that are matched; providers.md §16.5
SESSIONS = 1000  # whose place in a script is remembered; the one unused longest is forgotten

Pattern = Annotated[str, Meta(max_length=512)]  # providers.md §16.5
Count = Annotated[int, Meta(ge=1)]
Milliseconds = Annotated[float, Meta(ge=0, le=600_000)]


class When(Struct, frozen=True, forbid_unknown_fields=True):
    """All that is given must hold. `user` is searched, its groups fill the reply."""

    user: Pattern | None = None
    any: tuple[Pattern, ...] = ()
    all: tuple[Pattern, ...] = ()
    after_tool: str | bool | None = None
    turn: Count | None = None
    call: Count | None = None
    model: str | None = None
    agent: str | None = None
    system_contains: str | None = None
    tool_offered: str | None = None


class Call(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    arguments: dict[str, Any] = {}
    id: str = ""


class Failure(Struct, frozen=True, forbid_unknown_fields=True):
    """A vendor's refusal, read the way a real one would be."""

    status: Annotated[int, Meta(ge=300, le=599)]
    body: str = ""
    retry_after: Annotated[float, Meta(ge=0)] | None = None
    content_type: str = "application/json"
    after_chunks: Annotated[int, Meta(ge=0)] = 0


class Stream(Struct, frozen=True, forbid_unknown_fields=True):
    chunk_chars: Count = 24
    delay_ms: Milliseconds = 0.0
    first_delay_ms: Milliseconds = 0.0
    drop_after_chunks: Annotated[int, Meta(ge=0)] | None = None


class Said(Struct, frozen=True, forbid_unknown_fields=True):
    text: str = ""
    thinking: str = ""
    tool_calls: tuple[Call, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    error: Failure | None = None
    stream: Stream | None = None


class Rule(Struct, frozen=True, forbid_unknown_fields=True):
    """`times` is per session; `state` is where the session must be, `goto` where it is afterwards."""

    reply: Said
    id: str = ""
    when: When = When()
    times: Count | None = None
    state: str | None = None
    goto: str | None = None


class Script(Struct, frozen=True, forbid_unknown_fields=True):
    rules: tuple[Rule, ...] = ()
    default: Said | None = None


def load_script(path: Path) -> Script:
    """The script in a file. Raises ValueError, with the path and the reason, for one that is not."""
    try:
        if path.stat().st_size > FILE_LIMIT:
            raise ValueError(f"larger than {FILE_LIMIT} bytes")
        script = msgspec.convert(pyjson5.decode(path.read_text("utf-8")), Script)
        for rule in script.rules:
            for pattern in (rule.when.user, *rule.when.any, *rule.when.all):
                re.compile(pattern or "")
    except (OSError, ValueError, re.error, pyjson5.Json5Exception) as error:
        raise ValueError(f"{path}: {error}") from error
    return script


class Place(Struct):
    """Where one session is in a script."""

    state: str = ""
    uses: dict[int, int] = {}  # by position of the rule


class Player:
    """A script and the place of every session in it."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self._places: OrderedDict[str, Place] = OrderedDict()

    def reply(self, ask: ChatRequest) -> Reply | None:
        """The first rule that holds, or the default, or None. Asking again is another use of the rule."""
        session = str(ask.metadata.get("session", ""))
        place = self._places.setdefault(session, Place())
        self._places.move_to_end(session)
        if len(self._places) > SESSIONS:
            self._places.popitem(last=False)
        for position, rule in enumerate(self.script.rules):
            used = place.uses.get(position, 0)
            if (rule.times is not None and used >= rule.times) or rule.state not in (None, place.state):
                continue
            groups = holds(rule.when, ask)
            if groups is None:
                continue
            place.uses[position] = used + 1
            place.state = place.state if rule.goto is None else rule.goto
            return render(rule.reply, rule.id or f"rule {position + 1}", values(ask, groups, used + 1))
        if self.script.default is None:
            return None
        return render(self.script.default, "default", values(ask, {}, 1))


def holds(when: When, ask: ChatRequest) -> dict[str, str] | None:
    """The groups of `when.user` if all of `when` holds, else None."""
    text = last_user(ask.messages)[:TEXT_LIMIT]
    last = ask.messages[-1] if ask.messages else None
    after = last.tool_name if last is not None and last.role == "tool" else None
    holding = (
        when.after_tool is None or (after is not None) == when.after_tool or (after or None) == when.after_tool,
        when.turn in (None, turn_of(ask)),
        when.call in (None, call_of(ask)),
        when.model in (None, ask.model),
        when.agent in (None, ask.metadata.get("agent")),
        when.tool_offered is None or any(tool.name == when.tool_offered for tool in ask.tools),
        when.system_contains is None
        or any(m.role == "system" and when.system_contains in m.content for m in ask.messages),
        not when.any or any(re.search(pattern, text) for pattern in when.any),
        all(re.search(pattern, text) for pattern in when.all),
    )
    if not all(holding):
        return None
    found = re.search(when.user or "", text)
    if found is None:
        return None
    numbered = {str(n): value or "" for n, value in enumerate(found.groups(), 1)}
    return numbered | {name: value or "" for name, value in found.groupdict().items()}


def turn_of(ask: ChatRequest) -> int:
    """Which user turn this is, from 1."""
    return sum(message.role == "user" for message in ask.messages)


def call_of(ask: ChatRequest) -> int:
    """Which model call of the run this is, from 1."""
    return 1 + sum(message.role == "assistant" for message in since_user(ask.messages))


def values(ask: ChatRequest, groups: Mapping[str, str], uses: int) -> dict[str, str]:
    """What `{{name}}` may stand for in a reply. `n` is how often the rule was used in this session, from 1."""
    results = {f"tool.{m.tool_name}": m.content for m in ask.messages if m.role == "tool"}
    return {
        "user": last_user(ask.messages),
        "tools": ", ".join(tool.name for tool in ask.tools),
        "turn": str(turn_of(ask)),
        "call": str(call_of(ask)),
        "n": str(uses),
        **results,
        **groups,
    }


def render(said: Said, rule: str, known: Mapping[str, str]) -> Reply:
    calls = tuple(
        ToolCall(
            id=call.id or f"call_{known['turn']}_{known['call']}_{n}",
            name=call.name,
            arguments=filled(call.arguments, known),
        )
        for n, call in enumerate(said.tool_calls, 1)
    )
    stream = said.stream or Stream()
    error, after = None, stream.drop_after_chunks
    if after is not None:
        error = ProviderError("server_error", "stream_interrupted: the script dropped the connection")
    if said.error is not None:
        headers = {"content-type": said.error.content_type}
        if said.error.retry_after is not None:
            headers["retry-after"] = str(said.error.retry_after)
        body = said.error.body or '{"error": {"message": "the script failed on purpose"}}'
        error, after = refusal(said.error.status, headers, body.encode()), said.error.after_chunks
    pace = Pace(
        chunk_chars=stream.chunk_chars,
        first_delay=stream.first_delay_ms / 1000,
        chunk_delay=stream.delay_ms / 1000,
        fail_after=after,
    )
    return Reply(
        rule=rule,
        text=filled(said.text, known),
        thinking=filled(said.thinking, known),
        calls=calls,
        finish_reason=said.finish_reason,
        usage=said.usage,
        error=error,
        pace=pace if said.stream or said.error else None,
    )


def filled(template: Any, known: Mapping[str, str]) -> Any:
    """`template` with every `{{name}}` that is known replaced, in all texts inside it."""
    match template:
        case str():
            return re.sub(r"\{\{([\w.-]+)\}\}", lambda mark: known.get(mark[1], mark[0]), template)
        case dict():
            return {name: filled(value, known) for name, value in template.items()}
        case list():
            return [filled(value, known) for value in template]
        case _:
            return template
