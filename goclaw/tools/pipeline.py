"""What happens to every tool call, whoever asks: look up, check, run with a deadline, cut.

Each call gets exactly one result and no call raises; later steps (policy, approval, ledger, scrubbing) join
here. Contract: tools.md §2.
"""

from __future__ import annotations

import difflib
import re
import time
import unicodedata
from collections.abc import Mapping

import msgspec
import structlog
import trio

from goclaw.domain.chat import ToolCall
from goclaw.tools.tool import TIMEOUT, Tool, ToolContext, ToolFailed

RESULT = 50_000  # characters kept of a result, error or not; tools.md §8
HEAD, TAIL = 0.6, 0.35  # of them, from where; the rest is for the note between
NAME = 64  # characters of a name worth repeating; tools.md §1.1
ALIASES = {"Read": "read_file", "list_dir": "list_files"}  # tools.md §6, for the tools that exist
PLACE = re.compile(r" - at `\$(?P<path>[^`]*)`$")
JOINER = "\u200d"  # makes one sign of two: 👩 + 🚀

log = structlog.get_logger()


class ToolResult(msgspec.Struct, frozen=True, kw_only=True):
    """`text` is for the model; an error starts with `Error: ` and says what to do next."""

    text: str
    is_error: bool = False
    error_code: str = ""
    duration_ms: int = 0


def find(tools: Mapping[str, Tool], name: str) -> Tool | None:
    """The tool a model means by `name`, which may be an alias."""
    return tools.get(ALIASES.get(name, name))


async def call(tools: Mapping[str, Tool], ctx: ToolContext, wanted: ToolCall) -> ToolResult:
    """Run one call to its one result. Only cancellation passes through."""
    began = time.monotonic()
    code = ""
    try:
        text = await _run(tools, ctx, wanted)
    except ToolFailed as failure:
        code, text = failure.code, f"Error: {failure}"
    except Exception:  # a broken tool is the model's problem to work around, and ours to log
        log.exception("tool.crashed", tool=wanted.name[:NAME])
        code, text = "internal", f"Error: {wanted.name[:NAME]} failed inside; try another way"
    spent = int((time.monotonic() - began) * 1000)
    return ToolResult(text=shortened(text), is_error=bool(code), error_code=code, duration_ms=spent)


async def _run(tools: Mapping[str, Tool], ctx: ToolContext, wanted: ToolCall) -> str:
    tool = find(tools, wanted.name)
    if tool is None:
        name = wanted.name[:NAME]
        near = difflib.get_close_matches(name, tools, 3, 0.4)
        hint = f"; near: {', '.join(near)}" if near else ""
        raise ToolFailed("not_found", f"there is no tool {name}{hint}")
    if wanted.parse_error is not None:
        raise ToolFailed("invalid_args", f"the arguments are not a JSON object: {wanted.parse_error}")
    known = {name: value for name, value in wanted.arguments.items() if name in tool.spec.parameters["properties"]}
    try:
        ask = msgspec.convert(known, tool.input, strict=False)  # "5" for 5 is fine
    except msgspec.ValidationError as error:
        raise ToolFailed("invalid_args", f"{tool.name}: {_with_pointer(str(error))}") from None
    with trio.move_on_after(TIMEOUT):
        text = await tool.fn(ctx, ask)
        ignored = sorted(name[:NAME] for name in wanted.arguments.keys() - known.keys())[:10]
        return f"{text}\n(ignored, not parameters of {tool.name}: {', '.join(ignored)})" if ignored else text
    raise ToolFailed("timeout", f"{tool.name} took longer than {TIMEOUT:g} s and was stopped")


def shortened(text: str) -> str:
    """At most `RESULT` characters: the beginning, how much is missing, and the end. Never cuts a sign in two."""
    if len(text) <= RESULT:
        return text
    head = _between_signs(text, int(RESULT * HEAD))
    tail = _between_signs(text, len(text) - int(RESULT * TAIL))
    return f"{text[:head]}\n[… {tail - head} characters omitted]\n{text[tail:]}"


def _between_signs(text: str, place: int) -> int:
    """`place`, or a little before it when it is inside of what a reader sees as one sign."""
    for cut in range(place, place - 32, -1):
        joined = text[cut] == JOINER or text[cut - 1] == JOINER or unicodedata.category(text[cut]).startswith("M")
        if not joined:
            return cut
    return place


def _with_pointer(message: str) -> str:
    """A validation message with its place as a JSON pointer (tools.md §2, step 5)."""
    found = PLACE.search(message)
    if found is None:
        return message
    pointer = found["path"].replace(".", "/").replace("[", "/").replace("]", "")
    return f"{message[: found.start()]} at {pointer or '/'}"
