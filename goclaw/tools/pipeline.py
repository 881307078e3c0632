"""What happens to every tool call, whoever asks: look up, check, write down, run with a deadline, cut.

Each call gets exactly one result and no call raises; later steps (policy, approval, scrubbing) join here.
Contract: tools.md §2, durability.md §7.2.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import time
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import structlog
import trio

from goclaw.domain.chat import ToolCall, ToolSpec
from goclaw.domain.errors import Rejected
from goclaw.domain.texts import text_of
from goclaw.tools.ledger import Begun, Ledger, LedgerConflict, Past, Place, ToolResult
from goclaw.tools.tool import TIMEOUT, Effect, Tool, ToolContext, ToolFailed

RESULT = 50_000  # characters kept of a result, error or not; tools.md §8
HEAD, TAIL = 0.6, 0.35  # of them, from where; the rest is for the note between
NAME = 64  # characters of a name worth repeating; tools.md §1.1
ALIASES = {"Read": "read_file", "list_dir": "list_files"}  # tools.md §6, for the tools that exist
PLACE = re.compile(r" - at `\$(?P<path>[^`]*)`$")
CODES = {
    "INVALID_REQUEST": "invalid_args",
    "NOT_FOUND": "not_found",
    "ALREADY_EXISTS": "conflict",
    "FAILED_PRECONDITION": "conflict",
    "UNAUTHORIZED": "denied_policy",
    "FORBIDDEN": "denied_policy",
    "PAYLOAD_TOO_LARGE": "too_large",
    "RESOURCE_EXHAUSTED": "rate_limited",
    "UNAVAILABLE": "unavailable",
}  # of a refusal by the house, as tools.md §1.3 has it
JOINER = "\u200d"  # makes one sign of two: 👩 + 🚀

log = structlog.get_logger()


UNKNOWN = (
    "Outcome unknown: {tool} was called at {when} and the gateway stopped before it heard how it ended. It may or may "
    "not have happened. Verify before you repeat it."
)


FORMER = "[Done at {when} in an earlier try, and not repeated. Call it again to repeat it.]\n{text}"


BROKEN = "Outcome unknown: {tool} broke or did not end in time, and may have acted. Verify before you repeat it."


def find(tools: Mapping[str, Tool], name: str) -> Tool | None:
    """The tool a model means by `name`, which may be an alias."""
    return tools.get(ALIASES.get(name, name))


def effect_of(tools: Mapping[str, Tool], wanted: ToolCall) -> str:
    """The effect class of a call; a call of no tool has none."""
    tool = find(tools, wanted.name)
    return (tool.effect_of(wanted.arguments) if tool is not None else Effect.PURE).value


@dataclass(frozen=True)
class Toolbox:
    """The tools of one run."""

    tools: Mapping[str, Tool]
    ctx: ToolContext
    ledger: Ledger

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        return tuple(tool.spec for tool in self.tools.values())

    def only_reads(self, wanted: ToolCall) -> bool:
        return effect_of(self.tools, wanted) == Effect.PURE.value

    async def act(self, wanted: ToolCall, place: Place) -> ToolResult:
        """The one result of the call at `place`. One with an effect is made once, however often this is asked.

        Raises `LedgerConflict`, and what the ledger's store raises.
        """
        return await call(self.tools, self.ctx, wanted, place, self.ledger)


async def call(
    tools: Mapping[str, Tool],
    ctx: ToolContext,
    wanted: ToolCall,
    place: Place | None = None,
    ledger: Ledger | None = None,
) -> ToolResult:
    """Run one call to its one result. Only cancellation and the ledger's troubles pass through."""
    began = time.monotonic()
    try:
        ready = _prepared(tools, wanted)
    except ToolFailed as failure:
        return _result(began, f"Error: {failure}", failure.code)
    if ready.tool.effect_of(wanted.arguments) is not Effect.PURE and place is not None and ledger is not None:
        return await _once(ready, ctx, wanted, place, ledger)
    return await _run(ready, ctx)


