"""Tool calls that a model wrote into its text, because nobody taught it the proper way. Contract: providers.md §14."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import msgspec
import pyjson5
from msgspec.structs import replace

from goclaw.domain.chat import ChatResponse, ToolCall, ToolSpec
from goclaw.providers.reader import nested

CALLS = 32  # taken from one text
LONGEST = 2**20  # characters; more is no call, and takes its time
DSML = r"(?:[|｜]DSML[|｜])?"  # DeepSeek's own tags
# No body contains another opening, so a text full of openings is still read in linear time.
BLOCK = re.compile(
    r"<(?P<tag>function_call|tool_call)>(?P<json>(?:(?!<(?:function_call|tool_call)>).)*?)</(?P=tag)>"
    r"|<function=(?P<function>[\w.-]{1,128})>(?P<given>(?:(?!<function=).)*?)</function>"
    rf"|<{DSML}invoke name=\"(?P<name>[^\"<>]{{1,128}})\">(?P<parameters>(?:(?!<{DSML}invoke ).)*?)</{DSML}invoke>",
    re.DOTALL,
)
PARAMETER = re.compile(
    rf"<{DSML}parameter name=\"(?P<name>[^\"<>]{{1,128}})\"(?P<more>[^<>]{{0,128}})>"
    rf"(?P<value>(?:(?!<{DSML}parameter ).)*?)</{DSML}parameter>",
    re.DOTALL,
)
VERBATIM = 'string="true"'  # of a parameter: not JSON
WRAPPER = re.compile(rf"</?{DSML}(?:function_calls|tool_calls)>")


def heeded(answer: ChatResponse, offered: Sequence[ToolSpec]) -> ChatResponse:
    """`answer` with the calls its text contains, if tools were offered and it used none the proper way."""
    if not offered or answer.tool_calls:
        return answer
    content, calls = written_calls(answer.content, {tool.name for tool in offered})
    if not calls:
        return answer
    return replace(answer, content=content, tool_calls=calls, finish_reason="tool_calls")


def written_calls(text: str, offered: Collection[str]) -> tuple[str, tuple[ToolCall, ...]]:
    """The text without its call blocks, and the calls. A block that is broken or names no offered tool stays text."""
    if "</" not in text or len(text) > LONGEST:
        return text, ()
    calls: list[ToolCall] = []
    kept: list[str] = []
    end = 0
    for block in BLOCK.finditer(text):
        found = [call for call in _calls(block) if call[0] in offered]
        if not found or len(calls) + len(found) > CALLS:
            continue
        calls += [
            ToolCall(id=f"call_txt_{n}", name=name, arguments=arguments)
            for n, (name, arguments) in enumerate(found, len(calls) + 1)
        ]
        kept.append(text[end : block.start()])
        end = block.end()
    if not calls:
        return text, ()
    return WRAPPER.sub("", "".join([*kept, text[end:]])).strip(), tuple(calls)


def failed_call(text: str, offered: Collection[str]) -> tuple[str, tuple[ToolCall, ...]]:
    """The same of what a vendor itself did not understand: perhaps a block, perhaps bare JSON."""
    rest, calls = written_calls(text, offered)
    if not calls:
        rest, calls = written_calls(f"<tool_call>{text}</tool_call>", offered)
    return (rest, calls) if calls else (text, ())


def _calls(block: re.Match[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    if block["name"] is not None:
        yield (
            block["name"],
            {
                found["name"]: found["value"] if VERBATIM in found["more"] else _value(found["value"])
                for found in PARAMETER.finditer(block["parameters"])
            },
        )
        return
    try:
        written = pyjson5.decode(
            block["json"] if block["given"] is None else block["given"]
        )  # tolerates trailing commas and single quotes
    except (pyjson5.Json5Exception, RecursionError):
        return
    if block["function"] is not None:
        written = {"name": block["function"], "arguments": written}
    for call in written if isinstance(written, list) else [written]:
        if not isinstance(call, dict):
            continue
        arguments = call.get("arguments", call.get("parameters", {}))
        if isinstance(arguments, str):
            arguments = _value(arguments)
        if isinstance(call.get("name"), str) and isinstance(arguments, dict) and not nested(arguments):
            yield call["name"], arguments


def _value(text: str) -> Any:
    """A parameter: JSON if it is an object, list, number or the like, else the text as it stands."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text
    return value if not isinstance(value, str) else text
