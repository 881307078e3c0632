"""What a vendor without a script answers: it echoes, and obeys what the user's text or the model's name asks for.

hello there            "echo hello there"; with thinking on, it thinks first
!tool {"word": "tea"}  calls the first offered tool, then answers with its result
!tool look_up          calls that tool, with a value for each required property
!tools                 calls every offered tool at once
!think about tea       thinks, then answers
!fixed-20              20 words
!slow-20cps            20 words, 20 a second
!fault-429             that status (any); 429 carries `Retry-After: 1`
!fault-…               one of FAULTS below
"""

from __future__ import annotations

import re
import secrets
from typing import Any

import msgspec
from msgspec import Struct, field

from tests.fakes.vendors.script import Answer, Behaviour, Call, Refuse, Think, Trouble, answer

encode = msgspec.json.encode
PAGE = b"<html><head><title>Bad gateway</title></head><body><h1>Bad gateway</h1></body></html>"


class Tool(Struct, frozen=True):
    name: str
    schema: dict[str, Any]


class Ask(Struct, kw_only=True):
    """A request as the brain sees it, whatever wire it came on."""

    model: str
    stream: bool
    text: str  # of the last user message
    results: tuple[str, ...] = ()  # of tools, since the model spoke last
    tools: tuple[Tool, ...] = ()
    thinks: bool = False  # the request asks for thoughts
    wants_usage: bool = True
    size: int = 0  # tokens of the whole request
    body: dict[str, Any] = {}
    query: dict[str, str] = {}
    id: str = field(default_factory=lambda: secrets.token_hex(12))  # of the answer


HALF = "half an answer that goes no further"
FAULTS: dict[str, Behaviour] = {
    "fault-hang": answer(HALF, trouble=Trouble("stall")),
    "fault-hang-mid": answer(HALF, trouble=Trouble("stall", after=3)),
    "fault-close": answer(HALF, trouble=Trouble("close")),
    "fault-midclose": answer(HALF, trouble=Trouble("close", after=3)),
    "fault-reset": answer(HALF, trouble=Trouble("reset", after=3)),
    "fault-garbage": answer(HALF, trouble=Trouble("garbage", after=3, data=b"data: {not json\n\n" * 12)),
    "fault-not-http": answer(HALF, trouble=Trouble("raw", data=b"SSH-2.0-OpenSSH_9.2\r\n")),
    "fault-error-late": answer(HALF, trouble=Trouble("error", after=3, data=b"out of memory")),
    "fault-html": Refuse(200, body=PAGE, content_type="text/html"),
    "fault-html-502": Refuse(502, body=PAGE, content_type="text/html"),
    "fault-empty": Answer(()),
    "fault-filter": Answer((), finish="filter"),
}


def reply_to(ask: Ask) -> Behaviour:
    if ask.results:
        return answer(f"the tool said: {', '.join(ask.results)}")
    wish = ask.text[1:] if ask.text.startswith("!") else ask.model
    if found := FAULTS.get(wish.strip()):
        return found
    if found := re.fullmatch(r"fault-(\d{3})", wish):
        return Refuse(int(found[1]), retry_after=1 if found[1] == "429" else None)
    if found := re.fullmatch(r"fixed-(\d+)|slow-(\d+)cps", wish):
        words = "".join(f"word{n} " for n in range(int(found[1] or found[2])))
        return answer(words, pace=float(found[2] or 0))
    if found := re.fullmatch(r"think\b\s*(.*)", wish, re.DOTALL):
        return answer(Think(f"Let me think: {found[1]}"), f"I thought {found[1]}")
    if (found := re.fullmatch(r"tools?\b\s*(.*)", wish, re.DOTALL)) and ask.tools:
        chosen = ask.tools if wish.startswith("tools") else (named(ask.tools, found[1]),)
        return answer(*(Call(tool.name, arguments(tool, found[1] or ask.text)) for tool in chosen))
    said = f"echo {ask.text}"
    return answer(Think(f"The user says: {ask.text}"), said) if ask.thinks else answer(said)


def named(tools: tuple[Tool, ...], text: str) -> Tool:
    first = text.split(" ", 1)[0]
    return next((tool for tool in tools if tool.name == first), tools[0])


def arguments(tool: Tool, text: str) -> dict[str, Any]:
    """The text when it holds a JSON object, else a value for each required property."""
    try:
        return msgspec.json.decode(text[text.index("{") :], type=dict[str, Any])
    except (ValueError, msgspec.DecodeError):
        filler: dict[str, Any] = {"integer": 1, "number": 1, "boolean": True, "array": [], "object": {}}
        known = tool.schema.get("properties", {})
        return {name: filler.get(known.get(name, {}).get("type"), text) for name in tool.schema.get("required", ())}
