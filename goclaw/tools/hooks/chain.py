"""The hooks of one event, one after the other, until one blocks. Contract: tools.md §22, orchestration.md §13.4."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

import msgspec
import structlog
import trio
from msgspec import Struct
from msgspec.structs import replace

from goclaw.domain.hook import BLOCKING, CHAIN, Decision, Happening, Hook
from goclaw.tools.fs.patterns import expression
from goclaw.tools.hooks.condition import Unfit, condition
from goclaw.tools.hooks.verdict import CONTEXT, HookFailed, Judge, Verdict

Noted = Callable[[Hook, Happening, Decision, float, str], None]  # hook, about, decision, seconds, error

log = structlog.get_logger()


class Outcome(Struct, frozen=True, kw_only=True):
    blocked: str | None = None  # why
    updated: dict[str, Any] | None = None
    context: str = ""


async def chain(hooks: Iterable[Hook], about: Happening, judges: Mapping[str, Judge], noted: Noted) -> Outcome:
    """Asks those that match. In an event that can be blocked everything that is no clear yes is a no."""
    blocking = about.event in BLOCKING
    end = trio.current_time() + CHAIN
    updated: dict[str, Any] | None = None
    context = ""
    for hook in hooks:
        began = trio.current_time()
        verdict, decision, error = await tried(hook, about, judges, end - began)
        if decision is None:
            continue
        noted(hook, about, decision, trio.current_time() - began, error)
        refuses = decision == "block" or decision == "error" or (decision == "timeout" and hook.on_timeout == "block")
        if blocking and refuses:
            return Outcome(blocked=_why(hook, decision, verdict))
        if verdict.updated is not None and about.event == "pre_tool_use":
            updated = verdict.updated
            about = replace(about, tool_input=msgspec.Raw(msgspec.json.encode(updated)))
        context = f"{context}\n{verdict.context}".strip()[:CONTEXT]
    return Outcome(updated=updated, context=context)


async def tried(
    hook: Hook, about: Happening, judges: Mapping[str, Judge], left: float
) -> tuple[Verdict, Decision | None, str]:
    """What it says; None: it was not asked."""
    try:
        if not matches(hook, about):
            return Verdict(), None, ""
        judge = judges.get(hook.handler_type)
        if judge is None:
            raise HookFailed(f"nobody can be asked for a {hook.handler_type} here")
        with trio.move_on_after(max(0.0, min(hook.timeout_ms / 1000, left))):
            verdict = await judge(hook, about)
            return verdict, "block" if verdict.blocks else "allow", verdict.reason if verdict.blocks else ""
        return Verdict(), "timeout", f"no answer within {min(hook.timeout_ms / 1000, left):g} s"
    except (HookFailed, Unfit) as failure:
        return Verdict(), "error", str(failure)
    except Exception as error:  # broken is not yes
        log.exception("hook.crashed", hook=hook.id)
        return Verdict(), "error", f"{type(error).__name__}"


def matches(hook: Hook, about: Happening) -> bool:
    """Raises Unfit."""
    if hook.matcher and _pattern(hook.matcher).search(about.tool_name.encode()) is None:
        return False
    if not hook.if_expr:
        return True
    facts = {
        "tool_name": about.tool_name,
        "tool_input": msgspec.json.decode(about.tool_input),
        "depth": about.depth,
    }
    return _condition(hook.if_expr)(facts)


def check(matcher: str | None, if_expr: str | None) -> None:
    """Raises Unfit for what could never be asked."""
    if matcher:
        _pattern(matcher)
    if if_expr:
        _condition(if_expr)


@lru_cache(maxsize=512)
def _pattern(text: str) -> Any:
    try:
        return expression(text.encode())
    except ValueError as error:
        raise Unfit(f"matcher: {error}") from None


@lru_cache(maxsize=512)
def _condition(text: str) -> Callable[[Mapping[str, Any]], bool]:
    return condition(text)


def _why(hook: Hook, decision: Decision, verdict: Verdict) -> str:
    """For the model: the hook's reason, or that there is none."""
    named = f'the hook "{hook.name}"' if hook.name else "a hook"
    match decision:
        case "block":
            return f"{named} does not allow it{f': {verdict.reason}' if verdict.reason else ''}"
        case "timeout":
            return f"{named} did not answer in time"
    return f"{named} could not decide"
