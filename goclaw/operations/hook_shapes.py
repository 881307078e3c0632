"""What hooks look like on the wire. Contract: edge-websocket.md §7.14, tools.md §22."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from goclaw.domain.hook import LONGEST_MS, TIMEOUT_MS, Event, Handler, OnTimeout, Scope
from goclaw.tools.hooks.condition import LONGEST

Id = Annotated[str, Meta(min_length=1, max_length=64)]
Matcher = Annotated[str, Meta(max_length=500)]
Condition = Annotated[str, Meta(max_length=LONGEST)]
Milliseconds = Annotated[int, Meta(ge=1, le=LONGEST_MS)]
Priority = Annotated[int, Meta(ge=-1_000_000, le=1_000_000)]


class AskHooks(Struct, kw_only=True):
    event: Event | None = None
    scope: Scope | None = None
    agent_id: str | None = None
    enabled: bool | None = None


class HookRow(Struct, rename="camel", kw_only=True):
    """`secretNames` are the members of `config.secrets`, whose values nobody is shown."""

    id: str
    event: Event
    handler_type: Handler
    scope: Scope
    name: str
    matcher: str | None
    if_expr: str | None
    timeout_ms: int
    on_timeout: OnTimeout
    priority: int
    enabled: bool
    config: msgspec.Raw
    secret_names: list[str]
    agent_ids: list[str]
    source: Literal["user", "builtin"]
    version: int


class HookList(Struct, kw_only=True):
    hooks: list[HookRow]


class Wanted(Struct, kw_only=True):
    """What a hook is made of. `config.secrets` is a command's environment, or headers of a request: it is sealed."""

    event: Event
    handler_type: Handler
    scope: Scope
    name: Annotated[str, Meta(max_length=255)] = ""
    matcher: Matcher | None = None
    if_expr: Condition | None = None
    timeout_ms: Milliseconds = TIMEOUT_MS
    on_timeout: OnTimeout = "block"
    priority: Priority = 0
    enabled: bool = True
    config: dict[str, Any] = {}
    agent_ids: Annotated[list[str], Meta(max_length=100)] = []


class MadeHook(Struct, rename="camel", kw_only=True):
    hook_id: str


class OneHook(Struct, kw_only=True):
    hook_id: Id


class Updates(Struct, kw_only=True):
    event: Event | UnsetType = UNSET
    handler_type: Handler | UnsetType = UNSET
    scope: Scope | UnsetType = UNSET
    name: Annotated[str, Meta(max_length=255)] | UnsetType = UNSET
    matcher: Matcher | UnsetType | None = UNSET
    if_expr: Condition | UnsetType | None = UNSET
    timeout_ms: Milliseconds | UnsetType = UNSET
    on_timeout: OnTimeout | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    config: dict[str, Any] | UnsetType = UNSET
    agent_ids: Annotated[list[str], Meta(max_length=100)] | UnsetType = UNSET


class UpdateHook(OneHook, kw_only=True):
    """A `config` replaces the former one; without `secrets` in it those stay."""

    updates: dict[str, Any]


class ToggleHook(OneHook, kw_only=True):
    enabled: bool


class Done(Struct, kw_only=True):
    ok: bool = True
