"""A tool: one function a model may call, declared by `@tool` and found by being there.

The input struct is the JSON Schema the model sees and the check of what it sends. Contract: tools.md §1.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from functools import partial
from typing import Any, Protocol, TypeVar, get_type_hints

import msgspec
import trio

from goclaw.domain.chat import ToolCall, ToolSpec
from goclaw.domain.delivery import Ability
from goclaw.domain.run import RunKind
from goclaw.security.paths import Workspace
from goclaw.tools.ledger import Media, ToolResult
from goclaw.tools.methods import NOBODY, Asker
from goclaw.tools.progress import Progress

Fn = TypeVar("Fn", bound="Callable[..., Awaitable[str | Answer]]")
T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)
TIMEOUT = 120.0  # seconds for a whole call; tools.md §1.1
MOST = 50_000  # characters of a result that a model reads, unless settings say otherwise; tools.md §8
MOST_EVER = 200_000


class Effect(Enum):
    """What repeating a call may do, and how to find out what became of one (durability.md §7.2)."""

    PURE = "pure"  # nothing: it only reads
    LOCAL = "local"  # what it changes can be looked at: `settle`
    KEYED = "keyed"  # its target takes `ToolContext.key` and acts once for it
    CHECKABLE = "checkable"  # its target can be asked: `settle`
    UNSAFE = "unsafe"  # it may act twice, and nobody can tell


class ToolFailed(Exception):
    """An expected failure. The text is for the model: what was wrong, and what would be right."""

    def __init__(self, code: str, text: str, source: Source | None = None) -> None:
        super().__init__(text)
        self.code = code  # of tools.md §1.3
        self.source = source  # whose words it repeats


class Source(msgspec.Struct, frozen=True):
    """Whose words a result holds when they are nobody's we know: a model is told so (security.md §5.2)."""

    kind: str  # "web page", "web search", "MCP server X / tool Y", …
    origin: str  # which one: an address, a query


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A result that is more than its text; a tool with nothing more to say returns the text alone."""

    text: str  # for the model
    for_user: str = ""  # shown in clients
    data: Any = None  # the same as JSON, for programs that call tools
    media: tuple[Media, ...] = ()
    silent: bool = False  # clients show nothing of it
    source: Source | None = None
    failed: bool = False  # the text tells of an error, and says all of it
    code: str = ""  # which, if it is one of tools.md §1.3


class Calls(Protocol):
    """How a tool makes calls of its own: each goes the whole way that a model's goes."""

    def beside_others(self, wanted: ToolCall) -> bool: ...
    async def act(self, wanted: ToolCall) -> ToolResult: ...


@dataclass(frozen=True)
class ToolContext:
    """Everything a tool may touch. What is not here is out of reach."""

    workspace: Workspace
    now: Callable[[], datetime]
    timezone: str  # IANA; empty means the machine's
    asker: Asker = NOBODY
    key: str = ""  # of this call: the same after a crash, another for every other call
    again: bool = False  # an earlier life of the run began this call, and nobody saw its end
    run_id: str = ""
    call_id: str = ""
    run_kind: RunKind = "chat"
    role: str = "operator"  # of the run's user
    sender_id: str = ""  # the person inside of a group; else the user
    peer_kind: str = "direct"
    provider: str = ""
    model: str = ""
    depth: int = 0  # of subagents; 0 = none
    most: int = MOST  # characters of a result; tools of larger output have less (tools.md §8)
    settings: Mapping[str, msgspec.Raw] = field(default_factory=dict)  # of tools, by name (tools.md §3.3)
    delivered: set[str] = field(default_factory=set)  # files the run has given to its chat
    deny_groups_off: frozenset[str] = frozenset()  # of the shell's deny engine (security.md §3.4)
    calls: Calls | None = None  # of the run; there while one is made
    host: Callable[[str], str] = lambda _: ""  # why one (in ASCII) may not be reached; empty: it may
    progress: Progress | None = None  # of the run, if it may go on by itself
    at_once: int = 2  # calls of one answer; agent-loop.md §10.3

    def setting(self, tool: str, kind: type[S]) -> S:
        """What is set for a tool of this agent; all defaults if that does not fit any more."""
        try:
            return msgspec.json.decode(self.settings.get(tool, msgspec.Raw(b"{}")), type=kind)
        except msgspec.ValidationError:
            return kind()

    async def thread(self, work: Callable[..., T], *args: object) -> T:
        """Run blocking work in a thread; cancelling leaves it behind until it calls `from_thread.check_cancelled`."""
        return await trio.to_thread.run_sync(work, *args, abandon_on_cancel=True)


@dataclass(frozen=True)
class Settled:
    """What became of a call whose end nobody saw. `done` None: that cannot be told."""

    done: bool | None
    text: str = ""  # the result, if it was done


@dataclass(frozen=True)
class Tool:
    name: str
    group: str
    effect: Effect
    spec: ToolSpec
    input: type[msgspec.Struct] | None  # None: arguments come as they are, checked against `spec`
    fn: Callable[..., Awaitable[str | Answer]]
    before: Callable[..., Awaitable[str]] | None = None
    settle: Callable[..., Awaitable[Settled]] | None = None
    consent: Callable[..., Awaitable[None]] | None = None
    reads: frozenset[str] = frozenset()  # actions that are pure whatever the others are
    not_in: frozenset[RunKind] = frozenset()  # runs that do not get it
    timeout: float = TIMEOUT  # seconds
    parallel: bool = False  # neighbours of its kind may run at the same time
    most: int = MOST_EVER  # characters of its results
    settings: type[msgspec.Struct] | None = None
    requires: tuple[str, ...] = ()  # programs that must be there
    ability: Ability | None = None  # that the run's channel must have
    rehearse: Callable[[ToolContext, Any], str] | None = None  # what a call would run
    needs: Mapping[str, type] = field(default_factory=dict)  # parameter → what `equipped` puts there

    @property
    def groups(self) -> tuple[str, ...]:
        return (self.group,) if self.group == "custom" else (self.group, "goclaw")

    def effect_of(self, arguments: Mapping[str, Any]) -> Effect:
        """The class of one call: a tool with actions may have some that only read."""
        action = arguments.get("action")
        return Effect.PURE if isinstance(action, str) and action in self.reads else self.effect