@dataclass(frozen=True)
class _Ready:
    tool: Tool
    ask: msgspec.Struct
    ignored: tuple[str, ...]  # arguments that are no parameters


def _prepared(tools: Mapping[str, Tool], wanted: ToolCall) -> _Ready:
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
    ignored = sorted(name[:NAME] for name in wanted.arguments.keys() - known.keys())[:10]
    return _Ready(tool, ask, tuple(ignored))


async def _once(ready: _Ready, ctx: ToolContext, wanted: ToolCall, place: Place, ledger: Ledger) -> ToolResult:
    """Make a call with an effect, unless an earlier life or try of this run made it or may have made it."""
    tool = ready.tool
    digest = hashlib.sha256(msgspec.json.encode([tool.name, wanted.arguments], order="sorted")).hexdigest()
    past = await ledger.past(place, digest)
    if past is not None and past.request_hash != digest:
        raise LedgerConflict(f"{ledger.key(place)} was begun as another call")
    ctx = replace(ctx, key=ledger.key(place) if past is None else past.key, again=past is not None)
    known = None if past is None else await _known(ready, ctx, past)
    if known is not None and past is not None and not past.former:
        return known
    before = past.before if past is not None else await tool.before(ctx, ready.ask) if tool.before else ""
    await ledger.begin(
        Begun(
            place=place,
            tool=tool.name,
            effect=tool.effect.value,
            request_hash=digest,
            before=before[:255],
            adopts=past.key if past is not None and past.former else "",
            settled=known is not None,
        )
    )
    if known is not None:
        return known
    result = await _run(ready, ctx)
    if result.error_code in ("timeout", "internal") and tool.settle is None:  # it may go on, or have acted before
        broken = ToolResult(text=BROKEN.format(tool=tool.name), is_error=True, error_code="unknown")
        return msgspec.structs.replace(broken, duration_ms=result.duration_ms)
    return result


async def _known(ready: _Ready, ctx: ToolContext, past: Past) -> ToolResult | None:
    """The result of a call that was begun before, as far as it is known; None if it is to be made."""
    tool, when = ready.tool, f"{past.at:%Y-%m-%d %H:%M:%S} UTC"
    if past.result is not None and not past.former:
        return past.result
    if tool.effect is Effect.KEYED and past.result is None:
        return None  # its target knows whether
    if tool.settle is not None:
        try:
            settled = await tool.settle(ctx, ready.ask, past.before)
        except Exception:  # who cannot find out does not know
            log.exception("tool.settle_failed", tool=tool.name)
        else:
            if settled.done is not None:
                return ToolResult(text=shortened(settled.text)) if settled.done else None
    if past.result is not None:
        return ToolResult(text=FORMER.format(when=when, text=past.result.text))
    return ToolResult(text=UNKNOWN.format(tool=tool.name, when=when), is_error=True, error_code="unknown")


async def _run(ready: _Ready, ctx: ToolContext) -> ToolResult:
    began, tool = time.monotonic(), ready.tool
    try:
        with trio.fail_after(TIMEOUT):
            text: Any = await tool.fn(ctx, ready.ask)
    except trio.TooSlowError:
        return _result(began, f"Error: {tool.name} took longer than {TIMEOUT:g} s and was stopped", "timeout")
    except ToolFailed as failure:
        return _result(began, f"Error: {failure}", failure.code)
    except Rejected as refusal:  # by the house; what it says is meant for whoever asked
        return _result(began, f"Error: {text_of(refusal.err, 'en')}", CODES.get(refusal.err.code, "internal"))
    except Exception:  # a broken tool is the model's problem to work around, and ours to log
        log.exception("tool.crashed", tool=tool.name)
        return _result(began, f"Error: {tool.name} failed inside; try another way", "internal")
    if ready.ignored:
        text = f"{text}\n(ignored, not parameters of {tool.name}: {', '.join(ready.ignored)})"
    return _result(began, text)


def _result(began: float, text: str, code: str = "") -> ToolResult:
    spent = int((time.monotonic() - began) * 1000)
    return ToolResult(text=shortened(text), is_error=bool(code), error_code=code, duration_ms=spent)


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
