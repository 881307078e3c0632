"""What happens to every tool call, whoever asks: look up, let pass, check, write down, run with a deadline, clean, cut.

Each call gets exactly one result and no call raises. Contract: tools.md §2, durability.md §7.2.
"""

from __future__ import annotations

import difflib
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import msgspec
import structlog
import trio
from msgspec.structs import replace as changed

from goclaw.domain.chat import ToolCall, ToolSpec
from goclaw.domain.errors import Rejected
from goclaw.domain.texts import text_of
from goclaw.domain.tools import ALIASES
from goclaw.security.receipts import Receipts
from goclaw.tools.arguments import NAME, Read, read
from goclaw.tools.cut import shortened
from goclaw.tools.gates import Hooks
from goclaw.tools.groups import PRESETS
from goclaw.tools.ledger import Begun, Ledger, LedgerConflict, Past, Place, ToolResult
from goclaw.tools.spill import spill
from goclaw.tools.tool import Answer, Effect, Source, Tool, ToolContext, ToolFailed

FOR_USER = 8_000  # characters of what clients show; tools.md §8
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

log = structlog.get_logger()


UNKNOWN = (
    "Outcome unknown: {tool} was called at {when} and the gateway stopped before it heard how it ended. It may or may "
    "not have happened. Verify before you repeat it."
)


FORMER = "[Done at {when} in an earlier try, and not repeated. Call it again to repeat it.]\n{text}"


BROKEN = "Outcome unknown: {tool} broke or did not end in time, and may have acted. Verify before you repeat it."


Gate = Callable[[Tool, ToolContext], Awaitable[None]]
"""Lets a call pass, or refuses it by ToolFailed. What it takes away (a rate) it takes once per call."""

Finish = Callable[[Tool, ToolContext, Answer], Awaitable[Answer]]
"""What is done to every result before anybody sees it: an error is an answer too."""

Work = Callable[[], Awaitable[str | Answer]]
Through = Callable[[Tool, ToolContext, Work], Awaitable[str | Answer]]
"""Does the work of a call, somewhere. Raises what it raises, and ToolFailed for work that was ended from outside."""


class Heard(Protocol):
    """Whoever is told of calls that a tool makes."""

    def tool_call(self, call: ToolCall, iteration: int, *, logged: bool = True) -> None: ...
    def tool_result(self, call: ToolCall, result: ToolResult, *, logged: bool = True) -> None: ...


async def here(_tool: Tool, _ctx: ToolContext, work: Work) -> str | Answer:
    return await work()


def find(tools: Mapping[str, Tool], name: str) -> Tool | None:
    """The tool a model means by `name`, which may be an alias."""
    return tools.get(name) or tools.get(ALIASES.get(name, name))


def effect_of(tools: Mapping[str, Tool], wanted: ToolCall) -> str:
    """The effect class of a call; a call of no tool has none."""
    tool = find(tools, wanted.name)
    return (tool.effect_of(wanted.arguments) if tool is not None else Effect.PURE).value


