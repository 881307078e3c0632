"""Agents as clients see and write them: E-Agent, E-AgentInput. Contract: edge-http.md §5, wire-compat.md E1."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from goclaw.domain.agent import AgentRole, AgentStatus, AgentType
from goclaw.domain.answer_form import form_of
from goclaw.domain.errors import Rejected, invalid
from goclaw.domain.loop import loop_of
from goclaw.domain.tool_rules import Rules
from goclaw.security.shell import UnknownGroup, groups_off
from goclaw.stores.agents import AgentRow
from goclaw.tools.policy import known_profile

CONFIG = 64 * 1024  # bytes of one of its objects
SHARED: tuple[str, ...] = (
    "emoji",
    "description",
    "self_evolve",
    "skill_evolve",
    "skill_nudge_interval",
    "thinking_level",
)
SHARED += ("workspace_sharing",)  # members of `other_config` with a column of their own
OBJECTS = ("subagents_config", "sandbox_config", "memory_config", "compaction_config", "context_pruning")

READ: dict[str, Callable[[dict[str, Any]], object]] = {"loop": loop_of, "structured_output": form_of}

Config = dict[str, Any] | UnsetType | None
Level = Literal["off", "auto", "none", "minimal", "low", "medium", "high", "xhigh"]
Text = Annotated[str, Meta(max_length=8000)]


class Agent(Struct, kw_only=True):
    """E-Agent. Nulls stand for features that are off."""

    id: str
    agent_key: str
    display_name: str
    owner_id: str
    agent_type: str
    status: str
    is_default: bool
    provider: str
    model: str
    context_window: int
    max_tool_iterations: int
    max_tokens: int | None
    temperature: float | None
    thinking_level: str | None
    fallback_models: list[str]
    workspace: str
    restrict_to_workspace: bool
    description: str
    frontmatter: str
    emoji: str
    avatar: str
    budget_monthly_cents: int | None
    tools_config: dict[str, Any]
    subagents_config: dict[str, Any] | None
    sandbox_config: dict[str, Any] | None
    shell_deny_groups: dict[str, bool] | None
    memory_config: dict[str, Any] | None
    compaction_config: dict[str, Any] | None
    context_pruning: dict[str, Any] | None
    other_config: dict[str, Any]
    a2a_public: bool
    summon_error: str | None
    active_runs: int
    tenant_id: str
    my_role: AgentRole
    created_at: datetime
    updated_at: datetime


class AgentPage(Struct, kw_only=True):
    agents: list[Agent]
    total: int
    limit: int
    offset: int


class Wanted(Struct, kw_only=True):
    """E-AgentInput. What is absent stays as it is; null clears, or switches a feature off."""

    ALIASES: ClassVar = {"monthly_cents": "budget_monthly_cents", "type": "agent_type"}
    CLEARED_BY_EMPTY: ClassVar = frozenset({"provider", "model", "description", "emoji", "avatar", "frontmatter"})

    display_name: Annotated[str, Meta(max_length=255)] | UnsetType | None = UNSET
    agent_type: AgentType | UnsetType = UNSET
    status: AgentStatus | UnsetType = UNSET
    is_default: bool | UnsetType = UNSET
    provider: Annotated[str, Meta(max_length=50)] | UnsetType = UNSET
    model: Annotated[str, Meta(max_length=200)] | UnsetType = UNSET
    fallback_models: (
        Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=200)], ...], Meta(max_length=20)] | UnsetType
    ) = UNSET
    context_window: Annotated[int, Meta(ge=1024, le=10_000_000)] | UnsetType = UNSET
    max_tool_iterations: Annotated[int, Meta(ge=1, le=200)] | UnsetType = UNSET
    max_tokens: Annotated[int, Meta(ge=1, le=1_000_000)] | UnsetType | None = UNSET
    temperature: Annotated[float, Meta(ge=0, le=2)] | UnsetType | None = UNSET
    thinking_level: Level | UnsetType | None = UNSET
    workspace: Annotated[str, Meta(max_length=1000)] | UnsetType = UNSET
    restrict_to_workspace: bool | UnsetType = UNSET
    description: Text | UnsetType | None = UNSET
    frontmatter: Text | UnsetType | None = UNSET
    emoji: Annotated[str, Meta(max_length=16)] | UnsetType | None = UNSET
    avatar: Annotated[str, Meta(max_length=2048)] | UnsetType | None = UNSET
    budget_monthly_cents: Annotated[int, Meta(ge=0, le=2_000_000_000)] | UnsetType | None = UNSET
    a2a_public: bool | UnsetType = UNSET
    tools_config: Config = UNSET
    subagents_config: Config = UNSET
    sandbox_config: Config = UNSET
    shell_deny_groups: dict[str, bool] | UnsetType | None = UNSET
    memory_config: Config = UNSET
    compaction_config: Config = UNSET
    context_pruning: Config = UNSET
    other_config: Config = UNSET


class Beside(Struct, kw_only=True):
    """Members of `other_config` that have a column, and what they may be."""

    emoji: Annotated[str, Meta(max_length=16)] | None = None
    description: Text | None = None
    self_evolve: bool | None = None
    skill_evolve: bool | None = None
    skill_nudge_interval: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    thinking_level: Level | Literal[""] | None = None
    workspace_sharing: dict[str, Any] | None = None


def columns_of(ask: Wanted) -> dict[str, Any]:
    """What is asked for, by column. Refuses what does not fit by field."""
    given = {name: value for name in Wanted.__struct_fields__ if (value := getattr(ask, name)) is not UNSET}
    other = given.get("other_config")
    if "other_config" in given:
        rest, beside = _taken_apart(other or {})
        given = {**dict.fromkeys(SHARED), **given, **beside, "other_config": rest}
    for name in ("tools_config", "other_config"):
        if name in given:
            given[name] = given[name] or {}
    for name in ("self_evolve", "skill_evolve"):
        if name in given:
            given[name] = bool(given[name])
    for name in (*OBJECTS, "tools_config", "other_config", "workspace_sharing"):
        if len(msgspec.json.encode(given.get(name))) > CONFIG:
            raise Rejected(invalid(name, f"longer than {CONFIG} bytes"))
    _check_rules(given.get("tools_config") or {})
    for name, read in READ.items():
        try:
            read(given.get("other_config") or {})
        except msgspec.ValidationError as error:
            said = str(error)
            inner = said.partition("$")[2].rstrip("`")
            raise Rejected(invalid(f"other_config.{name}{inner}", said.partition(" - at")[0].lower())) from None
    try:
        groups_off({}, given.get("shell_deny_groups"))
    except UnknownGroup as unknown:
        raise Rejected(invalid("shell_deny_groups", str(unknown))) from None
    if "thinking_level" in given:
        given["thinking_level"] = given["thinking_level"] or None
    return given


def _check_rules(given: dict[str, Any]) -> None:
    """What no run could follow is refused here; there it would leave `minimal` (tools.md §4, step 1)."""
    try:
        rules = msgspec.convert(given, Rules)
    except msgspec.ValidationError as error:
        said, _, place = str(error).partition(" - at `$")
        raise Rejected(invalid(f"tools_config{place.rstrip('`')}", said.lower())) from None
    for place, profile in (
        ("", rules.profile),
        *((f".byProvider.{n}", r.profile) for n, r in rules.by_provider.items()),
    ):
        if not known_profile(profile):
            raise Rejected(invalid(f"tools_config{place}.profile", "full, coding, messaging or minimal"))


def _taken_apart(other: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """`other_config` without what has a column, and that. Only members that were given, the strongest of all."""
    named = {name: other[name] for name in SHARED if name in other}
    try:
        msgspec.convert(named, Beside)
    except msgspec.ValidationError as error:
        said = str(error)
        field = said.partition("$.")[2].rstrip("`")
        raise Rejected(invalid(f"other_config.{field}", said.partition(" - at")[0].lower())) from None
    return {name: value for name, value in other.items() if name not in SHARED}, named


def view_of(row: AgentRow, *, tenant: str, role: AgentRole, provider: str, model: str, active_runs: int) -> Agent:
    """`provider` and `model` are who answers now."""
    beside = {name: value for name in SHARED if (value := getattr(row, name)) not in (None, "", False)}
    shown = {name: getattr(row, name) for name in Agent.__struct_fields__ if hasattr(row, name)}
    texts = {name: shown[name] or "" for name in ("description", "frontmatter", "emoji", "avatar")}
    return Agent(
        **{
            **shown,
            **texts,
            "display_name": row.display_name or row.agent_key,
            "provider": provider,
            "model": model,
            "fallback_models": list(row.fallback_models),
            "other_config": {**row.other_config, **beside},
            "active_runs": active_runs,
            "tenant_id": tenant,
            "my_role": role,
        }
    )