def tool(
    *,
    group: str,
    effect: Effect,
    name: str = "",
    reads: Collection[str] = (),
    not_in: Collection[RunKind] = (),
    before: Callable[..., Awaitable[str]] | None = None,
    settle: Callable[..., Awaitable[Settled]] | None = None,
    consent: Callable[..., Awaitable[None]] | None = None,
    timeout: float = TIMEOUT,
    parallel: bool = False,
    most: int = MOST_EVER,
    settings: type[msgspec.Struct] | None = None,
    requires: Collection[str] = (),
    ability: Ability | None = None,
) -> Callable[[Fn], Fn]:
    """Declare a coroutine `(ctx, ask, …) -> text` as a tool; the first paragraph of its docstring is what models read.

    Parameters after `ask` are what it needs of the house, by type (`equipped`).

    A LOCAL or CHECKABLE tool brings `settle(ctx, ask, before)`, which finds out what became of a call after a
    crash; `before(ctx, ask)`, called just before a call, says what it needs for that (at most 255 characters).
    `consent(ctx, ask)` asks people and returns when they said yes: before anything has begun, so that a crash while
    they think loses nothing. All three are given what the tool itself needs.
    """
    if (settle is None) is (effect in (Effect.LOCAL, Effect.CHECKABLE)):
        raise TypeError(f"a {effect.value} tool {'needs a way' if settle is None else 'has nothing'} to settle")
    if parallel and effect is not Effect.PURE:
        raise TypeError("only tools that read may run beside others")

    def declare(fn: Fn) -> Fn:
        hints = get_type_hints(fn)
        ask = hints["ask"]
        needs = {name: hints[name] for name in list(inspect.signature(fn).parameters)[2:]}
        called = name or fn.__name__
        summary = (inspect.getdoc(fn) or "").partition("\n\n")[0].replace("\n", " ")
        spec = ToolSpec(name=called, description=summary, parameters=_schema(ask))
        declared = Tool(
            name=called,
            group=group,
            effect=effect,
            spec=spec,
            input=ask,
            fn=fn,
            before=before,
            settle=settle,
            consent=consent,
            reads=frozenset(reads),
            not_in=frozenset(not_in),
            timeout=timeout,
            parallel=parallel,
            most=most,
            settings=settings,
            requires=tuple(requires),
            ability=ability,
            needs=needs,
        )
        fn.__tool__ = declared  # type: ignore[attr-defined]  # read by `collect`
        return fn

    return declare


def collect(*packages: str) -> dict[str, Tool]:
    """Every tool declared below `packages`, by name. A module that does not import stops the start.

    Raises ValueError when two tools claim one name.
    """
    found: dict[str, Tool] = {}
    roots = [importlib.import_module(package) for package in packages]
    modules = [info for root in roots for info in pkgutil.walk_packages(root.__path__, f"{root.__name__}.")]
    for info in modules:
        for _, member in inspect.getmembers(importlib.import_module(info.name)):
            declared = getattr(member, "__tool__", None)
            if not isinstance(declared, Tool):
                continue
            if found.setdefault(declared.name, declared) is not declared:
                raise ValueError(f"declared twice: {declared.name}")
    return dict(sorted(found.items()))


def equipped(tools: Mapping[str, Tool], things: Mapping[type, object]) -> dict[str, Tool]:
    """The tools with what they need. Raises LookupError for a need that nobody meets, which stops the start."""
    for tool in tools.values():
        if missing := [need.__name__ for need in tool.needs.values() if need not in things]:
            raise LookupError(f"the tool {tool.name} needs {', '.join(missing)}")
    return {name: _equipped(tool, things) if tool.needs else tool for name, tool in tools.items()}


def _equipped(tool: Tool, things: Mapping[type, object]) -> Tool:
    given: dict[str, Any] = {at: things[need] for at, need in tool.needs.items()}
    return replace(
        tool,
        fn=partial(tool.fn, **given),
        before=partial(tool.before, **given) if tool.before else None,
        settle=partial(tool.settle, **given) if tool.settle else None,
        consent=partial(tool.consent, **given) if tool.consent else None,
        needs={},
    )


def _schema(ask: type[msgspec.Struct]) -> dict[str, Any]:
    """The struct's JSON Schema, without what models have no use for: titles, and null for what may be left out."""
    (root,), components = msgspec.json.schema_components([ask])
    schema = components.pop(root["$ref"].rpartition("/")[2])
    return {
        "type": "object",
        "properties": {name: _without_null(shape) for name, shape in schema["properties"].items()},
        "required": schema["required"],
        "additionalProperties": False,
        **({"$defs": components} if components else {}),
    }


def _without_null(shape: dict[str, Any]) -> dict[str, Any]:
    match shape:
        case {"anyOf": [dict(only), {"type": "null"}], "default": None}:
            return _without_null(only)
        case {"default": None}:
            return {key: value for key, value in shape.items() if key != "default"}
        case {"enum": [str(), *_]}:
            return {"type": "string", **shape}
        case {"type": "array", "items": dict(items)}:
            return {**shape, "items": _without_null(items)}
        case _:
            return shape