@dataclass(frozen=True)
class Toolbox:
    """The tools of one run. `hidden` are those that exist and are not for it."""

    tools: Mapping[str, Tool]
    ctx: ToolContext
    ledger: Ledger | None = None
    hidden: frozenset[str] = frozenset()
    before: tuple[Gate, ...] = ()  # asked before arguments are read (steps 3, 4)
    after: tuple[Gate, ...] = ()  # … and when they are fine (steps 6, 7)
    finish: tuple[Finish, ...] = ()  # steps 10, 11
    hooks: Hooks | None = None  # steps 6, 14
    through: Through = here  # step 9
    heard: Heard | None = None  # told of the calls that tools of it make
    receipts: Receipts | None = None  # step 13

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        return tuple(tool.spec for tool in self.tools.values())

    def only_reads(self, wanted: ToolCall) -> bool:
        return effect_of(self.tools, wanted) == Effect.PURE.value

    def beside_others(self, wanted: ToolCall) -> bool:
        """Whether a call may run while its neighbours do (agent-loop.md §10.3)."""
        tool = find(self.tools, wanted.name)
        return tool is not None and tool.parallel

    async def act(self, wanted: ToolCall, place: Place | None = None) -> ToolResult:
        """The one result of the call at `place`. One with an effect is made once, however often this is asked.

        Raises `LedgerConflict`, and what the ledger's store raises; nothing else but cancellation.
        """
        began = time.monotonic()
        result = await self._acted(wanted, place)
        if self.receipts is not None:
            text = self.receipts.signed(wanted.id, wanted.name, wanted.arguments, result.text)
            result = changed(result, text=text)
        return changed(result, duration_ms=int((time.monotonic() - began) * 1000))

    async def _acted(self, wanted: ToolCall, place: Place | None) -> ToolResult:
        try:
            ready = await self._ready(wanted)
        except ToolFailed as failure:
            return failed(failure.code, str(failure))
        if place is not None and self.ledger is not None:
            ready = replace(ready, ctx=replace(ready.ctx, key=self.ledger.key(place)))
        if ready.tool.effect_of(wanted.arguments) is not Effect.PURE and place is not None and self.ledger is not None:
            result = await self._once(ready, wanted, place, self.ledger)
        else:
            result = await self._refusal(ready) or await self._run(ready)
        if self.hooks is not None:
            self.hooks.after(ready.tool.name, ready.arguments, result)
        return result

    async def _ready(self, wanted: ToolCall) -> _Ready:
        tool = self._found(wanted.name)
        ctx = replace(self.ctx, call_id=wanted.id, calls=_Inner(self))
        for gate in self.before:
            await gate(tool, ctx)
        if wanted.parse_error is not None:
            raise ToolFailed("invalid_args", f"the arguments are not a JSON object: {wanted.parse_error}")
        arguments: Mapping[str, Any] = {**PRESETS.get(wanted.name, {}), **wanted.arguments}
        args = read(tool, arguments)
        if self.hooks is not None and (other := await self.hooks.before(tool.name, arguments)) is not None:
            if tool.effect_of(other) is not tool.effect_of(arguments):  # the ledger knows the call as what it was
                raise ToolFailed("denied_policy", f"a hook made another kind of call of {tool.name}")
            args, arguments = read(tool, other), other
        for gate in self.after:
            await gate(tool, ctx)
        return _Ready(tool, ctx, args, arguments)

    def _found(self, name: str) -> Tool:
        tool = find(self.tools, name)
        if tool is not None:
            return tool
        if {name, ALIASES.get(name)} & self.hidden:
            raise ToolFailed("denied_policy", f"tool not allowed by policy: {name}")
        near = difflib.get_close_matches(name[:NAME], self.tools, 3, 0.4)
        hint = f"; near: {', '.join(near)}" if near else ""
        raise ToolFailed("not_found", f"there is no tool {name[:NAME]}{hint}")

    async def _once(self, ready: _Ready, wanted: ToolCall, place: Place, ledger: Ledger) -> ToolResult:
        """Make a call with an effect, unless an earlier life or try of this run made it or may have made it."""
        tool = ready.tool
        digest = hashlib.sha256(msgspec.json.encode([tool.name, wanted.arguments], order="sorted")).hexdigest()
        past = await ledger.past(place, digest)
        if past is not None and past.request_hash != digest:
            raise LedgerConflict(f"{ledger.key(place)} was begun as another call")
        key = ledger.key(place) if past is None else past.key
        ready = replace(ready, ctx=replace(ready.ctx, key=key, again=past is not None))
        known = None if past is None else await self._known(ready, past)
        if known is not None and past is not None and not past.former:
            return known
        if known is None and (no := await self._refusal(ready)) is not None:
            return no  # nothing has begun
        ask = ready.args.ask
        try:
            before = past.before if past is not None else await tool.before(ready.ctx, ask) if tool.before else ""
        except ToolFailed as failure:  # nothing has begun
            return failed(failure.code, str(failure))
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
        return await self._run(ready, effect=True)

    async def _known(self, ready: _Ready, past: Past) -> ToolResult | None:
        """The result of a call that was begun before, as far as it is known; None if it is to be made."""
        tool, when = ready.tool, f"{past.at:%Y-%m-%d %H:%M:%S} UTC"
        if past.result is not None and not past.former:
            return past.result
        if tool.effect is Effect.KEYED and past.result is None:
            return None  # its target knows whether
        if tool.settle is not None:
            try:
                settled = await tool.settle(ready.ctx, ready.args.ask, past.before)
            except Exception:  # who cannot find out does not know
                log.exception("tool.settle_failed", tool=tool.name)
            else:
                if settled.done is not None:
                    return await self._finished(ready, Answer(text=settled.text)) if settled.done else None
        if past.result is not None:
            return ToolResult(text=FORMER.format(when=when, text=past.result.text))
        return ToolResult(text=UNKNOWN.format(tool=tool.name, when=when), is_error=True, error_code="unknown")

    async def _refusal(self, ready: _Ready) -> ToolResult | None:
        """What comes of a call that somebody has to allow and does not (step 8)."""
        consent = ready.tool.consent
        if consent is None:
            return None

        async def asked() -> str:
            await consent(ready.ctx, ready.args.ask)
            return ""

        said = await self._done(ready, asked)
        return said if isinstance(said, ToolResult) else None

    async def _run(self, ready: _Ready, *, effect: bool = False) -> ToolResult:
        tool = ready.tool
        said = await self._done(ready, partial(tool.fn, ready.ctx, ready.args.ask))
        if isinstance(said, ToolResult):
            if effect and said.error_code in ("timeout", "internal") and tool.settle is None:  # it may have acted
                return ToolResult(text=BROKEN.format(tool=tool.name), is_error=True, error_code="unknown")
            return said
        answer = Answer(text=said) if isinstance(said, str) else said
        if ready.args.ignored:
            note = f"(ignored, not parameters of {tool.name}: {', '.join(ready.args.ignored)})"
            answer = changed(answer, text=f"{answer.text}\n{note}")
        return await self._finished(ready, answer)

    async def _done(self, ready: _Ready, work: Work) -> str | Answer | ToolResult:
        """A result only for work that failed."""
        tool = ready.tool
        try:
            with trio.fail_after(tool.timeout):
                return await self.through(tool, ready.ctx, work)
        except trio.TooSlowError:
            text = f"{tool.name} took longer than {tool.timeout:g} s and was stopped"
            return await self._refused(ready, "timeout", text)
        except ToolFailed as failure:
            return await self._refused(ready, failure.code, str(failure), failure.source)
        except Rejected as refusal:  # by the house; what it says is meant for whoever asked
            code = CODES.get(refusal.err.code, "internal")
            return await self._refused(ready, code, text_of(refusal.err, "en"))
        except Exception:  # a broken tool is the model's problem to work around, and ours to log
            log.exception("tool.crashed", tool=tool.name)
            return await self._refused(ready, "internal", f"{tool.name} failed inside; try another way")

    async def _refused(self, ready: _Ready, code: str, text: str, source: Source | None = None) -> ToolResult:
        return await self._finished(ready, Answer(text=f"Error: {text}", failed=True, source=source), code)

    async def _finished(self, ready: _Ready, answer: Answer, code: str = "") -> ToolResult:
        for finish in self.finish:
            answer = await finish(ready.tool, ready.ctx, answer)
        most, full = min(ready.ctx.most, ready.tool.most), ""
        if len(answer.text) > most:
            full = await ready.ctx.thread(spill, ready.ctx.workspace, ready.ctx.call_id, answer.text)
        return ToolResult(
            text=shortened(answer.text, most, full),
            is_error=answer.failed,
            error_code=code or answer.code,
            for_user=answer.for_user[:FOR_USER],
            silent=answer.silent,
            media=answer.media,
            data=msgspec.Raw(msgspec.json.encode(answer.data)),
        )


@dataclass(frozen=True)
class _Inner:
    """The calls a tool makes: as any other, and clients see them. A replay repeats the outer call alone."""

    box: Toolbox

    def beside_others(self, wanted: ToolCall) -> bool:
        return self.box.beside_others(wanted)

    async def act(self, wanted: ToolCall) -> ToolResult:
        heard = self.box.heard
        if heard is not None:
            heard.tool_call(wanted, 0, logged=False)
        result = await self.box.act(wanted)
        if heard is not None:
            heard.tool_result(wanted, result, logged=False)
        return result


@dataclass(frozen=True)
class _Ready:
    """A call that may be made."""

    tool: Tool
    ctx: ToolContext
    args: Read
    arguments: Mapping[str, Any]  # as they were read


def failed(code: str, text: str) -> ToolResult:
    return ToolResult(text=f"Error: {text}", is_error=True, error_code=code)


async def call(tools: Mapping[str, Tool], ctx: ToolContext, wanted: ToolCall) -> ToolResult:
    """One call of tools that nobody guards, outside of any run."""
    return await Toolbox(tools, ctx).act(wanted)
