"""What clients say of custom tools and what they are shown. Contract: edge-http.md §10, tools.md §14.1."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from goclaw.stores.custom_tools import CustomTool

Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]*(?!\n)$", min_length=1, max_length=64)]
Command = Annotated[str, Meta(min_length=1, max_length=16_384)]
Directory = Annotated[str, Meta(max_length=4096)]
EffectClass = Literal["pure", "unsafe"]


class Wanted(Struct, kw_only=True):
    """What is absent stays as it is, or as it is without a word."""

    CLEARED_BY_EMPTY: ClassVar = frozenset({"working_dir", "description"})

    name: Name | UnsetType = UNSET
    description: Annotated[str, Meta(max_length=4096)] | UnsetType = UNSET
    parameters: dict[str, Any] | UnsetType = UNSET
    command: Command | UnsetType = UNSET
    working_dir: Directory | UnsetType | None = UNSET
    timeout_seconds: Annotated[int, Meta(ge=1, le=3600)] | UnsetType = UNSET
    agent_id: str | UnsetType | None = UNSET
    env: dict[str, str | None] | UnsetType = UNSET
    acknowledged_groups: tuple[str, ...] | UnsetType = UNSET
    effect_class: EffectClass | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


class CreateTool(Wanted, kw_only=True):
    name: Name
    command: Command


class UpdateTool(Wanted, kw_only=True):
    id: str


class ToolId(Struct, kw_only=True):
    id: str


class ListCustom(Struct, kw_only=True):
    """Without a limit the list comes whole, which is what deployed clients read (edge-http.md §0.1)."""

    agent_id: str | None = None
    search: Annotated[str, Meta(max_length=200)] = ""
    limit: Annotated[int, Meta(ge=1)] | None = None
    offset: Annotated[int, Meta(ge=0, le=1_000_000_000)] | None = None


class CustomView(Struct, kw_only=True):
    """E-CustomTool. Of its environment only the names."""

    id: str
    name: str
    description: str
    parameters: Raw
    command: str
    working_dir: str | None
    timeout_seconds: int
    agent_id: str | None
    env_keys: tuple[str, ...]
    acknowledged_groups: tuple[str, ...]
    effect_class: str
    enabled: bool
    created_by: str | None
    created_at: datetime
    updated_at: datetime


class CustomPage(Struct, kw_only=True):
    tools: list[CustomView]
    total: int
    limit: int
    offset: int


class Deleted(Struct, kw_only=True):
    deleted: bool = True


def view_of(row: CustomTool) -> CustomView:
    return CustomView(
        id=row.id,
        name=row.name,
        description=row.description,
        parameters=row.parameters,
        command=row.command,
        working_dir=row.working_dir,
        timeout_seconds=row.timeout_seconds,
        agent_id=row.agent_id,
        env_keys=row.env_keys,
        acknowledged_groups=row.acknowledged_groups,
        effect_class=row.effect_class,
        enabled=row.enabled,
        created_by=row.created_by,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
