"""Tool calls that a model wrote into its text, because nobody taught it the proper way. Contract: providers.md §14."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

import msgspec
import pyjson5

from goclaw.domain.chat import ToolCall

CALLS = 32  # taken from one text
# No body contains another opening, so a text full of openings is still read in linear time.
BLOCK = re.compile(
    r"<(?P<tag>function_call|tool_call)>(?P<json>(?:(?!<(?:function_call|tool_call)>).)*?)</(?P=tag)>"
    r"|<invoke name=\"(?P<name>[^\"<>]{1,128})\">(?P<parameters>(?:(?!<invoke ).)*?)</invoke>",
    re.DOTALL,
)
PARAMETER = re.compile(
    r"<parameter name=\"(?P<name>[^\"<>]{1,128})\"[^<>]{0,128}>(?P<value>(?:(?!<parameter ).)*?)</parameter>", re.DOTALL
)
WRAPPER = re.compile(r"</?(?:function_calls|tool_calls)>")


def written_calls(text: str, offered: Collection[str]) -> tuple[str, tuple[ToolCall, ...]]:
    """The text without its call blocks, and the calls. A block that is broken or names no offered tool stays text."""
    if "</" not in text:
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


def _calls(block: re.Match[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    if block["name"] is not None:
        yield block["name"], {p["name"]: _value(p["value"]) for p in PARAMETER.finditer(block["parameters"])}
        return
    try:
        written = pyjson5.decode(block["json"])  # tolerates trailing commas and single quotes
    except (pyjson5.Json5Exception, RecursionError):
        return
    for call in written if isinstance(written, list) else [written]:
        if not isinstance(call, dict):
            continue
        arguments = call.get("arguments", call.get("parameters", {}))
        if isinstance(arguments, str):
            arguments = _value(arguments)
        if isinstance(call.get("name"), str) and isinstance(arguments, dict):
            yield call["name"], arguments


def _value(text: str) -> Any:
    """A parameter: JSON if it is an object, list, number or the like, else the text as it stands."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text
    return value if not isinstance(value, str) else text
